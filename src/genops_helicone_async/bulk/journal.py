"""What a job has done, safe on disk before anybody relies on it: rows taken, answers written, money spent.

One thread does all of it, a group of changes at a time: answers are appended to the output and synchronised, then the
rows are marked as done in one transaction. Whatever ends the process, output and journal can be brought to agree.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec

from .appended import AppendedFile
from .gathering import Gathering
from .journal_file import close_journal
from .journal_group import Group, JobFiles, Listener
from .journal_rows import Finished, Piece, RowTable, State, Taken
from .output_order import OutputOrder
from .ports import Outcome
from .recovery import Recovered
from .rewriting import lines_are_sorted, sort_lines
from .rows import BadLine, Row

T = TypeVar("T")
Committed = tuple[Finished, list[Any], list[Any]]
"""What a group brought forth, what became of offers, and what changes gave."""


class Journal:
    """The journal of one job, open, on one event loop. `tally` is what the job has come to over all its runs.

    Files are opened by `open_job`, which also brings them to agree after a crash.
    """

    __slots__ = (
        "_files", "_gathering", "_listener", "_loop", "_order", "_rows", "_thread", "failure", "tally", "waiting",
    )  # fmt: skip

    def __init__(self, files: JobFiles, *, is_ordered: bool = False, is_deduped: bool = True) -> None:
        self._files = files
        self.tally = files.recovered.tally
        is_readable = files.output.is_regular
        self._rows = RowTable(
            files.journal, files.lookups, files.output.read if is_readable else None, is_deduped=is_deduped
        )
        self._rows.is_same_input = files.recovered.is_same_input
        self._rows.names_again = files.window is not None
        self._order = OutputOrder(self._held, is_ordered=is_ordered)
        self._gathering = Gathering(files.window, self._write_group, lambda: self._order.has_more)
        self._thread = ThreadPoolExecutor(1, "bulk-journal")
        self.failure: Exception | None = None
        self.waiting = 0
        """How many rows wait for the answer of an equal one. Those that are to be sent instead have been told."""

    @property
    def recovered(self) -> Recovered:
        """What earlier runs have left."""
        return self._files.recovered

    @property
    def output(self) -> AppendedFile:
        """Where the answers are."""
        return self._files.output

    @property
    def is_ordered(self) -> bool:
        """Whether the output is in the order of the input."""
        return self._order.is_ordered

    @property
    def keeps_bad_lines(self) -> bool:
        """Whether there is a file of them."""
        return self._files.errors is not None

    def start(self, listener: Listener) -> None:
        """Begins to write."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()

    async def take(self, offered: Sequence[Row | BadLine]) -> Taken:
        """Marks rows as taken, in the order of their lines; returns when that is safe on disk.

        Raises:
            ConfigurationError: a row is not what it was in an earlier run.
            OSError: it cannot be written.
        """
        future = asyncio.get_running_loop().create_future()
        self._add().offers.append((offered, future))
        taken: Taken = await future
        return taken

    def record(self, outcome: Outcome) -> None:
        """Notes what came of a row; never waits. Its line is written with the next group."""
        self.tally.add_outcome(outcome)
        if self.failure is not None:
            raise self.failure
        self._gathering.record(outcome)

    @property
    def is_full(self) -> bool:
        """Whether more is recorded than written: an output that is slow must not fill memory."""
        return self._gathering.is_full

    async def room(self) -> None:
        """Waits while it is full."""
        await self._gathering.room()

    def give_back(self, lines: Sequence[int]) -> None:
        """Forgets rows that were taken and never sent: the next run takes them."""
        self._add().given_back.extend(lines)

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a change of tables of one's own within the next transaction; returns when it is safe on disk.

        It runs on the journal's thread. What it raises is raised here, and nothing of it is kept. Tables are made with
        `CREATE TABLE IF NOT EXISTS`, under names that begin with that of their owner.

        Raises:
            OSError: it cannot be written.
        """
        future = asyncio.get_running_loop().create_future()
        self._add().changes.append((change, future))
        result: T = await future
        return result

    async def close(self, *, is_finished: bool = False, is_sorted: bool = False) -> None:
        """Writes what is left, and closes the files; with `is_finished` the job has nothing left to do.

        With `is_sorted`, lines that an earlier run has written too late are brought to their place before.

        Raises:
            OSError: not everything could be written.
        """
        try:
            if self.failure is None:
                await self._gathering.end()
        finally:
            end = partial(self._close_files, is_finished=is_finished and self.failure is None, is_sorted=is_sorted)
            await asyncio.get_running_loop().run_in_executor(self._thread, end)
            self._thread.shutdown(wait=False)
        if self.failure is not None:
            raise self.failure

    def _add(self) -> Group:
        """The group that is being filled.

        Raises:
            OSError: nothing can be written any more.
        """
        if self.failure is not None:
            raise self.failure
        return self._gathering.add()

    def _write_group(self, group: Group) -> None:
        group.tally = self.tally.snapshot() if group.outcomes else None
        self._thread.submit(self._committed, group)

    def _ended(self, group: Group, result: Committed | Exception) -> None:
        """A group is written, or will never be."""
        try:
            if isinstance(result, Exception):
                raise result
            self._tell(group, *result)
        except Exception as exc:  # noqa: BLE001  the root of a callback: whoever waits is told
            self._fail(exc, group)
        else:
            self._gathering.written()

    def _tell(self, group: Group, finished: Finished, taken: list[Any], results: list[Any]) -> None:
        for outcome in finished.copies:
            self.tally.add_outcome(outcome)
        self.tally.unsent += finished.unsent - sum(outcome.kind == "unsent" for outcome in group.outcomes)
        for (_, future), result in zip([*group.offers, *group.changes], [*taken, *results], strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self.waiting = finished.waiting
        if finished.promoted:
            self._listener.promoted(finished.promoted)
        if finished.copies:
            self._listener.copied(finished.copies)
        self._listener.settled(0 if group.is_settled else len(group.outcomes))

    def _fail(self, exc: Exception, group: Group) -> None:
        self.failure = _as_os_error(exc)
        for waiting in (group, self._gathering.fail()):
            for _, future in (*waiting.offers, *waiting.changes):
                if not future.done():
                    future.set_exception(self.failure)
                    future.exception()  # whoever waited may be gone already
        self._listener.failed(self.failure)

    # What follows runs on the journal's thread.

    def _committed(self, group: Group) -> None:
        result: Committed | Exception
        try:
            result = self._commit(group)
        except Exception as exc:  # noqa: BLE001  it is told on the event loop
            result = exc
        self._loop.call_soon_threadsafe(self._ended, group, result)

    def _commit(self, group: Group) -> Committed:
        sql, finished = self._files.journal, Finished()
        sql.execute("BEGIN IMMEDIATE")
        try:
            begin = self._files.output.length
            self._rows.end(group.outcomes, finished)
            written = self._append(finished.pieces, group)
            finished.pieces = []  # from here on: what rows are given that are equal to others
            taken = [self._attempt(partial(self._take, rows, finished)) for rows, _ in group.offers]
            if group.given_back:
                self._rows.give_back(group.given_back)
            if finished.pieces:
                written = [*written, *self._append(finished.pieces, group)]
            self._mark(written, begin, group)
            results = [self._attempt(partial(change, sql)) for change, _ in group.changes]
            finished.waiting = self._rows.waiting
            sql.execute("COMMIT")
        except BaseException:
            if sql.in_transaction:
                sql.execute("ROLLBACK")
            raise
        return finished, taken, results

    def _attempt(self, run: Callable[[], Any]) -> Any:
        """What it gives, or what it raises, with nothing of it kept then; a disk that fails fails everything."""
        sql = self._files.journal
        sql.execute("SAVEPOINT one")
        try:
            result = run()
        except (sqlite3.OperationalError, OSError):
            raise
        except Exception as exc:  # noqa: BLE001  the caller's own change failed, and is told so
            sql.execute("ROLLBACK TO one")
            result = exc
        sql.execute("RELEASE one")
        return result

    def _take(self, offered: Sequence[Row | BadLine], finished: Finished) -> Taken:
        taken = self._rows.take(offered, finished, self._order.expect)
        if taken.bad and self._files.errors is not None:
            errors = self._files.errors.open()
            errors.append([msgspec.json.encode(bad) for bad in taken.bad])
            errors.sync()
            self._files.journal.execute("UPDATE job SET errors_length = ?", (errors.length,))
        return taken

    def _append(self, pieces: Sequence[Piece], group: Group) -> Sequence[Piece]:
        """Writes the lines whose turn it is, and gives them; the others are held."""
        output = self._files.output
        ready, early = self._order.sort(pieces)
        if early:
            self._rows.hold(early)
        if not ready:
            return ready
        output.append([piece.data for piece in ready])
        if not early and not group.is_settled:
            # What is in the file, a process that is killed leaves there, for the next run to take over.
            group.is_settled = True
            self._loop.call_soon_threadsafe(self._listener.settled, len(group.outcomes))
        return ready

    def _mark(self, written: Sequence[Piece], begin: int, group: Group) -> None:
        """Notes what stands in the output now, which is safe before."""
        output, sql = self._files.output, self._files.journal
        if written and output.is_regular:
            output.sync()
            self._rows.written(written, begin)
            sql.execute(
                "UPDATE job SET length = ?, tail = ?, tally = coalesce(?, tally)",
                (output.length, output.tail(), group.tally),
            )
            return
        if written:
            self._rows.hold(written)  # equal rows find their answer there
        if group.tally is not None:
            sql.execute("UPDATE job SET tally = ?", (group.tally,))

    def _held(self, line: int) -> Piece:
        sql = self._files.journal
        state, data = sql.execute("SELECT state, data FROM held WHERE line = ?", (line,)).fetchone()
        sql.execute("DELETE FROM held WHERE line = ?", (line,))
        return Piece(line, State(state), bytes(data))

    def _close_files(self, *, is_finished: bool, is_sorted: bool) -> None:
        files = self._files
        sql, output, path = files.journal, files.output.path, self.recovered.journal_path
        files.output.close()
        if files.errors is not None:
            files.errors.close()
        try:
            if is_finished:
                if is_sorted and path is not None and output is not None and not lines_are_sorted(sql):
                    sort_lines(sql, output)
                sql.execute("UPDATE job SET is_finished = 1")
        finally:
            close_journal(sql, path)


def _as_os_error(exc: Exception) -> Exception:
    """A full disk is a full disk, whether the output meets it or SQLite."""
    return OSError(None, f"the journal cannot be written: {exc}") if isinstance(exc, sqlite3.Error) else exc


__all__ = ["Journal"]

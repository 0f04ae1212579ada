"""A bulk job: rows are read, taken, answered and written, each exactly once, in bounded memory and however it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from .journal import Journal
from .journal_group import Listener
from .output_lines import interrupted_line
from .ports import Executor, Outcome
from .rows import BadLine, Row, RowReader
from .sources import RowSource
from .tally import Tally

NOTES_SHOWN = 20
"""Bad lines told one by one; further ones are only counted and written to the errors file."""
TAKEN_AT_ONCE = 256
_READ_AHEAD = 512
_TAKEN_AHEAD = 512
"""Rows are taken while fewer than this are ready: what is sent until the next are safe in the journal."""

Items = AsyncIterator[Row | BadLine]


class View(Protocol):
    """Who is told what happens. `total` may be set when it is known."""

    total: int | None

    def start(self, tally: Tally) -> None:
        """The job begins; what is in the tally already was done by earlier runs."""

    def took(self, outcome: Outcome) -> None:
        """A row has its outcome."""

    def note(self, text: str) -> None:
        """Something to read, beside the progress."""

    def stop(self) -> None:
        """The job is over."""


class Silent:
    """A view that shows nothing."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total: int | None = None

    def start(self, tally: Tally) -> None:
        """Shows nothing."""

    def took(self, outcome: Outcome) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing."""

    def stop(self) -> None:
        """Shows nothing."""


class BulkJob:
    """Sends the rows of a source through an executor, and writes what comes of them to a journal's output.

    The first `interrupt` ends the reading and lets what is in flight finish, the second drops that. `stop_reading` must
    end the items. With a `window`, so many rows may be out at once that are not yet safe in the output; without, the
    executor itself bounds them. `before_again` is awaited with rows that an earlier run may have sent, before they are
    sent again; `was_sent` tells of a line without an outcome whether it may have been: all with a window, none without.

    Attributes:
        again: Line → `custom_id` of rows on their way when a run ended, of all runs, which were sent again: perhaps
            billed twice.
        dropped: Line → `custom_id` of rows that were given up on their way; a resumed job sends them again.
        is_interrupted: Whether somebody asked it to end.
        is_finished: Whether nothing is left to do.
        last_line: The last line that was read.
    """

    def __init__(
        self, items: Items, stop_reading: Callable[[], None], executor: Executor, journal: Journal, *,
        view: View | None = None, window: int | None = None,
        before_again: Callable[[list[Row]], Awaitable[None]] | None = None,
        was_sent: Callable[[int], bool] | None = None,
    ) -> None:  # fmt: skip
        self.journal = journal
        self.view: View = view or Silent()
        self.again = dict(journal.recovered.again)
        self.dropped: Mapping[int, str] = {}
        self.is_interrupted = False
        self.is_finished = False
        self.last_line = 0
        self._items = items
        self._stop_reading = stop_reading
        self._executor = executor
        self._window = window
        self._before_again = before_again
        self._was_sent = was_sent or (lambda line: window is not None)
        self._offered: deque[Row | BadLine] = deque()
        self._ready: deque[Row] = deque()
        self._out: dict[int, str] = {}
        self._unsettled = self._bad = 0
        self._is_read = self._is_taken = self._is_ending = False
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def tally(self) -> Tally:
        """What the job has come to, over all its runs."""
        return self.journal.tally

    async def run(self) -> None:
        """Does all rows, or those that were read before it was interrupted; the journal is closed afterwards.

        Raises:
            ConfigurationError: the input is not that of the earlier runs, or the defaults name who cannot be asked.
            OSError: the input cannot be read, or the output not written.
        """
        self.journal.start(Listener(
            settled=self._settled, promoted=self._promoted, copied=self._copied, failed=self._not_written,
        ))  # fmt: skip
        self.view.start(self.tally)
        self._work = asyncio.ensure_future(self._all())
        try:
            await asyncio.wait({self._work})
        finally:
            self._stop_reading()
            self._is_ending = True
            if not self._work.done():  # this very task was cancelled
                self._work.cancel()
                await asyncio.wait({self._work})
            self.dropped = dict(self._out)
            self.view.stop()
            await self._close()
        if not self._work.cancelled():
            self._work.result()

    def interrupt(self, count: int = 1) -> None:
        """Ends the reading; from the second time on, what is in flight, too."""
        self.is_interrupted = True
        if count == 1:
            self.view.note(f"stopping: {len(self._out)} calls in flight are finished first; Ctrl-C again drops them")
            self.stop()
        else:
            self.drop()

    def stop(self) -> None:
        """No further row is sent; what is in flight is finished."""
        self._is_ending = True
        self._stop_reading()
        self._changed.set()

    def drop(self) -> None:
        """Ends it, and what is in flight."""
        if self._work is not None:
            self._work.cancel()

    async def _all(self) -> None:
        helpers = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._take_all())]
        try:
            async with self._executor.outcomes(self._rows()) as outcomes:
                async for outcome in outcomes:
                    self._took(outcome)
                    if self.journal.is_full:
                        await self.journal.room()
            if self._failure is not None:
                raise self._failure
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)

    async def _read(self) -> None:
        try:
            async for item in self._items:
                self.last_line = item.line
                self._offered.append(item)
                if len(self._offered) == 1:
                    self._changed.set()
                while len(self._offered) >= _READ_AHEAD:
                    await self._change()
        except Exception as exc:  # noqa: BLE001  the root of a task: raised where the rows are given
            self._failure = exc
        finally:
            self._is_read = True
            self._changed.set()

    async def _take_all(self) -> None:
        try:
            while not self._is_ending:
                if self._offered and len(self._ready) < _TAKEN_AHEAD:
                    await self._take()
                elif self._is_read and not self._offered:
                    break
                else:
                    await self._change()
        except Exception as exc:  # noqa: BLE001  the root of a task: raised where the rows are given
            self._failure = exc
        finally:
            self._is_taken = True
            self._changed.set()

    async def _take(self) -> None:
        batch = [self._offered.popleft() for _ in range(min(TAKEN_AT_ONCE, len(self._offered)))]
        self._changed.set()
        taken = await self.journal.take(batch)
        for bad in taken.bad:
            self._skip(bad)
        if again := [row for row in taken.again if self._was_sent(row.line)]:
            self.again.update((row.line, row.custom_id) for row in again)
            if self._before_again is not None:
                await self._before_again(again)
        self._ready.extend(taken.rows)
        self._changed.set()

    async def _rows(self) -> AsyncIterator[Row]:
        """What the executor takes from."""
        while not self._is_ending and self._failure is None:
            if self._ready and (self._window is None or self._unsettled < self._window):
                row = self._ready.popleft()
                if len(self._ready) == _TAKEN_AHEAD - 1:  # more may be taken from now on
                    self._changed.set()
                self._out[row.line] = row.custom_id
                self._unsettled += 1
                yield row
            elif self._is_taken and not self._ready and not self.journal.waiting:
                return
            else:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _took(self, outcome: Outcome) -> None:
        self._out.pop(outcome.line, None)
        self.journal.record(outcome)
        self.view.took(outcome)

    def _skip(self, bad: BadLine) -> None:
        self.tally.add_bad()
        self._bad += 1
        if self._bad <= NOTES_SHOWN or not self.journal.keeps_bad_lines:
            self.view.note(f"line {bad.line} skipped: {bad.reason}")
        elif self._bad == NOTES_SHOWN + 1:
            self.view.note("further bad lines are told in the errors file only")

    def _settled(self, count: int) -> None:
        self._unsettled -= count
        self._changed.set()

    def _promoted(self, rows: list[Row]) -> None:
        self._ready.extendleft(reversed(rows))
        self._changed.set()

    def _copied(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.view.took(outcome)
        self._changed.set()

    def _not_written(self, exc: Exception) -> None:
        self._failure = exc
        if self._work is not None:
            self._work.cancel()

    async def _close(self) -> None:
        journal, work = self.journal, self._work
        if journal.failure is None:
            if journal.recovered.journal_path is None:  # no later run will send them, so that their end is told here
                for line, custom_id in self._out.items():
                    journal.record(_interrupted(line, custom_id))
            if self._ready:
                journal.give_back([row.line for row in self._ready])
            ended_well = work is not None and not work.cancelled() and work.exception() is None
            self.is_finished = (
                ended_well and self._is_taken and self._is_read and not self.is_interrupted and not self._ready
                and not self._out and not self._offered and not journal.waiting and not self.tally.unsent
            )  # fmt: skip
        await journal.close(is_finished=self.is_finished, is_sorted=journal.is_ordered)


def _interrupted(line: int, custom_id: str) -> Outcome:
    data = msgspec.json.encode(interrupted_line(line, custom_id))
    why = "the job was interrupted before this row was answered"
    return Outcome(line=line, custom_id=custom_id, kind="failed", data=data, error="Interrupted", reason=why)


async def rows_of(source: RowSource, reader: RowReader, first_line: int = 1) -> Items:
    """The rows and bad lines of a source, from a line on."""
    async for record in source.records():
        if record.number >= first_line:
            yield reader.read_record(record)


__all__ = ["NOTES_SHOWN", "BulkJob", "Silent", "View", "rows_of"]

"""How far a job is, looked at without going on: what of it is done, and what that has cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..errors import ConfigurationError
from .appended import AppendedFile
from .job_files import Opening
from .journal_file import close_journal, journal_path, open_journal
from .journal_rows import State
from .recovery import Identity, Recovered, agree, check_identity, correct
from .rows import BadLine, Row


class Sorted(msgspec.Struct, kw_only=True):
    """Rows and bad lines, by what a run would do.

    Attributes:
        left: To be sent, or told as bad.
        again: Lines of those of them that may have been sent already.
        done: How many need nothing any more.
        known: The rows among these, each with whether it was answered.
    """

    left: list[Row | BadLine] = []
    again: set[int] = set()
    done: int = 0
    known: list[tuple[Row, bool]] = []


class Standing:
    """A job as its files have it; nobody else can go on with it until this is closed, which leaves all as it was.

    `recovered` is what a run would find.
    """

    __slots__ = ("_path", "_retries_failed", "_sql", "recovered")

    def __init__(self, sql: sqlite3.Connection, path: Path, recovered: Recovered, *, retries_failed: bool) -> None:
        self._sql = sql
        self._path = path
        self._retries_failed = retries_failed
        self.recovered = recovered

    @property
    def spent_pusd(self) -> int:
        """What all runs have spent, what is in doubt included."""
        tally = self.recovered.tally
        return tally.cost_pusd + tally.in_doubt_pusd + self.recovered.doubt_pusd

    def sort(self, items: Sequence[Row | BadLine]) -> Sorted:
        """What of these, which follow each other, is done and what is left."""
        found = self._sql.execute(
            "SELECT line, state FROM row WHERE line BETWEEN ? AND ?", (items[0].line, items[-1].line)
        )
        states = dict(found.fetchall())
        done = {State.ANSWERED, State.BAD} if self._retries_failed else {State.ANSWERED, State.BAD, State.FAILED}
        told = Sorted()
        for item in items:
            state = states.get(item.line)
            if state not in done:
                told.left.append(item)
                if state == State.DOUBT and self.recovered.window is not None:  # else batches know what was sent
                    told.again.add(item.line)
                continue
            told.done += 1
            if isinstance(item, Row):
                told.known.append((item, state == State.ANSWERED))
        return told

    def close(self) -> None:
        """Lets go of the job."""
        self._sql.execute("ROLLBACK")
        close_journal(self._sql, self._path)


def look_at_job(output: Path, identity: Identity, opening: Opening) -> Standing | None:
    """How far the job of an output is, which blocks; None where there is none.

    Raises:
        ConfigurationError: a run would be refused, for it is another job, its files were changed, or it is going on.
        OSError: they cannot be read.
    """
    path = journal_path(output)
    if not path.exists():
        return None
    sql = open_journal(path)
    try:
        sql.execute("BEGIN IMMEDIATE")  # never committed
        begun = sql.execute("SELECT rewritten FROM job").fetchone()
        if begun is None:
            sql.execute("ROLLBACK")
            close_journal(sql, path)
            return None
        recovered = Recovered(journal_path=path)
        check_identity(sql, identity, recovered, may_differ=opening.new_options)
        if not output.exists():
            raise ConfigurationError(f"{output} is not there, but its journal is: restore it, or give --overwrite")
        file = AppendedFile(output)
        try:
            agree(sql, file, recovered, is_whole=begun[0] is None)
        finally:
            file.close()
        correct(sql, recovered.tally)
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        close_journal(sql, path)
        raise
    return Standing(sql, path, recovered, retries_failed=opening.retry_failed)


__all__ = ["Sorted", "Standing", "look_at_job"]

"""Which rows of a split job may have been sent live: the journal has them before they are, and a kill hides none."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial

from ..journal_rows import State
from ..rows import Row
from .store import Journal

_SCHEMA = "CREATE TABLE IF NOT EXISTS provider_batch_live (line INTEGER PRIMARY KEY)"
_ADD = "INSERT OR IGNORE INTO provider_batch_live VALUES (?)"


class SentLive:
    """The rows that live calls were given. `earlier` are the lines that earlier runs left without an outcome."""

    __slots__ = ("_journal", "_lines", "earlier")

    def __init__(self, journal: Journal, earlier: Collection[int] = ()) -> None:
        self._journal = journal
        self._lines = bytearray()
        self.earlier = frozenset(earlier)

    def __contains__(self, line: int) -> bool:
        """Whether this run may have sent it."""
        return line < len(self._lines) and bool(self._lines[line])

    async def add(self, rows: Sequence[Row]) -> None:
        """Notes rows safely; only then may they be sent."""
        lines = [row.line for row in rows]
        await self._journal.write(partial(_add, lines))
        missing = max(lines) + 1 - len(self._lines)
        self._lines.extend(bytes(max(0, missing)))
        for line in lines:
            self._lines[line] = 1


def load_sent_live(doubted: Collection[int], connection: sqlite3.Connection) -> set[int]:
    """The lines without an outcome that earlier runs may have sent live; others are forgotten.

    `doubted` are those of an earlier run that sent all of its rows live, and noted none.
    """
    _add(doubted, connection)
    connection.execute(
        "DELETE FROM provider_batch_live WHERE line NOT IN (SELECT line FROM row WHERE state = ?)", (State.DOUBT,)
    )
    return {line for (line,) in connection.execute("SELECT line FROM provider_batch_live")}


def forget_sent_live(rows: Sequence[Row], connection: sqlite3.Connection) -> None:
    """Forgets rows that are counted as perhaps billed: should they be in doubt again, they were sent again."""
    connection.executemany("DELETE FROM provider_batch_live WHERE line = ?", [(row.line,) for row in rows])


def _add(lines: Collection[int], connection: sqlite3.Connection) -> None:
    connection.execute(_SCHEMA)
    connection.executemany(_ADD, [(line,) for line in lines])


__all__ = ["SentLive", "forget_sent_live", "load_sent_live"]

"""Which line has a name, and which line had a request first: for any number of rows, beside the journal.

Hashes come in no order, so that in the journal itself nearly each new one would have a page of its own written: 25 µs
a row at 200,000 rows. They are in a scratch file instead, which is made from the journal's rows when a job is opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .many_rows import ManyRows

_CACHE_KIB = 4_096
_SCHEMA = """
CREATE TABLE seen.name (hash INTEGER PRIMARY KEY, line INTEGER NOT NULL);
CREATE TABLE seen.first (hash INTEGER PRIMARY KEY, line INTEGER NOT NULL);
INSERT OR IGNORE INTO seen.name SELECT id, line FROM main.row WHERE id IS NOT NULL;
INSERT OR IGNORE INTO seen.first SELECT hash, line FROM main.row WHERE state = 1;
INSERT OR IGNORE INTO seen.first SELECT hash, line FROM main.row WHERE state = 5;
"""
# Of equal rows the answered ones come first (1), then those that may have been sent (5); see `State`.
_TABLES = ("name", "first")
_ADD = {
    table: ManyRows(
        f"INSERT OR IGNORE INTO seen.{table} (hash, line)"  # noqa: S608  the name is one of two of ours
        " SELECT column1, column2 FROM {rows} WHERE column1 IS NOT NULL",
        2,
    )
    for table in _TABLES
}
_OTHERS = {
    table: ManyRows(
        "SELECT column2, known.line FROM {rows} AS new"  # noqa: S608  as above
        f" JOIN seen.{table} AS known ON known.hash = column1 WHERE known.line <> column2",
        2,
    )
    for table in _TABLES
}


class Lookups:
    """The hashes of names and of requests, each with its line; for the thread of the connection."""

    __slots__ = ("_sql",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        connection.execute("ATTACH '' AS seen")
        # What is undone of it is never read again: only what ends the job undoes anything but an executor's own tables.
        connection.execute("PRAGMA seen.journal_mode=OFF")
        connection.execute("PRAGMA seen.synchronous=OFF")
        connection.execute(f"PRAGMA seen.cache_size=-{_CACHE_KIB}")
        connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")

    def taken_names(self, names: Sequence[int], lines: Sequence[int]) -> dict[int, int]:
        """Adds names; line → the earlier line that has the name already, for those that are somebody else's."""
        return self._added("name", names, lines)

    def earlier_requests(self, requests: Sequence[int], lines: Sequence[int]) -> dict[int, int]:
        """Adds requests; line → the earlier line that had the same, for those that are not the first."""
        return self._added("first", requests, lines)

    def replace_first(self, request: int, line: int) -> None:
        """From now on this line is the first with a request."""
        self._sql.execute("INSERT OR REPLACE INTO seen.first VALUES (?, ?)", (request, line))

    def forget_name(self, line: int) -> None:
        """A line that is given back has no name any more."""
        self._sql.execute(
            "DELETE FROM seen.name WHERE hash = (SELECT id FROM main.row WHERE line = ?1) AND line = ?1", (line,)
        )

    def _added(self, table: str, hashes: Sequence[int], lines: Sequence[int]) -> dict[int, int]:
        if _ADD[table].run(self._sql, hashes, lines) == len(hashes):
            return {}
        return dict(_OTHERS[table].select(self._sql, hashes, lines))


__all__ = ["Lookups"]

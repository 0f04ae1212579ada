"""Which rows are booked already: the latest ones' ids in memory, the older ones' in a table of their own.

Request ids are random, and so is each one's place in an index: a `UNIQUE` column has every row rewrite another page,
18 of the 20 µs that SQLite then needs for a row. Here ids join the table 32,768 at a time, in order: 3 µs. What is
known is decided under the file's write lock, after everything that other processes have booked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ..._rules.ledger import LedgerRow
from .schema import text

TAIL_ROWS: Final = 32_768
"""Rows whose ids are kept in memory before they join the table."""

_ASKED_AT_ONCE: Final = 256


class KnownRows:
    """For one connection, and inside its transactions."""

    __slots__ = ("_connection", "_indexed", "_latest", "_tail")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Drops what is in memory, after a transaction that came to nothing."""
        self._tail: set[str] = set()
        self._indexed = -1
        self._latest = 0

    def catch_up(self) -> None:
        """Learns of the rows that were booked by others since."""
        (indexed,) = self._connection.execute("SELECT indexed_id FROM progress").fetchone()
        if indexed != self._indexed:
            self._tail, self._indexed, self._latest = set(), indexed, indexed
        since = "SELECT id, request_id FROM entries WHERE id > ? ORDER BY id"
        for row_id, request_id in self._connection.execute(since, (self._latest,)).fetchall():
            self._tail.add(request_id)
            self._latest = row_id

    def new_among(self, rows: Sequence[LedgerRow]) -> list[LedgerRow] | None:
        """The rows that are not booked yet, each once, known from now on; None where that is all of them."""
        ids = [text(row.request_id) for row in rows]
        new_ids = set(ids) - self._tail
        new_ids -= self._in_table(list(new_ids))
        self._tail |= new_ids
        self._latest += len(new_ids)
        if len(new_ids) == len(rows):
            return None
        new = []
        for row, request_id in zip(rows, ids, strict=True):
            if request_id in new_ids:
                new_ids.discard(request_id)
                new.append(row)
        return new

    def tidy(self) -> None:
        """Has the ids in memory join the table when they are many, at the end of a transaction."""
        if len(self._tail) < TAIL_ROWS:
            return
        self._connection.execute(
            "INSERT OR IGNORE INTO entry_ids SELECT request_id FROM entries WHERE id > ? ORDER BY request_id",
            (self._indexed,),
        )
        self._connection.execute("UPDATE progress SET indexed_id = ?", (self._latest,))
        self._tail, self._indexed = set(), self._latest

    def _in_table(self, ids: list[str]) -> set[str]:
        if not self._indexed:
            return set()
        found: set[str] = set()
        for at in range(0, len(ids), _ASKED_AT_ONCE):
            asked = ids[at : at + _ASKED_AT_ONCE]
            # padded to one length, so that the statement is compiled once
            asked += asked[-1:] * (_ASKED_AT_ONCE - len(asked)) if len(asked) > 1 else []
            among = ", ".join("?" * len(asked))
            rows = self._connection.execute(f"SELECT request_id FROM entry_ids WHERE request_id IN ({among})", asked)  # noqa: S608
            found.update(request_id for (request_id,) in rows)
        return found


__all__ = ["TAIL_ROWS", "KnownRows"]

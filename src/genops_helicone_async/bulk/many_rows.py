"""Statements of SQLite for many rows at once.

A statement for each row would let go of the interpreter each time, and wait until the event loop's thread has no use
for it. Binding numbers is also cheaper than anything that has to be written and read: half of what JSON costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

_STEP = 64
_MOST = 256
Numbers = Sequence[int | None]


class ManyRows:
    """A statement with `{rows}` where a table of numbers belongs, whose columns are `column1` and so on.

    Rows of NULLs are among them, which the statement has to leave out: so that few sizes have to be prepared.
    """

    __slots__ = ("_empty", "_text", "_texts", "_width")

    def __init__(self, text: str, width: int) -> None:
        self._text = text
        self._width = width
        self._empty = (None,) * width
        self._texts: dict[int, str] = {}

    def run(self, connection: sqlite3.Connection, *columns: Numbers) -> int:
        """Runs it on columns of one length; how many rows were changed."""
        return sum(cursor.rowcount for cursor in self._cursors(connection, columns))

    def select(self, connection: sqlite3.Connection, *columns: Numbers) -> Iterator[Any]:
        """The rows that it finds."""
        for cursor in self._cursors(connection, columns):
            yield from cursor

    def _cursors(self, connection: sqlite3.Connection, columns: Sequence[Numbers]) -> Iterator[sqlite3.Cursor]:
        width, count = self._width, len(columns[0])
        values: list[int | None] = [None] * (width * count)
        for number, column in enumerate(columns):
            values[number::width] = column
        for begin in range(0, count, _MOST):
            part = values[begin * width : (begin + _MOST) * width] if count > _MOST else values
            size = min(count - begin, _MOST)
            missing = -size % _STEP
            if missing:
                part.extend(self._empty * missing)
            yield connection.execute(self._sized(size + missing), part)

    def _sized(self, rows: int) -> str:
        text = self._texts.get(rows)
        if text is None:
            one = f"({','.join('?' * self._width)})"
            text = self._texts[rows] = self._text.format(rows=f"(VALUES {','.join([one] * rows)})")
        return text


__all__ = ["ManyRows", "Numbers"]

"""Many rows by few statements: each gives the GIL away once, and a busy process may take 5 ms to return it."""

from __future__ import annotations

import functools
import sqlite3
from typing import Any, Final

_BLOCKS: Final = (256, 64, 16, 4, 1)
"""Rows of one statement, so that few are compiled and any number of rows is soon done."""


class ManyRows:
    """Inserts through one connection, as many rows a statement as it allows."""

    __slots__ = ("_allowed_values", "_connection")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._allowed_values = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)

    def put(self, insert: str, on_conflict: str, width: int, values: list[Any]) -> None:
        """Inserts rows of `width` values each, which follow one another in `values`."""
        at = 0
        for block in _BLOCKS:
            size = block * width
            while size <= self._allowed_values and at + size <= len(values):
                self._connection.execute(_statement(insert, on_conflict, width, block), values[at : at + size])
                at += size


@functools.cache
def _statement(insert: str, on_conflict: str, width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{insert}{', '.join([row] * rows)}{on_conflict}"


__all__ = ["ManyRows"]

"""The rows of a ledger's file, read beside whoever writes it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..._rules.ledger import LedgerRow
from .schema import COLUMNS, ledger_error, open_for_reading

PAGE_ROWS = 1_000
"""Rows read at once: no read is so long that the writer could not tidy up its log."""

_PAGE = (
    f"SELECT id, {', '.join(COLUMNS)} FROM entries "  # noqa: S608 - names of columns
    "WHERE (at_s, id) > (?, ?) AND at_s < ? AND id <= ? ORDER BY at_s, id LIMIT ?"
)


def read_rows(path: Path, since_s: float | None, until_s: float | None, *, busy_s: float) -> Iterator[LedgerRow]:
    """The rows from `since_s` up to and without `until_s` (Unix seconds), by time; those there are at the first one.

    Raises:
        LedgerError: at the first row, or where reading fails.
    """
    try:
        connection = open_for_reading(path, busy_s=busy_s)
        try:
            (latest,) = connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()
            after = (-math.inf if since_s is None else since_s, -1)
            end_s = math.inf if until_s is None else until_s
            while page := connection.execute(_PAGE, (*after, end_s, latest, PAGE_ROWS)).fetchall():
                after = (page[-1][1 + COLUMNS.index("at_s")], page[-1][0])
                for _, *values in page:
                    # without what is NULL: SQLite knows no NaN; not strict: an integer beyond 64 bits comes as text
                    booked = {name: value for name, value in zip(COLUMNS, values, strict=True) if value is not None}
                    yield msgspec.convert(booked, LedgerRow, strict=False)
        finally:
            connection.close()
    except (sqlite3.Error, OSError, msgspec.ValidationError) as error:
        raise ledger_error(error, path) from error


__all__ = ["PAGE_ROWS", "read_rows"]

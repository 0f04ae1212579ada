"""An output written anew, by a rename that a crash at any moment leaves done or undone."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from .appended import AppendedFile
from .journal_rows import State
from .output_lines import outcome_of_line

_BLOCK_BYTES = 1 << 20
_ANSWERS = "SELECT at, size FROM row WHERE at IS NOT NULL AND state != 2 ORDER BY at"  # but those of FAILED rows
_ALL = "SELECT at, size FROM row WHERE at IS NOT NULL ORDER BY line"


def drop_failed(sql: sqlite3.Connection, output: Path) -> None:
    """Takes the lines of failed rows out of the output: to the journal they are rows that nobody has taken yet."""
    sql.execute("BEGIN IMMEDIATE")
    sql.execute("DELETE FROM held WHERE state = ?", (State.FAILED,))
    sql.execute("DELETE FROM row WHERE state = ? AND at IS NULL", (State.FAILED,))
    sql.execute("COMMIT")
    _rewrite(sql, output, _ANSWERS)


def sort_lines(sql: sqlite3.Connection, output: Path) -> None:
    """Brings the lines of the output into the order of the input."""
    _rewrite(sql, Path(os.path.realpath(output)), _ALL)


def lines_are_sorted(sql: sqlite3.Connection) -> bool:
    """Whether the lines of the output are in the order of the input."""
    places = "SELECT at, lag(at) OVER (ORDER BY line) AS before FROM row WHERE at IS NOT NULL"
    return not sql.execute(f"SELECT EXISTS (SELECT 1 FROM ({places}) WHERE at < before)").fetchone()[0]  # noqa: S608


def finish_rewrite(sql: sqlite3.Connection, output: Path) -> None:
    """Ends what a crash has interrupted, if anything."""
    size = sql.execute("SELECT rewritten FROM job").fetchone()[0]
    copy = _copy_path(output)
    if size is None:
        copy.unlink(missing_ok=True)
        return
    if copy.exists():
        copy.replace(output)
        _sync_folder(output.parent)
    _note_places(sql, output)


def _rewrite(sql: sqlite3.Connection, output: Path, select: str) -> None:
    copy = _copy_path(output)
    with output.open("rb") as old, copy.open("wb") as new:
        for at, size in _runs(sql.execute(select)):
            old.seek(at)
            while size:
                block = old.read(min(size, _BLOCK_BYTES))
                new.write(block)
                size -= len(block)
        new.flush()
        os.fsync(new.fileno())
        length = new.tell()
    shutil.copymode(output, copy)
    sql.execute(
        "UPDATE job SET rewritten = ?, is_finished = 0", (length,)
    )  # from here on a crash ends with the new one
    finish_rewrite(sql, output)


def _runs(places: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Lines that follow each other as one, so that a whole file is not copied line by line."""
    begin = end = 0
    for at, size in places:
        if at != end:
            if end > begin:
                yield begin, end - begin
            begin = at
        end = at + size + 1
    if end > begin:
        yield begin, end - begin


def _note_places(sql: sqlite3.Connection, output: Path) -> None:
    """Where each line is now; failed rows that have none any more are forgotten."""
    file = AppendedFile(output)
    try:
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("UPDATE row SET at = NULL")
        for at, data in file.lines_from(0):
            place = (at, len(data), outcome_of_line(data).line)
            sql.execute("UPDATE row SET at = ?, size = ? WHERE line = ?", place)
        sql.execute(
            "DELETE FROM row WHERE state = ? AND at IS NULL AND line NOT IN (SELECT line FROM held)", (State.FAILED,)
        )
        sql.execute("UPDATE job SET length = ?, tail = ?, rewritten = NULL", (file.length, file.tail()))
        sql.execute("COMMIT")
    finally:
        file.close()


def _copy_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.rewriting")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["drop_failed", "finish_rewrite", "lines_are_sorted", "sort_lines"]

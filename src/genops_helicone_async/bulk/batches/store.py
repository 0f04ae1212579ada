"""What the journal knows of provider batches: which rows went into which, before any of them is sent.

Every function here is one change, run by the journal inside one of its commits.
"""

from __future__ import annotations

import secrets
import sqlite3
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from ...chat_request import ChatRequest
from ..rows import Row

State = Literal["prepared", "submitting", "running", "ended"]
"""`prepared`: nothing was asked of the provider that could cost. `submitting`: a creation may have gone out, and its
answer is not known. `running`: the provider's id is known. `ended`: the provider does nothing more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS provider_batch_job (job TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS provider_batch (
    number INTEGER PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL, remote_id TEXT,
    rows INTEGER NOT NULL, last_line INTEGER NOT NULL, began_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS provider_batch_row (
    line INTEGER PRIMARY KEY, number INTEGER NOT NULL, custom_id TEXT NOT NULL, request BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS provider_batch_rows ON provider_batch_row (number)
"""
_READ_BATCHES = "SELECT * FROM provider_batch"
_READ_RUNNING = """
SELECT * FROM provider_batch WHERE state IN ('submitting', 'running')
AND number IN (SELECT number FROM provider_batch_row)
"""
_ADD_BATCH = "INSERT INTO provider_batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
Result = TypeVar("Result")
_encode = msgspec.json.Encoder().encode


class Journal(Protocol):
    """Where a job's state is kept: each change is durable when it has been awaited."""

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Awaitable[Result]:
        """Runs the change within the next commit."""
        ...


class Batch(msgspec.Struct, kw_only=True):
    """One batch of this job. `model` is the one that its rows name; `began_s`, Unix seconds, when it was submitted."""

    number: int
    provider: str
    model: str
    state: State = "prepared"
    remote_id: str | None = None
    rows: int = 0
    last_line: int = 0
    began_s: float = 0.0


class KeptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row as the journal keeps it: enough to send it again and to settle it."""

    line: int
    custom_id: str
    request: bytes

    @classmethod
    def of(cls, row: Row) -> KeptRow:
        """The row, with those fields of its request that say something."""
        given = {name: getattr(row.request, name) for name in ChatRequest.__struct_fields__}
        told = {name: value for name, value in given.items() if value is not None}
        return cls(line=row.line, custom_id=row.custom_id, request=_encode(told))

    def row(self) -> Row:
        """The row again."""
        request = ChatRequest(**msgspec.json.decode(self.request))
        return Row(line=self.line, custom_id=self.custom_id, request=request, is_default_target=False)


class Known(msgspec.Struct, kw_only=True):
    """What a run finds: the job's own name, the batches of earlier runs, and in which of them each line is (0: none).

    By line, 4 bytes each, so that a million rows take 4 MB.
    """

    job: str
    batches: dict[int, Batch]
    number_of: array[int]


def load(connection: sqlite3.Connection) -> Known:
    """Makes the tables where they are missing, and reads them. Batches that were never submitted are forgotten."""
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    found = connection.execute("SELECT job FROM provider_batch_job").fetchone()
    job = found[0] if found else secrets.token_hex(6)
    if not found:
        connection.execute("INSERT INTO provider_batch_job VALUES (?)", (job,))
    connection.execute(
        "DELETE FROM provider_batch_row WHERE number IN (SELECT number FROM provider_batch WHERE state = 'prepared')"
    )
    connection.execute("UPDATE provider_batch SET state = 'ended', rows = 0 WHERE state = 'prepared'")
    batches = {
        row[0]: Batch(**dict(zip(Batch.__struct_fields__, row, strict=True)))
        for row in connection.execute(_READ_BATCHES)
    }
    (last,) = connection.execute("SELECT coalesce(max(line), 0) FROM provider_batch_row").fetchone()
    number_of = array("i", bytes(4 * (last + 1)))
    for line, number in connection.execute("SELECT line, number FROM provider_batch_row"):
        number_of[line] = number
    return Known(job=job, batches=batches, number_of=number_of)


def running(connection: sqlite3.Connection) -> list[Batch]:
    """The batches that a provider works on for this job, or may; nothing is made or changed."""
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'provider_batch'").fetchone()[0]:
        return []
    found = connection.execute(_READ_RUNNING)
    return [Batch(**dict(zip(Batch.__struct_fields__, row, strict=True))) for row in found]


def add(batch: Batch, rows: Sequence[KeptRow]) -> Callable[[sqlite3.Connection], None]:
    """Writes a batch with its rows, before anything of it is sent."""
    values = msgspec.structs.astuple(batch)
    kept = [(row.line, batch.number, row.custom_id, row.request) for row in rows]

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(_ADD_BATCH, values)
        connection.executemany("INSERT OR REPLACE INTO provider_batch_row VALUES (?, ?, ?, ?)", kept)

    return change


def put(batch: Batch) -> Callable[[sqlite3.Connection], None]:
    """Writes how a batch stands."""
    values: tuple[Any, ...] = (batch.state, batch.remote_id, batch.began_s, batch.rows, batch.number)
    statement = "UPDATE provider_batch SET state = ?, remote_id = ?, began_s = ?, rows = ? WHERE number = ?"

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(statement, values)

    return change


def renew(old: Batch, new: Batch, without: Sequence[int] = ()) -> Callable[[sqlite3.Connection], int]:
    """Moves the rows of a batch that never came to be into a new one, but for some lines; how many were moved."""

    def change(connection: sqlite3.Connection) -> int:
        connection.executemany("DELETE FROM provider_batch_row WHERE line = ?", [(line,) for line in without])
        moved = connection.execute(
            "UPDATE provider_batch_row SET number = ? WHERE number = ?", (new.number, old.number)
        ).rowcount
        connection.execute("UPDATE provider_batch SET state = 'ended', rows = 0 WHERE number = ?", (old.number,))
        values = msgspec.structs.astuple(msgspec.structs.replace(new, rows=moved))
        connection.execute(_ADD_BATCH, values)
        return moved

    return change


def rows_of(number: int, after: int, most: int) -> Callable[[sqlite3.Connection], list[KeptRow]]:
    """Some rows of a batch, by line, those after this one."""
    question = (
        "SELECT line, custom_id, request FROM provider_batch_row WHERE number = ? AND line > ? ORDER BY line LIMIT ?"
    )

    def change(connection: sqlite3.Connection) -> list[KeptRow]:
        found = connection.execute(question, (number, after, most)).fetchall()
        return [KeptRow(line=line, custom_id=custom_id, request=request) for line, custom_id, request in found]

    return change


def rows_at(lines: Sequence[int]) -> Callable[[sqlite3.Connection], dict[int, KeptRow]]:
    """The rows of these lines."""

    def change(connection: sqlite3.Connection) -> dict[int, KeptRow]:
        marks = ",".join("?" * len(lines))
        question = f"SELECT line, custom_id, request FROM provider_batch_row WHERE line IN ({marks})"  # noqa: S608
        found = connection.execute(question, lines).fetchall()
        return {line: KeptRow(line=line, custom_id=name, request=request) for line, name, request in found}

    return change


def release(lines: Sequence[int]) -> Callable[[sqlite3.Connection], None]:
    """Forgets rows that no batch will answer, so that a later run sends them."""

    def change(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM provider_batch_row WHERE line = ?", [(line,) for line in lines])

    return change


__all__ = [
    "Batch",
    "Journal",
    "KeptRow",
    "Known",
    "State",
    "add",
    "load",
    "put",
    "release",
    "renew",
    "rows_at",
    "rows_of",
    "running",
]

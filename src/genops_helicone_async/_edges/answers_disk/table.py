"""The file of answers itself; used by one thread at a time. Opened by the first use, and again after a failure."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x47_65_43_61  # "GeCa": tells a cache from another program's database
_VERSION: Final = 1
_BUSY_S: Final = 0.2
"""How long another process's write is waited for."""
_OPEN_TRIES: Final = 50
_AT_ONCE: Final = 256
_MOST_TOUCHED: Final = 4_096
_TABLES: Final = """
CREATE TABLE answers (
    key BLOB PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, kept_s REAL NOT NULL, expires_s REAL NOT NULL,
    used INTEGER NOT NULL
);
CREATE INDEX answers_by_use ON answers (used);
CREATE INDEX answers_by_end ON answers (expires_s);
CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0);
CREATE TRIGGER answers_in AFTER INSERT ON answers
    BEGIN UPDATE totals SET entries = entries + 1, bytes = bytes + new.size; END;
CREATE TRIGGER answers_out AFTER DELETE ON answers
    BEGIN UPDATE totals SET entries = entries - 1, bytes = bytes - old.size; END;
"""


class Table:
    """`entries` and `bytes` are what the file held after the last write, None before the first use."""

    __slots__ = ("_clock", "_connection", "_max_bytes", "_path", "_touched", "bytes", "entries", "evictions")

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._touched: dict[bytes, None] = {}
        self.entries: int | None = None
        self.bytes: int | None = None
        self.evictions = 0

    def fresh(self) -> Table:
        """The same file for a forked child, which must not touch the connection of its parent."""
        _inherited.append(self._connection)
        return Table(self._path, self._max_bytes, self._clock)

    def get(self, key: bytes) -> bytes | None:
        """The bytes under a key that still hold. That it was used is written down with the next write."""
        with self._failing_closes():
            row = self._open().execute(
                "SELECT value FROM answers WHERE key = ? AND expires_s > ?", (key, self._clock())
            ).fetchone()  # fmt: skip
            if row is None or not isinstance(row[0], bytes):
                return None
            self._touched.pop(key, None)
            self._touched[key] = None
            if len(self._touched) > _MOST_TOUCHED:
                del self._touched[next(iter(self._touched))]
            return row[0]

    def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keeps the bytes, in one step with what has to go for them; what is larger than all room is not kept."""
        now_s, size = self._clock(), len(key) + len(value)
        if size > self._max_bytes:
            return
        with self._failing_closes():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._note_use(connection)
                connection.execute("DELETE FROM answers WHERE key = ?", (key,))
                connection.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM answers))",
                    (key, value, size, now_s, now_s + ttl_s),
                )
                self._make_room(connection, now_s)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            self._count(connection)

    def close(self) -> None:
        """Closes the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _note_use(self, connection: sqlite3.Connection) -> None:
        touched, self._touched = self._touched, {}
        connection.executemany(
            "UPDATE answers SET used = (SELECT max(used) + 1 FROM answers) WHERE key = ?", ((key,) for key in touched)
        )

    def _make_room(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Drops what has expired, and then the least recently used."""
        connection.execute(
            "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE expires_s <= ? LIMIT ?)", (now_s, _AT_ONCE)
        )
        while True:
            (held,) = connection.execute("SELECT bytes FROM totals").fetchone()
            if held <= self._max_bytes:
                return
            oldest = connection.execute("SELECT key, size FROM answers ORDER BY used LIMIT ?", (_AT_ONCE,)).fetchall()
            for key, size in oldest:
                connection.execute("DELETE FROM answers WHERE key = ?", (key,))
                self.evictions += 1
                held -= size
                if held <= self._max_bytes:
                    return

    def _count(self, connection: sqlite3.Connection) -> None:
        self.entries, self.bytes = connection.execute("SELECT entries, bytes FROM totals").fetchone()

    @contextlib.contextmanager
    def _failing_closes(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # closing a descriptor of an open one would drop its locks
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                _recognise(connection)
                for suffix in ("", "-wal", "-shm"):  # SQLite gives them the mode that the file had
                    with contextlib.suppress(FileNotFoundError):
                        self._path.with_name(self._path.name + suffix).chmod(0o600)
                _settle_in(connection)
                self._count(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _recognise(connection: sqlite3.Connection) -> None:
    """Refuses a database of somebody else's, and leaves it as it is."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"it is a cache of version {version}, this one writes {_VERSION}: name another")
    if application != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or tables:
            raise sqlite3.DatabaseError("it is a database of another program: name another path")


def _settle_in(connection: sqlite3.Connection) -> None:
    """Makes the tables where there are none; the change to WAL is not waited for by SQLite itself."""
    for last in (*[False] * _OPEN_TRIES, True):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as exc:
            if last or exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            time.sleep(0.01)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            for statement in _statements():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _statements() -> list[str]:
    """The tables one by one: `executescript` would commit what has begun."""
    found, so_far = [], ""
    for line in _TABLES.strip().splitlines():
        so_far += line + "\n"
        if sqlite3.complete_statement(so_far):
            found.append(so_far)
            so_far = ""
    return found


_inherited: list[sqlite3.Connection | None] = []
"""Connections of a parent process, kept so that they are never closed here."""

__all__ = ["APPLICATION_ID", "Table"]

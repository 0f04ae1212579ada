"""The ledger's file: its tables, how older files become newer ones, how it is opened, and what can be wrong with it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..._rules.ledger import LedgerRow
from ...errors import LedgerError

APPLICATION_ID = 0x47_65_4F_70  # "GeOp": tells a ledger from another program's database

COLUMNS = LedgerRow.__struct_fields__

# Money and tokens have no declared type, so that SQLite stores them as given: integers, and beyond 64 bits (nine
# million dollars) their decimal text. A declared INTEGER would turn that text into a rounded REAL.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        at_s REAL,
        provider TEXT,
        model TEXT,
        status TEXT,
        cost_pusd,
        gateway_pusd,
        cost_source TEXT,
        input_tokens,
        output_tokens,
        duration_ms REAL,
        team TEXT,
        project TEXT,
        customer_id TEXT,
        environment TEXT
    );
    CREATE INDEX entries_by_time ON entries (at_s);
    CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
        BEGIN SELECT RAISE(ABORT, 'entries of a ledger are never changed'); END;
    CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
        BEGIN SELECT RAISE(ABORT, 'entries of a ledger are never deleted'); END;
    -- the request ids of the entries up to progress.indexed_id; those of later ones are kept in memory
    CREATE TABLE entry_ids (
        request_id TEXT PRIMARY KEY
    ) WITHOUT ROWID;
    -- syncs is there to be changed: SQLite waits for the disk only where something was written
    CREATE TABLE progress (indexed_id INTEGER NOT NULL, syncs INTEGER NOT NULL);
    INSERT INTO progress VALUES (0, 0);
    CREATE TABLE accounts (
        name TEXT NOT NULL,
        window TEXT NOT NULL,
        settled_pusd NOT NULL,
        PRIMARY KEY (name, window)
    ) WITHOUT ROWID;
    CREATE TABLE owners (
        owner TEXT PRIMARY KEY,
        expires_at_s REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE holds (
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        window TEXT NOT NULL,
        held_pusd NOT NULL,
        PRIMARY KEY (owner, name, window)
    ) WITHOUT ROWID;
    """,
)
"""The step at index n makes a file of version n + 1 from one of version n; version 0 is an empty file."""

_CHECKPOINT_PAGES = 4_000  # 16 MB of log
_CACHE_KIB = 32 * 1024
_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_BUSY_PAUSE_S = 0.002

# Closing any descriptor of a file drops this process's locks on it: nobody may open it while it is being created.
_creating = threading.Lock()

_REMEDIES = {
    "SQLITE_FULL": "the disk is full: make room",
    "SQLITE_READONLY": "it may not be written: give this user write permission on the file and its folder",
    "SQLITE_PERM": "it may not be opened: give this user permission on the file",
    "SQLITE_AUTH": "it may not be opened: give this user permission on the file",
    "SQLITE_CANTOPEN": "it cannot be opened: check that it is a file and that this user may write to its folder",
    "SQLITE_NOTADB": "it is not an SQLite database: point state_url to another file",
    "SQLITE_CORRUPT": "it is damaged: restore it from a backup, or move it away to begin a new ledger",
    "SQLITE_BUSY": "another program keeps it locked: end that program, or wait until it is done",
    "SQLITE_LOCKED": "another program keeps it locked: end that program, or wait until it is done",
    "SQLITE_IOERR": "the disk reported an error: check the disk and the file system",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else's lock was in the way."""
    return _kind(error) in {"SQLITE_BUSY", "SQLITE_LOCKED"}


def _kind(error: sqlite3.Error) -> str:
    # extended names have a third part: SQLITE_READONLY_DIRECTORY
    return "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])


def ledger_error(error: Exception, path: Path) -> LedgerError:
    """What SQLite or the system says, as our error: which file, what happened, what to do."""
    if isinstance(error, LedgerError):
        return error
    if isinstance(error, sqlite3.Error) and (remedy := _REMEDIES.get(_kind(error))):
        return LedgerError(f"the ledger {path} cannot be used: {remedy} ({error})")
    if isinstance(error, FileNotFoundError):
        return LedgerError(f"the ledger {path} cannot be used: its folder does not exist: create {path.parent}")
    if isinstance(error, PermissionError):
        return LedgerError(f"the ledger {path} cannot be used: this user may not write to {path.parent}")
    return LedgerError(f"the ledger {path} cannot be used: {error}")


def open_for_writing(path: Path, *, busy_s: float, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """A connection to the file, created (readable by its owner only) or brought up to date where needed.

    Raises:
        LedgerError: it is another program's, or of a newer version.
        sqlite3.Error, OSError: it cannot be opened.
    """
    with _creating:
        _create(path)
        # `isolation_level=None`: transactions are begun and ended by name
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        _check_whose(connection, path, len(migrations))
        _use_log(connection, busy_s)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LIMIT_BYTES}")
        migrate(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """A connection that cannot change the file.

    Raises:
        LedgerError: there is no file, it is no ledger, or of a version that this one does not read.
        sqlite3.Error: it cannot be opened.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}: check state_url; a ledger begins with the first call")
    # Reading needs to write beside the file, too, unless nobody has it open and it is told not to change.
    can_change = os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()
    uri = f"file:{quote(str(path))}?{'mode=ro' if can_change else 'immutable=1'}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        version = _check_whose(connection, path, len(MIGRATIONS))
        if version < len(MIGRATIONS):
            raise LedgerError(
                f"the ledger {path} has an older format ({version}, this version reads {len(MIGRATIONS)}): "
                "make one call with it, which brings it up to date"
            )
    except BaseException:
        connection.close()
        raise
    return connection


_INT64: Final = range(-(2**63), 2**63)


def stored(value: object) -> int | float | str:
    """A value as the file can take it: what has no place as it is becomes text."""
    if isinstance(value, int):
        return value if value in _INT64 else str(value)
    return value if isinstance(value, float) else text(str(value))


def text(value: str) -> str:
    """A text that can be encoded; a lone surrogate is written as its escape."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def unstored(value: int | str) -> int:
    """What `stored` made of an integer, as it was."""
    return int(value)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Brings the file to the latest version in one transaction; of several processes, one does it."""
    if _check_whose(connection, path, len(migrations)) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _check_whose(connection, path, len(migrations))  # under the lock: another may have been first
        for step in migrations[version:]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _create(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise LedgerError(f"the ledger {path} cannot be used: it is a folder: name a file in it") from None


def _check_whose(connection: sqlite3.Connection, path: Path, latest: int) -> int:
    """The version of the ledger in the file, 0 where there is none yet."""
    begins = not connection.in_transaction
    if begins:
        connection.execute("BEGIN")  # one look: another process may be making the file at this moment
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if begins:
        connection.execute("COMMIT")
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerError(f"{path} is another program's database: point state_url to a file of its own")
    if version > latest:
        raise LedgerError(
            f"the ledger {path} was written by a newer version (format {version}, this version knows {latest}): "
            "upgrade genops-helicone-async"
        )
    return int(version)


def _use_log(connection: sqlite3.Connection, busy_s: float) -> None:
    # SQLite does not wait for a lock here, and several processes may open a new file at the same moment.
    give_up_at_s = time.monotonic() + busy_s
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= give_up_at_s:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            if mode != "wal":
                raise sqlite3.OperationalError(f"the file system allows no write-ahead log (journal mode {mode})")
            return


def _statements(script: str) -> list[str]:
    """A script's statements. `executescript` would commit the transaction it is called in."""
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement.strip())
            statement = ""
    return statements


__all__ = [
    "COLUMNS",
    "MIGRATIONS",
    "is_busy",
    "ledger_error",
    "migrate",
    "open_for_reading",
    "open_for_writing",
    "stored",
    "text",
    "unstored",
]

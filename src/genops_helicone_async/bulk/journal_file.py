"""The file of a journal: made, opened and locked, and told from every file that is none."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..errors import ConfigurationError

VERSION = 1
_APPLICATION = 0x67656E6F
_MAGIC = b"SQLite format 3\0"
_APPLICATION_AT = 68  # of the file: where SQLite keeps it
_CACHE_KIB = 1_024
_SCHEMA = """
CREATE TABLE job (
    id INTEGER PRIMARY KEY CHECK (id = 1), identity BLOB NOT NULL, window INTEGER, length INTEGER NOT NULL DEFAULT 0,
    tail BLOB NOT NULL DEFAULT x'', errors_length INTEGER NOT NULL DEFAULT 0, tally BLOB, doubt_pusd INTEGER NOT NULL
    DEFAULT 0, runs INTEGER NOT NULL DEFAULT 0, is_finished INTEGER NOT NULL DEFAULT 0, rewritten INTEGER
);
CREATE TABLE row (
    line INTEGER PRIMARY KEY, id INTEGER, hash INTEGER, rest INTEGER, state INTEGER NOT NULL, at INTEGER, size INTEGER
);
CREATE TABLE held (line INTEGER PRIMARY KEY, state INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE waiting (line INTEGER PRIMARY KEY, first INTEGER NOT NULL, row BLOB NOT NULL);
CREATE INDEX waiting_first ON waiting (first);
CREATE TABLE again (line INTEGER PRIMARY KEY, custom_id TEXT NOT NULL);
"""
# `row.id` is the hash of its name, `hash` and `rest` are the two halves of its request's digest. `row.state`, see
# `RowTable`. `at` and `size` are where its line is in the output; NULL while it is held or not there.


def journal_path(output: Path) -> Path:
    """Where the journal of an output is: beside the file itself, also where `output` is a link to it."""
    real = Path(os.path.realpath(output))
    return real.with_name(f"{real.name}.journal")


def open_journal(path: Path | None) -> sqlite3.Connection:
    """The connection, which alone has the file until it is closed; with None a file that nobody sees, and that goes.

    Raises:
        ConfigurationError: another run has it, or it is no journal of this version.
        OSError: it cannot be opened.
    """
    if path is None:
        return _scratch()
    _refuse_foreign(path)
    try:
        connection = _locked(path)
    except sqlite3.OperationalError as exc:
        raise OSError(None, str(exc), str(path)) from exc
    except sqlite3.DatabaseError:
        raise ConfigurationError(_no_journal(path)) from None
    try:
        _check_version(connection, path)
        _pid_path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except BaseException:
        connection.close()
        raise
    return connection


def close_journal(connection: sqlite3.Connection, path: Path | None) -> None:
    """Closes it and lets another run have it."""
    if path is not None:
        _pid_path(path).unlink(missing_ok=True)
    connection.close()


def remove_journal(path: Path) -> None:
    """Removes a journal that no run has.

    Raises:
        ConfigurationError: one has it.
    """
    if not path.exists():
        return
    try:
        connection = _locked(path)
    except sqlite3.DatabaseError:  # it is none, and goes all the same
        connection = None
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"), _pid_path(path)):
        name.unlink(missing_ok=True)
    if connection is not None:
        connection.close()


def _scratch() -> sqlite3.Connection:
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.executescript(_SCHEMA)
    return connection


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        if not connection.execute("PRAGMA page_count").fetchone()[0]:  # new: whose it is, is the first that it says
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as exc:
        connection.close()
        if "locked" in str(exc):
            raise ConfigurationError(
                f"{path} is in use by {_owner(path)}: two runs of one job would pay twice; wait for it, or end it"
            ) from None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
    elif version != VERSION:
        raise ConfigurationError(
            f"{path} was written by another version of this program (journal {version}, this one knows {VERSION}): "
            "finish the job with that version, or start anew with --overwrite"
        )


def _refuse_foreign(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_APPLICATION_AT + 4)
    except FileNotFoundError:
        return
    is_ours = head.startswith(_MAGIC) and head[_APPLICATION_AT:] == _APPLICATION.to_bytes(4, "big")
    if head and not is_ours:
        raise ConfigurationError(_no_journal(path))


def _no_journal(path: Path) -> str:
    return f"{path} is no journal of a bulk job: move it away, or start anew with --overwrite"


def _owner(path: Path) -> str:
    try:
        return f"process {int(_pid_path(path).read_text(encoding='ascii'))}"
    except (OSError, ValueError):
        return "another process"


def _pid_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.pid")


__all__ = ["VERSION", "close_journal", "journal_path", "open_journal", "remove_journal"]

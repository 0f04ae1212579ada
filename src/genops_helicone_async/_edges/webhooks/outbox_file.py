"""Alerts that wait to be delivered, in an SQLite file beside the ledger's: they survive the end of the process.

Several processes may share the file: who takes an alert has it for `CLAIM_S` seconds, then another may, so that the
alerts of a process that crashed are delivered, if need be twice (the receiver knows a repeat by its `webhook-id`).
No URL and no secret is in the file: an alert waits for whatever receiver its channel has at the moment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from ..._wire.webhooks import Alert, Channel
from .outbox import MemoryOutbox, Waiting

Answer = TypeVar("Answer")
_log = logging.getLogger("genops_helicone_async.webhooks")

CLAIM_S = 60.0
"""Longer than any attempt takes."""
MOST_KEPT = 10_000
_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    body BLOB NOT NULL,
    created_s REAL NOT NULL,
    due_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    claimed_until_s REAL NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


class FileOutbox:
    """The alerts of every process that uses the file. While the file takes nothing, new alerts wait in memory."""

    __slots__ = ("_file", "_is_told", "_spare", "_spared")
    is_durable = True

    def __init__(self, path: Path, most: int = MOST_KEPT) -> None:
        self._file = _Table(path, most)
        self._spare = MemoryOutbox()
        self._spared: set[str] = set()
        self._is_told = False

    def __repr__(self) -> str:
        return f"FileOutbox({str(self._file.path)!r})"

    def __len__(self) -> int:
        return len(self._spare) + (self._tried(self._file.count) or 0)

    def add(self, alert: Alert) -> bool:
        """Takes an alert, due at once; False where there is no room. It is on the disk where that takes it."""
        taken = self._tried(self._file.add, alert)
        return self._spare.add(alert) if taken is None else taken

    def take(self, channel: str, now_s: float, *, due_by_s: float, besides: Collection[str]) -> Waiting | None:
        """The alert of the channel that is due first and that no other process has taken."""
        found = self._spare.take(channel, now_s, due_by_s=due_by_s, besides=besides)
        if found is not None:
            self._spared.add(found.alert.id)
            return found
        return self._tried(self._file.take, channel, now_s, due_by_s, tuple(besides))

    def put_back(self, waiting: Waiting) -> None:
        """Gives a taken alert back."""
        if waiting.alert.id in self._spared:
            self._spare.put_back(waiting)
        else:
            self._tried(self._file.put_back, waiting)

    def remove(self, alert_id: str) -> None:
        """An alert that is done with."""
        if alert_id in self._spared:
            self._spared.discard(alert_id)
            self._spare.remove(alert_id)
        else:
            self._tried(self._file.remove, alert_id)

    def next_due_s(self, channels: Collection[str]) -> float | None:
        """When the next alert of these channels may be taken."""
        found = [self._spare.next_due_s(channels), self._tried(self._file.next_due_s, tuple(channels))]
        return min((due_s for due_s in found if due_s is not None), default=None)

    def close(self) -> None:
        """Closes the file; what it could not take is lost, and said to be."""
        if len(self._spare):
            _log.warning("%d alert(s) dropped: the outbox %s could not take them", len(self._spare), self._file.path)
        self._file.close()

    def _tried(self, step: Callable[..., Answer], *arguments: Any) -> Answer | None:
        """The file's answer, None where it cannot be used, which is told once until it can again."""
        try:
            answer = step(*arguments)
        except (sqlite3.Error, OSError) as exc:
            self._file.close()
            if not self._is_told:
                self._is_told = True
                _log.warning("the outbox %s cannot be used, alerts are kept in memory: %s", self._file.path, exc)
            return None
        self._is_told = False
        return answer


class _Table:
    """The file itself; opened by the first use, and again after a failure."""

    __slots__ = ("_connection", "_most", "path")

    def __init__(self, path: Path, most: int) -> None:
        self.path = path.absolute()
        self._most = most
        self._connection: sqlite3.Connection | None = None

    def count(self) -> int:
        """How many alerts wait, of all processes."""
        (count,) = self._open().execute("SELECT count(*) FROM outbox").fetchone()
        return int(count)

    def add(self, alert: Alert) -> bool:
        """Takes an alert, due at once; False where there is no room. It is on the disk when this returns."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
            if count >= self._most:
                return False
            row = (alert.id, alert.channel, alert.body, alert.created_s, alert.created_s)
            connection.execute(
                "INSERT OR IGNORE INTO outbox (id, channel, body, created_s, due_s) VALUES (?, ?, ?, ?, ?)", row
            )
        return True

    def take(self, channel: Channel, now_s: float, due_by_s: float, names: tuple[str, ...]) -> Waiting | None:
        """The alert of the channel that is due first and that no other process has taken."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT id, body, created_s, due_s, attempts FROM outbox "
                "WHERE channel = ? AND due_s <= ? AND claimed_until_s <= ? "
                "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY due_s, created_s LIMIT 1",
                (channel, due_by_s, now_s, json.dumps(names)),
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE outbox SET claimed_until_s = ? WHERE id = ?", (now_s + CLAIM_S, row[0]))
        alert = Alert(id=row[0], channel=channel, body=row[1], created_s=row[2])
        return Waiting(alert=alert, due_s=row[3], attempts=row[4])

    def put_back(self, waiting: Waiting) -> None:
        """Gives a taken alert back."""
        with self._open() as connection:
            connection.execute(
                "UPDATE outbox SET due_s = ?, attempts = ?, claimed_until_s = 0 WHERE id = ?",
                (waiting.due_s, waiting.attempts, waiting.alert.id),
            )

    def remove(self, alert_id: str) -> None:
        """An alert that is done with."""
        with self._open() as connection:
            connection.execute("DELETE FROM outbox WHERE id = ?", (alert_id,))

    def next_due_s(self, names: tuple[str, ...]) -> float | None:
        """When the next alert of these channels may be taken."""
        (due_s,) = (
            self._open()
            .execute(
                "SELECT min(max(due_s, claimed_until_s)) FROM outbox WHERE channel IN (SELECT value FROM json_each(?))",
                (json.dumps(names),),
            )
            .fetchone()
        )
        return None if due_s is None else float(due_s)

    def close(self) -> None:
        """Closes the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            with contextlib.suppress(FileExistsError):  # closing a descriptor of an open one would drop its locks
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self.path, timeout=2.0, isolation_level=None, check_same_thread=False)
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError(f"the outbox is of version {version}, this one writes {_VERSION}")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version={_VERSION}")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


__all__ = ["CLAIM_S", "MOST_KEPT", "FileOutbox"]

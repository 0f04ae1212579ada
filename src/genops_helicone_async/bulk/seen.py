"""What has been seen before, for any number of digests: in a file that vanishes, not in memory."""

from __future__ import annotations

import sqlite3

_CACHE_KIB = 16 * 1024


class SeenBefore:
    """A set of digests in a temporary database of its own; 16 MiB of it stay in memory. For one thread at a time."""

    __slots__ = ("_add", "_connection")

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}", "locking_mode=EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._connection.execute("BEGIN")
        self._add = self._connection.cursor()

    def close(self) -> None:
        """The end of the file."""
        self._connection.close()

    def earlier(self, digest: bytes, line: int) -> int | None:
        """The line that had this digest first, None where this one is the first and is kept."""
        if self._add.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line)).rowcount:
            return None
        first: int = self._add.execute("SELECT line FROM seen WHERE digest = ?", (digest,)).fetchone()[0]
        return first


__all__ = ["SeenBefore"]

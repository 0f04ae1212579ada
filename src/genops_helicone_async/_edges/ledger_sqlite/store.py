"""The file as the writer thread uses it: opened when needed, again after an error, and never another in its place."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import LedgerError
from .books import Books
from .requests import Request
from .schema import is_busy, ledger_error, open_for_writing


class Store:
    """For one thread. Every failure is a `LedgerError` that names the file and the remedy."""

    __slots__ = ("_busy_s", "_clock", "_connection", "_inode", "books", "path")

    def __init__(self, path: Path, *, lease_s: float, busy_s: float, clock: Callable[[], float]) -> None:
        self.path = path
        self.books = Books(lease_s=lease_s)
        self._busy_s = busy_s
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def write(self, requests: Sequence[Request], *, to_disk: bool) -> None:
        """Carries the requests out in one transaction, and with `to_disk` waits until the disk has it.

        Raises:
            LedgerError: nothing was carried out.
        """
        try:
            if self._connection is None:
                self._open()
            else:
                self._check_in_place()
            self.books.write(requests, self._clock(), to_disk=to_disk)
        except Exception as error:  # also one of our own making: whoever waits is to be told
            if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                self._drop()
            raise ledger_error(error, self.path) from error

    def close(self) -> None:
        """Gives back what is held and closes the file.

        Raises:
            LedgerError: it could not be given back; it expires with its lease.
        """
        if self._connection is None:
            return
        try:
            self.books.give_back()
        except sqlite3.Error as error:
            raise ledger_error(error, self.path) from error
        finally:
            self._drop()

    def pause_s(self) -> float:
        """Seconds until the lease on what is held has to be renewed; infinity while nothing is held."""
        return self.books.heartbeat_at_s - self._clock()

    def _open(self) -> None:
        if self._inode is not None:
            self._check_in_place()  # an empty new file in its place would forget what was spent
        connection = open_for_writing(self.path, busy_s=self._busy_s)
        self._connection = connection
        self._inode = self._inode or _inode(self.path)
        self.books.use(connection)

    def _check_in_place(self) -> None:
        """SQLite would go on writing to a file that was deleted, and nobody would ever read it."""
        try:
            in_place = _inode(self.path)
        except FileNotFoundError:
            in_place = None
        if in_place != self._inode:
            raise LedgerError(
                f"the ledger {self.path} was deleted or replaced while in use: put it back, or restart the process "
                "to begin with what is there now"
            )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _inode(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - for every batch: a third of the time
    return status.st_dev, status.st_ino


__all__ = ["Store"]

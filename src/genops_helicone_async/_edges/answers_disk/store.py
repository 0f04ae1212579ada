"""The store on disk as event loops see it: everything is done in one thread, which starts with the first call."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..._rules.cached_answers import LATER, AnswersUnavailable, Found, StoreStatistics
from .table import Table

DEFAULT_MAX_BYTES = 512 * 2**20
Result = TypeVar("Result")


class DiskAnswers:
    """Safe from several event loops. `clock` gives Unix seconds."""

    __slots__ = ("__weakref__", "_close", "_path", "_pid", "_table", "_thread")
    name = "disk"

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._path = path.absolute()
        self._begin(Table(self._path, max_bytes, clock))

    def __repr__(self) -> str:
        return f"DiskAnswers({str(self._path)!r})"

    def get_nowait(self, key: bytes) -> Found:
        """The file has to be asked."""
        return LATER

    async def get(self, key: bytes) -> bytes | None:
        """The bytes kept under the key, None where there are none or their time is over.

        Raises:
            AnswersUnavailable: the file cannot be used.
        """
        return await self._in_thread(self._own().get, key)

    def put_nowait(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """The disk has to be waited for."""
        return False

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keeps the bytes, and drops what was used least recently to make room.

        Raises:
            AnswersUnavailable: the file cannot be used.
        """
        await self._in_thread(self._own().put, key, value, ttl_s)

    async def prepare(self) -> None:
        """The file is opened by its first use."""

    def statistics(self) -> StoreStatistics:
        """What the file held when this process last wrote to it, and what this process has pushed out."""
        table = self._table
        return StoreStatistics(entries=table.entries, bytes=table.bytes, evictions=table.evictions)

    async def aclose(self) -> None:
        """Closes the file; it is opened again where it is used again."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._own().close)

    def close_nowait(self) -> None:
        """The same, without waiting for it."""
        self._thread.submit(self._own().close)

    async def _in_thread(self, step: Callable[..., Result], *given: object) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, step, *given)
        except (sqlite3.Error, OSError) as exc:
            raise AnswersUnavailable(f"the file {self._path}: {exc}") from exc

    def _own(self) -> Table:
        """The file in this process: a forked child has neither the thread nor a right to the connection."""
        if self._pid != os.getpid():
            self._close.detach()
            self._begin(self._table.fresh())
        return self._table

    def _begin(self, table: Table) -> None:
        self._table = table
        self._pid = os.getpid()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="genops-cache")
        self._close = weakref.finalize(self, table.close)


def default_path(environ: Mapping[str, str]) -> Path:
    """The file in the user's folder for caches."""
    folder = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "genops-helicone-async" / "answers.sqlite3"


__all__ = ["DEFAULT_MAX_BYTES", "DiskAnswers", "default_path"]

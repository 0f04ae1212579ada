"""Answers in this process's memory: bounded in bytes, the least recently used go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from .._rules.cached_answers import Found, StoreStatistics

DEFAULT_MAX_BYTES = 64 * 2**20
ENTRY_BYTES = 256
"""What an entry takes besides its key and value."""


class MemoryAnswers:
    """Safe from several threads. `clock` gives Unix seconds."""

    __slots__ = ("_bytes", "_clock", "_entries", "_evictions", "_lock", "_max_bytes")
    name = "memory"

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._evictions = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryAnswers({len(self._entries)} entries, {self._bytes} of {self._max_bytes} bytes)"

    def get_nowait(self, key: bytes) -> Found:
        """The bytes kept under the key, None where there are none or their time is over."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry[0] <= self._clock():
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry[1]

    async def get(self, key: bytes) -> bytes | None:
        """The same."""
        found = self.get_nowait(key)
        return found if isinstance(found, bytes) else None

    def put_nowait(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """Keeps the bytes, and drops what was used least recently to make room; what is too large is not kept."""
        with self._lock:
            if key in self._entries:
                self._drop(key)
            if _size(key, value) > self._max_bytes:
                return True
            self._entries[key] = self._clock() + ttl_s, value
            self._bytes += _size(key, value)
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))
                self._evictions += 1
        return True

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """The same."""
        self.put_nowait(key, value, ttl_s)

    async def prepare(self) -> None:
        """There is nothing to open."""

    def statistics(self) -> StoreStatistics:
        """What is held; entries whose time is over count until they are asked for or pushed out."""
        with self._lock:
            return StoreStatistics(entries=len(self._entries), bytes=self._bytes, evictions=self._evictions)

    async def aclose(self) -> None:
        """Forgets everything."""
        self.close_nowait()

    def close_nowait(self) -> None:
        """The same."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, key: bytes) -> None:
        _, value = self._entries.pop(key)
        self._bytes -= _size(key, value)


def _size(key: bytes, value: bytes) -> int:
    return ENTRY_BYTES + len(key) + len(value)


__all__ = ["DEFAULT_MAX_BYTES", "ENTRY_BYTES", "MemoryAnswers"]

"""What a thread reads, a few batches ahead of who takes it on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_BATCHES_AHEAD = 2


class ReadingAhead(Generic[T]):
    """Takes batches from an iterator on a thread of its own. `stop()` ends the items after those already given.

    The thread is a daemon: a pipe that never speaks again must neither block the event loop nor the end of the process.
    `close` is called on that thread once it has ended.
    """

    __slots__ = (
        "_arrived", "_batches", "_close", "_failure", "_is_over", "_loop", "_ready", "_room", "_stopped",
    )  # fmt: skip

    def __init__(self, batches: Callable[[], Iterator[list[T]]], close: Callable[[], None]) -> None:
        self._batches = batches
        self._close = close
        self._ready: list[list[T]] = []
        self._arrived = asyncio.Event()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._stopped = False
        self._is_over = False
        self._failure: Exception | None = None

    def stop(self) -> None:
        """No further item will be given."""
        self._stopped = True
        self._arrived.set()
        self._room.release()

    async def items(self) -> AsyncIterator[T]:
        """The items in their order; raises what reading raised, after those before it."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="bulk-source", daemon=True).start()
        while not self._stopped:
            if self._ready:
                batch = self._ready.pop(0)
                self._room.release()
                for item in batch:
                    if self._stopped:
                        return
                    yield item
            elif self._is_over:
                if self._failure is not None:
                    raise self._failure
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _read(self) -> None:
        failure: Exception | None = None
        try:
            for batch in self._batches():
                self._room.acquire()
                if self._stopped:
                    break
                self._hand_over(batch)
        except Exception as exc:  # noqa: BLE001  the root of a thread: whoever takes the items is told
            failure = exc
        finally:
            self._close()
        self._hand_over(None, failure)

    def _hand_over(self, batch: list[T] | None, failure: Exception | None = None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take, batch, failure)
        except RuntimeError:  # the event loop has ended: nobody is left to take it
            self._stopped = True

    def _take(self, batch: list[T] | None, failure: Exception | None) -> None:
        if batch is None:
            self._is_over, self._failure = True, failure
        else:
            self._ready.append(batch)
        self._arrived.set()


__all__ = ["ReadingAhead"]

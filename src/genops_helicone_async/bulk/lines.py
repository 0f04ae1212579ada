"""The lines of a file or a pipe, read on a thread of their own, a few batches ahead of who takes them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator

import msgspec

BLOCK_BYTES = 256 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is given cut to this length; what it would hold, no provider takes."""
_BATCHES_AHEAD = 2


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the input, counted from 1, without its line break; `is_whole` False where it was cut."""

    number: int
    data: bytes
    is_whole: bool = True


class LineSource:
    """Reads a descriptor to its end. `stop()` ends the lines after those already given; it closes what it opened.

    A daemon thread does the reading, straight from the descriptor: a pipe that never speaks again must neither block
    the event loop nor the end of the process.
    """

    __slots__ = ("_arrived", "_batches", "_descriptor", "_failure", "_is_over", "_loop", "_room", "_stopped")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._batches: list[list[Line]] = []
        self._arrived = asyncio.Event()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._stopped = False
        self._is_over = False
        self._failure: OSError | None = None

    def stop(self) -> None:
        """No further line will be given."""
        self._stopped = True
        self._arrived.set()
        self._room.release()

    async def lines(self) -> AsyncIterator[Line]:
        """The lines in their order; raises `OSError` where reading fails."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="bulk-source", daemon=True).start()
        while not self._stopped:
            if self._batches:
                batch = self._batches.pop(0)
                self._room.release()
                for line in batch:
                    if self._stopped:
                        return
                    yield line
            elif self._is_over:
                if self._failure is not None:
                    raise self._failure
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _read(self) -> None:
        try:
            for batch in batches(self._descriptor):
                self._room.acquire()
                if self._stopped:
                    break
                self._hand_over(batch)
            failure = None
        except OSError as exc:
            failure = exc
        finally:
            if self._descriptor != 0:
                os.close(self._descriptor)
        self._hand_over(None, failure)

    def _hand_over(self, batch: list[Line] | None, failure: OSError | None = None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take, batch, failure)
        except RuntimeError:  # the event loop has ended: nobody is left to take it
            self._stopped = True

    def _take(self, batch: list[Line] | None, failure: OSError | None) -> None:
        if batch is None:
            self._is_over, self._failure = True, failure
        else:
            self._batches.append(batch)
        self._arrived.set()


def batches(descriptor: int) -> Iterator[list[Line]]:
    """The lines of each block read; a line that is too long is given cut, once, and the rest of it dropped."""
    parts: list[bytes] = []
    number, size, is_cut = 0, 0, False
    while block := os.read(descriptor, BLOCK_BYTES):
        *ends, tail = block.split(b"\n")
        batch = []
        for end in ends:
            number += 1
            if parts:
                end, parts, size = b"".join([*parts, end]), [], 0
            if not is_cut:
                batch.append(Line(number=number, data=end))
            is_cut = False
        if tail and not is_cut:
            parts.append(tail)
            size += len(tail)
        if size > MAX_LINE_BYTES:
            batch.append(Line(number=number + 1, data=b"".join(parts), is_whole=False))
            is_cut, parts, size = True, [], 0
        if batch:
            yield batch
    if parts:
        yield [Line(number=number + 1, data=b"".join(parts))]


def count_rows(path: str, first_line: int = 1) -> int:
    """How many lines of a file are not blank, from line `first_line` on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        lines = (line for batch in batches(descriptor) for line in batch)
        return sum(1 for line in lines if line.number >= first_line and line.data.strip())
    finally:
        os.close(descriptor)


__all__ = ["BLOCK_BYTES", "MAX_LINE_BYTES", "Line", "LineSource", "batches", "count_rows"]

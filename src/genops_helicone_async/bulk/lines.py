"""The lines of a file or a pipe, in batches as they are read."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import msgspec

from .reading_ahead import ReadingAhead

BLOCK_BYTES = 256 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is given cut to this length; what it would hold, no provider takes."""

Read = Callable[[int], bytes]
"""At most so many bytes, as many as are there; none at the end."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the input, counted from 1, without its line break; `is_whole` False where it was cut."""

    number: int
    data: bytes
    is_whole: bool = True


class LineSource(ReadingAhead[Line]):
    """Reads a descriptor to its end, and closes what it was given open."""

    __slots__ = ()

    def __init__(self, descriptor: int) -> None:
        super().__init__(partial(batches, descriptor), lambda: None if descriptor == 0 else os.close(descriptor))

    def lines(self) -> AsyncIterator[Line]:
        """The lines in their order; raises `OSError` where reading fails."""
        return self.items()


def batches(descriptor: int) -> Iterator[list[Line]]:
    """The lines of each block of a descriptor."""
    return line_batches(partial(os.read, descriptor))


def line_batches(read: Read, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[list[Line]]:
    """The lines of each block read; a line that is too long is given cut, once, and the rest of it dropped."""
    parts: list[bytes] = []
    number, size, is_cut = 0, 0, False
    while block := read(BLOCK_BYTES):
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
        if size > max_line_bytes:
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


__all__ = [
    "BLOCK_BYTES", "MAX_LINE_BYTES", "Line", "LineSource", "Read", "batches", "count_rows", "line_batches",
]  # fmt: skip

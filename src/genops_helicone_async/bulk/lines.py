"""The lines of a file or a pipe, in batches as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

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


__all__ = ["BLOCK_BYTES", "MAX_LINE_BYTES", "Line", "Read", "line_batches"]

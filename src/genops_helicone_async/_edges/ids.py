"""Random request ids: UUIDs of version 4, which is what Helicone takes for its own `Helicone-Id`."""

from __future__ import annotations

import os
import re

_BLOCK = 256  # ids per visit to the operating system
_PARTS = re.compile("(.{8})(.{4})(.{4})(.{4})(.{12})")
_VERSION = bytes([0x40 | byte & 0x0F for byte in range(256)])
_VARIANT = bytes([0x80 | byte & 0x3F for byte in range(256)])
"""What becomes of the bytes 6 and 8 of an id: of them all by one `translate`."""
_forks = 0  # of this process: a stock that its parent has, too, must not be used


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class RequestIds:
    """Makes UUIDv4 texts over twice as fast as `uuid.uuid4`, from the same source of randomness.

    One instance serves any number of threads: each id leaves the stock by `list.pop`, which no two threads share.
    """

    __slots__ = ("_fork", "_stock")

    def __init__(self) -> None:
        self._stock: list[str] = []
        self._fork = _forks

    def __call__(self) -> str:
        """A new id; never the same in a process and its forks."""
        if self._fork != _forks:
            self._stock, self._fork = [], _forks
        try:
            return self._stock.pop()
        except IndexError:
            block = bytearray(os.urandom(16 * _BLOCK))
            block[6::16] = block[6::16].translate(_VERSION)
            block[8::16] = block[8::16].translate(_VARIANT)
            stock = list(map("-".join, _PARTS.findall(block.hex())))
            one = stock.pop()
            self._stock = stock
            return one


__all__ = ["RequestIds"]

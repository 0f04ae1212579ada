"""Random request ids: UUIDs of version 4, which is what Helicone takes for its own `Helicone-Id`."""

from __future__ import annotations

import os
import re

_BLOCK = 256  # ids per visit to the operating system
_PARTS = re.compile("(.{8})(.{4}).(.{3})(.)(.{3})(.{12})")
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
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
            stock = [
                f"{a}-{b}-4{c}-{_VARIANT[variant]}{d}-{e}"
                for a, b, c, variant, d, e in _PARTS.findall(os.urandom(16 * _BLOCK).hex())
            ]
            one = stock.pop()
            self._stock = stock
            return one


__all__ = ["RequestIds"]

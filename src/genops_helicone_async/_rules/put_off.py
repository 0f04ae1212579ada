"""Things put off, to be counted in one go: taken out and grouped in as many steps for a thousand as for one."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import repeat
from typing import TypeVar

_Key = TypeVar("_Key")
_Thing = TypeVar("_Thing")


def taken(put_off: deque[_Thing]) -> list[_Thing]:
    """Takes out all that is there now; what other threads add meanwhile stays for the next time."""
    return [*map(deque.popleft, repeat(put_off, len(put_off)))]


def grouped(things: Iterable[_Thing], keys: Iterable[_Key]) -> dict[_Key, list[_Thing]]:
    """The things by their keys, which come in the same order: keys as they are first seen, things as they stood."""
    groups: defaultdict[_Key, list[_Thing]] = defaultdict(list)
    any(map(list.append, map(groups.__getitem__, keys), things))  # appending gives None, so that none is the last
    return groups


__all__ = ["grouped", "taken"]

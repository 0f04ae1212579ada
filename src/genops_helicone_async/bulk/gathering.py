"""Changes of a journal while they gather, and when they are written. For one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .journal_group import Group
from .ports import Outcome

GROUP_EVERY_S = 0.02
"""The longest a change waits for others to be written with it."""
_MANY = 256
_FULL_BYTES = 4 * 1024 * 1024


class Gathering:
    """The group that is being filled. `write` begins to write one; `written` is to be called when that has ended.

    With a `window`, that many rows may be out at once whose answers are not written. Half of it is enough for a group:
    while those are written, there is something to do with the others. It begins within `record`, not in the loop's
    next turn: a turn in which a hundred answers are read takes as long as the journal may wait altogether.
    """

    __slots__ = ("_group", "_is_writing", "_many", "_next", "_over", "_room", "_write", "has_more", "is_over")

    def __init__(self, window: int | None, write: Callable[[Group], None], has_more: Callable[[], bool]) -> None:
        self._group = Group()
        self._write = write
        self.has_more = has_more
        self.is_over = False
        self._many = _MANY if window is None else max(1, window // 2)
        self._is_writing = False
        self._next: asyncio.Handle | None = None
        self._over: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def add(self) -> Group:
        """The group, to which something is added now."""
        if self._next is None and not self._is_writing:
            self._next = asyncio.get_running_loop().call_soon(self._begin)
        return self._group

    def record(self, outcome: Outcome) -> None:
        """Adds an outcome."""
        group = self.add()
        group.outcomes.append(outcome)
        group.size += len(outcome.data)
        if group.size > _FULL_BYTES:
            self._room.clear()
        if len(group.outcomes) >= self._many and not self._is_writing:
            self._begin()

    @property
    def is_full(self) -> bool:
        """Whether there is more than is good for memory."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Waits while it is full."""
        await self._room.wait()

    def written(self) -> None:
        """The group that was given last is written."""
        self._is_writing = False
        self._room.set()
        if self.is_over or len(self._group.outcomes) >= self._many:
            self._begin()
        else:
            self._next = asyncio.get_running_loop().call_later(GROUP_EVERY_S, self._begin)

    def fail(self) -> Group:
        """Nothing can be written any more; gives what will not be."""
        self._room.set()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        return self._group

    async def end(self) -> None:
        """Returns when all is written; nothing more will be added."""
        self.is_over = True
        self._over = asyncio.get_running_loop().create_future()
        if not self._is_writing:
            self._begin()
        await self._over

    def _begin(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._group or self.has_more():
            group, self._group = self._group, Group()
            self._is_writing = True
            self._write(group)
        elif self._over is not None and not self._over.done():
            self._over.set_result(None)


__all__ = ["GROUP_EVERY_S", "Gathering"]

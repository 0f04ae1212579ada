"""Changes of a journal while they gather, and when there are enough of them to be written. For one event loop."""

from __future__ import annotations

import asyncio

from .journal_group import Group
from .ports import Outcome

GROUP_EVERY_S = 0.02
"""The longest a change waits for others to be written with it."""
_MANY = 256
_PARTS = 4
_FULL_BYTES = 4 * 1024 * 1024


class Gathering:
    """The group that is being filled.

    With a `window`, that many rows may be out at once whose answers are not written. A quarter of it is enough for a
    group: while those are written, there is something to do with the others.
    """

    __slots__ = ("_enough", "_many", "_room", "_some", "group", "is_over")

    def __init__(self, window: int | None) -> None:
        self.group = Group()
        self.is_over = False
        self._many = _MANY if window is None else max(1, window // _PARTS)
        self._enough: asyncio.Future[None] | None = None
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def add(self) -> Group:
        """The group, to which something is added now."""
        self._some.set()
        return self.group

    def record(self, outcome: Outcome) -> None:
        """Adds an outcome."""
        group = self.add()
        group.outcomes.append(outcome)
        if len(group.outcomes) == self._many:
            _wake(self._enough)
        group.size += len(outcome.data)
        if group.size > _FULL_BYTES:
            self._room.clear()

    async def room(self) -> None:
        """Waits while there is more than is good for memory."""
        await self._room.wait()

    def written(self) -> None:
        """What was taken last is written, or never will be."""
        self._room.set()

    def end(self) -> None:
        """Nothing will be added that others should wait for."""
        self.is_over = True
        self._some.set()
        _wake(self._enough)

    async def some(self) -> None:
        """Returns when something was added, or it is over."""
        self._some.clear()
        await self._some.wait()

    def take(self) -> Group:
        """What has gathered; another group begins."""
        group, self.group = self.group, Group()
        return group

    async def pause(self) -> None:
        """Lets changes gather, for as long as they may wait or until there are enough."""
        if self.is_over or len(self.group.outcomes) >= self._many:
            return
        loop = asyncio.get_running_loop()
        self._enough = enough = loop.create_future()
        timer = loop.call_later(GROUP_EVERY_S, _wake, enough)
        await enough
        timer.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


__all__ = ["GROUP_EVERY_S", "Gathering"]

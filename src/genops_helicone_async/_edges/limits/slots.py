"""How many calls may be on their way at once: slots, given out in the order in which they were asked for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from ...errors import DeadlineExceededError


class SlotStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Slots in all, taken now, and calls waiting for one."""

    limit: int
    taken: int
    waiting: int


class Slots:
    """First come, first served; a released slot goes straight to the longest waiter. Bound to one event loop.

    Whoever finds fewer `taken` than the `limit` may take one by adding it there, and give it back by taking it off
    while there are no `waiters`: gates do so for every call.
    """

    __slots__ = ("limit", "taken", "waiters")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()  # leaves from the middle at no cost

    def __repr__(self) -> str:
        told = self.statistics()
        return f"Slots({told.taken}/{told.limit} taken, {told.waiting} waiting)"

    def statistics(self) -> SlotStatistics:
        """Limit, taken and waiting."""
        return SlotStatistics(limit=self.limit, taken=self.taken, waiting=len(self.waiters))

    @property
    def has_free(self) -> bool:
        """Whether a slot is free."""
        return self.taken < self.limit

    def take_nowait(self) -> bool:
        """Takes a slot if one is free and nobody waits."""
        if self.taken < self.limit:  # never so while somebody waits
            self.taken += 1
            return True
        return False

    async def take(self, deadline: float | None) -> None:
        """Waits for a slot until `deadline` on the loop's clock, or for ever.

        Raises:
            DeadlineExceededError: no slot came free in time; nothing was sent.
        """
        if self.take_nowait():
            return
        waiter = asyncio.get_running_loop().create_future()
        self.waiters[waiter] = None
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError:
            self._withdraw(waiter)
            raise DeadlineExceededError(
                f"the deadline passed while {self.limit} calls were on their way and this one waited for its turn: "
                "raise timeout_seconds or max_connections"
            ) from None
        except BaseException:
            self._withdraw(waiter)
            raise

    def release(self) -> None:
        """Gives a slot back, to the longest waiter if there is one."""
        if not self.waiters:
            self.taken -= 1
            return
        while self.waiters:
            waiter, _ = self.waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1

    def _withdraw(self, waiter: asyncio.Future[None]) -> None:
        """Forgets a waiter that gave up; a slot that had just been handed to it goes on to the next."""
        if waiter in self.waiters:
            del self.waiters[waiter]
        elif not waiter.cancelled():
            self.release()


__all__ = ["SlotStatistics", "Slots"]

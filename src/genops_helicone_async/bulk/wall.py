"""The money wall of a job: a row that a budget has no room for waits until others have settled, or is given back."""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import BudgetExceededError, HeliconeError
from .unsent import UnsentError


class Wall:
    """Counts calls under way. `reached` is why no further row can be sent, None while some can.

    What is set aside for a call is more than it costs, so that a refusal while others are under way says little: they
    give back what they did not need. Only a row that is refused while no other is under way does not fit.
    """

    __slots__ = ("_parked", "_under_way", "reached")

    def __init__(self) -> None:
        self._under_way = 0
        self._parked: deque[asyncio.Future[None]] = deque()
        self.reached: str | None = None

    def enter(self) -> None:
        """A call begins.

        Raises:
            UnsentError: the wall is reached.
        """
        if self.reached is not None:
            raise UnsentError(self.reached)
        self._under_way += 1

    def leave(self, error: BaseException | None = None) -> None:
        """A call has ended: two that wait may try, for it may have made room for more than one.

        One that was refused has made none. Did it wake others, they would go on waking each other for ever where a
        refusal takes time, for each would be refused while another asks.
        """
        self._under_way -= 1
        if isinstance(error, BudgetExceededError) and not error.attempts:
            return
        for _ in range(2):
            self._wake_one()

    async def refused(self, error: HeliconeError) -> None:
        """A call was refused, and has left. Returns when it is worth another try.

        Raises:
            UnsentError: nothing is under way that could make room.
        """
        if self._under_way == 0 and self.reached is None:
            self.reached = error.message
        if self.reached is not None:
            while self._parked:
                self._wake_one()
            raise UnsentError(self.reached)
        future = asyncio.get_running_loop().create_future()
        self._parked.append(future)
        await future

    def _wake_one(self) -> None:
        while self._parked:
            future = self._parked.popleft()
            if not future.done():
                future.set_result(None)
                return


__all__ = ["Wall"]

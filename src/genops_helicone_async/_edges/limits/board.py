"""What the event loops of one adapter share of limits: what is configured, and the store several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..._rules.rate_limits import LimitPlan
from . import Limits
from .shared import Store
from .slots import Slots


class LimitBoard:
    """The limits of one adapter. Each event loop has gates of its own; a change reaches all of them."""

    __slots__ = ("_loops", "_store", "plan")

    def __init__(self, store: Store | None = None) -> None:
        self.plan = LimitPlan()
        self._store = store
        self._loops: dict[asyncio.AbstractEventLoop, Limits] = {}

    def __repr__(self) -> str:
        return f"LimitBoard({self.plan}, on {len(self._loops)} event loops)"

    def on(
        self, loop: asyncio.AbstractEventLoop, max_connections: int, clock: Callable[[], float] | None = None
    ) -> Limits:
        """The limits of one event loop; `clock` is another way to ask for its time."""
        for ended in [known for known in tuple(self._loops) if known.is_closed()]:
            self._loops.pop(ended, None)
        limits = self._loops[loop] = Limits(self.plan, Slots(max_connections), clock or loop.time, self._store)
        self._catch_up(limits)  # another thread may have changed them just now
        return limits

    def configure(self, plan: LimitPlan) -> None:
        """Other limits from now on, on every loop; callable from any thread."""
        self.plan = plan
        for loop, limits in tuple(self._loops.items()):
            if _running() is loop:
                self._catch_up(limits)
            elif not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(self._catch_up, limits)
                except RuntimeError:  # it was closed just now
                    continue

    def _catch_up(self, limits: Limits) -> None:
        """The newest plan, whichever thread set it and in whatever order they come to this loop."""
        if limits.plan is not self.plan:
            limits.configure(self.plan)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


__all__ = ["LimitBoard"]

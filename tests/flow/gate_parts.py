"""A gate for tests, in virtual time: what calls ask of it, and when each was let through."""

import asyncio
import math
from collections.abc import Hashable
from typing import Any

from genops_helicone_async._edges.limits import Gate, Limits, Slots
from genops_helicone_async._edges.limits.shared import Store
from genops_helicone_async._rules.rate_limits import LimitPlan, RateLimits


class Rig:
    """One gate, its slots, and the moments (seconds since the start, by the call's name) at which calls went on."""

    def __init__(self, *, slots: int = 1_000_000, store: Store | None = None, **limits: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.slots = Slots(slots)
        self.limits = Limits(LimitPlan(everyone=RateLimits(**limits)), self.slots, self.loop.time, store)
        self.gate: Gate = self.limits.gate("openai")
        self.began_s = self.loop.time()
        self.went: list[tuple[str, float]] = []

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return round(self.loop.time() - self.began_s, 6)

    @property
    def names(self) -> list[str]:
        """Who went on, in order."""
        return [name for name, _ in self.went]

    @property
    def moments_s(self) -> list[float]:
        """When calls went on."""
        return [moment_s for _, moment_s in self.went]

    async def enter(self, name: str = "", tokens: float = 0.0, *, priority: int = 0, tenant: Hashable = None,
                    within_s: float = math.inf, again: bool = False) -> None:  # fmt: skip
        """Waits for a turn and notes it."""
        deadline = self.loop.time() + min(within_s, 1e6)
        await self.gate.enter("model", tokens, priority=priority, tenant=tenant, deadline=deadline, again=again)
        self.went.append((name, self.now_s))

    def leave(self, tokens: float = 0.0, used: float | None = None, *, unsent: bool = False) -> None:
        """A call is over."""
        self.gate.leave("model", tokens, tokens if used is None else used, unsent=unsent)

    async def call(self, name: str = "", tokens: float = 0.0, *, lasts_s: float = 0.0, used: float | None = None,
                   **options: Any) -> None:  # fmt: skip
        """A whole call."""
        await self.enter(name, tokens, **options)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            self.leave(tokens, used)

    def start(self, count: int, name: str = "", **options: Any) -> list[asyncio.Task[None]]:
        """So many calls at once, named `name0` and so on."""
        return [self.loop.create_task(self.call(f"{name}{number}", **options)) for number in range(count)]

    def configure(self, **limits: Any) -> None:
        """Other limits."""
        self.limits.configure(LimitPlan(everyone=RateLimits(**limits)))

    def assert_empty(self) -> None:
        """Nobody waits, nothing is taken, no pump is left."""
        told, slots = self.gate.statistics(), self.slots.statistics()
        assert (told.in_flight, told.waiting, slots.taken, slots.waiting) == (0, 0, 0, 0)
        assert self.gate._server is None


async def turn() -> None:
    """Lets everything that is ready happen; no time passes."""
    for _ in range(20):
        await asyncio.sleep(0)


def assert_within(moments_s: list[float], burst: float, rate_per_s: float) -> None:
    """Of all windows between two calls none has more than the burst and what the rate allows."""
    for first, from_s in enumerate(moments_s):
        for last in range(first, len(moments_s)):
            allowed = burst + rate_per_s * (moments_s[last] - from_s)
            assert last - first + 1 <= allowed + 1e-3, (first, last, from_s, moments_s[last])

"""How many requests a minute: aiolimiter's bucket with a change of its limit at run time, and permits given back."""

from __future__ import annotations

from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..._rules.rate_limits import RateLimits
from .shared import SharedRate, Store

_SLACK = 1e-9
_STEPS = 60
"""Of a bisection, until a float cannot be halved any more."""


class RequestLimit:
    """At most `burst` requests at once and `requests_per_minute` after that, on one event loop.

    aiolimiter's waiters stand in a heap by amount, and each that waits there on uvloop spins: so one waits at a time,
    the others in the queue in front. Its rate cannot change: a new one takes over what is left of the old one's burst.
    It takes nothing back either: what was taken and not used goes first, as long as its bucket is not full without.
    With a store, what all processes send together keeps to the limit; what is sent here keeps to it by itself, too,
    so that it still does when the store is away.
    """

    __slots__ = ("_clock", "_limiter", "_name", "_shared", "_store", "_unused")

    def __init__(self, limits: RateLimits, clock: Callable[[], float], store: Store | None, name: str) -> None:
        self._clock = clock
        self._store = store
        self._name = name
        self._unused = 0.0  # was taken from the limiter, and not used
        self._limiter: AsyncLimiter | None = None
        self._shared: SharedRate | None = None
        self.configure(limits)

    @property
    def is_ready(self) -> bool:
        """Whether a request may go now, as far as this process decides."""
        limiter = self._limiter
        if limiter is None or limiter.has_capacity():
            return True
        return self._unused > 0.0 and (self._count_unused(limiter) >= 1.0 or self._room(limiter) >= 1.0 - _SLACK)

    @property
    def is_here(self) -> bool:
        """Whether the store need not be asked."""
        return self._shared is None or self._shared.has(1.0)

    async def fetch(self) -> float:
        """Asks the store for a slice; gives the seconds until it may be used.

        Raises:
            LedgerError: the store cannot be used.
        """
        return 0.0 if self._shared is None else await self._shared.reserve(1.0)

    async def until_ready(self) -> None:
        """Waits until a request may go here; it is for whoever is first then."""
        limiter = self._limiter
        if limiter is not None:
            await limiter.acquire()
            self._unused += 1.0

    def take(self) -> None:
        """Takes what a request needs; only where `is_ready`."""
        limiter = self._limiter
        if limiter is not None:
            if self._unused == 0.0:
                _take_now(limiter, 1.0)
            elif self._count_unused(limiter) >= 1.0:
                self._unused -= 1.0
            else:
                _take_now(limiter, min(1.0 - self._unused, _left(limiter)))
                self._unused = 0.0
        if self._shared is not None:
            self._shared.take(1.0)

    def give_back(self) -> None:
        """A request did not go out after all."""
        if self._limiter is not None:
            self._unused += 1.0
        if self._shared is not None:
            self._shared.give_back(1.0)

    def configure(self, limits: RateLimits) -> None:
        """Another limit from now on; what had gone out before counts against it."""
        old, self._shared = self._limiter, None
        if limits.requests_per_minute is None:
            self._limiter, self._unused = None, 0.0
            return
        self._limiter = new = AsyncLimiter(limits.burst, 60.0 * limits.burst / limits.requests_per_minute)
        if old is not None:
            _take_now(new, new.max_rate - min(new.max_rate, self._room(old)))
            self._unused = 0.0
        if self._store is not None:
            rate_per_s = limits.requests_per_s
            self._shared = SharedRate(self._store, self._name, limits.burst, rate_per_s, self._clock)

    def _room(self, limiter: AsyncLimiter) -> float:
        return self._count_unused(limiter) + _left(limiter)

    def _count_unused(self, limiter: AsyncLimiter) -> float:
        """What is unused counts only as far as the limiter has not made up for it by itself yet."""
        if self._unused and limiter.has_capacity(max(0.0, limiter.max_rate - self._unused)):
            self._unused = limiter.max_rate - _left(limiter)
        return self._unused


def _left(limiter: AsyncLimiter) -> float:
    """How many may go now: the limiter only says whether a given number may."""
    low, high = 0.0, float(limiter.max_rate)
    if limiter.has_capacity(high):
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if limiter.has_capacity(middle) else (low, middle)
    return low


def _take_now(limiter: AsyncLimiter, amount: float) -> None:
    """Takes what is there: a limiter suspends only where it is not."""
    taking = limiter.acquire(amount)
    try:
        taking.send(None)
    except StopIteration:
        return
    taking.close()


__all__ = ["RequestLimit"]

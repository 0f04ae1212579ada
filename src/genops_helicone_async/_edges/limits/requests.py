"""How many requests a minute: aiolimiter's bucket with a change of its limit at run time, and permits given back."""

from __future__ import annotations

from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..._rules.rate_limits import RateLimits
from .shared import SharedRate, Store


class RequestLimit:
    """At most `burst` requests at once and `requests_per_minute` after that, on one event loop.

    aiolimiter's waiters stand in a heap by amount, and each that waits there on uvloop spins: so one waits at a time,
    the others in the queue in front. Its rate cannot change: a new one takes over what is left of the old one's burst.
    With a store, what all processes send together keeps to the limit; what is sent here keeps to it by itself, too,
    so that it still does when the store is away.
    """

    __slots__ = ("_clock", "_limiter", "_name", "_permits", "_shared", "_store")

    def __init__(self, limits: RateLimits, clock: Callable[[], float], store: Store | None, name: str) -> None:
        self._clock = clock
        self._store = store
        self._name = name
        self._permits = 0
        self._limiter: AsyncLimiter | None = None
        self._shared: SharedRate | None = None
        self.configure(limits)

    @property
    def is_ready(self) -> bool:
        """Whether a request may go now, as far as this process decides."""
        return self._permits > 0 or self._limiter is None or self._limiter.has_capacity()

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
        """Waits until a request may go here; its permit is kept for whoever is first then."""
        if self._limiter is not None:
            await self._limiter.acquire()
            self._permits += 1

    def take(self) -> None:
        """Takes the permit of a request; only where `is_ready`."""
        if self._permits:
            self._permits -= 1
        elif self._limiter is not None:
            _take_now(self._limiter, 1.0)
        if self._shared is not None:
            self._shared.take(1.0)

    def give_back(self) -> None:
        """A permit was not used: the next request has it."""
        if self._limiter is not None:
            self._permits += 1
        if self._shared is not None:
            self._shared.give_back(1.0)

    def configure(self, limits: RateLimits) -> None:
        """Another limit from now on; what had gone out before counts against it."""
        old, self._shared = self._limiter, None
        if limits.requests_per_minute is None:
            self._limiter, self._permits = None, 0
            return
        self._limiter = new = AsyncLimiter(limits.burst, 60.0 * limits.burst / limits.requests_per_minute)
        if old is not None:
            _take_now(new, new.max_rate - min(new.max_rate, _left(old)))
        if self._store is not None:
            rate_per_s = limits.requests_per_s
            self._shared = SharedRate(self._store, self._name, limits.burst, rate_per_s, self._clock)


def _left(limiter: AsyncLimiter) -> int:
    """How many may go now: the limiter only says whether a given number may."""
    low, high = 0, int(limiter.max_rate)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if limiter.has_capacity(middle) else (low, middle - 1)
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

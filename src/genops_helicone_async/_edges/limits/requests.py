"""How many requests a minute: a bucket decides at once, aiolimiter waits where there is nothing to decide."""

from __future__ import annotations

from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..._rules.buckets import Bucket
from ..._rules.rate_limits import RateLimits
from .shared import SharedRate, Store


class RequestLimit:
    """At most `burst` requests at once and `requests_per_minute` after that, on one event loop.

    aiolimiter's waiters stand in a heap by amount, and each that waits there on uvloop spins: so one waits at a time,
    the others in the queue in front. Its rate cannot change, it takes nothing back, and asking it takes a dozen calls
    of functions: so it only waits, each time made as full as the bucket is. With a store, what all processes send
    together keeps to the limit; what is sent here keeps to it by itself, too, so that it still does when the store is
    away.
    """

    __slots__ = ("_clock", "_name", "_shared", "_store", "bucket")

    def __init__(self, limits: RateLimits, clock: Callable[[], float], store: Store | None, name: str) -> None:
        self._clock = clock
        self._store = store
        self._name = name
        self.bucket: Bucket | None = None
        self._shared: SharedRate | None = None
        self.configure(limits)

    @property
    def is_ready(self) -> bool:
        """Whether a request may go now, as far as this process decides."""
        return self.bucket is None or self.bucket.ready_in_s(1.0, self._clock()) == 0.0

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
        bucket = self.bucket
        if bucket is not None:
            limiter = AsyncLimiter(bucket.capacity, bucket.capacity / bucket.rate_per_s)
            _take_now(limiter, bucket.capacity - max(0.0, bucket.level(self._clock())))
            await limiter.acquire()

    def take(self) -> None:
        """Takes what a request needs; only where `is_ready`."""
        if self.bucket is not None:
            self.bucket.take(1.0, self._clock())
        if self._shared is not None:
            self._shared.take(1.0)

    def give_back(self) -> None:
        """A request did not go out after all."""
        if self.bucket is not None:
            self.bucket.refund(1.0, self._clock())
        if self._shared is not None:
            self._shared.give_back(1.0)

    def configure(self, limits: RateLimits) -> None:
        """Another limit from now on; what had gone out before counts against it."""
        self._shared = None
        if limits.requests_per_minute is None:
            self.bucket = None
            return
        rate_per_s, now_s = limits.requests_per_s, self._clock()
        if self.bucket is None:
            self.bucket = Bucket(limits.burst, rate_per_s, now_s)
        else:
            self.bucket.set_limit(limits.burst, rate_per_s, now_s)
        if self._store is not None:
            self._shared = SharedRate(self._store, self._name, limits.burst, rate_per_s, self._clock)


def _take_now(limiter: AsyncLimiter, amount: float) -> None:
    """Takes what is there: a limiter suspends only where it is not."""
    taking = limiter.acquire(amount)
    try:
        taking.send(None)
    except StopIteration:
        return
    taking.close()


__all__ = ["RequestLimit"]

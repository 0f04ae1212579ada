"""How many tokens a minute: reserved before a call by estimate, the rest given back when its usage is known."""

from __future__ import annotations

from collections.abc import Callable

from ..._rules.buckets import Bucket
from ..._rules.rate_limits import RateLimits
from .shared import SharedRate, Store


class TokenLimit:
    """One provider's tokens on this event loop, or, with a store, its slice of what all processes may use."""

    __slots__ = ("_clock", "_name", "_shared", "_store", "bucket")

    def __init__(self, limits: RateLimits, clock: Callable[[], float], store: Store | None, name: str) -> None:
        self._clock = clock
        self._store = store
        self._name = name
        self.bucket: Bucket | None = None
        self._shared: SharedRate | None = None
        self.configure(limits)

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Seconds until so many are there; 0.0 now. A shared limit has to be asked by `fetch` as well."""
        return 0.0 if self.bucket is None else self.bucket.ready_in_s(tokens, now_s)

    def is_here(self, tokens: float) -> bool:
        """Whether the store need not be asked."""
        return self._shared is None or self._shared.has(tokens)

    async def fetch(self, tokens: float) -> float:
        """Asks the store for so many; gives the seconds until they may be used.

        Raises:
            LedgerError: the store cannot be used.
        """
        return 0.0 if self._shared is None else await self._shared.reserve(tokens)

    def take(self, tokens: float, now_s: float) -> None:
        """Reserves what is there."""
        if self.bucket is not None:
            self.bucket.take(tokens, now_s)
            if self._shared is not None:
                self._shared.take(tokens)

    def settle(self, reserved: float, used: float) -> None:
        """What was reserved turned out to be `used`."""
        if self.bucket is not None:
            self.bucket.settle(reserved, used, self._clock())
            if self._shared is not None:
                self._shared.give_back(reserved - used)

    def configure(self, limits: RateLimits) -> None:
        """Another limit from now on; what was used before counts against it."""
        rate_per_s, now_s = limits.tokens_per_s, self._clock()
        self._shared = None
        if rate_per_s is None:
            self.bucket = None
            return
        if self.bucket is None:
            self.bucket = Bucket(limits.token_burst, rate_per_s, now_s)
        else:
            self.bucket.set_limit(limits.token_burst, rate_per_s, now_s)
        if self._store is not None:
            self._shared = SharedRate(self._store, self._name, limits.token_burst, rate_per_s, self._clock)


__all__ = ["TokenLimit"]

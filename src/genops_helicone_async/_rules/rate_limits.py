"""What a caller has configured as limits: one set for every provider, others for some, and how repeats back off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

BackoffStrategy = Literal["exponential", "linear", "constant"]
BACKOFF_STRATEGIES: tuple[BackoffStrategy, ...] = ("exponential", "linear", "constant")
TOKEN_BURST_S = 6.0
"""Seconds' worth of `tokens_per_minute` that may go at once: a tenth of the minute, as providers' own buckets have."""


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one provider; None where there is none.

    `burst` calls may go at once, by default a second's worth, at least 1. `max_concurrency` counts calls on their
    way. With `adaptive`, what the provider tells of its own limits is kept to as well.
    """

    requests_per_minute: float | None = None
    burst: int = 1
    tokens_per_minute: float | None = None
    max_concurrency: int | None = None
    adaptive: bool = True

    @property
    def requests_per_s(self) -> float:
        """Requests per second, infinite without a limit."""
        return math.inf if self.requests_per_minute is None else self.requests_per_minute / 60.0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second, None without a limit."""
        return None if self.tokens_per_minute is None else self.tokens_per_minute / 60.0

    @property
    def token_burst(self) -> float:
        """Tokens that may go at once; only to be asked for where there is a limit."""
        return max(1.0, (self.tokens_per_s or 0.0) * TOKEN_BURST_S)


NO_LIMITS = RateLimits()


class LimitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `configure_rate_limits` sets: `everyone` holds for each provider that `per_provider` leaves out."""

    everyone: RateLimits = NO_LIMITS
    per_provider: Mapping[str, RateLimits] = {}
    backoff_strategy: BackoffStrategy = "exponential"

    def of(self, provider: str) -> RateLimits:
        """The limits of one provider."""
        return self.per_provider.get(provider, self.everyone)


def default_burst(requests_per_minute: float) -> int:
    """A second's worth of calls, at least one: a burst on top of a minute's worth would double the first minute."""
    return max(1, math.ceil(requests_per_minute / 60.0))


__all__ = [
    "BACKOFF_STRATEGIES",
    "NO_LIMITS",
    "TOKEN_BURST_S",
    "BackoffStrategy",
    "LimitPlan",
    "RateLimits",
    "default_burst",
]

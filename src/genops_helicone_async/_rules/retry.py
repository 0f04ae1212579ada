"""What to do after a failed attempt: ask the next candidate, ask again after a wait, or stop. One pure function.

A call asks every candidate once, at once and in order. Only when all have been asked does it wait, and then it asks
again only whom it is safe to ask again, so that no answer is paid for twice without need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import backoff
import msgspec

from ..errors import (
    AuthenticationError,
    DecodeError,
    GatewayError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
    RateLimitExceededError,
)
from .rate_limits import BackoffStrategy
from .refusals import is_against_policy, is_too_long

_CURABLE_STATUS = frozenset({404, 408, 413, 429})
_CURABLE_CODES = frozenset({"model_not_found", "no_available_providers", "tls_failure"})


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` is how many waits and repeats a whole call may make, beyond asking each candidate once.

    Waits start at `base_s` and end at `cap_s`: `exponential` doubles them and takes a random part of each (full
    jitter), `linear` adds `base_s` each time, `constant` stays at `base_s`.
    """

    attempts: int
    strategy: BackoffStrategy = "exponential"
    base_s: float = 0.5
    cap_s: float = 8.0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failed attempt: which candidate, its error, and when it failed on the loop's clock."""

    candidate: int
    error: HeliconeError
    at_s: float


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Ask this candidate after waiting `delay_s` seconds; `is_retry` says that it was asked before."""

    candidate: int
    delay_s: float
    is_retry: bool


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Give up, and why."""

    reason: str


class RetryQuota:
    """A client's allowance for retries, so that an outage is not multiplied by everyone's retries.

    Each retry costs 5 of 500; a success gives 1 back, a successful retry all 5. The figures are those of the AWS
    SDKs' standard retry mode.
    """

    __slots__ = ("capacity", "left")
    cost = 5

    def __init__(self, capacity: int = 500) -> None:
        self.capacity = capacity
        self.left = capacity

    def __repr__(self) -> str:
        return f"RetryQuota({self.left}/{self.capacity})"

    def take(self) -> bool:
        """Pays for one retry if the quota allows."""
        if self.left < self.cost:
            return False
        self.left -= self.cost
        return True

    def succeeded(self, *, after_retry: bool) -> None:
        """Gives back what a success earns."""
        if self.left < self.capacity:
            self.left = min(self.capacity, self.left + (self.cost if after_retry else 1))


def can_another_cure(error: HeliconeError, *, has_fallback: bool = False) -> bool:
    """Whether a different candidate could answer what this one could not; `has_fallback`: the caller named one.

    A request too long for one model may fit into any other's window. What one provider's policy forbids another's may
    allow, but that only the caller may decide: without a named fallback such a request goes nowhere else.
    """
    if error.code in _CURABLE_CODES or is_too_long(error):
        return True
    if is_against_policy(error):
        return has_fallback
    if isinstance(error, RateLimitExceededError):
        return error.limited_by == "provider"
    if isinstance(error, AuthenticationError):
        return error.which == "provider"
    if isinstance(error, InsufficientCreditsError | DecodeError):
        return True
    if isinstance(error, ProviderError):  # without a status nothing says that the request is to blame
        return error.retry_safe or error.status_code is None or error.status_code in _CURABLE_STATUS
    return isinstance(error, GatewayError) and (error.retry_safe or error.billed == "maybe")


def may_repeat(error: HeliconeError) -> bool:
    """Whether the same candidate may be asked again: it may succeed, and it has charged nothing."""
    return error.retry_safe and error.billed == "no"


def repeatable(failures: list[Failure], now_s: float) -> set[int]:
    """The candidates already asked that may be asked again now: it is safe, and their Retry-After is over."""
    last = {failure.candidate: failure for failure in failures}
    return {i for i, failure in last.items() if may_repeat(failure.error) and not _wait_s(failure, now_s)}


def decide(
    failures: list[Failure],
    candidates: int,
    *,
    now_s: float,
    remaining_s: float,
    policy: RetryPolicy,
    quota: RetryQuota,
    random: Callable[[], float],
    has_fallback: bool = False,
) -> Ask | Stop:
    """The next step after `failures`, the last of which has just happened.

    `remaining_s` is the time to the deadline; `random` gives a number from 0 up to 1. A retry is paid for from
    `quota` here, but for one after throttling, which the limits pace. The other side's Retry-After is the floor of
    each delay. `has_fallback` says that the caller named who is to answer where the first cannot.
    """
    error = failures[-1].error
    asked = {failure.candidate for failure in failures}
    cures = can_another_cure(error, has_fallback=has_fallback)
    if cures and len(asked) < candidates:
        return Ask(candidate=next(i for i in range(candidates) if i not in asked), delay_s=0.0, is_retry=False)
    if not cures and not may_repeat(error):
        return Stop("no repeat can cure this error")
    retries = len(failures) - len(asked)
    if retries >= policy.attempts:
        return Stop(f"{policy.attempts} retries are used up")
    last = {failure.candidate: failure for failure in failures}
    waits = {i: _wait_s(failure, now_s) for i, failure in sorted(last.items()) if may_repeat(failure.error)}
    if not waits:
        return Stop("no candidate may be asked again without paying twice")
    candidate = min(waits, key=lambda i: waits[i])
    delay_s = max(waits[candidate], _backoff_s(policy, retries, random))
    if delay_s >= remaining_s:
        return Stop(f"waiting {delay_s:.1f} s would outlast the deadline")
    if not last[candidate].error.throttled and not quota.take():
        return Stop("the client's retry quota is empty")
    return Ask(candidate=candidate, delay_s=delay_s, is_retry=True)


def _wait_s(failure: Failure, now_s: float) -> float:
    """How much of the other side's Retry-After is still to be waited."""
    return max(0.0, (failure.error.retry_after_s or 0.0) - (now_s - failure.at_s))


def _backoff_s(policy: RetryPolicy, retries: int, random: Callable[[], float]) -> float:
    if policy.strategy == "constant":
        return policy.base_s
    if policy.strategy == "linear":
        return min(policy.cap_s, policy.base_s * (retries + 1))
    return random() * _ceiling_s(policy, retries)


def _ceiling_s(policy: RetryPolicy, retries: int) -> float:
    delays: Iterator[float | None] = backoff.expo(base=2, factor=policy.base_s, max_value=policy.cap_s)
    ceilings = (delay for delay in delays if delay is not None)  # the generator's first value is an empty greeting
    for _ in range(retries):
        next(ceilings)
    return next(ceilings)


__all__ = [
    "Ask",
    "Failure",
    "RetryPolicy",
    "RetryQuota",
    "Stop",
    "can_another_cure",
    "decide",
    "may_repeat",
    "repeatable",
]

"""Whose circuit lets a call pass: targets that failed rest, one call probes, the others wait for how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .._rules.health import HealthBoard, Key
from ..errors import (
    AllProvidersFailedError,
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    HeliconeError,
    ProviderError,
    RateLimitExceededError,
)
from .ticket import Target

_LEAST_S = 0.001


class Circuits:
    """The circuits as the calls of one event loop meet them. `clock` is the loop's."""

    __slots__ = ("_clock", "_health", "_waiting")

    def __init__(self, health: HealthBoard, clock: Callable[[], float]) -> None:
        self._health = health
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()

    def is_usable(self, target: Target) -> bool:
        """Whether a call may go there now: closed, or a probe is due and nobody is probing."""
        return self._health.is_usable(_key(target), self._clock())

    def lets_pass(self, target: Target) -> bool:
        """Whether this call may go there: the circuit is closed, or the call is its probe now."""
        key = _key(target)
        return self._health.is_closed(key) or self._health.take_probe(key, self._clock())

    def answered(self, key: Key, duration_s: float | None, *, probing: bool) -> None:
        """A call was answered after so long; without a duration it is not whole yet, and tells nothing of that."""
        if duration_s is not None:
            self._health.observe_success(key, self._clock(), duration_s)
        elif probing:
            self._health.observe_end(key)
        if probing:
            self._wake()

    def failed(self, key: Key, error: BaseException, started: float, *, probing: bool) -> None:
        """A call that began at `started` failed."""
        if speaks_against(error):
            self._health.observe_failure(key, self._clock(), started)
        elif probing:
            self._health.observe_end(key)
        if probing:
            self._wake()

    async def until_recovery(self, resting: Sequence[Target], deadline: float) -> None:
        """Waits until the first of these may be asked again, or something has changed.

        Raises:
            ProviderError: that is not before the deadline; several: `AllProvidersFailedError`.
        """
        now_s = self._clock()
        wait_s = max(_LEAST_S, self._health.earliest_recovery_s([_key(target) for target in resting], now_s) or 0.0)
        if now_s + wait_s >= deadline:
            raise _at_rest(resting, wait_s)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        timer = asyncio.get_running_loop().call_later(wait_s, _end, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting.discard(waiting)

    def _wake(self) -> None:
        for waiting in self._waiting:
            _end(waiting)


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _key(target: Target) -> Key:
    return target.endpoint.provider, target.endpoint.model


def beyond_deadline(paused: Target, wait_s: float) -> HeliconeError:
    """The error of a call to a provider that asked for a pause longer than the call has time; nothing was sent."""
    provider, model = _key(paused)
    return RateLimitExceededError(
        f"{provider} asked not to be called for {wait_s:.1f} s more, which is beyond the deadline",
        code="paused", retry_safe=True, throttled=True, retry_after_s=wait_s, provider=provider, model=model,
    )  # fmt: skip


def _at_rest(resting: Sequence[Target], wait_s: float) -> HeliconeError:
    """The error of a call that nobody may be asked for in time; nothing was sent."""
    names = " and ".join(dict.fromkeys(target.endpoint.provider for target in resting))
    kind = ProviderError if len(resting) == 1 else AllProvidersFailedError
    return kind(
        f"{names} failed too often and rests; the next probe is due in {wait_s:.1f} s, beyond the deadline",
        code="circuit_open", retry_safe=True, retry_after_s=wait_s, provider=resting[0].endpoint.provider,
        model=resting[0].endpoint.model,
    )  # fmt: skip


def speaks_against(error: BaseException) -> bool:
    """Whether an error tells that the provider or the way to it is unwell: no refusal, no throttling, no cancelling."""
    if isinstance(error, DecodeError | DeadlineExceededError):
        return error.billed == "maybe"
    if not isinstance(error, ProviderError | GatewayError) or error.throttled:
        return False
    return error.retry_safe or error.code == "attempt_timeout" or error.billed == "maybe"


__all__ = ["Circuits", "beyond_deadline", "speaks_against"]

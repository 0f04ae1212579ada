"""Whose circuit lets a call pass: targets that failed rest, one call probes, the others wait for how it goes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Literal

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

Passage = Literal["free", "probe", "none"]
"""How a call may go to a target: its circuit is closed; as the one probe; not now."""

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
        return self._health.is_usable(key_of(target), self._clock())

    def passage(self, key: Key) -> Passage:
        """How a call may go there now. Who gets `probe` is the probe, and reports how it went."""
        if self._health.is_closed(key):
            return "free"
        return "probe" if self._health.take_probe(key, self._clock()) else "none"

    def recovery_s(self, resting: Sequence[Target]) -> float:
        """Seconds until the first of these may be asked, as far as is known; without any, for ever."""
        wait_s = self._health.earliest_recovery_s([key_of(target) for target in resting], self._clock())
        return math.inf if wait_s is None else max(_LEAST_S, wait_s)

    def answered(self, key: Key, started: float, duration_s: float | None, passage: Passage) -> None:
        """A call that began at `started` was answered after so long; without a duration its stream has begun."""
        if duration_s is not None:
            self._health.observe_success(key, self._clock(), duration_s)
        elif passage == "probe":
            self._health.observe_opening(key, started)
        if passage == "probe":
            self._health.observe_end(key)
            self._wake()

    def failed(self, key: Key, error: BaseException, started: float, passage: Passage) -> None:
        """A call that began at `started` failed."""
        now_s = self._clock()
        if speaks_against(error, now_s - started, self._health.usual_s(key)):
            self._health.observe_failure(key, now_s, started)
        elif passage == "probe":
            self._health.observe_end(key)
        if passage == "probe":
            self._wake()

    async def until_recovery(self, resting: Sequence[Target], deadline: float) -> None:
        """Waits until the first of these may be asked again, or something has changed.

        Raises:
            ProviderError: that is not before the deadline; several: `AllProvidersFailedError`.
        """
        now_s, wait_s = self._clock(), self.recovery_s(resting)
        if now_s + wait_s >= deadline:
            if now_s >= deadline or not any(self._health.is_probed(key_of(target), now_s) for target in resting):
                raise _at_rest(resting, wait_s)
            wait_s = deadline - now_s  # the probe under way may end sooner than it is expected to
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


def key_of(target: Target) -> Key:
    """The target's name on the board of health."""
    return target.endpoint.key


def beyond_deadline(paused: Target, wait_s: float) -> HeliconeError:
    """The error of a call to a provider that asked for a pause longer than the call has time; nothing was sent."""
    provider, model = key_of(paused)
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


def speaks_against(error: BaseException, waited_s: float, usual_s: float | None) -> bool:
    """Whether an error tells that the provider or the way to it is unwell: no refusal, no throttling, no cancelling.

    Running out of time does only where the call had as long as answers usually take: the impatience of some callers
    must not close a provider to all others.
    """
    is_late = isinstance(error, DeadlineExceededError) or getattr(error, "code", None) == "attempt_timeout"
    if is_late and usual_s is not None and waited_s < usual_s:
        return False
    if isinstance(error, DecodeError | DeadlineExceededError):
        return error.billed == "maybe"
    if not isinstance(error, ProviderError | GatewayError) or error.throttled:
        return False
    return error.retry_safe or is_late or error.billed == "maybe"


__all__ = ["Circuits", "Passage", "beyond_deadline", "key_of", "speaks_against"]

"""Finds a rate limit that nobody has told: raises the rate while all goes well, lowers it when a call is refused.

The increase is CUBIC's curve (RFC 9438): after a refusal the rate falls to 90 %, comes back fast, stays long near the
rate at which it was refused, and only then looks beyond it. Unlike TCP's the curve is stretched to the limit it is
about, to 30 s, or to 120 calls where those take longer, so that refusals stay rare at any rate, and to twenty times
the pause that the provider asks for after each, so that little time is lost in pauses.

Not every refusal is about the rate. Where lowering it three times did not help, so that a few calls are refused at
a third of the rate as they were before, it is put back, and only many refusals count for the next minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

DECREASE = 0.9
"""After a refusal near the rate of the last one: the limit is about there."""
_EARLY_DECREASE = 0.7
"""After a refusal within the first tenth of the curve: the limit is lower than thought."""
_SEARCH_DECREASE = 0.5
"""After a refusal in the search, where the rate has doubled just before."""
_EARLY = 0.1
_EARLY_IN_ROW = 3
"""So many early refusals one after the other, and the curve says nothing any more: the search starts again."""
_UNHELPFUL_IN_ROW = 3
_UNHELPFUL_RATE = 0.8
_UNHELPFUL_SHARE = 0.3
_UNHELPFUL_HAD = 0.6
"""Lowering did not help where at this part of the rate fewer than this share are refused, but still some.

And where this part of the rate has been had: below it, pauses between the calls may be what keeps refusals few.
"""
_IMMUNE_S = 60.0
_IMMUNE_SHARE = 0.25
_SHARE_STEP = 0.05
_BEYOND = 1.5
"""From this multiple of the last refusal's rate on the limit must be another, and the rate doubles again."""
_CURVE_S = 30.0
_CURVE_CALLS = 120.0
_CURVE_PAUSES = 20.0
_LONGEST_CURVE_S = 600.0
_DOUBLING_S = 1.0
_DOUBLING_CALLS = 4.0
_LEAST_PER_S = 0.05
_UNKNOWN_PER_S = 1.0
"""Where the search starts when a call is refused before any was answered."""
_METER_S = 2.0
_exp = math.exp
_BURST_S = 0.02


class RateStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Where the search stands: calls per second now, those at the last refusal, the ceiling, and how often lowered."""

    rate_per_s: float
    refused_at_per_s: float | None
    ceiling_per_s: float
    decreases: int


class RateController:
    """The rate at which to send to one provider. Without `start_per_s` it is the ceiling until a call is refused.

    `ceiling_per_s` is what was configured, infinite without a limit. Only time in which calls wait for this rate
    raises it: an application that sends less than it may learns nothing about the limit.
    """

    __slots__ = (
        "_accepted",
        "_accepted_s",
        "_accepted_since",
        "_configured_per_s",
        "_curve_s",
        "_depth",
        "_early_in_row",
        "_grown_s",
        "_immune_until_s",
        "_is_searching",
        "_lowered_s",
        "_rate_before_per_s",
        "_refused_at_per_s",
        "_refused_since",
        "_share",
        "_told_per_s",
        "_unhelpful_in_row",
        "decreases",
        "rate_per_s",
    )

    def __init__(self, now_s: float, *, start_per_s: float | None = None, ceiling_per_s: float = math.inf) -> None:
        self._configured_per_s = ceiling_per_s
        self._told_per_s = math.inf
        self.rate_per_s = ceiling_per_s if start_per_s is None else min(start_per_s, ceiling_per_s)
        self.decreases = 0
        self._refused_at_per_s = math.inf
        self._is_searching = True
        self._depth = 0.0
        self._early_in_row = 0
        self._curve_s = _CURVE_S
        self._grown_s = 0.0
        self._lowered_s = -math.inf
        self._accepted = 0.0
        self._accepted_s = now_s
        self._share = 0.0
        self._accepted_since = self._refused_since = 0  # since it was lowered last
        self._unhelpful_in_row = 0
        self._rate_before_per_s = math.inf
        self._immune_until_s = -math.inf

    def __repr__(self) -> str:
        return (
            f"RateController({self.rate_per_s:.4g}/s of at most {self.ceiling_per_s:g}/s, {self.decreases} decreases)"
        )

    @property
    def ceiling_per_s(self) -> float:
        """The most it may become: what was configured, and what the provider told."""
        return min(self._configured_per_s, self._told_per_s)

    @property
    def burst(self) -> float:
        """Calls that may go at once: what a timer that fires 20 ms late has to make up for, and no more.

        A hidden limit says nothing about its burst; sending evenly is right for any.
        """
        return max(1.0, self.rate_per_s * _BURST_S)

    def observe_accepted(self, now_s: float, *, is_limited: bool) -> None:
        """A call was let through; `is_limited` says that calls were waiting for this rate when it was sent."""
        passed_s = now_s - self._accepted_s
        if passed_s < 0.0:
            passed_s = 0.0
        self._accepted = self._accepted * _exp(-passed_s / _METER_S) + 1.0
        self._accepted_s = now_s
        self._accepted_since += 1
        if self._share:
            self._share -= _SHARE_STEP * self._share
        if not is_limited or self.rate_per_s >= self.ceiling_per_s:
            return
        passed_s = min(passed_s, 1.0 + 5.0 / self.rate_per_s)  # a longer gap is not time spent at this rate
        if self._is_searching:
            doubling_s = max(_DOUBLING_S, _DOUBLING_CALLS / self.rate_per_s)
            rate = self.rate_per_s * 2.0 ** (passed_s / doubling_s)
        else:
            self._grown_s += passed_s
            rate = max(self.rate_per_s, self._curve())
            self._is_searching = rate > _BEYOND * self._refused_at_per_s
        self.rate_per_s = min(rate, self.ceiling_per_s)

    def observe_free(self, moments_s: Sequence[float]) -> None:
        """Calls were let through at these moments, in their order, while none was waiting for this rate."""
        accepted, before_s = self._accepted, self._accepted_s
        for now_s in moments_s:
            if now_s > before_s:
                accepted *= _exp((before_s - now_s) / _METER_S)
            accepted += 1.0
            before_s = now_s
        self._accepted, self._accepted_s = accepted, before_s
        self._accepted_since += len(moments_s)
        if self._share:
            for _ in moments_s:
                self._share -= _SHARE_STEP * self._share

    def observe_throttled(self, started_s: float, now_s: float, under_way: int = 0, *, pause_s: float = 0.0) -> bool:
        """A call sent at `started_s` was refused: lowers the rate, once per round; tells whether it did.

        Calls that were already under way when it was lowered last bring no news. Where the rate was free, the search
        starts from what was accepted lately; `under_way` calls that are not refused yet count as accepted.
        `pause_s` is the pause that the refusal asked for.
        """
        self._share += _SHARE_STEP * (1.0 - self._share)
        if started_s <= self._lowered_s:
            return False
        self._refused_since += 1
        if now_s < self._immune_until_s and self._share < _IMMUNE_SHARE:
            return False
        if self._was_no_use(now_s):
            self.rate_per_s, self._immune_until_s = self._rate_before_per_s, now_s + _IMMUNE_S
            self._unhelpful_in_row, self._is_searching = 0, True
            return True
        rate, factor, search = self.rate_per_s, DECREASE, False
        if math.isinf(rate):
            rate, factor, search = (
                2 * max(self._accepted_per_s(now_s) + under_way / _METER_S, _UNKNOWN_PER_S),
                _SEARCH_DECREASE,
                True,
            )
        elif self._is_searching:
            factor = _SEARCH_DECREASE
        elif self._grown_s < _EARLY * self._curve_s:
            factor = _EARLY_DECREASE
            self._early_in_row += 1
            search = self._early_in_row >= _EARLY_IN_ROW
        if factor != _EARLY_DECREASE:
            self._early_in_row = 0
        self._refused_at_per_s = max(rate, _LEAST_PER_S)
        self.rate_per_s = min(self.rate_per_s, max(rate * factor, _LEAST_PER_S))
        self._depth = 1.0 - factor
        pauses_s = min(_CURVE_PAUSES * pause_s, _LONGEST_CURVE_S)
        self._curve_s = max(_CURVE_S, _CURVE_CALLS / self._refused_at_per_s, pauses_s)
        self._grown_s = 0.0
        self._is_searching = search
        self._lowered_s = now_s
        self._accepted_since = self._refused_since = 0
        self.decreases += 1
        return True

    def observe_limit(self, limit_per_s: float) -> None:
        """The provider told its limit: never above it, and at it at once if no call has been refused."""
        if not limit_per_s > 0:
            return
        self._told_per_s = limit_per_s
        if not self.decreases or self.rate_per_s > self.ceiling_per_s:
            self.rate_per_s = self.ceiling_per_s

    def configure(self, ceiling_per_s: float) -> None:
        """Another configured limit from now on."""
        self._configured_per_s = ceiling_per_s
        self.rate_per_s = min(self.rate_per_s, self.ceiling_per_s) if self.decreases else self.ceiling_per_s

    def statistics(self) -> RateStatistics:
        """Where the search stands."""
        return RateStatistics(
            rate_per_s=self.rate_per_s,
            refused_at_per_s=self._refused_at_per_s if self.decreases else None,
            ceiling_per_s=self.ceiling_per_s,
            decreases=self.decreases,
        )

    def _was_no_use(self, now_s: float) -> bool:
        """Whether this refusal shows that the rate is not to blame: the third in a row after lowering it."""
        accepted, refused = self._accepted_since, self._refused_since
        lower = self.rate_per_s <= _UNHELPFUL_RATE * self._refused_at_per_s
        is_had = self._accepted_per_s(now_s) >= _UNHELPFUL_HAD * self.rate_per_s
        if self.decreases and lower and is_had and refused < _UNHELPFUL_SHARE * (accepted + refused):
            self._unhelpful_in_row += 1
        else:
            self._unhelpful_in_row, self._rate_before_per_s = 0, self.rate_per_s
        return self._unhelpful_in_row >= _UNHELPFUL_IN_ROW

    def _accepted_per_s(self, now_s: float) -> float:
        return self._accepted * math.exp(-max(0.0, now_s - self._accepted_s) / _METER_S) / _METER_S

    def _curve(self) -> float:
        way = self._grown_s / self._curve_s - 1.0
        depth = self._depth if way < 0 else 1.0 - DECREASE
        return self._refused_at_per_s * (1.0 + depth * way**3)


__all__ = ["DECREASE", "RateController", "RateStatistics"]

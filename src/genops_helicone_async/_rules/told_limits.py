"""A provider's own limits as its replies tell them, mirrored here so that calls wait before they are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from .._values import RateObservation


class ToldStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One mirrored limit: what is left of it by what was told and what has been sent since."""

    unit: str
    limit: float
    left: float
    rate_per_s: float | None


class ToldLimit:
    """One limit. It refills steadily by `rate_per_s`, or, where that fits no reply, all at once when it resets."""

    __slots__ = ("_is_window", "_left", "_rate_per_s", "_resets_s", "_seen_s", "limit")

    def __init__(self, limit: float, left: float, now_s: float) -> None:
        self.limit = limit
        self._left = left
        self._rate_per_s: float | None = None
        self._resets_s = math.inf
        self._seen_s = now_s
        self._is_window = False

    def observe(self, limit: float, left: float, reset_s: float | None, rate_per_s: float | None, now_s: float,
                *, alone: bool) -> None:  # fmt: skip
        """A reply told it again; `alone` says that no other call was under way, so that it is the whole truth.

        Otherwise it can only be less than thought: calls sent since are not in what the reply says.
        """
        self._refill(now_s)
        self.limit = limit
        self._left = left if alone else min(self._left, left)
        if rate_per_s is None and reset_s is not None and left < limit:
            self._is_window = True  # what is missing does not come back steadily
        self._rate_per_s = None if self._is_window else rate_per_s or self._rate_per_s
        if reset_s is not None:
            self._resets_s = now_s + reset_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until so much should be there; 0.0 now. More than the whole limit needs all of it."""
        self._refill(now_s)
        missing = min(amount, self.limit) - self._left
        if missing <= 1e-9 * self.limit:
            return 0.0
        steadily_s = missing / self._rate_per_s if self._rate_per_s else math.inf
        wait_s = min(steadily_s, self._resets_s - now_s)
        return wait_s if wait_s < math.inf else 0.0

    def take(self, amount: float) -> None:
        """So much is being sent."""
        self._left -= amount

    def give_back(self, amount: float) -> None:
        """So much was not used after all."""
        self._left = min(self.limit, self._left + amount)

    def statistics(self, unit: str) -> ToldStatistics:
        """As it stands."""
        return ToldStatistics(unit=unit, limit=self.limit, left=self._left, rate_per_s=self._rate_per_s)

    def _refill(self, now_s: float) -> None:
        if now_s >= self._resets_s:
            self._left, self._resets_s = self.limit, math.inf
        elif self._rate_per_s is not None and now_s > self._seen_s:
            self._left = min(self.limit, self._left + (now_s - self._seen_s) * self._rate_per_s)
        self._seen_s = max(self._seen_s, now_s)


class ToldLimits:
    """The limits one provider has told, by unit: `requests` and `tokens` are mirrored, others only make it pause."""

    __slots__ = ("_limits",)

    def __init__(self) -> None:
        self._limits: dict[str, ToldLimit] = {}

    def __repr__(self) -> str:
        told = ", ".join(f"{limit.statistics(unit).left:g} of {limit.limit:g} {unit}" for unit, limit in self._items())
        return f"ToldLimits({told or 'nothing told'})"

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are limited."""
        return "tokens" in self._limits

    def observe(self, told: Iterable[RateObservation], now_s: float, *, alone: bool) -> float:
        """What a reply said; gives the seconds for which nothing at all is left of a limit that is not mirrored."""
        pause_s = 0.0
        for one in told:
            if one.by != "provider" or one.remaining is None:
                continue  # the gateway's own limits are those of one user or property, not of everybody
            if one.unit not in ("requests", "tokens") or not one.limit:
                if one.remaining <= 0 and one.reset_s is not None:
                    pause_s = max(pause_s, one.reset_s)
                continue
            limit = self._limits.get(one.unit)
            if limit is None:
                limit = self._limits[one.unit] = ToldLimit(one.limit, one.remaining, now_s)
            limit.observe(one.limit, one.remaining, one.reset_s, one.rate_per_s, now_s, alone=alone)
        return pause_s

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Seconds until one call with so many tokens should pass; 0.0 now."""
        wait_s = 0.0
        for unit, limit in self._limits.items():
            wait_s = max(wait_s, limit.wait_s(tokens if unit == "tokens" else 1.0, now_s))
        return wait_s

    def take(self, tokens: float) -> None:
        """One call with so many tokens is being sent."""
        for unit, limit in self._limits.items():
            limit.take(tokens if unit == "tokens" else 1.0)

    def give_back(self, tokens: float, *, unsent: bool = False) -> None:
        """So many tokens of a call were not used; `unsent`: nor was the call itself."""
        for unit, limit in self._limits.items():
            if unit == "tokens":
                limit.give_back(tokens)
            elif unsent:
                limit.give_back(1.0)

    def statistics(self) -> tuple[ToldStatistics, ...]:
        """Each limit as it stands."""
        return tuple(limit.statistics(unit) for unit, limit in self._items())

    def _items(self) -> list[tuple[str, ToldLimit]]:
        return sorted(self._limits.items())


__all__ = ["ToldLimit", "ToldLimits", "ToldStatistics"]

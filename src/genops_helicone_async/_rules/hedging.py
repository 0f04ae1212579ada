"""How many calls may be sent a second time because the first takes long: a share of all, and a few saved up."""

from __future__ import annotations

CALLS_PER_HEDGE = 10
"""A hedged call earns 0.1 of a hedge: a tail of 5 %, which is what is beyond the p95, fits twice into it."""

MOST_SAVED = 10
"""Hedges saved up, and there at the start: a burst of slow answers is met, an outage is not doubled."""


class HedgeQuota:
    """An adapter's allowance for extra calls by time. After n calls at most 10 + n/10 hedges have been made.

    Counts in tenths, which are exact.
    """

    __slots__ = ("_tenths", "calls", "hedges")

    def __init__(self) -> None:
        self._tenths = MOST_SAVED * CALLS_PER_HEDGE
        self.calls = 0
        self.hedges = 0

    def __repr__(self) -> str:
        return f"HedgeQuota({self.left:g} left, {self.hedges} hedges in {self.calls} calls)"

    @property
    def left(self) -> float:
        """Hedges that may be made now, with the fraction earned towards the next."""
        return self._tenths / CALLS_PER_HEDGE

    def earn(self) -> None:
        """A call begins that may be hedged."""
        self.calls += 1
        self._tenths = min(MOST_SAVED * CALLS_PER_HEDGE, self._tenths + 1)

    def take(self) -> bool:
        """Pays for one hedge, if there is enough."""
        if self._tenths < CALLS_PER_HEDGE:
            return False
        self._tenths -= CALLS_PER_HEDGE
        self.hedges += 1
        return True

    def give_back(self) -> None:
        """The hedge that was paid for was not sent."""
        self._tenths = min(MOST_SAVED * CALLS_PER_HEDGE, self._tenths + CALLS_PER_HEDGE)
        self.hedges -= 1


__all__ = ["CALLS_PER_HEDGE", "MOST_SAVED", "HedgeQuota"]

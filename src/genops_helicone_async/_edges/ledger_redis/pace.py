"""When to speak to the server: at once for who waits, in company for the rest, not in vain while it is away.

Moments are seconds of the ledger's own clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from .slices import SCAN_S

BATCH: Final = 512
"""Settlements in one exchange at most: the server does nothing else for the few milliseconds that they take."""

COMPANY: Final = 32
"""Awaited settlements that are sent at once together; an exchange's own cost is small for each of so many."""

COMPANY_S: Final = 0.01
"""How long awaited settlements wait to be as many, where there are `BUSY_PER_S` of them; else they do not wait."""

BUSY_PER_S: Final = 200
AT_ONCE: Final = -math.inf
"""The moment of what is due already, on any clock."""

RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses after the first, second, … failure in a row."""


class Pace:
    """The moments of one book's exchanges."""

    __slots__ = (
        "_counted",
        "_counted_from_s",
        "_failed",
        "_flush_at_s",
        "_flush_s",
        "_hurry_at_s",
        "_is_busy",
        "_renew_at_s",
        "_retry_at_s",
        "_scan_at_s",
    )

    def __init__(self, flush_s: float) -> None:
        self._failed = 0
        self._flush_s = flush_s
        self._flush_at_s = AT_ONCE
        self._hurry_at_s: float | None = None
        self._counted, self._counted_from_s, self._is_busy = 0, AT_ONCE, False
        self._renew_at_s = self._scan_at_s = self._retry_at_s = AT_ONCE

    def queued(self, now_s: float) -> None:
        """A settlement was put into an empty queue."""
        self._flush_at_s = now_s + self._flush_s

    def hurry(self, now_s: float) -> None:
        """Somebody waits for what is queued; where many do, a moment more brings them together."""
        if self._hurry_at_s is None:
            self._hurry_at_s = now_s + (COMPANY_S if self._is_busy else 0.0)

    def due_s(
        self, now_s: float, wanted: Iterable[float], *, queued: int, has_leases: bool, has_more: bool
    ) -> float | None:
        """Seconds until the next exchange, None where there is none to come.

        Args:
            now_s: The moment.
            wanted: When holds that wait want to be asked for.
            queued: Settlements in the queue.
            has_leases: Whether leases have to be renewed, or slack given back.
            has_more: Whether there is something else to say, for which nobody waits.
        """
        at = list(wanted)
        if self._hurry_at_s is not None:
            at.append(self._hurry_at_s if queued < COMPANY else AT_ONCE)
        later = [AT_ONCE] if has_more or queued >= BATCH else []
        if queued:
            later.append(self._flush_at_s)
        if has_leases:
            later.append(min(self._renew_at_s, self._scan_at_s))
        # While the server is away, only somebody who waits makes another try before its time.
        at += [max(moment, self._retry_at_s) for moment in later]
        return max(0.0, min(at) - now_s) if at else None

    def must_renew(self, now_s: float) -> bool:
        """Whether it is time to renew the leases."""
        return now_s >= self._renew_at_s

    def must_scan(self, now_s: float) -> bool:
        """Whether a period of demand is over; the next one begins then."""
        if now_s < self._scan_at_s:
            return False
        self._scan_at_s = now_s + SCAN_S
        return True

    def relax(self) -> None:
        """Nobody waits any more."""
        self._hurry_at_s = None

    def began(self, now_s: float, batch: int) -> None:
        """An exchange with so many settlements was drawn up; what did not fit follows at once."""
        self._hurry_at_s = None
        self._flush_at_s = now_s
        self._counted += batch
        if now_s - self._counted_from_s >= SCAN_S:
            self._is_busy = self._counted >= BUSY_PER_S * (now_s - self._counted_from_s)
            self._counted, self._counted_from_s = 0, now_s

    def succeeded(self, started_s: float, lease_s: float) -> None:
        """The server did it."""
        self._renew_at_s = started_s + lease_s / 3
        self._retry_at_s = AT_ONCE
        self._failed = 0

    def failed_at(self, now_s: float) -> int:
        """It is not known to have done it; gives the failures in a row."""
        self._retry_at_s = now_s + RETRY_S[min(self._failed, len(RETRY_S) - 1)]
        self._failed += 1
        return self._failed


__all__ = ["AT_ONCE", "BATCH", "BUSY_PER_S", "COMPANY", "COMPANY_S", "RETRY_S", "Pace"]

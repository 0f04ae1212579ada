"""Percentiles of times in memory that does not grow: counts in steps of 1 %."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

STEP: Final = 1.01
_LOG_STEP: Final = math.log(STEP)
_LEAST_MS: Final = 0.1
_MOST_MS: Final = 1e12
"""Thirty years: whatever claims to be longer counts as that."""


class Percentiles:
    """Milliseconds of any number of calls; a percentile is within half a per cent of the true one."""

    __slots__ = ("_counts", "_least_ms", "_most_ms", "count")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._least_ms = math.inf
        self._most_ms = 0.0
        self.count = 0

    def __repr__(self) -> str:
        return f"Percentiles({self.count} times up to {self._most_ms:g} ms)"

    def add(self, ms: float) -> None:
        """Counts one; a time that is none is left out."""
        if not ms >= 0:
            return
        ms = min(ms, _MOST_MS)
        step = round(math.log(ms / _LEAST_MS) / _LOG_STEP) if ms > _LEAST_MS else 0
        self._counts[step] += 1
        self.count += 1
        self._least_ms = min(self._least_ms, ms)
        self._most_ms = max(self._most_ms, ms)

    def include(self, other: Percentiles) -> None:
        """Counts what another one has counted."""
        self._counts.update(other._counts)
        self.count += other.count
        self._least_ms = min(self._least_ms, other._least_ms)
        self._most_ms = max(self._most_ms, other._most_ms)

    @property
    def most_ms(self) -> float | None:
        """The longest time, exact; None where nothing was counted."""
        return self._most_ms if self.count else None

    def at(self, percent: float) -> float | None:
        """The time in ms within which that many per cent were done; None where nothing was counted."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= rank:
                middle = _LEAST_MS * math.pow(STEP, step)
                return min(max(middle, self._least_ms), self._most_ms)
        return None


__all__ = ["STEP", "Percentiles"]

"""Statistics that forget: a mean and a quantile in which old observations lose weight, in memory that does not grow."""

from __future__ import annotations

import math
from array import array
from typing import Final

KEEP: Final = 0.8
"""What an observation leaves of the weight of those before it: about the last ten count."""
HALF_LIFE_S: Final = 30.0
"""An observation loses half its weight in this time, also without others."""

STEP: Final = 1.05
_LOG_STEP: Final = math.log(STEP)
_LEAST_S: Final = 0.001
_CELLS: Final = 288
"""From 1 ms to 21 minutes in steps of 5 %; what lies outside counts as the nearest."""
_QUANTILE_HALF_LIFE_S: Final = 300.0
_LEAST_COUNT: Final = 20
"""With fewer, the 95th percentile is no more than the largest."""
_RESCALE_AT: Final = 40.0
_MIDDLES_S: Final = tuple(_LEAST_S * STEP ** (cell + 0.5) for cell in range(_CELLS))


class DecayingMean:
    """A weighted mean: each observation and the passing of time both take weight from the older ones."""

    __slots__ = ("_half_life_s", "_keep", "_seen_s", "_sum", "_weight", "value")

    def __init__(self, half_life_s: float = HALF_LIFE_S, keep: float = KEEP) -> None:
        self._half_life_s = half_life_s
        self._keep = keep
        self._sum = 0.0
        self._weight = 0.0
        self._seen_s = 0.0
        self.value: float | None = None
        """The mean; None before the first observation."""

    def __repr__(self) -> str:
        return f"DecayingMean({self.value})"

    def add(self, value: float, now_s: float) -> None:
        """Counts one in. The first one is the mean: there is no start value to grow away from."""
        if self.value is not None:
            age_s = now_s - self._seen_s
            kept = self._keep * 2.0 ** (-age_s / self._half_life_s) if age_s > 0 else self._keep
            self._sum *= kept
            self._weight *= kept
        self._sum += value
        self._weight += 1.0
        self._seen_s = now_s
        self.value = self._sum / self._weight


class DecayingQuantile:
    """A quantile of times in seconds, within 2.5 % of the true one, weights halving every five minutes.

    Counts in cells of 5 % each, and a finger on the cell that holds the quantile, which an observation moves by a few
    cells at most on average. Instead of taking weight from every old cell, new observations get ever larger weights;
    once in 40 half-lives all are scaled back.
    """

    __slots__ = ("_at", "_base_s", "_below", "_cells", "_half_life_s", "_quantile", "_total", "count")

    def __init__(self, quantile: float = 0.95, half_life_s: float = _QUANTILE_HALF_LIFE_S) -> None:
        self._quantile = quantile
        self._half_life_s = half_life_s
        self._cells = array("d", bytes(8 * _CELLS))
        self._base_s = 0.0
        self._at = 0
        self._below = 0.0
        self._total = 0.0
        self.count = 0

    def __repr__(self) -> str:
        return f"DecayingQuantile({self._quantile:g}, {self.value}, {self.count} observations)"

    def add(self, seconds: float, now_s: float) -> None:
        """Counts one in."""
        age = (now_s - self._base_s) / self._half_life_s if self.count else 0.0
        if not self.count:
            self._base_s = now_s
        elif age > _RESCALE_AT:
            self._rescale(age, now_s)
            age = 0.0
        weight = 2.0**age
        cell = min(_CELLS - 1, int(math.log(seconds / _LEAST_S) / _LOG_STEP)) if seconds > _LEAST_S else 0
        cells = self._cells
        cells[cell] += weight
        self._total += weight
        self.count += 1
        if cell < self._at:
            self._below += weight
        target = self._quantile * self._total
        while self._at > 0 and self._below > target:
            self._at -= 1
            self._below -= cells[self._at]
        while self._at < _CELLS - 1 and self._below + cells[self._at] < target:
            self._below += cells[self._at]
            self._at += 1

    @property
    def value(self) -> float | None:
        """Seconds; None before 20 observations."""
        return _MIDDLES_S[self._at] if self.count >= _LEAST_COUNT else None

    def _rescale(self, age: float, now_s: float) -> None:
        scale = 2.0**-age
        self._cells = array("d", [cell * scale for cell in self._cells])
        self._base_s = now_s
        self._total = math.fsum(self._cells)
        self._below = math.fsum(self._cells[: self._at])


__all__ = ["HALF_LIFE_S", "KEEP", "STEP", "DecayingMean", "DecayingQuantile"]

"""Statistics that forget: a mean and a quantile in which old observations lose weight, in memory that does not grow."""

from __future__ import annotations

import math
from array import array
from bisect import bisect
from collections.abc import Sequence
from itertools import repeat
from operator import sub, truediv
from typing import Final

KEEP: Final = 0.8
"""What an observation leaves of the weight of those before it: about the last ten count."""
HALF_LIFE_S: Final = 30.0
"""An observation loses half its weight in this time, also without others."""

STEP: Final = 1.05
_LEAST_S: Final = 0.001
_CELLS: Final = 288
"""From 1 ms to 21 minutes in steps of 5 %; what lies outside counts as the nearest."""
_QUANTILE_HALF_LIFE_S: Final = 300.0
_LEAST_COUNT: Final = 20
"""With fewer, the 95th percentile is no more than the largest."""
_RESCALE_AT: Final = 40.0
_EDGES_S: Final = tuple(_LEAST_S * STEP**cell for cell in range(1, _CELLS))
_MIDDLES_S: Final = tuple(_LEAST_S * STEP ** (cell + 0.5) for cell in range(_CELLS))


class DecayingMean:
    """A weighted mean: each observation and the passing of time both take weight from the older ones."""

    __slots__ = ("_half_life_s", "_keep", "_seen_s", "_sum", "_weight")

    def __init__(self, half_life_s: float = HALF_LIFE_S, keep: float = KEEP) -> None:
        self._half_life_s = half_life_s
        self._keep = keep
        self._sum = 0.0
        self._weight = 0.0
        self._seen_s = 0.0

    def __repr__(self) -> str:
        return f"DecayingMean({self.value})"

    @property
    def value(self) -> float | None:
        """The mean; None before the first observation."""
        return self._sum / self._weight if self._weight else None

    def add(self, value: float, now_s: float) -> None:
        """Counts one in. The first one is the mean: there is no start value to grow away from."""
        self.add_all((value,), (now_s,))

    def add_all(self, values: Sequence[float], moments_s: Sequence[float]) -> None:
        """Counts several in, to the last bit as one after the other."""
        keep, half_life_s = self._keep, self._half_life_s
        total, weight, seen_s = self._sum, self._weight, self._seen_s
        for value, now_s in zip(values, moments_s, strict=True):
            kept = keep * 2.0 ** ((seen_s - now_s) / half_life_s) if now_s > seen_s else keep
            total, weight, seen_s = total * kept + value, weight * kept + 1.0, now_s
        self._sum, self._weight, self._seen_s = total, weight, seen_s


class DecayingQuantile:
    """A quantile of times in seconds, within 2.5 % of the true one, weights halving every five minutes.

    Counts in cells of 5 % each, and a finger on the cell that holds the quantile, the first one where several would do;
    an observation moves it by a few cells at most on average. Instead of taking weight from every old cell, new
    observations get ever larger weights; once in 40 half-lives all are scaled back.
    """

    __slots__ = ("_at", "_base_s", "_below", "_cells", "_count", "_half_life_s", "_quantile", "_total")

    def __init__(self, quantile: float = 0.95, half_life_s: float = _QUANTILE_HALF_LIFE_S) -> None:
        self._quantile = quantile
        self._half_life_s = half_life_s
        self._cells = array("d", bytes(8 * _CELLS))
        self._base_s = -math.inf
        self._at = 0
        self._below = 0.0
        self._total = 0.0
        self._count = 0

    def __repr__(self) -> str:
        return f"DecayingQuantile({self._quantile:g}, {self.value}, {self._count} observations)"

    @property
    def value(self) -> float | None:
        """Seconds; None before 20 observations."""
        return _MIDDLES_S[self._at] if self._count >= _LEAST_COUNT else None

    def add(self, seconds: float, now_s: float) -> None:
        """Counts one in."""
        self.add_all((seconds,), (now_s,))

    def add_all(self, seconds: Sequence[float], moments_s: Sequence[float]) -> None:
        """Counts several in, to the last bit as one after the other."""
        ages = list(map(truediv, map(sub, moments_s, repeat(self._base_s)), repeat(self._half_life_s)))
        if max(ages) > _RESCALE_AT:
            if len(ages) > 1:
                for each in zip(seconds, moments_s, strict=True):
                    self.add(*each)
                return
            self._rescale(ages[0], moments_s[0])
            ages[0] = 0.0
        at, cells, total, below = self._at, self._cells, self._total, self._below
        for cell, weight in zip(map(bisect, repeat(_EDGES_S), seconds), map(math.exp2, ages), strict=True):
            cells[cell] += weight
            total += weight
            if cell < at:
                below += weight
        self._count += len(ages)
        self._total, self._below = total, below
        self._move_finger()

    def _rescale(self, age: float, now_s: float) -> None:
        """From now on `now_s` has the weight 1."""
        scale = 2.0**-age
        self._base_s = now_s
        self._cells = array("d", [cell * scale for cell in self._cells])
        self._total, self._below = math.fsum(self._cells), math.fsum(self._cells[: self._at])

    def _move_finger(self) -> None:
        """To the first cell up to which there is at least the quantile's share of all weight."""
        cells, at, below, target = self._cells, self._at, self._below, self._quantile * self._total
        while at > 0 and below >= target:
            at -= 1
            below -= cells[at]
        while at < _CELLS - 1 and below + cells[at] < target:
            below += cells[at]
            at += 1
        self._at, self._below = at, below


__all__ = ["HALF_LIFE_S", "KEEP", "STEP", "DecayingMean", "DecayingQuantile"]

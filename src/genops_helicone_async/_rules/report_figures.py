"""What a ledger comes to: one pass over its rows, in memory that does not grow with them, and exact sums at the end."""

from __future__ import annotations

import heapq
import math
from datetime import tzinfo
from typing import Final

import msgspec

from .ledger import LedgerRow
from .percentiles import Percentiles
from .report_time import LATEST_S, QUARTER_S, Calendar, Timeline
from .report_totals import MOST_NAMES, Breakdown, Line, Totals, shortened

DIMENSIONS: Final = ("provider", "model", "team", "project", "customer", "environment")
"""What spending is broken down by; a model's name is the pair of its provider and itself."""

_MOST_TIMED: Final = 64
REST: Final = "(other)"
"""Under which answers of further providers are timed, once there are 64."""


class LatencyLine(msgspec.Struct, frozen=True, kw_only=True):
    """How long a provider's answers took, in ms; None where none was timed. `provider` is None for all of them."""

    provider: str | None
    answers: int
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    most_ms: float | None


class ReportFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a report shows. Times are Unix seconds, None without rows; every tuple is dearest or largest first.

    Attributes:
        totals: All rows.
        first_s: The earliest row's time.
        last_s: The latest row's.
        timeline: The rows by time.
        breakdowns: The rows by each of `DIMENSIONS`; the last line may be the rest.
        latencies: Of each provider's answers.
        latency: Of all answers.
        errors: Failed attempts by the class of their error.
        sources: All rows by what their cost is worth: reported, computed, estimated, unpriced.
        biggest: The dearest rows.
    """

    totals: Totals
    first_s: float | None
    last_s: float | None
    timeline: Timeline
    breakdowns: dict[str, tuple[Line, ...]]
    latencies: tuple[LatencyLine, ...]
    latency: LatencyLine
    errors: tuple[Line, ...]
    sources: tuple[Line, ...]
    biggest: tuple[LedgerRow, ...]


class Figures:
    """Takes rows, in any order, and gives their figures."""

    __slots__ = ("_biggest", "_breakdowns", "_calendar", "_errors", "_first_s", "_last_s", "_least_pusd",
                 "_most_shown", "_rows", "_sources", "_times")  # fmt: skip

    def __init__(self, zone: tzinfo, *, most_shown: int = 10) -> None:
        self._most_shown = most_shown
        self._rows = 0
        self._first_s = math.inf
        self._last_s = -math.inf
        self._calendar = Calendar(zone)
        self._breakdowns = {dimension: Breakdown() for dimension in DIMENSIONS}
        self._errors = Breakdown()
        self._sources = Breakdown()
        self._times: dict[str, Percentiles] = {}
        self._biggest: list[tuple[int, int, LedgerRow]] = []
        self._least_pusd = 0

    def __repr__(self) -> str:
        return f"Figures({self._rows} rows)"

    def add(self, row: LedgerRow) -> None:
        """Counts one row. A time that is none counts as the beginning of 1970."""
        self._rows += 1
        at_s = row.at_s if 0 <= row.at_s < LATEST_S else 0.0
        if at_s < self._first_s:
            self._first_s = at_s
        if at_s > self._last_s:
            self._last_s = at_s
        provider = row.provider
        names = (
            (provider,), (provider, row.model), (row.team,), (row.project,), (row.customer_id,), (row.environment,),
        )  # fmt: skip
        for breakdown, name in zip(self._breakdowns.values(), names, strict=True):
            breakdown.of(name).add(row)
        self._sources.of((row.cost_source,)).add(row)
        self._calendar.of(int(at_s // QUARTER_S), provider).add(row)
        if row.status == "ok":
            self._time(provider, row.duration_ms)
        else:
            self._errors.of((row.status,)).add(row)
        if row.cost_pusd > self._least_pusd:
            self._remember(row)

    def finish(self) -> ReportFigures:
        """The figures of all rows; the last step."""
        everyone = Percentiles()
        for times in self._times.values():
            everyone.include(times)
        dearest = [line.name[0] for line in self._lines("provider", MOST_NAMES) if line.name is not None]
        timed = [name for name in (*dearest, REST) if name in self._times]
        return ReportFigures(
            totals=self._sources.whole(),
            first_s=self._first_s if self._rows else None,
            last_s=self._last_s if self._rows else None,
            timeline=self._calendar.timeline(),
            breakdowns={dimension: self._lines(dimension, self._most_shown) for dimension in DIMENSIONS},
            latencies=tuple(_latency(name, self._times[name]) for name in timed[: self._most_shown]),
            latency=_latency(None, everyone),
            errors=self._errors.lines(self._most_shown),
            sources=self._sources.lines(self._most_shown),
            biggest=tuple(row for _, _, row in sorted(self._biggest, reverse=True)),
        )

    def _lines(self, dimension: str, most: int) -> tuple[Line, ...]:
        return self._breakdowns[dimension].lines(most)

    def _time(self, provider: str, duration_ms: float) -> None:
        times = self._times.get(provider)
        if times is None:
            (name,) = shortened((provider,))
            if len(self._times) >= _MOST_TIMED and name not in self._times:
                name = REST
            times = self._times.setdefault(name, Percentiles())
        times.add(duration_ms)

    def _remember(self, row: LedgerRow) -> None:
        heapq.heappush(self._biggest, (row.cost_pusd, -self._rows, row))
        if len(self._biggest) > self._most_shown:
            heapq.heappop(self._biggest)
            self._least_pusd = self._biggest[0][0]


def _latency(provider: str | None, times: Percentiles) -> LatencyLine:
    p50, p90, p95, p99 = (times.at(percent) for percent in (50, 90, 95, 99))
    return LatencyLine(
        provider=provider, answers=times.count, p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99, most_ms=times.most_ms
    )


__all__ = ["DIMENSIONS", "REST", "Figures", "LatencyLine", "ReportFigures"]

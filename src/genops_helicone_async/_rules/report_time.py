"""Spending over time: buckets of an hour that grow to days, months and years where the hours would be too many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, Literal

import msgspec

from .report_totals import Totals, shortened

Grain = Literal["hour", "day", "week", "month", "year"]

QUARTER_S: Final = 900
"""Every time zone's hours and days begin on a quarter of an hour, so one bucket holds all of one quarter's rows."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT: Final[tuple[Grain, ...]] = ("hour", "day", "month", "year")
_MOST_BUCKETS: Final = 2_000
_MOST_PROVIDERS: Final = 64
_MOST_REMEMBERED: Final = 8_192
LATEST_S: Final = 221_845_392_000.0
"""The year 9000: a calendar has an end."""
_EARLIEST_S: Final = -63_072_000.0  # the first year may begin before 1970
_MOST_BARS: Final = 120
_BARS: Final[tuple[tuple[Grain, int, int], ...]] = (
    ("hour", 3_600, 72), ("day", 86_400, 92), ("week", 7 * 86_400, 104), ("month", 2_629_746, 96),
)  # fmt: skip
"""Grain, its seconds, and how many of it are drawn at most; years beyond."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of time, from `starts_at` (local) on: all attempts, and those of each provider, up to 64."""

    starts_at: datetime
    totals: Totals
    by_provider: dict[str, Totals]


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Bars of one grain without gaps, oldest first; `earlier` is what happened before the first of them."""

    grain: Grain
    bars: tuple[Bar, ...]
    earlier: Totals


class _Bucket:
    """Attempts of one stretch of time by provider; under None those of providers beyond the 64th."""

    __slots__ = ("by_provider",)

    def __init__(self) -> None:
        self.by_provider: dict[str | None, Totals] = {}

    def of(self, provider: str) -> Totals:
        known = self.by_provider.get(provider)
        return known if known is not None else self._first(*shortened((provider,)))

    def _first(self, provider: str | None) -> Totals:
        if provider not in self.by_provider and len(self.by_provider) >= _MOST_PROVIDERS:
            provider = None
        return self.by_provider.setdefault(provider, Totals())

    def merge(self, other: _Bucket) -> None:
        for provider, totals in other.by_provider.items():
            self._first(provider).include(totals)

    def whole(self) -> Totals:
        whole = Totals()
        for totals in self.by_provider.values():
            whole.include(totals)
        return whole


class Calendar:
    """Takes totals at points in time and gives bars in a time zone. Memory does not grow with the time covered."""

    __slots__ = ("_buckets", "_grain", "_known", "_zone")

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._grain: Grain = "hour"
        self._buckets: dict[int, _Bucket] = {}
        self._known: dict[int, _Bucket] = {}

    def __repr__(self) -> str:
        return f"Calendar({len(self._buckets)} {self._grain}s)"

    def of(self, quarter: int, provider: str) -> Totals:
        """The totals of one provider in one quarter of an hour (since 1970), to be added to."""
        bucket = self._known.get(quarter)
        if bucket is None:
            bucket = self._bucket(quarter * QUARTER_S)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[quarter] = bucket
        return bucket.of(provider)

    def timeline(self) -> Timeline:
        """The bars: hours, days, weeks, months or years, whichever of them are few enough to be seen."""
        if not self._buckets:
            return Timeline(grain="day", bars=(), earlier=Totals())
        starts = sorted(self._buckets)
        grain = self._drawn_grain(starts[-1] - starts[0])
        grouped: dict[int, _Bucket] = {}
        for start_s in starts:
            grouped.setdefault(self._start(grain, start_s), _Bucket()).merge(self._buckets[start_s])
        spans = list(self._span(grain, min(grouped), max(grouped)))
        earlier = Totals()
        for start_s in spans[:-_MOST_BARS]:
            if start_s in grouped:
                earlier.include(grouped[start_s].whole())
        return Timeline(
            grain=grain, earlier=earlier, bars=tuple(self._bar(s, grouped.get(s)) for s in spans[-_MOST_BARS:])
        )

    def _bar(self, start_s: int, bucket: _Bucket | None) -> Bar:
        bucket = bucket or _Bucket()
        by_provider = {name: totals for name, totals in bucket.by_provider.items() if name is not None}
        return Bar(starts_at=self._local(start_s), totals=bucket.whole(), by_provider=by_provider)

    def _drawn_grain(self, length_s: int) -> Grain:
        kept = _KEPT.index(self._grain)
        for grain, seconds, most in _BARS:
            finer = grain in _KEPT[:kept] or (grain == "week" and kept > 1)
            if length_s < seconds * most and not finer:
                return grain
        return "year"

    def _bucket(self, moment_s: float) -> _Bucket:
        start_s = self._start(self._grain, moment_s)
        bucket = self._buckets.get(start_s)
        if bucket is None:
            bucket = self._buckets[start_s] = _Bucket()
            if len(self._buckets) > _MOST_BUCKETS and self._grain != "year":
                self._coarsen()
                return self._bucket(moment_s)
        return bucket

    def _coarsen(self) -> None:
        self._grain = _KEPT[_KEPT.index(self._grain) + 1]
        finer, self._buckets = self._buckets, {}
        self._known.clear()
        for start_s, bucket in finer.items():
            self._buckets.setdefault(self._start(self._grain, start_s), _Bucket()).merge(bucket)

    def _start(self, grain: Grain, moment_s: float) -> int:
        """Unix seconds of the beginning of the local hour, day, week, month or year that a moment falls into."""
        local = self._local(moment_s)
        if grain == "hour":
            return int(local.timestamp()) - local.minute * 60 - local.second
        day = local.date()
        if grain == "week":
            day -= timedelta(days=day.weekday())
        elif grain == "month":
            day = day.replace(day=1)
        elif grain == "year":
            day = day.replace(month=1, day=1)
        return self._midnight(day)

    def _local(self, moment_s: float) -> datetime:
        return local_time(moment_s, self._zone)

    def _midnight(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp())

    def _span(self, grain: Grain, first_s: int, last_s: int) -> Iterator[int]:
        start_s = first_s
        while start_s <= last_s:
            yield start_s
            start_s = self._next(grain, start_s)

    def _next(self, grain: Grain, start_s: int) -> int:
        if grain == "hour":
            return self._start("hour", start_s + 3_600)
        day = self._local(start_s).date()
        if grain == "day":
            return self._midnight(day + timedelta(days=1))
        if grain == "week":
            return self._midnight(day + timedelta(days=7))
        if grain == "month":
            return self._midnight(date(day.year + day.month // 12, day.month % 12 + 1, 1))
        return self._midnight(date(day.year + 1, 1, 1))


def local_time(moment_s: float, zone: tzinfo) -> datetime:
    """A moment (Unix seconds) in a time zone; what is none is the beginning of 1970."""
    # not `fromtimestamp`, which knows no time before 1970 on some systems
    known_s = moment_s if _EARLIEST_S <= moment_s <= LATEST_S else 0.0
    return (_EPOCH + timedelta(seconds=known_s)).astimezone(zone)


__all__ = ["LATEST_S", "QUARTER_S", "Bar", "Calendar", "Grain", "Timeline", "local_time"]

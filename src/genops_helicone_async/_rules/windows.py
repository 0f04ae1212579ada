"""Calendar windows: the hour (UTC), or the day or month in a time zone, that a moment falls into; with summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

import msgspec

Period = Literal["hour", "day", "month"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar window: its key (`2026-11-23`, `2026-11`, `2026-11-23T18Z`), and its end, also as Unix seconds."""

    key: str
    ends_at: datetime
    ends_s: float


def window_of(period: Period, now_s: float, zone: tzinfo) -> Window:
    """The window that the Unix time `now_s` falls into.

    Days and months end at local midnight; where the clocks jump over it, at the first moment of the new day. Hours
    are those of UTC in every zone: local ones come twice when summer time ends.
    """
    if period == "hour":
        ends_s = (now_s // 3600 + 1) * 3600.0
        key = f"{datetime.fromtimestamp(ends_s - 3600, UTC):%Y-%m-%dT%HZ}"
        return Window(key=key, ends_at=datetime.fromtimestamp(ends_s, zone), ends_s=ends_s)
    today = datetime.fromtimestamp(now_s, zone).date()
    if period == "day":
        key, following = today.isoformat(), today + timedelta(days=1)
    else:
        key = f"{today.year:04d}-{today.month:02d}"
        following = date(today.year + today.month // 12, today.month % 12 + 1, 1)
    ends_s = _start_of(following, zone)
    return Window(key=key, ends_at=datetime.fromtimestamp(ends_s, zone), ends_s=ends_s)


def _start_of(day: date, zone: tzinfo) -> float:
    """Unix seconds of a local day's first moment."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
    if datetime.fromtimestamp(midnight, zone).date() < day:
        # midnight does not exist on this day: `timestamp` gave a moment before the jump
        return midnight + _jump_s(midnight, zone)
    return midnight


def _jump_s(before_s: float, zone: tzinfo) -> float:
    """Seconds to the clock's next jump within a day, found by halving."""
    low, high = 0.0, 24 * 3600.0
    day = datetime.fromtimestamp(before_s, zone).date()
    while high - low > 1:
        middle = (low + high) / 2
        if datetime.fromtimestamp(before_s + middle, zone).date() > day:
            high = middle
        else:
            low = middle
    return round(high)


__all__ = ["Period", "Window", "window_of"]

"""Calendar windows of budgets: the day and the month a moment falls into, in a time zone, daylight saving included."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

import msgspec

Period = Literal["day", "month"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar window: its key (`2026-11-23`, `2026-11`), and when it ends, also as Unix seconds."""

    key: str
    ends_at: datetime
    ends_s: float


def window_of(period: Period, now_s: float, zone: tzinfo) -> Window:
    """The window that the Unix time `now_s` falls into.

    Windows end at local midnight; where the clocks jump over it, at the first moment of the new day.
    """
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

"""When a job is to be done: `06:30`, `2h30m`, or a date and time. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from ...errors import ConfigurationError

_SPAN = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


def parse_finish_by(text: str, now: datetime, local: Callable[[datetime], datetime] | None = None) -> datetime:
    """The moment meant: a time of day is the next one, a date without a zone is local.

    `local` gives a time on the wall its zone, which may be another then than now; without, that of `now` is taken.

    Raises:
        ConfigurationError: it is no moment, or one that is over.
    """
    wanted = text.strip()
    zoned = local or (lambda wall: wall.replace(tzinfo=now.tzinfo))
    try:
        moment = _moment(wanted, now, zoned)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"`finish_by` is {text[:40]!r}: give a time of day (06:30), a span (2h, 90m) or a date and time "
            "(2026-11-24T06:30)"
        ) from None
    if moment <= now:
        raise ConfigurationError(f"`finish_by` is {text!r}, which is over: it is {now.isoformat(timespec='minutes')}")
    return moment


def _moment(wanted: str, now: datetime, zoned: Callable[[datetime], datetime]) -> datetime:
    if (span := _SPAN.fullmatch(wanted)) and any(span.groups()):
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        return now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if (clock := _CLOCK.fullmatch(wanted)) and int(clock[1]) < 24 and int(clock[2]) < 60:
        wall = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, tzinfo=None)
        moment = zoned(wall)
        return moment if moment > now else zoned(wall + timedelta(days=1))
    moment = datetime.fromisoformat(wanted)
    return moment if moment.tzinfo is not None else zoned(moment)


__all__ = ["parse_finish_by"]

"""When a job is to be done: `06:30`, `2h30m`, or a date and time. No I/O."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ...errors import ConfigurationError

_SPAN = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


def parse_finish_by(text: str, now: datetime) -> datetime:
    """The moment meant, with the time zone of `now`: a time of day is the next one, a date without a zone is local.

    Raises:
        ConfigurationError: it is no moment, or one that is over.
    """
    wanted = text.strip()
    moment: datetime | None = None
    if (span := _SPAN.fullmatch(wanted)) and any(span.groups()):
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        moment = now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    elif (clock := _CLOCK.fullmatch(wanted)) and int(clock[1]) < 24 and int(clock[2]) < 60:
        moment = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        moment = moment if moment > now else moment + timedelta(days=1)
    else:
        try:
            moment = datetime.fromisoformat(wanted)
        except ValueError:
            raise ConfigurationError(
                f"`finish_by` is {text!r}: give a time of day (06:30), a span (2h, 90m) or a date and time "
                "(2026-11-24T06:30)"
            ) from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=now.tzinfo)
    if moment <= now:
        raise ConfigurationError(f"`finish_by` is {text!r}, which is over: it is {now.isoformat(timespec='minutes')}")
    return moment


__all__ = ["parse_finish_by"]

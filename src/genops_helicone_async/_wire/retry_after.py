"""How long the other side asked to wait, in every form in which it says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST_S = 7 * 24 * 3600.0
_DECIMAL = re.compile(r"\d{1,12}(?:\.\d*)?", re.ASCII)


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date); None without a sane wish.

    A date counts from the reply's own `Date` header if it has one, so that a wrong clock here does not matter, else
    from `now_s`, the wall clock in Unix seconds. A date in the past is 0; more than a week is a week:
    whoever asks for that must not be taken for somebody who asked for nothing.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _sane(milliseconds / 1000)
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return _sane(seconds)
    until = _unix_seconds(text)
    if until is None:
        return None
    sent = _unix_seconds(headers.get("date", ""))
    return _sane(max(0.0, until - (now_s if sent is None else sent)))


def _number(text: str | None) -> float | None:
    match = _DECIMAL.fullmatch((text or "").strip())
    return float(match[0]) if match else None


def _unix_seconds(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        # Without a zone, as in asctime's spelling, an HTTP date is UTC; Python would take it for local time.
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _sane(seconds: float) -> float | None:
    return min(seconds, _LONGEST_S) if seconds >= 0 else None


__all__ = ["retry_after_s"]

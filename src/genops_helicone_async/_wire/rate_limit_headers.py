"""What replies tell about rate limits: how much is allowed, what is left of it, and when it is all there again.

Read are OpenAI's `x-ratelimit-*-requests` and `-tokens` (Azure, Groq, Together and others have them too), Mistral's
`x-ratelimit-*-req-minute`, the plain `x-ratelimit-*` (OpenRouter, Helicone's Rust gateway), `anthropic-ratelimit-*`,
`Helicone-RateLimit-*`, and the IETF's `RateLimit` in the shapes its drafts have had (draft-ietf-httpapi-ratelimit-
headers, 02 to 11).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from .._values import RateLimitOwner, RateLimitUnit, RateObservation

_WINDOWS_S = (1.0, 10.0, 60.0, 3600.0, 86400.0)
_NEAR = 1.5
_LONGEST_S = 400 * 86400.0
_EPOCH_S = 1e8
_EPOCH_MS = 1e11
_MOST_DIGITS = 15
_MOST_CHARS = 500

# by, unit, what stands around `limit`, `remaining` and `reset`, and the window where the name tells it
_FAMILIES: tuple[tuple[RateLimitOwner, RateLimitUnit, str, float | None], ...] = (
    ("provider", "requests", "x-ratelimit-{}-requests", None),
    ("provider", "tokens", "x-ratelimit-{}-tokens", None),
    ("provider", "requests", "anthropic-ratelimit-requests-{}", None),
    ("provider", "tokens", "anthropic-ratelimit-tokens-{}", None),
    ("provider", "input_tokens", "anthropic-ratelimit-input-tokens-{}", None),
    ("provider", "output_tokens", "anthropic-ratelimit-output-tokens-{}", None),
    ("provider", "requests", "x-ratelimit-{}-req-minute", 60.0),
    ("provider", "tokens", "x-ratelimit-{}-tokens-minute", 60.0),
    ("provider", "requests", "x-ratelimit-{}", None),
)
_ROWS = tuple(
    (by, unit, form.format("limit"), form.format("remaining"), form.format("reset"), window_s)
    for by, unit, form, window_s in _FAMILIES
)
_TELLING = (*(row[3] for row in _ROWS), "helicone-ratelimit-remaining", "ratelimit", "ratelimit-remaining")
"""One of these is there where anything is told."""


def rate_limits_of(headers: Mapping[str, str], now_s: float) -> tuple[RateObservation, ...]:
    """Every limit that a reply's headers tell; none if they tell none, and nothing of what makes no sense.

    `headers` looks names up without regard to case. `now_s` is the wall clock in Unix seconds; absolute times count
    from the reply's own `Date` if it has one, so that a wrong clock here does not matter.
    """
    if not any(map(headers.__contains__, _TELLING)):
        return ()
    get = headers.get
    found: list[RateObservation] = []
    for by, unit, limit, remaining, reset, window_s in _ROWS:
        if (left := get(remaining)) is not None:
            found += _observed(by, unit, get(limit), left, get(reset), window_s, get("date"), now_s)
    if (left := get("helicone-ratelimit-remaining")) is not None:
        found += _helicone(headers, left, now_s)
    if (text := get("ratelimit")) is not None:
        found += _ietf(text, get("ratelimit-policy") or "")
    elif (left := get("ratelimit-remaining")) is not None:
        window_s = _window_told(get("ratelimit-policy") or get("ratelimit-limit") or "")
        limit_text = (get("ratelimit-limit") or "").partition(",")[0].partition(";")[0]
        reset_s = _seconds(get("ratelimit-reset"), None, now_s)
        found += _made("provider", "requests", _number(limit_text), _number(left), reset_s, window_s)
    return tuple(found)


def duration_s(text: str) -> float | None:
    """Seconds of a duration as Go writes it: `1s`, `6m0s`, `120ms`, `1h2m3.5s`; None if it is none."""
    text = text.strip()
    if text.endswith("ms"):
        if (milliseconds := _number(text[:-2])) is not None:
            return milliseconds / 1000
    elif text.endswith("s") and (seconds := _number(text[:-1])) is not None:
        return seconds
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    parts = zip(match.groups(), (86400.0, 3600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9), strict=True)
    return math.fsum(float(part) * unit_s for part, unit_s in parts if part)


_PART = r"(\d{1,9}(?:\.\d{1,9})?)"
_DURATION = re.compile(
    rf"(?:{_PART}d)?(?:{_PART}h)?(?:{_PART}m)?(?:{_PART}s)?(?:{_PART}ms)?(?:{_PART}[uµμ]s)?(?:{_PART}ns)?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_POLICY_WINDOW = re.compile(r";\s*w=(\d{1,9})\b", re.ASCII)
_MEMBER = re.compile(r'\s*("[^"]*"|[^;,\s"]+)((?:;[^,;"]*(?:"[^"]*"[^,;"]*)?)*)\s*(?:,|$)')
_PARAMETER = re.compile(r';\s*([a-z]+)=("?)([^;,"]*)\2')


def _observed(
    by: RateLimitOwner,
    unit: RateLimitUnit,
    limit: str | None,
    remaining: str,
    reset: str | None,
    window_s: float | None,
    date: str | None,
    now_s: float,
) -> list[RateObservation]:
    known, left, reset_s = _number(limit), _number(remaining), _seconds(reset, date, now_s)
    return _made(by, unit, known, left, reset_s, window_s or _window_found(known, left, reset_s))


def _made(
    by: RateLimitOwner,
    unit: RateLimitUnit,
    limit: float | None,
    remaining: float | None,
    reset_s: float | None,
    window_s: float | None,
) -> list[RateObservation]:
    if remaining is None and limit is None:
        return []
    return [RateObservation(by=by, unit=unit, limit=limit, remaining=remaining, reset_s=reset_s, window_s=window_s)]


def _window_found(limit: float | None, remaining: float | None, reset_s: float | None) -> float | None:
    """The window, from how long the missing part takes to come back: that is how these limits refill.

    Only the usual windows are taken (Groq's requests are per day, OpenAI's per minute or day, under one header name);
    a figure that is near none of them says that this limit refills otherwise.
    """
    if not limit or remaining is None or not reset_s or remaining >= limit:
        return None
    window_s = limit * reset_s / (limit - remaining)
    for usual in _WINDOWS_S:
        if usual < window_s * _NEAR and window_s < usual * _NEAR:
            return usual
    return None


def _helicone(headers: Mapping[str, str], remaining: str, now_s: float) -> list[RateObservation]:
    policy = headers.get("helicone-ratelimit-policy") or ""
    unit: RateLimitUnit = "cents" if "u=cents" in policy.lower() else "requests"
    reset_s = _seconds(headers.get("helicone-ratelimit-reset"), None, now_s)
    limit = _number(headers.get("helicone-ratelimit-limit"))
    return _made("helicone", unit, limit, _number(remaining), reset_s, _window_told(policy))


def _ietf(text: str, policy: str) -> Iterator[RateObservation]:
    """`"default";r=50;t=30` with its policy, or the older `limit=100, remaining=50, reset=5`."""
    if "remaining=" in text and ";r=" not in text:
        told = {name: value for name, _, value in (part.strip().partition("=") for part in text.split(","))}
        limit, left, reset_s = (_number(told.get(name)) for name in ("limit", "remaining", "reset"))
        yield from _made("provider", "requests", limit, left, reset_s, _window_told(policy))
        return
    policies = dict(_members(policy))
    for name, parameters in _members(text):
        own = policies.get(name, {})
        if own.get("qu", "requests") != "requests":
            continue
        limit, window_s = _number(own.get("q")), _number(own.get("w"))
        left, reset_s = _number(parameters.get("r")), _number(parameters.get("t"))
        yield from _made("provider", "requests", limit, left, reset_s, window_s or None)


def _members(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for match in _MEMBER.finditer(text[:_MOST_CHARS]):
        yield match[1].strip('"'), {name: value for name, _, value in _PARAMETER.findall(match[2])}


def _window_told(policy: str) -> float | None:
    match = _POLICY_WINDOW.search(policy[:_MOST_CHARS])
    return (float(match[1]) or None) if match else None


def _number(text: str | None) -> float | None:
    if not text:
        return None
    text = text.strip()
    plain = len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()  # nearly always; twice as fast
    return float(text) if plain or _NUMBER.fullmatch(text) else None


def _seconds(text: str | None, date: str | None, now_s: float) -> float | None:
    """Seconds from now: a number, a duration, or a moment as Unix seconds, milliseconds or in RFC 3339."""
    if not text:
        return None
    text = text.strip()
    if text.endswith("s"):
        seconds = duration_s(text)
    elif (seconds := _number(text)) is None:
        moment = _moment_s(text)
        seconds = None if moment is None else moment - _sent_s(date, now_s)
    elif seconds >= _EPOCH_MS:
        seconds = seconds / 1000 - _sent_s(date, now_s)
    elif seconds >= _EPOCH_S:
        seconds -= _sent_s(date, now_s)
    return max(0.0, seconds) if seconds is not None and seconds <= _LONGEST_S else None


def _moment_s(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _sent_s(date: str | None, now_s: float) -> float:
    sent = _date_s(date) if date else None
    return now_s if sent is None else sent


@lru_cache(maxsize=16)
def _date_s(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


__all__ = ["duration_s", "rate_limits_of"]

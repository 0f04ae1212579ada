"""Helicone's REST API: what it is asked about a call afterwards, and what its answers mean.

Every answer is an envelope, `{"data": …, "error": null}` or `{"data": null, "error": "text"}`; success is 201, or 200
with an older Helicone of one's own. Both writes replace what was there, so that repeating them is safe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from .._values import HttpReply, HttpRequest
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    GatewayError,
    HeliconeError,
    RateLimitExceededError,
)
from .failures import read_error
from .retry_after import retry_after_s

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504})
_MOST_SCORE = 2**53 - 1
"""Beyond it JavaScript, which reads them, rounds."""


def is_request_id(text: object) -> bool:
    """Whether a text is a UUID, which is what Helicone knows calls by."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def checked_rating(rating: object) -> bool:
    """A rating: True is good, False is bad.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(rating, bool):
        raise TypeError(f"`rating` must be True (good) or False (bad), not {rating!r}")
    return rating


def checked_scores(scores: object) -> dict[str, int | bool]:
    """Scores by name, as Helicone takes them.

    Raises:
        ConfigurationError: there are none, or a name or figure is out of range.
        TypeError: a value is of another type; Helicone takes whole numbers and booleans only.
    """
    if not isinstance(scores, Mapping):
        raise TypeError(f"`scores` must be a mapping of names to values, not {type(scores).__name__}")
    if not scores:
        raise ConfigurationError("`scores` is empty: give at least one")
    for name, value in scores.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(f"`scores` has the name {name!r}: names are texts that are not empty")
        if isinstance(value, float):
            raise TypeError(
                f"`scores[{name!r}]` is {value!r}, but Helicone takes no fractions: scale it, such as 92 for 0.92"
            )
        if not isinstance(value, int):
            raise TypeError(f"`scores[{name!r}]` must be an integer or a boolean, not {type(value).__name__}")
        if abs(value) > _MOST_SCORE:
            raise ConfigurationError(f"`scores[{name!r}]` is {value}, beyond what Helicone can keep exactly")
    return dict(scores)


def feedback_request(base_url: str, key: str, request_id: str, rating: bool) -> HttpRequest:
    """What rates a call."""
    return _post(f"{base_url}/v1/request/{request_id}/feedback", key, {"rating": rating})


def score_request(base_url: str, key: str, request_id: str, scores: Mapping[str, int | bool]) -> HttpRequest:
    """What gives a call scores."""
    return _post(f"{base_url}/v1/request/{request_id}/score", key, {"scores": dict(scores)})


def api_error(reply: HttpReply, host: str, *, request_id: str, now_s: float) -> HeliconeError | None:
    """The error that an answer stands for, None where it was done. `now_s` is Unix seconds, for dates in headers."""
    status = reply.status
    envelope = _envelope(reply.body)
    facts: dict[str, Any] = {"request_id": request_id, "http_status": status, "status_code": status}
    if 200 <= status < 300:
        if envelope is None:
            return DecodeError(f"{host} answered {status} with something that Helicone's API does not say", **facts)
        if envelope.get("error") is None:
            return None
        return GatewayError(f"Helicone refused it: {read_error(reply.body).message}", **facts)
    told = read_error(reply.body).message or f"{host} answered {status} without a word"
    if 300 <= status < 400:
        return GatewayError(f"{host} answered with a redirect, which is not followed: check helicone_api_url", **facts)
    if status in (401, 403):
        return AuthenticationError(f"{host} refused the Helicone key: {told}", which="helicone", **facts)
    wait_s = retry_after_s(reply.headers, now_s)
    if status == 429:
        return RateLimitExceededError(
            told, limited_by="helicone", retry_safe=True, throttled=True, retry_after_s=wait_s, **facts
        )
    # An envelope with an error is Helicone's own last word; a 500 without one comes from something in between.
    is_final = envelope is not None and "data" in envelope
    return GatewayError(told, retry_safe=status in _TRANSIENT and not is_final, retry_after_s=wait_s, **facts)


def _post(url: str, key: str, document: Mapping[str, Any]) -> HttpRequest:
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "User-Agent": "genops-helicone-async",
    }
    return HttpRequest(method="POST", url=url, headers=headers, body=msgspec.json.encode(document))


def _envelope(body: bytes) -> dict[str, Any] | None:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) and "error" in decoded else None


__all__ = ["api_error", "checked_rating", "checked_scores", "feedback_request", "is_request_id", "score_request"]

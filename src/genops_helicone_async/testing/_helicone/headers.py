"""`Helicone-*` request headers as Helicone's worker reads them, down to the values that crash it."""

import json
import re
import uuid
from typing import Any

import msgspec

from ..exchange import Headers, Reply, json_reply

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY = re.compile(
    r"[sp]k-(?:helicone-)?(?:cp-|eu-)?(?:rl-)?[a-z0-9]{7}-[a-z0-9]{7}-[a-z0-9]{7}-[a-z0-9]{7}",
)
_SUPPORT = "Please reach out on our discord or email us at help@helicone.ai, we'd love to help!"
LARGEST_BUCKET = 20
TOO_LARGE = "Cache bucket size cannot be greater than 20"


class WorkerCrash(Exception):
    """A header value the worker cannot read: it answers 500 in a form of its own."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """Retries the gateway itself is to make inside each attempt."""

    attempts: int
    factor: float
    least_ms: float
    most_ms: float

    def pause_s(self, number: int) -> float:
        """The wait after the attempt of that number, counted from 0; without the worker's jitter."""
        return min(self.most_ms, self.least_ms * self.factor**number) / 1000


NO_RETRIES = Retries(attempts=1, factor=1, least_ms=0, most_ms=0)


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers ask of the gateway."""

    ignored_keys: tuple[str, ...]
    retries: Retries
    mock: Any
    """The `__helicone-mock-response`, None where there is none."""
    bucket_too_large: bool


def read_orders(headers: Headers) -> Orders:
    """Read the headers.

    Raises:
        WorkerCrash: A value the worker cannot parse.
    """
    ignored = _parsed(f"[{headers.get('helicone-cache-ignore-keys', '')}]")
    _check_fallbacks(headers.get("helicone-fallbacks"))
    mode = headers.get("helicone-prompt-mode")
    if mode is not None and mode not in ("production", "testing", "deactivated"):
        raise WorkerCrash("Invalid prompt mode")
    mock = headers.get("__helicone-mock-response")
    return Orders(
        ignored_keys=tuple(str(name) for name in ignored),
        # The worker tests for presence only: `false` turns retries on as well.
        retries=_retries(headers) if "helicone-retry-enabled" in headers else NO_RETRIES,
        mock=None if mock is None else _parsed(mock),
        bucket_too_large=_number(headers, "helicone-cache-bucket-max-size", 1) > LARGEST_BUCKET,
    )


def crash_reply(message: str) -> Reply:
    """The 500 of a crashed worker."""
    document = {
        "helicone-message": f"Helicone ran into an error servicing your request: {message}",
        "support": _SUPPORT,
        "helicone-error": "{}",
    }
    reply = json_reply(document, 500, {"helicone-error": "true"})
    reply.content_type = "application/json;charset=UTF-8"
    return reply


def helicone_id(headers: Headers) -> str:
    """The request's id: the caller's own where it is a UUID of version 1 to 5, else a fresh one."""
    wanted = headers.get("helicone-request-id", "")
    return wanted if _UUID.fullmatch(wanted) else str(uuid.uuid4())


def is_key_shaped(key: str) -> bool:
    """Whether a Helicone key has the documented shape."""
    return _KEY.fullmatch(key) is not None


def _check_fallbacks(text: str | None) -> None:
    if text is None:
        return
    entries = _parsed(text)
    wanted = {"target-url", "headers", "onCodes"}
    if not isinstance(entries, list) or any(not isinstance(entry, dict) or wanted - entry.keys() for entry in entries):
        raise WorkerCrash("helicone-fallbacks must have target-url, headers, and onCodes")


def _retries(headers: Headers) -> Retries:
    return Retries(
        attempts=max(1, int(_number(headers, "helicone-retry-num", 5))),
        factor=_number(headers, "helicone-retry-factor", 2),
        least_ms=_number(headers, "helicone-retry-min-timeout", 1000),
        most_ms=_number(headers, "helicone-retry-max-timeout", 10_000),
    )


def _number(headers: Headers, name: str, default: float) -> float:
    try:
        return float(headers[name])
    except (KeyError, ValueError):
        return default


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            raise WorkerCrash("Unexpected end of JSON input") from error
        token = text[error.pos]
        raise WorkerCrash(f"Unexpected token '{token}', \"{text}\" is not valid JSON") from error

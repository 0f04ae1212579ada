"""The `Helicone-*` request headers a call can use, checked here because the worker answers a bad one with a crash.

Header values are text; what is not ASCII is percent-encoded as UTF-8, because the worker reads header bytes as
Latin-1. Control characters and line breaks are refused, never stripped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import msgspec

from ..errors import ConfigurationError

_POLICY = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?);w=(\d{1,9})(?:;u=(request|cents))?(?:;s=([\w-]+))?", re.IGNORECASE | re.ASCII
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_WINDOW_S = 31_536_000
_MAX_CACHE_AGE_S = 365 * 24 * 3600
_MAX_VALUE_CHARS = 8192
_MAX_NAME_CHARS = 128
_UNQUOTED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

OFFICIAL_PROPERTIES = {
    "team": "Helicone-Property-Team",
    "project": "Helicone-Property-Project",
    "customer_id": "Helicone-Property-Customer-Id",
    "environment": "Helicone-Property-Environment",
    "cost_center": "Helicone-Property-Cost-Center",
    "feature": "Helicone-Property-Feature",
}


class GatewayCache(msgspec.Struct, frozen=True, kw_only=True):
    """Helicone's own response cache: `ttl_s` seconds (None: 7 days), a bucket of answers per key, a key seed.

    A bucket of n answers must be full before the first hit. `ignore_keys` are top-level body fields left out of
    the key.
    """

    enabled: bool = True
    ttl_s: int | None = None
    bucket_size: int = 1
    seed: str | None = None
    ignore_keys: tuple[str, ...] = ()


class GatewayRetry(msgspec.Struct, frozen=True, kw_only=True):
    """Retries inside the gateway: `attempts` in all (not extra), backoff between the bounds in milliseconds."""

    attempts: int = 5
    factor: float = 2.0
    min_timeout_ms: int = 1000
    max_timeout_ms: int = 10000


class RateLimitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A token bucket kept by Helicone: `quota` per `window_s`, counted in requests or cents, per segment.

    `segment` is None for the whole organisation, `user`, or the name of a property that the call carries.
    """

    quota: float
    window_s: int
    unit: Literal["request", "cents"] = "request"
    segment: str | None = None


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What Helicone itself is asked to do for every call: cache, retry, limit, and whether it may store bodies.

    `rate_limit` is a `RateLimitPolicy` or its text, such as `1000;w=3600;s=user`.
    """

    cache: GatewayCache | None = None
    retry: GatewayRetry | None = None
    rate_limit: RateLimitPolicy | str | None = None
    omit_request: bool = False
    omit_response: bool = False


def header_value(name: str, value: object) -> str:
    """The value as it travels: refused with control characters or beyond 8 KiB, percent-encoded where not ASCII.

    Raises:
        ConfigurationError: the value cannot be a header's; the message names the header.
        TypeError: the value is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"the value of `{name}` must be text, not {type(value).__name__}")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value):
        raise ConfigurationError(f"the value of `{name}` holds a control character or a line break: remove it")
    try:
        encoded = value if value.isascii() else quote(value, safe=_UNQUOTED)
    except UnicodeEncodeError:
        raise ConfigurationError(f"the value of `{name}` holds an unpaired surrogate, which is no text") from None
    if len(encoded) > _MAX_VALUE_CHARS:
        raise ConfigurationError(
            f"the value of `{name}` takes {len(encoded)} characters in a header, over {_MAX_VALUE_CHARS}: shorten it"
        )
    return encoded


def header_name(prefix: str, name: str) -> str:
    """`prefix` + a name turned into a header's: words split by `-`, each capitalised.

    Raises:
        ConfigurationError: the name cannot be part of a header's name.
    """
    spelled = "-".join(word[:1].upper() + word[1:] for word in re.split(r"[ _]+", name.strip(" ")))
    if not _TOKEN.fullmatch(spelled) or len(spelled) > _MAX_NAME_CHARS:
        raise ConfigurationError(
            f"the attribute name {name[:_MAX_NAME_CHARS]!r} cannot be a header's: use letters, digits, `_` and `-`"
        )
    return prefix + spelled


def attribution_headers(attribution: Mapping[str, str]) -> dict[str, str]:
    """User, session and property headers of a call's attribution; anything unknown travels as a property."""
    headers: dict[str, str] = {}
    for name, value in attribution.items():
        if name == "user_id":
            header = "Helicone-User-Id"
        elif name == "session_id":
            header = "Helicone-Session-Id"
            headers.setdefault("Helicone-Session-Path", "/")
            headers.setdefault("Helicone-Session-Name", header_value("session_id", value))
        elif name == "session_path":
            header, value = "Helicone-Session-Path", value if value.startswith("/") else f"/{value}"
        elif name == "session_name":
            header = "Helicone-Session-Name"
        else:
            header = OFFICIAL_PROPERTIES.get(name) or header_name("Helicone-Property-", name)
        headers[header] = header_value(name, value)
    return headers


def gateway_headers(options: GatewayOptions | None, carried: Mapping[str, str]) -> dict[str, str]:
    """The headers for these options; `carried` are the call's other headers.

    Raises:
        ConfigurationError: an option is out of range, or the rate limit's segment is not on the call.
    """
    if options is None:
        return {}
    headers = {**(cache_headers(options.cache) if options.cache else {}), **retry_headers(options.retry)}
    if options.rate_limit is not None:
        headers.update(rate_limit_header(options.rate_limit, carried))
    if options.omit_request:
        headers["Helicone-Omit-Request"] = "true"
    if options.omit_response:
        headers["Helicone-Omit-Response"] = "true"
    return headers


def cache_headers(cache: GatewayCache) -> dict[str, str]:
    """Headers that switch Helicone's cache on. The lifetime is in `Cache-Control`: the worker reads only that.

    Raises:
        ConfigurationError: a bucket over 20 or a lifetime out of 1 s … 365 days.
        TypeError: a figure is no integer, or the ignored keys are one text.
    """
    if not cache.enabled:
        return {}
    headers = {"Helicone-Cache-Enabled": "true"}
    if cache.ttl_s is not None:
        _whole_number("ttl_s", cache.ttl_s, 1, _MAX_CACHE_AGE_S, "Helicone's cache keeps answers 1 s to 365 days")
        headers["Cache-Control"] = f"max-age={cache.ttl_s}"
    _whole_number("bucket_size", cache.bucket_size, 1, 20, "Helicone's cache takes 1 to 20")
    if cache.bucket_size > 1:
        headers["Helicone-Cache-Bucket-Max-Size"] = str(cache.bucket_size)
    if cache.seed is not None:
        headers["Helicone-Cache-Seed"] = header_value("seed", cache.seed)
    if cache.ignore_keys:
        headers["Helicone-Cache-Ignore-Keys"] = header_value("ignore_keys", _quoted(cache.ignore_keys))
    return headers


def _quoted(keys: tuple[str, ...]) -> str:
    """Names as JSON strings, all ASCII: the worker reads the header as what stands between the brackets of a list."""
    if isinstance(keys, str):
        raise TypeError("`ignore_keys` must be a tuple of names, not one text")
    for key in keys:
        header_value("ignore_keys", key)
    return ",".join(json.dumps(key) for key in keys)


def _whole_number(name: str, value: object, low: int, high: float, bounds: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise ConfigurationError(f"`{name}` is {value}: {bounds}")


def retry_headers(retry: GatewayRetry | None) -> dict[str, str]:
    """Headers that switch on retries inside the gateway; none at all otherwise, since `false` switches them on too."""
    if retry is None:
        return {}
    _whole_number("attempts", retry.attempts, 1, math.inf, "attempts are counted in all, the first one included")
    for name in ("min_timeout_ms", "max_timeout_ms"):
        _whole_number(name, getattr(retry, name), 1, math.inf, "give milliseconds, 1 or more")
    if not (0 < retry.factor < math.inf) or retry.min_timeout_ms > retry.max_timeout_ms:
        raise ConfigurationError(
            f"gateway retries {retry} make no sense: `factor` is above 0, `min_timeout_ms` not above `max_timeout_ms`"
        )
    return {
        "Helicone-Retry-Enabled": "true",
        "helicone-retry-num": str(retry.attempts),
        "helicone-retry-factor": str(retry.factor),
        "helicone-retry-min-timeout": str(retry.min_timeout_ms),
        "helicone-retry-max-timeout": str(retry.max_timeout_ms),
    }


def rate_limit_header(policy: RateLimitPolicy | str, carried: Mapping[str, str]) -> dict[str, str]:
    """The `Helicone-RateLimit-Policy` header. `carried` are the call's headers, which must name the segment.

    Raises:
        ConfigurationError: the policy breaks the grammar or its segment is not on the call; the worker would
            let both through without any limit.
    """
    text = policy if isinstance(policy, str) else _policy_text(policy)
    match = _POLICY.fullmatch(text)
    if match is None or float(match[1]) <= 0 or not 60 <= int(match[2]) <= _MAX_WINDOW_S:
        raise ConfigurationError(
            f"the rate limit policy {text!r} is not valid: write quota;w=seconds[;u=request|cents][;s=user|property], "
            f"quota above 0, 60 to {_MAX_WINDOW_S} seconds"
        )
    segment = match[4]
    if segment is not None:
        needed = "helicone-user-id" if segment.lower() == "user" else f"helicone-property-{segment.lower()}"
        if needed not in {name.lower() for name in carried}:
            raise ConfigurationError(
                f"the rate limit policy {text!r} needs the header {needed}, which this call does not carry"
            )
    return {"Helicone-RateLimit-Policy": text}


def _policy_text(policy: RateLimitPolicy) -> str:
    quota = f"{policy.quota:.6f}".rstrip("0").rstrip(".")  # `g` would write a million as 1e+06
    text = f"{quota};w={policy.window_s}"
    text += f";u={policy.unit}" if policy.unit != "request" else ""
    return text if policy.segment is None else f"{text};s={policy.segment}"


__all__ = [
    "GatewayCache",
    "GatewayOptions",
    "GatewayRetry",
    "RateLimitPolicy",
    "attribution_headers",
    "cache_headers",
    "gateway_headers",
    "header_name",
    "header_value",
    "rate_limit_header",
    "retry_headers",
]

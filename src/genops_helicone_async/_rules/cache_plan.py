"""What a cache is asked to be, checked: where answers are kept, for how long, how much of them, how keys are made."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import msgspec

from ..errors import ConfigurationError
from .cache_keys import KEY_STRATEGIES, KeyStrategy

CacheProvider = Literal["memory", "disk", "redis"]
CACHE_PROVIDERS: Final = ("memory", "disk", "redis")
LONGEST_TTL_S: Final = 10 * 365 * 24 * 3600.0
LEAST_BYTES: Final = 64 * 1024


class CachePlan(msgspec.Struct, frozen=True, kw_only=True):
    """`max_bytes`, `path` and `url` are None where the provider's default is meant."""

    provider: CacheProvider
    ttl_s: float
    strategy: KeyStrategy
    max_bytes: int | None = None
    path: str | None = None
    url: str | None = None


def plan_of(provider: Any, ttl_s: Any, strategy: Any, *, url: Any, path: Any, max_bytes: Any) -> CachePlan:
    """The plan these arguments mean.

    Raises:
        ConfigurationError: a value makes no sense, or does not go with the provider.
        TypeError: a value has the wrong type.
    """
    _one_of("cache_provider", provider, CACHE_PROVIDERS)
    _one_of("cache_key_strategy", strategy, KEY_STRATEGIES)
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float):
        raise TypeError(f"`cache_ttl` must be a number of seconds, not {type(ttl_s).__name__}")
    if not (math.isfinite(ttl_s) and 0 < ttl_s <= LONGEST_TTL_S):
        raise ConfigurationError(f"`cache_ttl` is {ttl_s!r}: give seconds, above 0 and at most ten years")
    for name, value, owner in (("url", url, "redis"), ("path", path, "disk")):
        if value is not None and provider != owner:
            raise ConfigurationError(f"`{name}` is for cache_provider={owner!r}, not {provider!r}: leave it out")
    if url is not None and not isinstance(url, str):
        raise TypeError(f"`url` must be a string, not {type(url).__name__}")
    if max_bytes is not None:
        _check_bytes(provider, max_bytes)
    return CachePlan(
        provider=provider, ttl_s=float(ttl_s), strategy=strategy, max_bytes=max_bytes, path=_file(path), url=url
    )


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, not {type(value).__name__}")
    if value not in known:
        raise ConfigurationError(f"`{name}` is {value!r}: use one of {', '.join(known)}")


def _check_bytes(provider: str, max_bytes: Any) -> None:
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
        raise TypeError(f"`max_bytes` must be an integer, not {type(max_bytes).__name__}")
    if provider == "redis":
        raise ConfigurationError("`max_bytes` is not for redis: the server bounds its own memory (maxmemory)")
    if max_bytes < LEAST_BYTES:
        raise ConfigurationError(f"`max_bytes` is {max_bytes}: give at least {LEAST_BYTES}")


def _file(path: Any) -> str | None:
    if path is None:
        return None
    try:
        text = path if isinstance(path, str) else path.__fspath__()
    except AttributeError:
        raise TypeError(f"`path` must be the path of a file, not {type(path).__name__}") from None
    if not isinstance(text, str):
        raise TypeError(f"`path` must be a text, not {type(text).__name__}")
    if not text or text.endswith("/") or "\0" in text:
        raise ConfigurationError(f"`path` is {text!r}: name a file")
    return text


__all__ = ["CACHE_PROVIDERS", "LEAST_BYTES", "LONGEST_TTL_S", "CachePlan", "CacheProvider", "plan_of"]

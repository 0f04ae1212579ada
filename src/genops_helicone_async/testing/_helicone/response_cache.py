"""Helicone's response cache as recorded: buckets fill first, the plain `Cache-Control` sets the time to live."""

import random
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

DEFAULT_TTL_S = 7 * 86_400
LONGEST_TTL_S = 365 * 86_400

_MAX_AGE = re.compile(r"(?:s-maxage|max-age)\s*=\s*(\d+)")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A reply kept: the provider's own headers and the body as it went out."""

    headers: dict[str, str]
    body: bytes
    latency_ms: int
    expires_s: float


class CacheOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the request's headers ask of the cache."""

    reads: bool
    saves: bool
    key: str
    bucket_size: int
    ttl_s: float


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A stored reply and the bucket slot it came from."""

    stored: Stored
    index: int


def cache_order(headers: Mapping[str, str], path: str, body: Any, ignored: tuple[str, ...]) -> CacheOrder:
    """Read the cache headers; the key covers body (key order counts), path, auth and cache headers."""
    enabled = headers.get("helicone-cache-enabled", "").lower() == "true"
    reads = enabled or headers.get("helicone-cache-read", "").lower() == "true"
    saves = enabled or headers.get("helicone-cache-save", "").lower() == "true"
    if not (reads or saves):
        return CacheOrder(reads=False, saves=False, key="", bucket_size=1, ttl_s=0)
    if isinstance(body, dict) and ignored:
        body = {name: value for name, value in body.items() if name not in ignored}
    identity = [
        (name, value)
        for name, value in sorted(headers.items())
        if name.startswith("helicone-cache") or name in ("helicone-auth", "authorization")
    ]
    key = blake2b(msgspec.json.encode((path, body, identity)), digest_size=16).hexdigest()
    found = _MAX_AGE.search(headers.get("cache-control", ""))
    return CacheOrder(
        reads=reads,
        saves=saves,
        key=key,
        bucket_size=int(headers.get("helicone-cache-bucket-max-size") or 1),
        ttl_s=min(int(found[1]), LONGEST_TTL_S) if found else DEFAULT_TTL_S,
    )


class ResponseCache:
    """Stored replies by key; a bucket of n answers only once n replies are in it."""

    __slots__ = ("_buckets", "_rng", "hits")

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._buckets: dict[str, list[Stored]] = {}
        self.hits = 0

    def find(self, order: CacheOrder, now_s: float) -> Hit | None:
        """A stored reply, when the bucket is full."""
        if not order.reads:
            return None
        live = [one for one in self._buckets.get(order.key, ()) if one.expires_s > now_s]
        if len(live) < order.bucket_size:
            return None
        self.hits += 1
        index = self._rng.randrange(order.bucket_size)
        return Hit(stored=live[index], index=index)

    def store(self, order: CacheOrder, headers: dict[str, str], body: bytes, latency_ms: int, now_s: float) -> None:
        """Keep a reply in the next free slot of its bucket."""
        if not order.saves:
            return
        live = [one for one in self._buckets.get(order.key, ()) if one.expires_s > now_s]
        if len(live) < order.bucket_size:
            expires_s = now_s + order.ttl_s
            live.append(Stored(headers=headers, body=body, latency_ms=latency_ms, expires_s=expires_s))
        self._buckets[order.key] = live

    def clear(self) -> None:
        """Forget every reply."""
        self._buckets.clear()
        self.hits = 0


def hit_headers(hit: Hit) -> dict[str, str]:
    """The headers that mark a stored reply."""
    return {
        "Helicone-Cache": "HIT",
        "Helicone-Cache-Bucket-Idx": str(hit.index),
        "Helicone-Cache-Latency": str(hit.stored.latency_ms),
    }

"""Token buckets: Helicone's `Helicone-RateLimit-Policy`, and the hidden limit of a provider."""

import math
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

_POLICY = re.compile(
    r"(?P<quota>\d+(?:\.\d+)?);w=(?P<window>\d+)(?:;u=(?P<unit>request|cents))?(?:;s=(?P<segment>[\w-]+))?",
    re.IGNORECASE,
)
_WINDOW_S = (60, 31_536_000)


class TokenBucket:
    """Holds up to `capacity` tokens and refills steadily; a balance may be pushed below zero."""

    __slots__ = ("_balance", "_refill_per_s", "_seen_s", "capacity")

    def __init__(self, capacity: float, refill_per_s: float, now_s: float) -> None:
        self.capacity = capacity
        self._refill_per_s = refill_per_s
        self._balance = capacity
        self._seen_s = now_s

    def balance(self, now_s: float) -> float:
        """Tokens in the bucket now."""
        grown = self._balance + (now_s - self._seen_s) * self._refill_per_s
        self._balance = min(self.capacity, grown)
        self._seen_s = now_s
        return self._balance

    def take(self, amount: float, now_s: float) -> None:
        """Take tokens out, whether they are there or not."""
        self._balance = self.balance(now_s) - amount

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until the bucket holds that many tokens."""
        return max(0.0, (amount - self.balance(now_s)) / self._refill_per_s)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed `Helicone-RateLimit-Policy`."""

    quota: float
    window_s: int
    unit: Literal["request", "cents"]
    segment: str | None

    @property
    def canonical(self) -> str:
        """The form Helicone answers with: defaults left out, lower case."""
        unit = ";u=cents" if self.unit == "cents" else ""
        segment = f";s={self.segment}" if self.segment else ""
        return f"{self.quota:.15g};w={self.window_s}{unit}{segment}"


def parse_policy(text: str) -> Policy | None:
    """The policy, or None where Helicone fails open: wrong order, unknown unit, window out of bounds."""
    found = _POLICY.fullmatch(text.strip())
    if found is None:
        return None
    quota, window_s = float(found["quota"]), int(found["window"])
    if quota <= 0 or not _WINDOW_S[0] <= window_s <= _WINDOW_S[1]:
        return None
    unit: Literal["request", "cents"] = "cents" if (found["unit"] or "").lower() == "cents" else "request"
    segment = found["segment"]
    return Policy(quota=quota, window_s=window_s, unit=unit, segment=segment.lower() if segment else None)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a policy lets one attempt through, and the headers that tell so."""

    allowed: bool
    headers: dict[str, str]
    bucket: TokenBucket | None = None
    in_cents: bool = False


_OPEN = Verdict(allowed=True, headers={})


class PolicyLimits:
    """The buckets of all policies, per organisation and segment."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}

    def check(self, headers: Mapping[str, str], organisation: str, body_user: str | None, now_s: float) -> Verdict:
        """Take a token for one attempt, as the policy in the headers says; no policy lets all through."""
        text = headers.get("helicone-ratelimit-policy")
        policy = parse_policy(text) if text else None
        if policy is None:
            return _OPEN
        segment = _segment_value(policy, headers, body_user)
        if segment is None:
            return Verdict(allowed=True, headers={"Helicone-RateLimit-Policy": policy.canonical})
        key = (organisation, policy.canonical, segment)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(policy.quota, policy.quota / policy.window_s, now_s)
            self._buckets[key] = bucket
        in_cents = policy.unit == "cents"
        balance = bucket.balance(now_s)
        allowed = balance > 0 if in_cents else balance >= 1
        if allowed and not in_cents:
            bucket.take(1, now_s)
        return Verdict(allowed=allowed, headers=_limit_headers(policy, bucket, now_s), bucket=bucket, in_cents=in_cents)

    def clear(self) -> None:
        """Fill every bucket again."""
        self._buckets.clear()


def _segment_value(policy: Policy, headers: Mapping[str, str], body_user: str | None) -> str | None:
    if policy.segment is None:
        return ""
    if policy.segment == "user":
        return headers.get("helicone-user-id") or body_user
    return headers.get(f"helicone-property-{policy.segment}")


def _limit_headers(policy: Policy, bucket: TokenBucket, now_s: float) -> dict[str, str]:
    headers = {
        "Helicone-RateLimit-Limit": f"{policy.quota:.15g}",
        "Helicone-RateLimit-Policy": policy.canonical,
        "Helicone-RateLimit-Remaining": str(max(0, math.floor(bucket.balance(now_s) + 1e-9))),
    }
    if reset_s := math.ceil(bucket.wait_s(bucket.capacity, now_s) - 1e-6):
        headers["Helicone-RateLimit-Reset"] = str(reset_s)
    return headers

"""Values that cross the layers inside: token counts, a request and a reply on the wire, a decoded reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from .models import PUSD_PER_USD, ToolCall


class Currency(msgspec.Struct, frozen=True):
    """The currency in which a caller sees money: its ISO code, and how many of it one US dollar buys."""

    code: str = "USD"
    rate: float = 1.0

    def of(self, pusd: int) -> float:
        """An amount of pico-dollars in this currency."""
        return pusd / PUSD_PER_USD * self.rate

    def to_pusd(self, amount: float) -> int:
        """An amount of this currency in pico-dollars."""
        return round(amount / self.rate * PUSD_PER_USD)


class TokenCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as they are billed: `input` is fresh + cached + cache-written, `output` includes `reasoning`.

    `cache_write` covers both lifetimes, `cache_write_1h` is the part of it written for an hour.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    @property
    def fresh(self) -> int:
        """Input tokens that were neither read from nor written to a cache."""
        return self.input - self.cached - self.cache_write


Credential = Literal["", "oauth2", "vertex"]
"""Whose token a request goes out with: none, that of the client's own OAuth credentials, or Google's."""


class HttpRequest(msgspec.Struct, kw_only=True):
    """One request, ready to send. `sent` turns True when its body starts to go out: from then on it may be billed.

    `credential` says whose token still has to be put in as bearer, since tokens change while headers are remembered.
    `request_id` is our UUID of the attempt, which only Helicone is told.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""
    sent: bool = False
    credential: Credential = ""
    request_id: str = ""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.url.partition('?')[0]}, {len(self.body)} bytes, sent={self.sent})"


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply: `headers` looks names up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider answered, whatever shape it came in.

    `usage` is None where the provider reported none; `reported_cost_usd` is set only where it reported a cost.
    """

    content: str
    finish_reason: str | None
    usage: TokenCounts | None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    served_model: str | None = None
    response_id: str | None = None
    reported_cost_usd: float | None = None
    partial: bool = False


RateLimitOwner = Literal["provider", "helicone"]
RateLimitUnit = Literal["requests", "tokens", "input_tokens", "output_tokens", "cents"]


class RateObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as a reply told it; None where it did not.

    `by` is whose limit it is. `limit` and `remaining` are in `unit`; `reset_s` is seconds until all is there again;
    `window_s` the time that `limit` is for: as told, or found from how fast it comes back.
    """

    by: RateLimitOwner
    unit: RateLimitUnit
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None
    window_s: float | None = None

    @property
    def rate_per_s(self) -> float | None:
        """How much the limit allows per second; None where the window is not known."""
        return self.limit / self.window_s if self.limit and self.window_s else None


__all__ = [
    "Credential",
    "Currency",
    "HttpReply",
    "HttpRequest",
    "RateLimitOwner",
    "RateLimitUnit",
    "RateObservation",
    "Reply",
    "TokenCounts",
]

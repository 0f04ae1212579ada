"""The values a caller gets back: frozen structs, dollars and seconds as floats.

Everything here is data. The request side is in `chat_request.py`, errors and attempts in `errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from .errors import Attempt, HeliconeError

CostSource = Literal["reported", "computed", "estimated", "unpriced"]
PUSD_PER_USD = 1_000_000_000_000
"""Money is an integer of pico-dollars inside; this many make a dollar."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool the model asked for; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str

    def decoded_arguments(self) -> Any:
        """The arguments as Python values; raises `msgspec.DecodeError` where the model wrote broken JSON."""
        return msgspec.json.decode(self.arguments or "{}")


class HeliconeUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, time and money of one answered call.

    `input_tokens` is everything that went in: fresh + cached + cache-written, as OpenTelemetry's GenAI conventions
    have it. `total_tokens` is input + output, never the gateway's own total, which counts cached tokens twice.
    `cost_source` says what a cost is worth: `reported` by the provider, `computed` from the usage it reported,
    `estimated` where it reported none, `unpriced` (0.0) where no price is known. Money is in `currency`.
    An answer from our own cache costs 0.0, has the tokens it was made of, and `saved_cost` is what they had cost.
    """

    provider: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    request_time: float = 0.0
    gateway_overhead: float | None = None
    provider_cost: float = 0.0
    helicone_cost: float = 0.0
    total_cost: float = 0.0
    cost_source: CostSource = "unpriced"
    currency: str = "USD"
    price_source: str | None = None
    price_date: str | None = None
    saved_cost: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Input plus output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def cost_per_token(self) -> float:
        """Dollars per token over input and output together; 0.0 without tokens."""
        return self.total_cost / self.total_tokens if self.total_tokens else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Output tokens per second of the whole request; 0.0 where no time was measured."""
        return self.output_tokens / self.request_time if self.request_time > 0 else 0.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could answer: `score` orders (lower first), `reason` says in words where it came from."""

    provider: str
    model: str
    score: float = 0.0
    reason: str = ""


class RoutingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Which strategy put which candidates into which order, which one answered, and why."""

    strategy: str
    candidates: tuple[Candidate, ...]
    selected: str
    reason: str


class HeliconeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    `content` is the text ("" when the model only called tools), `parsed` the value of `response_model`,
    `cached` True when a cache answered, ours or the gateway's, `metadata` the gateway's facts as text (`helicone_id`,
    `gateway_mode`, `served_model`, `helicone_cache`, …), `raw_body` the reply's bytes (empty for a stream).
    """

    content: str
    provider: str
    model: str
    usage: HeliconeUsage
    request_id: str
    session_id: str | None = None
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = None
    reasoning: str | None = None
    cached: bool = False
    routing: RoutingDecision
    attempts: tuple[Attempt, ...] = ()
    metadata: Mapping[str, str] = {}
    raw_body: bytes = b""

    @property
    def cost(self) -> float:
        """Dollars for this answer: `usage.total_cost`."""
        return self.usage.total_cost

    @property
    def raw(self) -> Any:
        """The reply's JSON as Python values, decoded when asked for; None for a stream."""
        return msgspec.json.decode(self.raw_body) if self.raw_body else None


class StreamChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer.

    `content` and `reasoning` are text to append, `tool_calls` pieces whose `arguments` are to be appended by
    index, `finish_reason` is set once, on the piece that ends the answer.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call: `id` and `name` come once, `arguments` is text to append to call number `index`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class EmbeddingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, one per text and in the order of the texts, each a tuple of floats."""

    embeddings: tuple[tuple[float, ...], ...]
    provider: str
    model: str
    usage: HeliconeUsage
    request_id: str
    routing: RoutingDecision
    attempts: tuple[Attempt, ...] = ()
    metadata: Mapping[str, str] = {}

    @property
    def cost(self) -> float:
        """Dollars for these vectors: `usage.total_cost`."""
        return self.usage.total_cost


class MultiProviderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What several providers made of one message.

    `responses` and `errors` are by provider, `cost_comparison` is dollars and `performance_metrics` seconds
    by provider. `errors` are failures only: who was cancelled because another had answered is told in
    `routing_decision.candidates`. `attempts` are the receipts of all, also of those that failed or were cancelled, and
    `billed_cost` is their sum. `content` and `usage` pass through to `primary_response`.
    """

    primary_response: HeliconeResponse
    responses: Mapping[str, HeliconeResponse]
    errors: Mapping[str, HeliconeError]
    routing_decision: RoutingDecision
    cost_comparison: Mapping[str, float]
    performance_metrics: Mapping[str, float]
    billed_cost: float
    attempts: tuple[Attempt, ...] = ()

    @property
    def content(self) -> str:
        """The primary response's text."""
        return self.primary_response.content

    @property
    def usage(self) -> HeliconeUsage:
        """The primary response's usage."""
        return self.primary_response.usage

    @property
    def cost(self) -> float:
        """Dollars billed for all providers together, with the estimates for failed and cancelled attempts."""
        return self.billed_cost


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One budget as it stands, in dollars. `held` is set aside for calls on their way.

    `name` is `daily`, `monthly`, `team:research`, …; `scope` the part before the colon; `period` `day` or `month`.
    """

    name: str
    scope: str
    period: str
    limit: float
    settled: float
    held: float
    remaining: float
    resets_at: datetime


class BudgetAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Spending has passed a share (`threshold`) of a budget's limit; dollars, and Unix seconds."""

    name: str
    threshold: float
    settled: float
    limit: float
    at_s: float


class BudgetOverrun(msgspec.Struct, frozen=True, kw_only=True):
    """A call cost more than the worst case set aside for it: a provider billed beyond the declared maximum."""

    request_id: str
    provider: str
    model: str
    held: float
    cost: float
    at_s: float


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `chat_many`: `index` counts the requests as they were read; `response` or `error` is set."""

    index: int
    request: Any
    response: HeliconeResponse | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the row was answered."""
        return self.error is None


class BulkProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How `chat_many` is getting on. `done` counts finished rows, `failed` those of them that have an error.

    `cost` is what the attempts of the finished rows were billed, failed ones included, in the adapter's currency. Of
    rows that were cancelled only the ledger knows. `elapsed_s` counts from the first result that was asked for.
    """

    read: int
    done: int
    failed: int
    in_flight: int
    cost: float
    elapsed_s: float
    is_over: bool = False


class ProviderCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a cheap, unbilled check of one provider found.

    `status`: `ok`, `key_refused`, `no_key`, `denied` (by policy), `unreachable`, `unsupported` (the route offers no
    check) or `error`.
    `latency_s` is the time of the check's one request, None where none was sent.
    """

    provider: str
    ok: bool
    status: str
    detail: str
    url: str = ""
    latency_s: float | None = None


__all__ = [
    "PUSD_PER_USD",
    "BudgetAlert",
    "BudgetOverrun",
    "BudgetStatus",
    "BulkProgress",
    "BulkResult",
    "Candidate",
    "CostSource",
    "EmbeddingResponse",
    "HeliconeResponse",
    "HeliconeUsage",
    "MultiProviderResponse",
    "ProviderCheck",
    "RoutingDecision",
    "StreamChunk",
    "ToolCall",
    "ToolCallDelta",
]

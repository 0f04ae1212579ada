"""The simulated providers at work: fault, limit, answer, waiting time and bill of every call."""

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from ..bill import Bill, BillRow
from ..faults import CUTTING, NOTHING_PRODUCED, Fault, FaultPlan
from .answers import CACHEABLE_TOKENS, Answer, answer, embedding
from .asks import Ask
from .catalogue import Provider
from .errors import Refusal, refusal, scripted_refusal
from .json_values import UnusableSchema
from .prices import PriceBook, Usage
from .prompt_memory import PromptMemory

_LATENCY_SIGMA = 0.35
_DIMENSIONS = {"text-embedding-3-large": 3072, "mistral-embed": 1024, "gemini-embedding-001": 3072}

UnknownModels = Literal["refuse", "answer"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call to one provider."""

    provider: Provider
    request_id: str
    spend: Callable[[int], None] | None = None
    """Takes the cost, in pico-dollars, from Helicone's credits, where the call runs on them."""
    names: tuple[str, ...] = ()
    """Further names of the model, for faults that name one."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The provider produced nothing, and the connection itself is to show it."""

    fault: Fault
    streaming: bool


class Meter:
    """Bills one reply once, when it is known how much of it was written."""

    __slots__ = ("_bill", "_call", "_kind", "_model", "row", "usage")

    def __init__(self, bill: Bill, call: Call, model: str, usage: Usage, kind: str) -> None:
        self._bill = bill
        self._call = call
        self._model = model
        self._kind = kind
        self.usage = usage
        self.row: BillRow | None = None

    def settle(self, *, output_tokens: int | None = None, completed: bool = True) -> None:
        """Bill the whole reply, or the tokens written before it broke off; a second call changes nothing."""
        if self.row is not None:
            return
        usage = self.usage
        if output_tokens is not None and output_tokens != usage.output_tokens:
            thought = min(usage.reasoning_tokens, output_tokens)
            usage = msgspec.structs.replace(usage, output_tokens=output_tokens, reasoning_tokens=thought)
        self.row = self._bill.charge(
            usage,
            request_id=self._call.request_id,
            provider=self._call.provider.name,
            model=self._model,
            kind=self._kind,
            completed=completed,
            on_credits=self._call.spend is not None,
        )
        if self._call.spend is not None:
            self._call.spend(self.row.cost_pusd)


class Produced(msgspec.Struct, frozen=True, kw_only=True):
    """A reply the provider wrote, or for a stream is about to write."""

    answer: Answer
    meter: Meter
    fault: Fault | None
    pace_s: float
    """Seconds per token of a stream."""
    headers: dict[str, str]
    cost_pusd: int
    latency_ms: int


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors and what they are billed for."""

    vectors: list[list[float]]
    tokens: int
    fault: Fault | None
    headers: dict[str, str]


class Upstream:
    """Every simulated provider."""

    __slots__ = ("_bill", "_book", "_faults", "_memory", "_rngs", "_scale", "_seed", "_serial", "_unknown")

    def __init__(
        self,
        *,
        seed: int,
        latency_scale: float,
        book: PriceBook,
        bill: Bill,
        faults: FaultPlan,
        cached_prompts: bool,
        unknown_models: UnknownModels,
    ) -> None:
        self._seed = seed
        self._scale = latency_scale
        self._book = book
        self._bill = bill
        self._faults = faults
        self._memory = PromptMemory() if cached_prompts else None
        self._unknown = unknown_models
        self._rngs: dict[str, random.Random] = {}
        self._serial = 0

    async def complete(self, call: Call, ask: Ask) -> Refusal | Broken | Produced:
        """Answer one request as the provider would, in its own time."""
        started_s = time.monotonic()
        provider = call.provider
        fault = await self._strike(call, ask.model, stream=ask.stream)
        if fault is not None and (fault.kind in NOTHING_PRODUCED or (fault.kind == "endless" and not ask.stream)):
            return Broken(fault=fault, streaming=ask.stream)
        refused, limits = self._refuses(call, ask.model, fault)
        if refused is not None:
            return refused
        try:
            reply = self._answer(provider, ask)
        except UnusableSchema as error:
            return refusal(provider, 400, f"Invalid schema: {error}")
        first_s, pace_s = self._latency(provider)
        await _pause(first_s if ask.stream else first_s + pace_s * reply.usage.output_tokens)
        kind = "stream" if ask.stream else "chat"
        meter = Meter(self._bill, call, ask.model, reply.usage, kind)
        if not ask.stream:
            meter.settle(completed=fault is None or fault.kind not in CUTTING)
        return Produced(
            answer=reply,
            meter=meter,
            fault=fault,
            pace_s=pace_s,
            headers={**_identity(provider, reply.serial), **limits, **((fault.headers if fault else None) or {})},
            cost_pusd=self._book.cost_pusd(provider.name, ask.model, reply.usage),
            latency_ms=int(1000 * (time.monotonic() - started_s)),
        )

    def answer_in_batch(self, call: Call, ask: Ask) -> Refusal | Answer:
        """Answer one row of a batch, at the price of batches; a fault that would break a connection is a 500 here."""
        provider = call.provider
        fault = self._faults.draw(provider.name, (ask.model, *call.names), stream=False, gateway=False)
        if fault is not None and fault.kind == "status":
            return scripted_refusal(provider, fault)
        if fault is not None and fault.kind in NOTHING_PRODUCED:
            return refusal(provider, 500)
        if not self._book.knows(provider.name, ask.model) and self._unknown == "refuse":
            return refusal(provider, 404, f"The model `{ask.model}` does not exist or you do not have access to it.")
        try:
            reply = self._answer(provider, ask)
        except UnusableSchema as error:
            return refusal(provider, 400, f"Invalid schema: {error}")
        Meter(self._bill, call, ask.model, reply.usage, "batch").settle()
        return reply

    async def embed(
        self, call: Call, model: str, inputs: list[tuple[str, int]], dimensions: int | None
    ) -> Refusal | Broken | Embedded:
        """Embed texts, given with their tokens, as the provider would, in its own time."""
        fault = await self._strike(call, model, stream=False)
        if fault is not None and (fault.kind in NOTHING_PRODUCED or fault.kind == "endless"):
            return Broken(fault=fault, streaming=False)
        refused, limits = self._refuses(call, model, fault)
        if refused is not None:
            return refused
        await _pause(self._latency(call.provider)[0])
        size = dimensions or _DIMENSIONS.get(model, 1536)
        vectors = [embedding(text, seed=self._seed, model=model, dimensions=size) for text, _ in inputs]
        usage = Usage(input_tokens=sum(tokens for _, tokens in inputs))
        meter = Meter(self._bill, call, model, usage, "embedding")
        meter.settle(completed=fault is None or fault.kind not in CUTTING)
        self._serial += 1
        headers = {**_identity(call.provider, self._serial), **limits}
        return Embedded(vectors=vectors, tokens=usage.input_tokens, fault=fault, headers=headers)

    @property
    def answers_unknown(self) -> bool:
        """Whether models without a price are answered, at no cost."""
        return self._unknown == "answer"

    def clear(self) -> None:
        """Forget remembered prompts."""
        if self._memory is not None:
            self._memory.clear()

    async def _strike(self, call: Call, model: str, *, stream: bool) -> Fault | None:
        names = (model, *call.names)
        fault = self._faults.draw(call.provider.name, names, stream=stream, gateway=False)
        if fault is not None and fault.delay_s and fault.kind != "slow_drip":
            await asyncio.sleep(fault.delay_s)
        if fault is not None and fault.kind == "hang":
            await asyncio.get_running_loop().create_future()
        return None if fault is not None and fault.kind == "delay" else fault

    def _refuses(self, call: Call, model: str, fault: Fault | None) -> tuple[Refusal | None, dict[str, str]]:
        provider = call.provider
        limits = self._faults.limit_headers(provider.name) or {}
        if "Retry-After" in limits:
            return refusal(provider, 429, headers=limits), limits
        if fault is not None and fault.kind == "status":
            return scripted_refusal(provider, fault), limits
        known = not model.startswith("unknown") and self._book.knows(provider.name, model)
        if not known and self._unknown == "refuse":
            message = f"The model `{model}` does not exist or you do not have access to it."
            return refusal(provider, 404, message), limits
        return None, limits

    def _answer(self, provider: Provider, ask: Ask) -> Answer:
        self._serial += 1
        cached = 0
        cacheable = ask.prompt_tokens > CACHEABLE_TOKENS and (provider.shape != "anthropic" or ask.marks_cache)
        if self._memory is not None and cacheable:
            cached = self._memory.cached_tokens(provider.name, ask.model, ask.prompt)
        return answer(
            ask,
            seed=self._seed,
            provider=provider.name,
            serial=self._serial,
            created=int(time.time()),
            cached_tokens=cached,
        )

    def _latency(self, provider: Provider) -> tuple[float, float]:
        if not self._scale:
            return 0.0, 0.0
        rng = self._rngs.get(provider.name)
        if rng is None:
            rng = self._rngs[provider.name] = random.Random(f"{self._seed}/{provider.name}")
        first_s = provider.ttft_s * math.exp(rng.gauss(0, _LATENCY_SIGMA))
        pace_s = 1 / (provider.tokens_per_s * math.exp(rng.gauss(0, _LATENCY_SIGMA / 2)))
        return self._scale * first_s, self._scale * pace_s


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _identity(provider: Provider, serial: int) -> dict[str, str]:
    name = "request-id" if provider.shape == "anthropic" else "x-request-id"
    return {name: f"req_sandbox{serial:08d}"}

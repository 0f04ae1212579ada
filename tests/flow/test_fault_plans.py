"""Thirty random plans of misfortune against a real gateway: deadlines hold, books balance, nothing stays behind."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any, get_args

import pytest

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, HeliconeError
from genops_helicone_async._edges.token_counter import counter
from genops_helicone_async.errors import Attempt
from genops_helicone_async.models import PUSD_PER_USD
from genops_helicone_async.testing import Fault, SandboxGateway
from genops_helicone_async.testing.faults import FaultKind

pytestmark = pytest.mark.anyio

PLANS = 30
CALLS = 30
PROVIDERS = ["openai", "anthropic", "groq"]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
SLACK_S = 0.15
BEAT_S = 0.01


@pytest.fixture(scope="module", autouse=True)
def tokenizer() -> None:
    """Loads the encodings, which takes half a second in which no other thread runs, and is not what is tested."""
    count = counter()
    for model in ("gpt-4o", "gpt-4"):
        count(model, "loaded")


def plan_of(draw: random.Random, number: int) -> list[Fault]:
    """Three to six faults, so that thirty plans have each kind at least once."""
    kinds = [KINDS[number % len(KINDS)], *draw.choices(KINDS, k=draw.randint(2, 5))]
    return [
        Fault(
            kind=kind,
            provider=draw.choice([None, *PROVIDERS]),
            probability=draw.choice([0.1, 0.3, 0.6, 1.0]),
            after=draw.choice([0, 0, 5]),
            times=draw.choice([None, None, 10]),
            status=draw.choice([307 if kind == "redirect" else 500, 429, 503, 400, 529, 404]),
            retry_after_ms=draw.choice([None, 20, 3_600_000]),
            delay_s=draw.choice([0.01, 0.2, 5.0]),
            at_chunk=draw.choice([None, 0, 2]),
        )
        for kind in kinds
    ]


class Stalls:
    """How long the event loop was kept from running, by a busy machine or by the sandbox, which shares it."""

    def __init__(self) -> None:
        self.total_s = 0.0

    async def watch(self) -> None:
        """Adds up what each beat comes late."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await asyncio.sleep(BEAT_S)
            self.total_s += max(0.0, clock() - began - 2 * BEAT_S)


class Play:
    """Calls of every kind, and what became of them."""

    def __init__(self, adapter: GenOpsHeliconeAsyncAdapter, draw: random.Random, stalls: Stalls) -> None:
        self.adapter = adapter
        self.stalls = stalls
        self.draw = draw
        self.answered: list[Attempt] = []
        self.attempts: list[Attempt] = []
        self.latest_s = 0.0

    async def one(self, number: int) -> None:
        """One call, whatever its end, and how late that was, but for the time in which nothing ran."""
        clock, timeout_s = asyncio.get_running_loop().time, self.draw.choice([0.1, 0.4, 0.8])
        own: dict[str, Any] = {"timeout_seconds": timeout_s, "max_tokens": 12}
        call, began, stalled_s = self._call(number, own), clock(), self.stalls.total_s
        try:
            self._note(await call)
        except HeliconeError as exc:
            self.attempts += exc.attempts
        late_s = clock() - began - timeout_s
        await asyncio.sleep(2 * BEAT_S)  # in which a stall that has just ended is counted
        self.latest_s = max(self.latest_s, late_s - (self.stalls.total_s - stalled_s))

    def _note(self, attempts: tuple[Attempt, ...]) -> None:
        self.attempts += attempts
        self.answered += [attempt for attempt in attempts if attempt.ok]

    def _call(self, number: int, own: dict[str, Any]) -> Awaitable[tuple[Attempt, ...]]:
        kind = ("chat", "stream", "embed", "fan_out", "race", "hedged", "consensus")[number % 7]
        if kind == "embed":
            own.pop("max_tokens")
            return self._embed(own)
        if kind == "chat":
            return self._chat(own)
        return self._stream(own) if kind == "stream" else self._several(kind, own)

    async def _chat(self, own: dict[str, Any]) -> tuple[Attempt, ...]:
        names = self.draw.sample(PROVIDERS, self.draw.randint(1, 3))
        return (await self.adapter.chat_async("Hi", providers=names, **own)).attempts

    async def _stream(self, own: dict[str, Any]) -> tuple[Attempt, ...]:
        async with self.adapter.stream_async("Hi", providers=self.draw.sample(PROVIDERS, 2), **own) as stream:
            async for _ in stream:
                pass
        return stream.response.attempts

    async def _embed(self, own: dict[str, Any]) -> tuple[Attempt, ...]:
        return (await self.adapter.embed_async("Hi", model="text-embedding-3-small", **own)).attempts

    async def _several(self, strategy: str, own: dict[str, Any]) -> tuple[Attempt, ...]:
        response = await self.adapter.multi_provider_chat_async(
            "Hi", providers=self.draw.sample(PROVIDERS, 3), routing_strategy=strategy, **own
        )
        return response.attempts


def limit(adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, draw: random.Random, number: int) -> None:
    """With and without limits, a budget, a hidden limit and an outage."""
    if number % 2:
        adapter.configure_rate_limits(
            requests_per_minute=draw.choice([60, 600]), tokens_per_minute=draw.choice([None, 3000]), max_concurrency=5
        )
    if number % 3 == 0:
        adapter.set_budget_limits(daily_limit=draw.choice([0.00002, 1.0]))
    if number % 4 == 0:
        gateway.faults.set_hidden_limit("groq", 120, 3)
    if number % 5 == 0:
        gateway.faults.down("openai", for_s=0.3)


@pytest.mark.parametrize("number", range(PLANS))
async def test_a_plan_of_misfortune(number: int) -> None:
    """No call outlives its deadline, each answer is paid as billed, and neither money, places nor tasks are held."""
    draw = random.Random(number)
    others = asyncio.all_tasks()
    async with SandboxGateway(seed=number, latency_scale=0.02) as gateway:
        faults = plan_of(draw, number)
        urls, keys = gateway.provider_urls, gateway.provider_keys
        where: dict[str, Any] = {"provider_urls": urls, "provider_keys": keys} if number % 2 else {}
        async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, **where) as adapter:
            gateway.faults.add(*faults)
            limit(adapter, gateway, draw, number)
            play = Play(adapter, draw, stalls := Stalls())
            watching = asyncio.ensure_future(stalls.watch())
            await asyncio.gather(*(play.one(i) for i in range(CALLS)))
            watching.cancel()
            told = adapter.statistics()
            held = [status.held for status in adapter.get_budget_status()]
            spent = adapter.get_usage_summary().total_cost
        bill = {row.request_id: row.cost_pusd + row.gateway_fee_pusd for row in gateway.bill.rows}
    assert play.latest_s < SLACK_S
    assert (told.slots.taken, told.slots.waiting, told.http.in_flight) == (0, 0, 0)
    assert [(gate.in_flight, gate.waiting) for gate in told.limits] == [(0, 0)] * len(told.limits)
    assert [health.in_flight for health in told.health] == [0] * len(told.health)
    assert set(held) <= {0.0}
    assert round(spent * PUSD_PER_USD) == sum(round(attempt.cost * PUSD_PER_USD) for attempt in play.attempts)
    if not any(fault.kind == "wrong_usage" for fault in faults):  # then the receipt follows the usage shown
        paid = {attempt.request_id: round(attempt.cost * PUSD_PER_USD) for attempt in play.answered}
        assert paid == {name: bill.get(name, 0) for name in paid}
    assert asyncio.all_tasks() <= others | {asyncio.current_task()}

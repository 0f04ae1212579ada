"""Routing through real calls: who is asked first under each strategy, and who follows."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from flow_parts import Rig
from several_parts import after, provider_of
from virtual_time import in_virtual_time

from genops_helicone_async import (
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    RoutingContext,
    RoutingError,
)
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.testing import Fault, SandboxGateway, ScriptedTransport
from genops_helicone_async.testing.scripted import Step

pytestmark = pytest.mark.anyio

PROVIDERS = ["openai", "anthropic", "groq"]


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
async def adapter(gateway: SandboxGateway) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter that talks to it and does not repeat."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0) as talking:
        yield talking


async def test_cost_optimized_asks_the_cheapest_for_this_request(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """The expected cost of the call decides, and the decision shows every candidate with its figure."""
    response = await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="cost_optimized")
    routing = response.routing
    assert (response.provider, routing.selected, routing.strategy) == ("groq", "groq", "cost_optimized")
    assert [candidate.provider for candidate in routing.candidates] == ["groq", "openai", "anthropic"]
    assert sorted(candidate.score for candidate in routing.candidates) == [c.score for c in routing.candidates]


async def test_failover_keeps_the_order_given_and_goes_down_it(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """Those that fail are asked once each, in order, until one answers."""
    gateway.faults.add(Fault(kind="status", provider="anthropic", status=500))
    gateway.faults.add(Fault(kind="status", provider="openai", status=503))
    order = ["anthropic", "openai", "groq"]
    response = await adapter.chat_async("Hi", providers=order, routing_strategy="failover")
    assert [attempt.provider for attempt in response.attempts] == order
    assert response.routing.selected == "groq"


async def test_round_robin_takes_turns(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Six calls over three providers are two each."""
    asked = [
        (await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="round_robin")).provider for _ in range(6)
    ]
    assert Counter(asked) == {"openai": 2, "anthropic": 2, "groq": 2}
    assert asked[:3] == asked[3:]


async def test_performance_goes_where_answers_come_sooner(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """A provider that is slow loses the calls once it has been seen."""
    gateway.faults.add(Fault(kind="delay", provider="openai", delay_s=0.1))
    for _ in range(30):
        await adapter.chat_async("Hi", providers=["openai", "groq"], routing_strategy="performance_optimized")
    asked = Counter(request.provider for request in gateway.requests)
    assert asked["groq"] >= 24
    assert asked["openai"] >= 1


async def test_a_provider_whose_circuit_is_open_is_asked_last(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """After five failures in a row the next calls go to the other at once, and the reason says why."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=500))
    responses = [await adapter.chat_async("Hi", providers=["openai", "groq"]) for _ in range(7)]
    assert [len(response.attempts) for response in responses] == [2, 2, 2, 2, 2, 1, 1]
    assert responses[-1].routing.candidates[-1].reason.startswith("circuit open, asked last")


async def test_weights_are_shares_of_the_calls(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Preferences name providers, models and weights; a weight of nothing is refused."""
    preferences = {"openai": {"model": "gpt-4o", "weight": 0.8}, "groq": 0.2}
    responses = await asyncio.gather(*(adapter.chat_async("Hi", provider_preferences=preferences) for _ in range(200)))
    asked = Counter((response.provider, response.model) for response in responses)
    assert set(asked) == {("openai", "gpt-4o"), ("groq", "llama-3.1-8b-instant")}
    assert 120 < asked["openai", "gpt-4o"] < 190
    for weight in (0, -1, float("nan")):
        with pytest.raises(ConfigurationError, match="provider_preferences"):
            await adapter.chat_async("Hi", provider_preferences={"openai": weight, "groq": 1})


async def test_a_fallback_strategy_orders_those_who_follow(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """With one provider and a fallback strategy the other configured ones follow it."""
    gateway.faults.add(Fault(kind="status", provider="anthropic", status=500))
    response = await adapter.chat_async("Hi", provider="anthropic", fallback_strategy="cost_optimized")
    assert [attempt.provider for attempt in response.attempts] == ["anthropic", "groq"]


async def test_a_function_of_your_own_decides(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """It is told of prices, health, team and time, and names who is asked first; it may be asynchronous."""
    told: list[RoutingContext] = []

    def cheapest(providers: list[str], message: object, context: RoutingContext) -> str:
        told.append(context)
        return min(context.candidates, key=lambda c: c.expected_cost or 0.0).provider

    async def research_to_anthropic(providers: list[str], message: object, context: RoutingContext) -> list[str] | None:
        return ["anthropic", "openai"] if context.team == "research" else None

    adapter.register_routing_strategy("cheapest", cheapest)
    adapter.register_routing_strategy("by_team", research_to_anthropic)
    adapter.set_budget_limits(daily_limit=5.0)
    first = await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="cheapest", max_tokens=10)
    second = await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="by_team", team="research")
    third = await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="by_team")
    assert [response.provider for response in (first, second, third)] == ["groq", "anthropic", "openai"]
    assert told[0].candidate("openai") is not None
    assert (told[0].max_tokens, told[0].now.tzinfo is not None) == (10, True)
    assert 4.9 < (told[0].budget_left or 0.0) <= 5.0


async def test_a_function_may_name_a_known_provider_that_was_no_candidate(
    adapter: GenOpsHeliconeAsyncAdapter,
) -> None:
    """A known one is taken, with its default model; an unknown name is an error."""
    adapter.register_routing_strategy("elsewhere", lambda providers, message, context: "mistral")
    adapter.register_routing_strategy("nowhere", lambda providers, message, context: "atlantis")
    response = await adapter.chat_async("Hi", providers=["openai", "groq"], routing_strategy="elsewhere")
    assert (response.provider, response.routing.selected) == ("mistral", "mistral")
    with pytest.raises(RoutingError, match="atlantis"):
        await adapter.chat_async("Hi", providers=["openai", "groq"], routing_strategy="nowhere")


async def test_an_unknown_strategy_names_those_there_are(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """The error lists the built-in strategies and the caller's own; a built-in name cannot be taken."""
    adapter.register_routing_strategy("mine", lambda providers, message, context: None)
    with pytest.raises(RoutingError, match=r"unknown routing strategy 'fastest'.*failover.*your own mine"):
        await adapter.chat_async("Hi", providers=PROVIDERS, routing_strategy="fastest")
    with pytest.raises(ConfigurationError, match="built-in"):
        adapter.register_routing_strategy("failover", lambda providers, message, context: None)


async def test_decisions_that_are_remembered_follow_health_and_turns(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """The same targets in the same order are the same decision, until a circuit opens and after it has closed."""
    order = ["openai", "groq"]
    first, second = [(await adapter.chat_async("Hi", providers=order)).routing for _ in range(2)]
    assert first == second
    assert [candidate.reason for candidate in first.candidates] == ["number 1 as given", "number 2 as given"]
    turns = [
        (await adapter.chat_async("Hi", providers=order, routing_strategy="round_robin")).routing for _ in range(2)
    ]
    assert {turn.selected for turn in turns} == {"openai", "groq"}
    assert [[candidate.reason for candidate in turn.candidates] for turn in turns] == [["its turn", "next in turn"]] * 2
    gateway.faults.down("openai")
    for _ in range(5):
        await adapter.chat_async("Hi", providers=order)
    resting = (await adapter.chat_async("Hi", providers=order)).routing
    assert [candidate.provider for candidate in resting.candidates] == ["groq", "openai"]
    assert resting.candidates[1].reason == "circuit open, asked last; number 1 as given"
    weighted = await adapter.chat_async("Hi", provider_preferences={"openai": 99.0, "groq": 1.0})
    assert (weighted.provider, len(weighted.attempts)) == ("groq", 1)


async def test_the_cheapest_by_receipt_is_the_cheapest_asked(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """On mixed requests: what `cost_optimized` chose costs no more by the gateway's bill than any other would have."""
    providers, chosen, dearer = ["openai", "anthropic", "groq"], 0, 0
    for words, most in ((1, 5), (1, 200), (400, 5), (400, 200)):
        options = {"max_tokens": most, "temperature": 0.0}
        message = "word " * words
        best = await adapter.chat_async(message, providers=providers, routing_strategy="cost_optimized", **options)
        everyone = [await adapter.chat_async(message, provider=name, **options) for name in providers]
        assert best.cost == min(answer.cost for answer in everyone)
        chosen += round(best.cost * 10**12)
        dearer += sum(round(answer.cost * 10**12) for answer in everyone)
    assert chosen + dearer == gateway.bill.total_pusd


async def test_own_quality_scores_decide(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """What the caller says of a model comes before the table, by model or by provider and model."""
    models = {"openai": "gpt-4o", "groq": "llama-3.1-8b-instant"}
    options = {"providers": list(models), "model_preferences": models, "routing_strategy": "quality_optimized"}
    assert (await adapter.chat_async("Hi", **options)).provider == "openai"
    adapter.set_quality_scores({"groq/llama-3.1-8b-instant": 2000.0})
    response = await adapter.chat_async("Hi", **options)
    assert (response.provider, response.routing.reason) == ("groq", "quality 2000")
    adapter.set_quality_scores({})
    assert (await adapter.chat_async("Hi", **options)).provider == "openai"


SWAPPED_S = 600.0


@in_virtual_time
async def test_performance_finds_out_that_the_fast_one_has_become_slow() -> None:
    """Latencies change places in the middle: before and after, most calls go to whoever is fast then."""
    loop, draw = asyncio.get_running_loop(), random.Random(7)
    began_s = loop.time()

    def step(request: HttpRequest) -> Step:
        fast = "openai" if loop.time() - began_s < SWAPPED_S else "groq"
        provider = provider_of(request)
        return after(0.5 if provider == fast else 2.0)(provider)

    rig = Rig(ScriptedTransport(step))
    rig.pipeline.router._random = draw.random
    asked: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    found_s = None
    while loop.time() - began_s < 2 * SWAPPED_S:
        is_swapped = loop.time() - began_s >= SWAPPED_S
        providers = ["groq", "openai"]
        response = await rig.chat(providers=providers, routing_strategy="performance_optimized")
        asked[is_swapped][response.provider] += 1
        if is_swapped and found_s is None and response.routing.reason.startswith("500 ms on average"):
            found_s = loop.time() - began_s - SWAPPED_S
    assert asked[False]["openai"] >= 0.9 * asked[False].total()
    assert asked[True]["groq"] >= 0.9 * asked[True].total()
    assert found_s is not None
    assert found_s < 120

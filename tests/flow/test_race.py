"""All at once, the first answer counts: who wins, whom it costs what, and that nothing of the losers remains."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from flow_parts import Rig
from several_parts import ALL, after, asked, cancelled, playing, pusd, reasons, several, upstream
from stepping import Stepped, When
from virtual_time import in_virtual_time, run_virtually

from genops_helicone_async import (
    AllProvidersFailedError,
    BudgetExceededError,
    ConfigurationError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    ProviderError,
    RoutingError,
)
from genops_helicone_async.models import MultiProviderResponse
from genops_helicone_async.testing import Fault, SandboxGateway, ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, error_answer

pytestmark = pytest.mark.anyio


@in_virtual_time
async def test_the_first_answer_wins() -> None:
    """The others are cancelled, are no errors, and what they may have cost is in the sum."""
    rig = Rig(playing(openai=after(3), groq=after(1), mistral=after(2)))
    started = asyncio.get_running_loop().time()
    response = await several(rig, "race")
    assert asyncio.get_running_loop().time() - started == 1
    assert (response.content, list(response.responses), response.errors) == ("groq", ["groq"], {})
    assert response.routing_decision.strategy == "race"
    assert (response.routing_decision.selected, response.routing_decision.reason) == ("groq", "groq answered first")
    assert reasons(response) == {
        "openai": "asked at once with the others; cancelled: groq answered first",
        "groq": "asked at once with the others; answered first",
        "mistral": "asked at once with the others; cancelled: groq answered first",
    }
    assert [(a.provider, a.billed, a.cost_source) for a in response.attempts] == [
        ("openai", "maybe", "estimated"),
        ("groq", "yes", "computed"),
        ("mistral", "maybe", "estimated"),
    ]
    assert pusd(response.cost) == sum(hold.settled[0] for hold in rig.budget.holds)
    assert pusd(response.primary_response.cost) == 10 * 100_000 + 5 * 300_000
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_a_loser_that_had_answered_stays() -> None:
    """Two answers in the same moment: both were paid for, both are given, the earlier one counts."""
    rig = Rig(playing(openai=Hang(), groq=after(1), mistral=after(1)))
    response = await several(rig, "race")
    assert (response.content, list(response.responses)) == ("groq", ["groq", "mistral"])
    assert reasons(response)["mistral"] == "asked at once with the others; answered"
    assert list(response.cost_comparison) == list(response.performance_metrics) == ["groq", "mistral"]
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_an_answer_that_the_ledger_is_writing_down_is_kept() -> None:
    """It is paid for: the race waits for the disk instead of throwing it away."""
    rig = Rig(playing(openai=after(1), groq=after(1.25), mistral=Hang()))
    rig.budget.write_s = 0.5
    response = await several(rig, "race")
    assert (response.content, list(response.responses)) == ("openai", ["openai", "groq"])
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_failures_before_the_first_answer_are_told() -> None:
    """They are errors; a race goes on without them."""
    rig = Rig(playing(openai=error_answer(400, "no"), groq=after(1), mistral=after(2)), retry_attempts=0)
    response = await several(rig, "race")
    assert response.content == "groq"
    assert {name: type(error) for name, error in response.errors.items()} == {"openai": ProviderError}
    assert reasons(response)["openai"] == "asked at once with the others; failed: ProviderError"
    rig.assert_settled(calls=3)


async def test_all_failing_is_one_error() -> None:
    """With every story and every attempt."""
    down = error_answer(503, "down")
    rig = Rig(playing(openai=down, groq=down, mistral=down), retry_attempts=0)
    with pytest.raises(
        AllProvidersFailedError, match="none of 3 providers answered: openai: down; groq: down"
    ) as caught:
        await several(rig, "race")
    assert [attempt.provider for attempt in caught.value.attempts] == ALL
    rig.assert_settled(calls=3)


def test_one_deadline_over_all() -> None:
    """Looking up a price takes of the time that there is; all end together."""

    async def play() -> None:
        rig = Rig(playing(openai=Hang(), groq=Hang(), mistral=Hang()), awaited_prices=True)
        with pytest.raises(AllProvidersFailedError) as caught:
            await several(rig, "race", timeout_seconds=4)
        assert [attempt.error for attempt in caught.value.attempts] == ["DeadlineExceededError"] * 3
        rig.assert_settled(calls=3)

    assert run_virtually(play()) == (None, 4.0)


@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
async def test_one_provider_is_asked_once(strategy: str) -> None:
    """Alone, or under two spellings."""
    for providers in (["groq"], ["Groq", "groq"]):
        rig = Rig(playing())
        response = await several(rig, strategy, providers=providers)
        assert (response.content, list(response.responses), asked(rig)) == ("groq", ["groq"], {"groq": 1})
        assert [candidate.provider for candidate in response.routing_decision.candidates] == ["groq"]
        rig.assert_settled()


@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"providers": ["openai", "nobody"]}, ConfigurationError, "unknown provider 'nobody'"),
        ({"providers": []}, ConfigurationError, "`providers` is an empty list"),
        ({"providers": ["groq", "groq"]}, ConfigurationError, "`providers` names a provider twice"),
        ({"providers": None}, ConfigurationError, "name the providers to ask"),
        ({"fallback_strategy": "failover"}, ConfigurationError, "`fallback_strategy` does not go with"),
        ({"hedge_after_s": -1, "routing_strategy": "hedged"}, ConfigurationError, "`hedge_after_s` is -1"),
        ({"hedge_after_s": float("nan")}, ConfigurationError, "`hedge_after_s` is nan"),
        ({"hedge_after_s": "1"}, TypeError, "`hedge_after_s` must be a number"),
        ({"consensus_key": "content"}, TypeError, "`consensus_key` must be a function"),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(
    strategy: str, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """Nobody is asked."""
    rig = Rig(playing())
    with pytest.raises(error, match=told):
        await several(rig, strategy, **options)
    assert (asked(rig), rig.records) == ({}, [])


@pytest.mark.parametrize(
    ("strategy", "options", "told"),
    [
        ("race", {"hedge_after_s": 1}, "`hedge_after_s` is for routing_strategy='hedged', not 'race'"),
        ("failover", {"hedge_after_s": 1}, "`hedge_after_s` is for routing_strategy='hedged', not 'failover'"),
        ("fan_out", {"consensus_key": str}, "`consensus_key` is for routing_strategy='consensus', not 'fan_out'"),
        ("hedged", {"consensus_key": str}, "`consensus_key` is for routing_strategy='consensus', not 'hedged'"),
    ],
)
async def test_a_keyword_of_another_strategy_is_refused(strategy: str, options: dict[str, Any], told: str) -> None:
    """It would have no effect, so it must be a mistake."""
    rig = Rig(playing())
    with pytest.raises(ConfigurationError, match=told):
        await several(rig, strategy, **options)
    assert asked(rig) == {}


@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
async def test_one_answer_cannot_be_asked_for_this_way(strategy: str) -> None:
    """The verbs that give one answer say which verb has the strategy; and nobody can give its name to their own."""
    rig = Rig(playing())
    with pytest.raises(
        RoutingError, match=f"'{strategy}' may ask several providers at once: use .*multi_provider_chat"
    ):
        await rig.chat(providers=ALL, routing_strategy=strategy)
    assert asked(rig) == {}
    adapter = GenOpsHeliconeAsyncAdapter("sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd")
    with pytest.raises(ConfigurationError, match=f"'{strategy}', a built-in strategy"):
        adapter.register_routing_strategy(strategy, lambda providers, message, context: providers)


@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
async def test_cancelled_at_any_await_nothing_is_left(strategy: str, when: When) -> None:
    """Wherever it is cancelled, the caller sees a cancellation and no group, and every branch is settled once."""
    for at in range(1, 40):
        rig = Rig(playing(openai=error_answer(503)), awaited_prices=True, retry_attempts=0)
        stepped = Stepped(at, when)
        task = asyncio.ensure_future(stepped.run(several(rig, strategy)))
        await asyncio.wait([task])
        rig.assert_settled(calls=len(rig.records))
        assert len(rig.records) == len(rig.budget.holds) <= 3
        assert open_bodies(rig) == 0
        if not stepped.struck:
            assert task.exception() is None
            assert at > 3
            return
        assert task.cancelled()
    raise AssertionError("the call never ended")


def open_bodies(rig: Rig) -> int:
    """Replies that are still being read."""
    transport = rig.pipeline.transport
    assert isinstance(transport, ScriptedTransport)
    return transport.open_bodies


@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
async def test_what_is_no_failure_of_a_provider_comes_as_it_is(strategy: str) -> None:
    """A program's exit, or a defect, stops all branches and is raised itself, in no group."""

    class OwnError(Exception):
        pass

    for reason in (KeyboardInterrupt(), SystemExit(3), OwnError()):

        def fail(_provider: str, reason: BaseException = reason) -> Answer:
            raise reason

        rig = Rig(playing(openai=fail, groq=Hang(), mistral=Hang()))
        with pytest.raises(type(reason)) as caught:
            await several(rig, strategy)
        assert caught.value is reason
        rig.assert_settled(calls=len(rig.records))
        assert open_bodies(rig) == 0


def test_a_storm_of_cancellations_leaves_nothing() -> None:
    """Of 400 calls of all kinds, cancelled here and there: nothing held, no task, every branch settled once."""

    async def play() -> None:
        draw = random.Random(7)

        def fate(provider: str) -> Any:
            step = draw.choice((after(draw.random()), after(draw.random()), error_answer(503), Hang(), after(9)))
            return step(provider) if callable(step) else step

        rig = Rig(playing(openai=fate, groq=fate, mistral=fate), max_connections=50)
        rig.budget.write_s = 0.01
        kinds = ("race", "fan_out", "hedged", "consensus")
        tasks = []
        for number in range(400):
            options: dict[str, Any] = {"hedge_after_s": 0.1} if number % 4 == 2 else {}
            tasks.append(asyncio.ensure_future(several(rig, kinds[number % 4], timeout_seconds=2, **options)))
            if draw.random() < 0.5:
                await asyncio.sleep(draw.choice((0, 0.01, 0.1)))
                draw.choice(tasks).cancel()
        await asyncio.wait(tasks)
        ended = [task.exception() for task in tasks if not task.cancelled()]
        assert [type(error) for error in ended if not isinstance(error, HeliconeError | None)] == []
        assert 50 < len(ended) < 400
        rig.assert_settled(calls=len(rig.records))
        assert len(rig.budget.holds) == len(rig.records)
        assert open_bodies(rig) == 0
        for task in tasks:
            if not task.cancelled() and task.exception() is None:
                response = task.result()
                assert pusd(response.cost) == sum(pusd(attempt.cost) for attempt in response.attempts)

    run_virtually(play())


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, unless told otherwise."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def test_the_losers_connections_are_dropped(gateway: SandboxGateway) -> None:
    """The gateway sees both clients leave within half a second, and bills one answer: ours; budgets hold nothing."""
    gateway.faults.add(*(Fault(kind="delay", provider=name, delay_s=60) for name in ("openai", "mistral")))
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        response = await adapter.multi_provider_chat_async("Hello", ALL, routing_strategy="race", max_tokens=50)
        async with asyncio.timeout(0.5):
            await gateway.idle()
        (status,) = adapter.get_budget_status()
    assert (response.primary_response.provider, response.errors) == ("groq", {})
    assert upstream(gateway) == {"openai": 1, "groq": 1, "mistral": 1}
    assert cancelled(gateway) == ["mistral", "openai"]
    assert pusd(response.primary_response.cost) == gateway.bill.by_provider["groq"]
    assert {a.provider: a.cost_source for a in response.attempts if a.billed == "maybe"} == {
        "openai": "estimated",
        "mistral": "estimated",
    }
    assert (status.held, pusd(status.settled)) == (0.0, pusd(response.cost))


@pytest.mark.parametrize("strategy", ["race", "fan_out", "hedged", "consensus"])
async def test_where_no_budget_has_room_the_refusal_is_raised(gateway: SandboxGateway, strategy: str) -> None:
    """It was no provider's failure: nobody was asked."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1e-9)
        with pytest.raises(BudgetExceededError) as caught:
            await adapter.multi_provider_chat_async("Hello", ALL, routing_strategy=strategy)
        assert (caught.value.scope, caught.value.attempts, gateway.requests) == ("daily", (), ())
        (status,) = adapter.get_budget_status()
        assert (status.held, status.settled) == (0.0, 0.0)


async def test_a_storm_over_a_real_network_leaves_nothing(gateway: SandboxGateway) -> None:
    """Of 120 calls of all kinds many are cancelled: nothing held, no connection in use, the bill covered."""
    draw = random.Random(3)
    gateway.faults.add(
        Fault(kind="status", status=503, probability=0.2),
        Fault(kind="reset", probability=0.1),
        Fault(kind="delay", delay_s=0.05, probability=0.4),
        Fault(kind="delay", delay_s=60, probability=0.2),
    )
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        tasks = []
        for number in range(120):
            kind = ("race", "fan_out", "hedged", "consensus")[number % 4]
            options: dict[str, Any] = {"hedge_after_s": 0.01} if kind == "hedged" else {}
            call = adapter.multi_provider_chat_async(
                f"Call {number}", ALL, routing_strategy=kind, timeout_seconds=1.5, max_tokens=20, **options
            )
            tasks.append(asyncio.ensure_future(call))
            if draw.random() < 0.4:
                await asyncio.sleep(draw.choice((0, 0.01)))
                draw.choice(tasks).cancel()
        await asyncio.wait(tasks)
        await gateway.idle()
        (status,) = adapter.get_budget_status()
        told = adapter.statistics()
    errors = [task.exception() for task in tasks if not task.cancelled()]
    assert [error for error in errors if not isinstance(error, HeliconeError | None)] == []
    assert (status.held, told.http.in_flight, told.slots.taken, told.slots.waiting) == (0.0, 0, 0, 0)
    assert pusd(status.settled) >= gateway.bill.total_pusd


async def test_a_cancelled_race_is_seen_upstream(gateway: SandboxGateway) -> None:
    """All three clients leave within half a second; nothing stays held."""
    gateway.faults.add(Fault(kind="delay", delay_s=60))
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        task = asyncio.ensure_future(adapter.multi_provider_chat_async("Hello", ALL, routing_strategy="race"))
        while gateway.statistics().in_flight < 3:
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(0.5):
            await asyncio.wait([task])
            await gateway.idle()
        (status,) = adapter.get_budget_status()
    assert task.cancelled()
    assert (cancelled(gateway), status.held) == (sorted(ALL), 0.0)
    assert status.settled > 0


def test_the_synchronous_adapter_races_too() -> None:
    """With the same keywords."""
    with (
        SandboxGateway.in_thread(latency_scale=0) as gateway,
        GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url) as adapter,
    ):
        raced: MultiProviderResponse = adapter.multi_provider_chat("Hello", ["groq"], routing_strategy="race")
        hedged = adapter.multi_provider_chat("Hello", ALL, routing_strategy="hedged", hedge_after_s=30)
        agreed = adapter.multi_provider_chat("Hi", ALL, routing_strategy="consensus", consensus_key=lambda _: 1)
        with pytest.raises(ConfigurationError, match="hedge_after_s"):
            adapter.multi_provider_chat("Hello", ALL, routing_strategy="race", hedge_after_s=1)
        assert (raced.content != "", list(hedged.responses)) == (True, ["openai"])
        assert agreed.routing_decision.reason == "3 of 3 agree"
        assert sum(pusd(r.cost) for r in (raced, hedged, agreed)) == gateway.bill.total_pusd

"""Budgets through real calls: a wall before anything is sent, exact afterwards, whatever happens in between."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from genops_helicone_async import (
    BudgetAlert,
    BudgetExceededError,
    BudgetOverrun,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    multi_provider_cost_tracking,
)
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."
PRICES = {"gpt-4o-mini": {"input": 1.0, "output": 2.0}, "llama-3.1-8b-instant": {"input": 1.0, "output": 2.0}}
BILLED = {("openai", "gpt-4o-mini"): (1.0, 2.0), ("groq", "llama-3.1-8b-instant"): (1.0, 2.0)}


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, at round prices."""
    async with SandboxGateway(latency_scale=0, prices=BILLED) as running:
        yield running


def adapter_of(gateway: SandboxGateway, **settings: object) -> GenOpsHeliconeAsyncAdapter:
    """An adapter at the same prices."""
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES, **settings)  # type: ignore[arg-type]


def pusd(dollars: float) -> int:
    """Dollars as whole pico-dollars."""
    return round(dollars * 10**12)


async def test_a_call_that_could_exceed_a_budget_is_not_sent(gateway: SandboxGateway) -> None:
    """The refusal names the budget and its figures, and the gateway sees nothing."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=0.0001)
        with pytest.raises(BudgetExceededError) as caught:
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=100)
    error = caught.value
    assert (error.scope, error.period, error.current_usage, error.budget_limit) == ("daily", "day", 0.0, 0.0001)
    assert error.resets_at is not None
    assert gateway.requests == ()


async def test_a_refusal_never_tells_of_less_than_nothing(gateway: SandboxGateway) -> None:
    """A budget that more was taken from than it had has 0 left; what was taken is the error's `current_usage`."""
    tracker = multi_provider_cost_tracking("job", budget=0.0001)
    tracker.hold(pusd(0.0006), enforce=False)
    async with adapter_of(gateway) as adapter:
        with tracker, pytest.raises(BudgetExceededError) as caught:
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=100)
    told = "the budget `session:job` of 0.0001 USD has 0.00 USD left, less than this call may cost"
    assert (caught.value.message, caught.value.current_usage) == (told, 0.0006)
    assert gateway.requests == ()


async def test_what_is_spent_is_what_the_gateway_bills(gateway: SandboxGateway) -> None:
    """Settled is the bill to the pico-dollar, nothing stays held, and the rest is left."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=1.0, monthly_limit=5.0, per_team_limits={"research": 0.5})
        for _ in range(3):
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=50, team="research")
        statuses = {status.name: status for status in adapter.get_budget_status()}
        assert set(statuses) == {"daily", "monthly", "team:research"}
        for status in statuses.values():
            assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)
            assert pusd(status.remaining) == pusd(status.limit) - gateway.bill.total_pusd
        assert pusd(adapter.get_usage_summary().total_cost) == gateway.bill.total_pusd


async def test_a_team_without_room_does_not_stop_another(gateway: SandboxGateway) -> None:
    """Limits of teams are walls of their own."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(per_team_limits={"research": 0.0, "product": 1.0})
        await adapter.chat_async(PROMPT, provider="openai", team="product")
        with pytest.raises(BudgetExceededError) as caught:
            await adapter.chat_async(PROMPT, provider="openai", team="research")
    assert caught.value.scope == "team:research"


async def test_spending_before_a_limit_was_set_counts(gateway: SandboxGateway) -> None:
    """A budget set in the middle of the day knows what the day has cost."""
    async with adapter_of(gateway) as adapter:
        await adapter.chat_async(PROMPT, provider="openai")
        adapter.set_budget_limits(daily_limit=1.0)
        (status,) = adapter.get_budget_status()
        assert pusd(status.settled) == gateway.bill.total_pusd > 0


async def test_a_call_may_opt_out_of_enforcement_but_counts(gateway: SandboxGateway) -> None:
    """`enforce_budget=False` passes the wall; True builds it where the budgets only watch."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=0.0)
        await adapter.chat_async(PROMPT, provider="openai", enforce_budget=False)
        adapter.set_budget_limits(daily_limit=0.0, enforce=False)
        await adapter.chat_async(PROMPT, provider="openai")
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async(PROMPT, provider="openai", enforce_budget=True)
        (status,) = adapter.get_budget_status()
        assert pusd(status.settled) == gateway.bill.total_pusd


async def test_a_model_without_a_price_is_refused_under_a_budget(gateway: SandboxGateway) -> None:
    """What cannot be priced cannot be kept within a limit; the error says how to go on."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        with pytest.raises(ConfigurationError, match=r"no price is known for openai/my-own-model.*prices="):
            await adapter.chat_async(PROMPT, provider="openai", model="my-own-model")
    assert gateway.requests == ()


async def test_concurrent_calls_never_pass_the_limit_together(gateway: SandboxGateway) -> None:
    """A hundred calls race for a budget with room for a few: some are refused, the bill stays within the limit."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=0.001)
        calls = [adapter.chat_async(f"{PROMPT} {i}", provider="openai", max_tokens=40) for i in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BudgetExceededError)]
        (status,) = adapter.get_budget_status()
    assert 0 < len(refused) < 100
    assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, BudgetExceededError)]
    assert pusd(status.settled) == gateway.bill.total_pusd <= pusd(0.001)
    assert status.held == 0.0


@pytest.mark.parametrize("seed", range(6))
async def test_a_storm_of_faults_and_cancellations_leaves_exact_books(gateway: SandboxGateway, seed: int) -> None:
    """After the storm nothing is held, settled is the sum of the receipts, and what was billed is in it."""
    dice = random.Random(seed)
    gateway.faults.add(Fault(kind="status", provider="openai", status=500, probability=0.2))
    gateway.faults.add(Fault(kind="reset", provider="groq", probability=0.1))
    gateway.faults.add(Fault(kind="delay", delay_s=0.02, probability=0.5))
    gateway.faults.add(Fault(kind="cut", probability=0.1, at_chunk=2))

    async def one(adapter: GenOpsHeliconeAsyncAdapter, number: int, stop_after_s: float | None) -> None:
        with suppress(HeliconeError, TimeoutError):
            async with asyncio.timeout(stop_after_s):
                if number % 3:
                    await adapter.chat_async(f"{PROMPT} {number}", providers=["openai", "groq"], max_tokens=30)
                else:
                    async with adapter.stream_async(f"{PROMPT} {number}", provider="groq", max_tokens=30) as stream:
                        async for _ in stream:
                            if number % 5 == 0:
                                break

    async with adapter_of(gateway, retry_attempts=1) as adapter:
        adapter.set_budget_limits(daily_limit=0.02)
        stops = [dice.choice([None, None, 0.001, 0.01, 0.03]) for _ in range(60)]
        await asyncio.gather(*(one(adapter, number, stop) for number, stop in enumerate(stops)))
        await gateway.idle()
        (status,) = adapter.get_budget_status()
        summary = adapter.get_usage_summary()
    assert status.held == 0.0
    assert pusd(status.settled) == pusd(summary.total_cost) <= pusd(0.02)
    completed = sum(row.cost_pusd for row in gateway.bill.rows if row.completed)
    assert completed <= pusd(status.settled)


async def test_a_retry_needs_room_for_what_the_first_attempt_may_have_cost(gateway: SandboxGateway) -> None:
    """After an attempt that may have been billed, the next one is made only if both fit."""
    gateway.faults.add(Fault(kind="reset_mid_body", provider="openai"))
    async with adapter_of(gateway) as adapter:
        one_call = 0.00032  # room for one worst case of 40 + 100 tokens, not for two
        adapter.set_budget_limits(daily_limit=one_call)
        with pytest.raises(HeliconeError) as caught:
            await adapter.chat_async(PROMPT, providers=["openai", "groq"], max_tokens=100)
        (status,) = adapter.get_budget_status()
    assert isinstance(caught.value, BudgetExceededError)
    assert [request.provider for request in gateway.requests] == ["openai"]
    assert (status.held, len(caught.value.attempts)) == (0.0, 1)
    assert 0 < status.settled <= one_call


async def test_thresholds_and_overruns_are_told_once(gateway: SandboxGateway) -> None:
    """Passing 80 % and 100 % is told once each; a call dearer than its hold is told as an overrun."""
    told: list[object] = []
    async with adapter_of(gateway) as adapter:
        adapter.on_budget_event(told.append)
        adapter.set_budget_limits(daily_limit=0.0001, enforce=False)
        gateway.faults.add(Fault(kind="wrong_usage", body={"completion_tokens": 500}))
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=10)
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=10)
    alerts = [(event.name, event.threshold) for event in told if isinstance(event, BudgetAlert)]
    assert alerts == [("daily", 0.8), ("daily", 1.0)]
    overruns = [event for event in told if isinstance(event, BudgetOverrun)]
    assert [overrun.cost > overrun.held for overrun in overruns] == [True, True]


async def test_limits_can_be_replaced_while_calls_are_on_their_way(gateway: SandboxGateway) -> None:
    """A call admitted under old limits is settled under them; the next one sees the new."""
    gateway.faults.add(Fault(kind="delay", delay_s=0.05, times=1))
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        running = asyncio.ensure_future(adapter.chat_async(PROMPT, provider="openai"))
        while not gateway.requests:
            await asyncio.sleep(0)
        adapter.set_budget_limits(daily_limit=0.0)
        await running
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async(PROMPT, provider="openai")
        (status,) = adapter.get_budget_status()
    assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)


async def test_a_session_budget_is_a_wall_of_its_own(gateway: SandboxGateway) -> None:
    """Calls in the block stop at its budget, calls outside do not."""
    async with adapter_of(gateway) as adapter:
        async with multi_provider_cost_tracking("batch", budget=0.0) as tracker:
            with pytest.raises(BudgetExceededError) as caught:
                await adapter.chat_async(PROMPT, provider="openai")
        await adapter.chat_async(PROMPT, provider="openai")
    assert caught.value.scope == "session:batch"
    assert tracker.get_session_summary().total_cost == 0.0


async def test_trackers_nest_and_concurrent_ones_do_not_mix(gateway: SandboxGateway) -> None:
    """An inner block counts in the outer one; tasks count where they were started."""
    async with adapter_of(gateway) as adapter:

        async def session(name: str, calls: int) -> int:
            with multi_provider_cost_tracking(name) as tracker:
                tasks = [asyncio.ensure_future(adapter.chat_async(PROMPT, provider="openai")) for _ in range(calls)]
                await asyncio.gather(*tasks)
            return tracker.get_session_summary().request_count

        with multi_provider_cost_tracking("all") as outer:
            counts = await asyncio.gather(session("a", 2), session("b", 3))
        summary = outer.get_session_summary()
    assert counts == [2, 3]
    assert (summary.request_count, summary.error_count, summary.session_id) == (5, 0, "all")
    assert pusd(summary.total_cost) == gateway.bill.total_pusd
    assert summary.cost_by_provider == {"openai": summary.total_cost}


async def test_a_call_may_bring_its_own_prices(gateway: SandboxGateway) -> None:
    """Prices given with a call win over the adapter's, for that call alone."""
    async with adapter_of(gateway) as adapter:
        listed = await adapter.chat_async(PROMPT, provider="openai")
        own = await adapter.chat_async(
            PROMPT, provider="openai", prices={"openai/gpt-4o-mini": {"input": 10, "output": 20}}
        )
        again = await adapter.chat_async(PROMPT, provider="openai")
    assert (pusd(own.cost), pusd(again.cost)) == (10 * pusd(listed.cost), pusd(listed.cost))
    assert (own.usage.price_source, own.usage.cost_source) == ("override", "computed")


async def test_money_is_shown_in_the_currency_asked_for(gateway: SandboxGateway) -> None:
    """Costs and limits are converted at the caller's rate; the ledger inside stays exact."""
    rates = {"EUR": 0.5}
    async with adapter_of(gateway, cost_currency="EUR", exchange_rates=rates) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        response = await adapter.chat_async(PROMPT, provider="openai")
        (status,) = adapter.get_budget_status()
    assert response.usage.currency == "EUR"
    assert response.cost == gateway.bill.total_usd * 0.5 == status.settled
    assert status.limit == 1.0


async def test_a_currency_without_a_rate_is_refused(gateway: SandboxGateway) -> None:
    """The error says which rate is missing and how to give it."""
    with pytest.raises(ConfigurationError, match=r"exchange_rates=\{'EUR'"):
        adapter_of(gateway, cost_currency="EUR")

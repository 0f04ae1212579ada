"""Cost trackers: what counts in which block, however blocks nest, overlap, end, or live in threads."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    BudgetExceededError,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    ProviderError,
    multi_provider_cost_tracking,
)
from genops_helicone_async._flow.tracking import CostTracker, active_trackers
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."
PRICES = {"gpt-4o-mini": {"input": 1.0, "output": 2.0}}
BILLED = {("openai", "gpt-4o-mini"): (1.0, 2.0)}


@pytest.fixture
async def adapter() -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter before a gateway that answers at once, at round prices."""
    async with (
        SandboxGateway(latency_scale=0, prices=BILLED) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES) as made,
    ):
        yield made


def counted(*trackers: CostTracker) -> list[int]:
    """How many calls each tracker has counted."""
    return [tracker.get_session_summary().request_count for tracker in trackers]


async def call(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """One call."""
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)


async def test_a_call_counts_once_in_a_tracker_that_is_around_it_twice(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Entering a tracker again inside its own block, as library code may, doubles nothing."""
    with multi_provider_cost_tracking(budget=1.0) as tracker:
        async with tracker:
            await call(adapter)
        await call(adapter)
    await call(adapter)
    summary = tracker.get_session_summary()
    assert (summary.request_count, summary.total_cost) == (2, adapter.get_usage_summary().total_cost * 2 / 3)


async def test_one_tracker_around_several_blocks_at_once_counts_them_all(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Blocks of one tracker may overlap in any order; each ends only itself."""
    tracker = multi_provider_cost_tracking()
    first_is_over = asyncio.Event()

    async def first() -> None:
        with tracker:
            await call(adapter)
        first_is_over.set()
        await call(adapter)

    async def second() -> None:
        with tracker:
            await first_is_over.wait()
            await call(adapter)
        assert active_trackers() == ()

    await asyncio.gather(first(), second())
    assert counted(tracker) == [2]


async def test_a_block_in_a_generator_may_end_in_another_context(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Frameworks finish generators elsewhere than they began them: no error hides what went on inside."""

    def fixture() -> Iterator[CostTracker]:
        with multi_provider_cost_tracking() as tracker:
            yield tracker

    generator = fixture()
    tracker = contextvars.copy_context().run(next, generator)
    assert contextvars.copy_context().run(next, generator, "the end") == "the end"
    await call(adapter)
    assert (counted(tracker), active_trackers()) == ([0], ())


async def test_blocks_that_end_crosswise_end_only_themselves(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """The outer block may end first."""
    outer, inner = multi_provider_cost_tracking("outer"), multi_provider_cost_tracking("inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    await call(adapter)
    inner.__exit__()
    await call(adapter)
    assert counted(outer, inner) == [0, 1]


async def test_tasks_count_where_they_were_started(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """A task that outlives the block still belongs to it; one from before never does."""
    begin = asyncio.Event()

    async def later() -> None:
        await begin.wait()
        await call(adapter)

    before = asyncio.create_task(later())
    with multi_provider_cost_tracking() as tracker:
        inside = asyncio.create_task(later())
        in_thread = asyncio.create_task(asyncio.to_thread(active_trackers))
    begin.set()
    await asyncio.gather(before, inside)
    assert counted(tracker) == [1]
    assert await in_thread == (tracker,)


def test_a_thread_takes_part_by_entering_the_tracker() -> None:
    """A thread of one's own starts outside of every block, and the same tracker may be entered there."""
    seen: list[tuple[CostTracker, ...]] = []
    row = LedgerRow(request_id="a", at_s=0.0, provider="openai", model="m", status="ok", cost_pusd=7)

    def work() -> None:
        for _ in range(500):
            with tracker:
                seen.append(active_trackers())
                tracker.settle(0, [row], failed=False, cached=False)
        seen.append(active_trackers())

    with multi_provider_cost_tracking() as tracker:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen.count((tracker,)) == 2000
    assert seen.count(()) == 4
    assert (tracker.get_session_summary().request_count, pusd(tracker.get_session_summary().total_cost)) == (
        2000,
        14000,
    )


async def test_the_narrowest_session_budget_decides_and_leaves_nothing_held(
    adapter: GenOpsHeliconeAsyncAdapter,
) -> None:
    """What an inner session refuses is not held by the outer one, nor by the adapter's own budgets."""
    adapter.set_budget_limits(daily_limit=1.0)
    with (
        multi_provider_cost_tracking("outer", budget=1.0) as outer,
        multi_provider_cost_tracking("inner", budget=0.0) as inner,
    ):
        with pytest.raises(BudgetExceededError) as caught:
            await call(adapter)
        assert (caught.value.scope, caught.value.period, caught.value.resets_at) == ("session:inner", None, None)
    for tracker in (outer, inner):
        assert [account.held_pusd for account in tracker._accounts._accounts.values()] in ([], [0])
    assert [status.held for status in adapter.get_budget_status()] == [0.0]
    assert counted(outer, inner) == [1, 1]
    with outer:
        await call(adapter)


async def test_what_the_adapter_refuses_is_not_held_by_the_session(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """The session's hold is given back when a budget behind it has no room."""
    adapter.set_budget_limits(daily_limit=0.0)
    with multi_provider_cost_tracking(budget=1.0) as tracker:
        for _ in range(3):
            with pytest.raises(BudgetExceededError):
                await call(adapter)
    assert [account.held_pusd for account in tracker._accounts._accounts.values()] == [0]


async def test_a_summary_tells_what_was_spent_on_whom_and_how_it_went() -> None:
    """Every figure of a session of answered and failed calls, over two adapters."""
    async with SandboxGateway(latency_scale=0, prices=BILLED) as gateway:
        async with (
            GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES) as one,
            GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0) as other,
        ):
            with multi_provider_cost_tracking("s-1") as tracker:
                answered = await one.chat_async(PROMPT, provider="openai", team="research", max_tokens=20)
                streamed = await other.chat_async(PROMPT, provider="groq", team="product", max_tokens=20)
                gateway.faults.add(Fault(kind="status", status=500))
                with pytest.raises(ProviderError):
                    await other.chat_async(PROMPT, provider="groq")
        summary = tracker.get_session_summary()
    assert summary.session_id == "s-1"
    assert pusd(summary.total_cost) == gateway.bill.total_pusd
    assert summary.cost_by_provider == {"openai": answered.cost, "groq": streamed.cost}
    assert summary.cost_by_model == {answered.model: answered.cost, streamed.model: streamed.cost}
    assert summary.cost_by_team == {"research": answered.cost, "product": streamed.cost}
    assert (summary.request_count, summary.error_count, summary.cache_hits) == (3, 1, 0)
    assert summary.input_tokens == answered.usage.input_tokens + streamed.usage.input_tokens
    assert summary.output_tokens == answered.usage.output_tokens + streamed.usage.output_tokens
    assert summary.gateway_fees == 0.0
    assert repr(tracker) == f"CostTracker('s-1', 3 calls, ${summary.total_cost:.6f})"


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_amount_is_refused(budget: float) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match="`budget`"):
        multi_provider_cost_tracking(budget=budget)


def test_arguments_of_the_wrong_kind_are_named() -> None:
    """Truth is no amount, and a session has a name or none."""
    with pytest.raises(TypeError, match="`budget`"):
        multi_provider_cost_tracking(budget=True)
    with pytest.raises(ConfigurationError, match="`session_id`"):
        multi_provider_cost_tracking("")


def test_breakdowns_are_capped_and_totals_are_not() -> None:
    """Ten thousand teams are told apart; the rest is one sum, and the total stays exact."""
    tracker = multi_provider_cost_tracking()
    for number in range(10_050):
        row = LedgerRow(
            request_id=str(number), at_s=0.0, provider="p", model="m", status="ok", cost_pusd=10**12, team=f"t{number}"
        )
        tracker.settle(0, [row], failed=False, cached=False)
    summary = tracker.get_session_summary()
    assert (len(summary.cost_by_team), summary.cost_by_team["(other)"]) == (10_001, 50.0)
    assert summary.total_cost == 10_050.0

"""The next is asked when an answer is late or has failed: when, whom, how often, and never beyond what there is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from flow_parts import Hold, RecordingBudget, Rig
from several_parts import ALL, after, asked, cancelled, playing, pusd, reasons, several, upstream
from virtual_time import in_virtual_time, run_virtually

from genops_helicone_async import AllProvidersFailedError, BudgetExceededError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async._rules.hedging import HedgeQuota
from genops_helicone_async.models import MultiProviderResponse
from genops_helicone_async.testing import Fault, SandboxGateway
from genops_helicone_async.testing.scripted import Hang, error_answer

pytestmark = pytest.mark.anyio

MODELS = {"openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant", "mistral": "mistral-small-latest"}


def known(rig: Rig, provider: str, seconds: float, answers: int = 20) -> None:
    """So many answers of a provider have taken so long each."""
    for _ in range(answers):
        rig.pipeline.health.observe_success((provider, MODELS[provider]), rig.pipeline.clock(), seconds)


def opened(rig: Rig, provider: str) -> None:
    """A provider's circuit is open."""
    for _ in range(5):
        rig.pipeline.health.observe_failure((provider, MODELS[provider]), rig.pipeline.clock())


async def took(rig: Rig, **options: Any) -> tuple[MultiProviderResponse, float]:
    """A hedged call, and the seconds it took."""
    started = rig.pipeline.clock()
    response = await several(rig, "hedged", **options)
    return response, round(rig.pipeline.clock() - started, 6)


@in_virtual_time
async def test_who_answers_in_time_is_asked_alone() -> None:
    """No second call."""
    rig = Rig(playing(openai=after(0.9)))
    response, seconds = await took(rig, hedge_after_s=1)
    assert (response.content, seconds, asked(rig)) == ("openai", 0.9, {"openai": 1})
    assert response.routing_decision.reason == "openai answered"
    assert reasons(response) == {"openai": "asked first; answered first", "groq": "not asked", "mistral": "not asked"}
    rig.assert_settled()


@in_virtual_time
async def test_who_is_late_gets_company_and_loses() -> None:
    """The next one is asked after that time; its answer counts, the first one's call is cancelled and settled."""
    rig, quota = Rig(playing(openai=after(9), groq=after(0.5))), HedgeQuota()
    response, seconds = await took(rig, hedge_after_s=1, quota=quota)
    assert (response.content, seconds, response.errors) == ("groq", 1.5, {})
    assert asked(rig) == {"openai": 1, "groq": 1}
    assert reasons(response) == {
        "openai": "asked first; cancelled: groq answered first",
        "groq": "asked after 1 s without an answer from openai; answered first",
        "mistral": "not asked",
    }
    assert response.routing_decision.reason == "groq answered first, of 2 asked"
    assert [(a.provider, a.billed, a.cost_source) for a in response.attempts] == [
        ("openai", "maybe", "estimated"),
        ("groq", "yes", "computed"),
    ]
    assert pusd(response.cost) == sum(hold.settled[0] for hold in rig.budget.holds)
    assert (quota.calls, quota.hedges) == (1, 1)
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_who_is_late_may_still_win() -> None:
    """The first one's answer counts if it is the first; then the other call is cancelled."""
    rig = Rig(playing(openai=after(1.2), groq=after(0.5)))
    response, seconds = await took(rig, hedge_after_s=1)
    assert (response.content, seconds) == ("openai", 1.2)
    assert reasons(response)["groq"].endswith("cancelled: openai answered first")
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_each_one_that_is_late_brings_the_next() -> None:
    """After the same time again; who asks nobody more has the whole time left."""
    rig = Rig(playing(openai=after(9), groq=after(9), mistral=after(0.5)))
    response, seconds = await took(rig, hedge_after_s=1)
    assert (response.content, seconds, asked(rig)) == ("mistral", 2.5, dict.fromkeys(ALL, 1))
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_at_once_is_a_time_too() -> None:
    """With 0 all that the quota pays for are asked together."""
    rig = Rig(playing(openai=after(2), groq=after(1), mistral=after(3)))
    response, seconds = await took(rig, hedge_after_s=0)
    assert (response.content, seconds, asked(rig)) == ("groq", 1.0, dict.fromkeys(ALL, 1))
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_the_observed_time_decides_where_none_is_given() -> None:
    """The provider's own p95, once 20 answers are known; not before."""
    rig = Rig(playing(openai=after(5), groq=after(0.5)))
    known(rig, "openai", 2.0, answers=19)
    known(rig, "groq", 0.1)
    response, seconds = await took(rig, providers=["openai", "groq"])
    assert (response.content, seconds, asked(rig)) == ("openai", 5.0, {"openai": 1})
    known(rig, "openai", 2.0, answers=60)
    response, seconds = await took(rig, providers=["openai", "groq"])
    assert response.content == "groq"
    assert seconds == pytest.approx(2.5, rel=0.025)
    rig.assert_settled(calls=3)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_failure_brings_the_next_at_once(status: int) -> None:
    """Without a wait, a repeat or a hedge, whatever it is; it is in the errors."""

    async def play() -> None:
        rig, quota = Rig(playing(openai=error_answer(status), groq=after(1)), random=0.5), HedgeQuota()
        response = await several(rig, "hedged", quota=quota)
        assert (response.content, list(response.errors), asked(rig)) == ("groq", ["openai"], {"openai": 1, "groq": 1})
        assert reasons(response)["groq"] == "asked because openai failed; answered first"
        assert (quota.hedges, rig.quota.left) == (0, rig.quota.capacity)
        rig.assert_settled(calls=2)

    assert run_virtually(play()) == (None, 1.0)


@in_virtual_time
async def test_the_last_one_is_repeated() -> None:
    """Nobody else is left to be asked, so the usual repeats are made."""
    down = error_answer(503)
    rig = Rig(playing(openai=[down], groq=[down, down, after(1)]), random=0.5)
    response = await several(rig, "hedged", providers=["openai", "groq"])
    assert (response.content, asked(rig)) == ("groq", {"openai": 1, "groq": 3})
    assert [attempt.ok for attempt in response.primary_response.attempts] == [False, False, True]
    rig.assert_settled(calls=2)


async def test_all_failing_is_one_error() -> None:
    """With each one's story, in the order asked."""
    rig = Rig(playing(openai=error_answer(503), groq=error_answer(400), mistral=error_answer(401)), retry_attempts=0)
    with pytest.raises(AllProvidersFailedError, match="none of 3 providers answered") as caught:
        await several(rig, "hedged")
    assert [attempt.provider for attempt in caught.value.attempts] == ALL
    rig.assert_settled(calls=3)


def test_a_provider_that_hangs_leaves_time_for_the_next() -> None:
    """As with failover it has two thirds of the time while another has not been asked; all end at one deadline."""

    async def play() -> None:
        rig, quota = Rig(playing(openai=Hang(), groq=Hang())), HedgeQuota()
        with pytest.raises(AllProvidersFailedError) as caught:
            await several(rig, "hedged", providers=["openai", "groq"], timeout_seconds=6, quota=quota)
        assert [(a.provider, round(a.duration_s, 6)) for a in caught.value.attempts] == [("openai", 4), ("groq", 2)]
        assert quota.hedges == 0
        rig.assert_settled(calls=2)

    assert run_virtually(play()) == (None, 6.0)


@in_virtual_time
async def test_who_is_to_be_hedged_late_keeps_the_whole_time() -> None:
    """A time for the hedge beyond two thirds of the deadline is kept, too."""
    rig = Rig(playing(openai=after(5.5), groq=Hang()))
    response, seconds = await took(rig, providers=["openai", "groq"], timeout_seconds=6, hedge_after_s=5)
    assert (response.content, seconds, asked(rig)) == ("openai", 5.5, {"openai": 1, "groq": 1})
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_who_is_unwell_is_asked_last_and_never_as_a_hedge() -> None:
    """The open circuit goes to the end of the order, and no extra call goes there."""
    rig = Rig(playing(openai=after(5), groq=after(2), mistral=Hang()))
    opened(rig, "openai")
    opened(rig, "mistral")
    response, seconds = await took(rig, hedge_after_s=1)
    assert (response.content, seconds, asked(rig)) == ("groq", 2.0, {"groq": 1})
    assert list(reasons(response)) == ["groq", "openai", "mistral"]
    assert reasons(response)["openai"] == "not asked: its circuit is open"
    rig.assert_settled()


@in_virtual_time
async def test_the_next_with_room_is_taken() -> None:
    """One whose circuit is open is left out for the one behind it."""
    rig = Rig(playing(openai=after(9), groq=Hang(), mistral=after(1)))
    asking = asyncio.ensure_future(took(rig, hedge_after_s=1))
    await asyncio.sleep(0.5)
    opened(rig, "groq")
    response, seconds = await asking
    assert (response.content, seconds, asked(rig)) == ("mistral", 2.0, {"openai": 1, "mistral": 1})
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_no_hedge_where_it_would_have_to_wait() -> None:
    """The only connection is taken: an extra call would stand in the way of other calls."""
    rig, quota = Rig(playing(openai=after(3)), max_connections=1), HedgeQuota()
    response, seconds = await took(rig, hedge_after_s=1, quota=quota)
    assert (response.content, seconds, asked(rig), quota.hedges) == ("openai", 3.0, {"openai": 1}, 0)
    assert reasons(response)["groq"] == "not asked: it would have had to wait"
    rig.assert_settled()


@in_virtual_time
async def test_a_defect_in_deciding_is_raised_as_it_is() -> None:
    """Not in a group, and every branch is settled."""
    rig = Rig(playing(openai=Hang()))

    class Broken(HedgeQuota):
        def take(self) -> bool:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await several(rig, "hedged", hedge_after_s=1, quota=Broken())
    rig.assert_settled()


class RefusesLate(Hold):
    """A hold whose refusal takes a second."""

    async def raise_to(self, total_pusd: int) -> None:
        await asyncio.sleep(1)
        raise BudgetExceededError("no room")


class RefusesTheSecond(RecordingBudget):
    """A budget that has no room for the second call it hears of."""

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> Hold:
        hold = super().open(attribution, enforce=enforce)
        if len(self.holds) == 2:
            hold = self.holds[1] = RefusesLate()
        return hold


@in_virtual_time
async def test_who_is_refused_as_a_hedge_when_nobody_is_left_is_asked_again() -> None:
    """The first one failed while the budget was asked for the second: now it is no extra call any more."""
    rig, quota = Rig(playing(openai=after(1.5, error_answer(400))), retry_attempts=0), HedgeQuota()
    rig.budget = rig.pipeline.budget = RefusesTheSecond()
    response, seconds = await took(rig, hedge_after_s=1, quota=quota, providers=["openai", "groq"])
    assert (response.content, seconds, list(response.errors)) == ("groq", 2.0, ["openai"])
    assert reasons(response)["groq"] == "asked because the others failed; answered first"
    assert (asked(rig), quota.hedges) == ({"openai": 1, "groq": 1}, 0)
    rig.assert_settled(calls=3)


def test_the_share_of_extra_calls_is_exact() -> None:
    """Of 200 calls that are all late one after the other, 10 and then every tenth are hedged."""

    async def play() -> None:
        rig, quota = Rig(playing(openai=after(2), groq=after(2))), HedgeQuota()
        hedged = []
        for number in range(200):
            response = await several(rig, "hedged", hedge_after_s=1, providers=["openai", "groq"], quota=quota)
            if len(response.attempts) == 2:
                hedged.append(number)
            else:
                assert reasons(response)["groq"] == "not asked: the hedges are used up"
        assert hedged == [*range(11), *range(20, 200, 10)]
        assert asked(rig) == {"openai": 200, "groq": quota.hedges} == {"openai": 200, "groq": 29}
        rig.assert_settled(calls=229)

    run_virtually(play())


@in_virtual_time
async def test_a_hedge_that_was_never_sent_is_not_counted() -> None:
    """It still waited for its budget when the first one answered."""
    rig, quota = Rig(playing(openai=after(3))), HedgeQuota()
    asking = asyncio.ensure_future(took(rig, hedge_after_s=1, quota=quota, providers=["openai", "groq"]))
    await asyncio.sleep(0.5)
    rig.budget.delay_s = 60
    response, seconds = await asking
    assert (response.content, seconds, asked(rig), quota.hedges) == ("openai", 3.0, {"openai": 1}, 0)
    rig.assert_settled(calls=2)


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, unless told otherwise."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def test_the_loser_s_connection_is_dropped(gateway: SandboxGateway) -> None:
    """The gateway sees its client leave within half a second; bill and receipts agree; budgets hold nothing."""
    gateway.faults.add(Fault(kind="delay", provider="openai", delay_s=60))
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        response = await adapter.multi_provider_chat_async(
            "Hello", ALL, routing_strategy="hedged", hedge_after_s=0.05, max_tokens=50
        )
        async with asyncio.timeout(0.5):
            await gateway.idle()
        (status,) = adapter.get_budget_status()
    assert response.primary_response.provider == "groq"
    assert (upstream(gateway), cancelled(gateway)) == ({"openai": 1, "groq": 1}, ["openai"])
    assert pusd(response.primary_response.cost) == gateway.bill.total_pusd
    assert [(a.provider, a.cost_source) for a in response.attempts] == [("openai", "estimated"), ("groq", "computed")]
    assert (status.held, pusd(status.settled)) == (0.0, pusd(response.cost))


async def test_no_hedge_where_a_limit_is_used_up(gateway: SandboxGateway) -> None:
    """The next one's only call of this minute is made: another one is hedged to, and without such nobody."""
    first = Fault(kind="delay", provider="openai", delay_s=0.3, times=1)
    gateway.faults.add(first, Fault(kind="delay", provider="openai", delay_s=60))
    options: dict[str, Any] = {"routing_strategy": "hedged", "hedge_after_s": 0.05, "max_tokens": 20}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.configure_rate_limits(per_provider={"groq": {"requests_per_minute": 1}})
        await adapter.chat_async("Hello", provider="groq", max_tokens=20)
        alone = await adapter.multi_provider_chat_async("Hello", ["openai", "groq"], **options)
        other = await adapter.multi_provider_chat_async("Hello", ["openai", "groq", "mistral"], **options)
        assert adapter._hedges.hedges == 1
    assert (alone.primary_response.provider, other.primary_response.provider) == ("openai", "mistral")
    assert reasons(alone)["groq"] == reasons(other)["groq"] == "not asked: it would have had to wait"
    assert upstream(gateway) == {"groq": 1, "openai": 2, "mistral": 1}


async def test_no_hedge_under_a_short_budget(gateway: SandboxGateway) -> None:
    """The budget has room for one call: the late one is waited for, it is no error, and the quota is untouched."""
    gateway.faults.add(Fault(kind="delay", provider="openai", delay_s=0.3))
    options: dict[str, Any] = {"routing_strategy": "hedged", "hedge_after_s": 0.05, "max_tokens": 50}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=0.00004)  # the first may cost 0.00003, the second 0.00027
        response = await adapter.multi_provider_chat_async("Hello", ["openai", "anthropic"], **options)
        (status,) = adapter.get_budget_status()
        assert adapter._hedges.left == 10.0
    assert (response.primary_response.provider, response.errors) == ("openai", {})
    assert reasons(response)["anthropic"] == "not asked: a budget has no room for an extra call"
    assert upstream(gateway) == {"openai": 1}
    assert (status.held, pusd(status.settled)) == (0.0, gateway.bill.total_pusd)


async def test_who_was_no_hedge_for_want_of_money_is_asked_after_a_failure(gateway: SandboxGateway) -> None:
    """The failed call's money is free again."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=503, delay_s=0.3))
    options: dict[str, Any] = {"routing_strategy": "hedged", "hedge_after_s": 0.05, "max_tokens": 50}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=0.00028)  # the second alone may cost 0.00027
        response = await adapter.multi_provider_chat_async("Hello", ["openai", "anthropic"], **options)
        assert adapter._hedges.hedges == 0
    assert (response.primary_response.provider, list(response.errors)) == ("anthropic", ["openai"])
    assert upstream(gateway) == {"openai": 1, "anthropic": 1}


async def test_many_at_once_keep_to_the_share(gateway: SandboxGateway) -> None:
    """Of 100 late calls of one adapter at the same time the ten saved up are hedged, and not one more."""
    gateway.faults.add(Fault(kind="delay", provider="openai", delay_s=1))
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        calls = [
            adapter.multi_provider_chat_async(
                f"Hello {number}", ["openai", "groq"], routing_strategy="hedged", hedge_after_s=0.1, max_tokens=20
            )
            for number in range(100)
        ]
        responses = await asyncio.gather(*calls)
        await gateway.idle()
        (status,) = adapter.get_budget_status()
    assert upstream(gateway) == {"openai": 100, "groq": 10}
    assert Counter(len(response.attempts) for response in responses) == {1: 90, 2: 10}
    assert (status.held, pusd(status.settled)) == (0.0, sum(pusd(response.cost) for response in responses))
    assert pusd(status.settled) >= gateway.bill.total_pusd > 0

"""What most answers say counts: majorities, ties, the caller's own comparison, and that no payment is lost over it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from flow_parts import Rig
from several_parts import ALL, after, asked, cancelled, playing, pusd, reasons, several, upstream
from virtual_time import in_virtual_time

from genops_helicone_async import AllProvidersFailedError, ConfigurationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.models import HeliconeResponse
from genops_helicone_async.testing import Fault, SandboxGateway
from genops_helicone_async.testing.scripted import Hang, chat_answer, error_answer

pytestmark = pytest.mark.anyio


def saying(openai: str, groq: str, mistral: str) -> Rig:
    """Three providers with something to say."""
    return Rig(playing(openai=chat_answer(openai), groq=chat_answer(groq), mistral=chat_answer(mistral)))


async def test_what_two_of_three_say_counts() -> None:
    """However it is dressed; the cheapest of those that agree speaks for them, and everybody is paid."""
    rig = saying("**Paris.**", "London", " paris")
    response = await several(rig, "consensus")
    assert (response.content, response.primary_response.provider) == (" paris", "mistral")
    assert (list(response.responses), response.errors) == (ALL, {})
    assert response.routing_decision.strategy == "consensus"
    assert (response.routing_decision.selected, response.routing_decision.reason) == ("mistral", "2 of 3 agree")
    assert reasons(response) == {
        "openai": "asked at once with the others; one of 2 that agree",
        "groq": "asked at once with the others; says something else",
        "mistral": "asked at once with the others; speaks for all that agree",
    }
    assert pusd(response.cost) == sum(pusd(answer.cost) for answer in response.responses.values())
    rig.assert_settled(calls=3)


async def test_without_a_majority_the_cheapest_speaks() -> None:
    """And the decision says that it is none."""
    rig = saying("Paris", "London", "Rome")
    response = await several(rig, "consensus")
    assert (response.content, response.routing_decision.reason) == ("London", "no majority: 1 of 3")
    assert reasons(response)["groq"] == "asked at once with the others; stands for itself"
    rig.assert_settled(calls=3)


@in_virtual_time
async def test_everybody_is_waited_for() -> None:
    """Two that agree early do not cut off the third."""
    rig = Rig(playing(openai=after(1, chat_answer("4")), groq=after(2, chat_answer("4")), mistral=after(3)))
    response = await several(rig, "consensus")
    assert rig.pipeline.clock() == 1003
    assert (response.content, response.routing_decision.reason) == ("4", "2 of 3 agree")


@in_virtual_time
async def test_who_fails_has_no_vote() -> None:
    """The majority is one of the answers; failures are in the errors and are told."""
    rig = Rig(playing(openai=error_answer(400), groq=chat_answer("4"), mistral=Hang()), retry_attempts=0)
    response = await several(rig, "consensus", timeout_seconds=5)
    assert (response.content, sorted(response.errors)) == ("4", ["mistral", "openai"])
    assert response.routing_decision.reason == "1 of 1 agree; 2 of 3 failed"
    rig.assert_settled(calls=3)


async def test_all_failing_is_one_error() -> None:
    """There is nothing to agree on."""
    down = error_answer(503)
    rig = Rig(playing(openai=down, groq=down, mistral=down), retry_attempts=0)
    with pytest.raises(AllProvidersFailedError) as caught:
        await several(rig, "consensus")
    assert [attempt.provider for attempt in caught.value.attempts] == ALL
    rig.assert_settled(calls=3)


async def test_answers_are_compared_by_the_caller_s_key() -> None:
    """A function of the response; who gets None abstains."""
    rig = saying("The answer is 4", "I do not know", "4")

    def key(response: HeliconeResponse) -> int | None:
        digits = [part for part in response.content.split() if part.isdigit()]
        return int(digits[0]) if digits else None

    response = await several(rig, "consensus", consensus_key=key)
    assert (response.content, response.routing_decision.reason) == ("4", "2 of 3 agree")
    assert reasons(response)["groq"].endswith("abstained")
    rig.assert_settled(calls=3)


async def test_when_all_abstain_there_is_no_majority() -> None:
    """The first answer is given all the same."""
    response = await several(saying("a", "b", "c"), "consensus", consensus_key=lambda _: None)
    assert (response.content, response.routing_decision.reason) == ("a", "no majority: 0 of 3")
    assert set(reasons(response).values()) == {"asked at once with the others; abstained"}


def fails(_response: HeliconeResponse) -> Any:
    raise LookupError("no such field")


async def asynchronous(_response: HeliconeResponse) -> str:
    return "x"


class Uncomparable:
    """Says that it can be compared, and fails when it is."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (fails, "`consensus_key` failed on the answer of openai with LookupError: no such field"),
        (lambda response: [response.content], "`consensus_key` failed on the answer of openai with TypeError: unhash"),
        (lambda response: ({}, 1), "`consensus_key` failed on the answer of openai with TypeError: unhash"),
        (lambda: "x", "`consensus_key` failed on the answer of openai with TypeError"),
        (asynchronous, "`consensus_key` is asynchronous"),
        (lambda _: Uncomparable(), "`consensus_key` gave what cannot be compared: RuntimeError: do not compare me"),
    ],
)
async def test_a_key_that_fails_loses_no_payment(key: Callable[..., Any], told: str) -> None:
    """It is said what is wrong with it; everything is settled, and the receipts are on the error."""
    rig = saying("a", "b", "c")
    with pytest.raises(ConfigurationError, match=told) as caught:
        await several(rig, "consensus", consensus_key=key)
    error = caught.value
    assert ([(a.provider, a.billed) for a in error.attempts], error.billed) == ([(p, "yes") for p in ALL], "yes")
    assert sum(pusd(a.cost) for a in error.attempts) == sum(hold.settled[0] for hold in rig.budget.holds)
    rig.assert_settled(calls=3)


async def test_a_key_that_ends_the_program_ends_it() -> None:
    """It passes as it is, after all was settled."""
    rig = saying("a", "b", "c")

    def leave(_response: HeliconeResponse) -> Any:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await several(rig, "consensus", consensus_key=leave)
    rig.assert_settled(calls=3)


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, unless told otherwise."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def test_the_bill_is_the_sum_of_the_votes(gateway: SandboxGateway) -> None:
    """Three answers are three rows of the gateway's bill; the budgets hold nothing afterwards."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        response = await adapter.multi_provider_chat_async(
            "Is 7 a prime?", ALL, routing_strategy="consensus", consensus_key=lambda _: "yes", max_tokens=50
        )
        (status,) = adapter.get_budget_status()
    assert response.routing_decision.reason == "3 of 3 agree"
    assert upstream(gateway) == dict.fromkeys(response.responses, 1) == dict.fromkeys(ALL, 1)
    assert pusd(response.cost) == gateway.bill.total_pusd == pusd(status.settled)
    assert status.held == 0.0
    assert {name: pusd(cost) for name, cost in response.cost_comparison.items()} == gateway.bill.by_provider


async def test_a_cancelled_vote_drops_who_is_still_thinking(gateway: SandboxGateway) -> None:
    """Who had answered is paid, the others' clients leave within half a second, nothing stays held."""
    gateway.faults.add(*(Fault(kind="delay", provider=name, delay_s=60) for name in ("openai", "mistral")))
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        task = asyncio.ensure_future(adapter.multi_provider_chat_async("Hello", ALL, routing_strategy="consensus"))
        while len(gateway.bill) < 1 or gateway.statistics().in_flight != 2:
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(0.5):
            await asyncio.wait([task])
            await gateway.idle()
        (status,) = adapter.get_budget_status()
    assert task.cancelled()
    assert (cancelled(gateway), status.held) == (["mistral", "openai"], 0.0)
    assert pusd(status.settled) > gateway.bill.total_pusd > 0


async def test_one_voice_is_its_own_majority() -> None:
    """One provider alone."""
    rig = Rig(playing())
    response = await several(rig, "consensus", providers=["groq"])
    assert (response.routing_decision.reason, asked(rig)) == ("1 of 1 agree", {"groq": 1})

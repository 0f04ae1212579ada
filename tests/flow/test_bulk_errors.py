"""What becomes of the other rows when one fails, when the source fails, and when somebody cancels."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from flow_parts import KEY, PRICES, Rig, body_of
from test_loops import ServerThread
from test_many import Gates, many, rest, told

from genops_helicone_async import (
    ConfigurationError,
    DeadlineExceededError,
    GenOpsHeliconeAdapter,
    HeliconeError,
    ProviderError,
)
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, error_answer

pytestmark = pytest.mark.anyio


class LateGates(Gates):
    """Messages `late bad…` are refused once their gate is open."""

    def step(self, request: HttpRequest) -> Answer:
        """The answer to a message."""
        text = body_of(request)["messages"][-1]["content"]
        if text.startswith("late bad"):
            return msgspec.structs.replace(error_answer(400, "bad message"), after=self[text])
        return super().step(request)


@pytest.fixture
def gates() -> Gates:
    """The gates of this test."""
    return LateGates()


@pytest.fixture
async def rig(gates: Gates) -> Rig:
    """A pipeline behind the gates."""
    return Rig(ScriptedTransport(gates.step), retry_attempts=0)


async def test_without_an_order_all_that_was_answered_is_given_before_the_error(rig: Rig, gates: Gates) -> None:
    """Answers that were paid for are not lost to an error that came before them; what is in flight is cancelled."""
    results = many(rig, ["free 0", "late bad", "slow", "late 3", "late 4"], on_error="raise")
    assert told(await anext(results)) == (0, "free 0")
    for text in ("late bad", "late 3", "late 4"):
        await rest()
        gates[text].set()
    await rest()
    assert [told(await anext(results)) for _ in range(2)] == [(3, "late 3"), (4, "late 4")]
    with pytest.raises(ProviderError, match="bad message") as raised:
        await anext(results)
    assert (results.untaken, getattr(raised.value, "__notes__", [])) == ((), [])
    assert [result async for result in results] == []
    rig.assert_settled(calls=5)


async def test_of_several_errors_the_first_is_raised(rig: Rig, gates: Gates) -> None:
    """The others had finished and are kept."""
    results = many(rig, ["bad 0", "bad 1", "bad 2"], on_error="raise")
    with pytest.raises(ProviderError, match="bad message") as raised:
        await anext(results)
    assert [(row.index, type(row.error)) for row in results.untaken] == [(1, ProviderError), (2, ProviderError)]
    assert "2 more results had finished and were not given" in "".join(traceback.format_exception(raised.value))
    rig.assert_settled(calls=3)


async def test_in_order_the_answers_behind_an_error_are_kept(rig: Rig, gates: Gates) -> None:
    """What was given is complete up to the error; what had finished behind it is in `untaken`, as the error says."""
    results = many(rig, ["free 0", "bad", "free 2", "slow", "free 4"], on_error="raise", ordered=True)
    assert told(await anext(results)) == (0, "free 0")
    await rest()
    with pytest.raises(ProviderError, match="bad message") as raised:
        await anext(results)
    assert [told(result) for result in results.untaken] == [(2, "free 2"), (4, "free 4")]
    assert "2 more results had finished and were not given" in "".join(traceback.format_exception(raised.value))
    assert [result async for result in results] == []
    rig.assert_settled(calls=5)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_row_that_makes_no_sense_is_raised_as_well(ordered: bool, rig: Rig, gates: Gates) -> None:
    """Errors before anything is sent end the run as those of providers do."""
    results = many(rig, ["slow", {"message": "free", "colour": "red"}], on_error="raise", ordered=ordered)
    step = asyncio.ensure_future(anext(results))
    await rest()
    assert step.done() is not ordered  # in order, the slow one's result comes first
    gates["slow"].set()
    if ordered:
        assert told(await step) == (0, "slow")
        step = asyncio.ensure_future(anext(results))
    with pytest.raises(TypeError, match="colour"):
        await step
    rig.assert_settled(calls=1)


async def test_what_was_not_taken_of_a_run_left_early_is_kept(rig: Rig, gates: Gates) -> None:
    """After `aclose` the finished results that nobody took are there, in the order in which they would have come."""
    async with many(rig, ["free 0", "free 1", "slow", "free 3"], ordered=True) as results:
        assert told(await anext(results)) == (0, "free 0")
        await rest()
    assert [told(result) for result in results.untaken] == [(1, "free 1"), (3, "free 3")]
    rig.assert_settled(calls=4)


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_error_does_not_hide_that_of_the_source(ordered: bool, rig: Rig, gates: Gates) -> None:
    """With `"yield"` a bad row is given, the good one behind it too, and then the source's own error comes."""

    def requests() -> Iterator[str]:
        yield "bad"
        yield "free"
        raise LookupError("no more")

    results = many(rig, requests(), ordered=ordered)
    assert sorted([(await anext(results)).ok for _ in range(2)]) == [False, True]
    with pytest.raises(LookupError, match="no more"):
        await anext(results)
    assert results.untaken == ()


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_source_that_was_cancelled_has_not_ended(ordered: bool, rig: Rig, gates: Gates) -> None:
    """Rows that a cancelled source never gave are not passed over in silence: the cancellation is raised."""

    async def requests() -> AsyncIterator[str]:
        yield "free"
        raise asyncio.CancelledError("the source's own task")

    results = many(rig, requests(), ordered=ordered)
    assert told(await anext(results)) == (0, "free")
    with pytest.raises(asyncio.CancelledError):
        await anext(results)
    rig.assert_settled(calls=1)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_call_that_somebody_else_cancels_is_a_result_with_an_error(
    ordered: bool, rig: Rig, gates: Gates
) -> None:
    """Its row is not missing, and those behind it neither wait for it nor are lost."""
    before = asyncio.all_tasks()
    results = many(rig, ["slow", *(f"free {number}" for number in range(9))], max_in_flight=1, ordered=ordered)
    step = asyncio.ensure_future(anext(results))
    await rest()
    (call,) = asyncio.all_tasks() - before - {step}
    call.cancel()
    first = await step
    assert (first.index, first.request, type(first.error)) == (0, "slow", HeliconeError)
    assert "cancelled" in str(first.error)
    assert [told(result) async for result in results] == [(number + 1, f"free {number}") for number in range(9)]
    rig.assert_settled(calls=10)


def test_synchronous_code_has_what_was_not_given_too() -> None:
    """In order, the answer behind an error is in `untaken`; the block closes what is left, again and again."""
    with ServerThread() as server, GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as adapter:
        rows = ["Hi", {"message": "hang", "timeout_seconds": 0.5}, ""]
        with adapter.chat_many(rows, provider="openai", on_error="raise", ordered=True) as results:
            assert next(results).index == 0
            with pytest.raises(DeadlineExceededError):
                next(results)
            assert list(results) == []
        results.close()
        assert [(row.index, type(row.error)) for row in results.untaken] == [(2, ConfigurationError)]
        assert repr(results) == "BlockingChatMany(over ChatMany(3 read, 0 in flight, 2 given))"
        assert adapter.statistics().slots.taken == 0

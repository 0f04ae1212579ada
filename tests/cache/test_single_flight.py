"""Identical calls at the same time: one asks, the others get its answer, whoever of them is cancelled or fails."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from cache_parts import STORES, CacheRig, SlowStore, counting, store_of
from virtual_time import in_virtual_time

from genops_helicone_async import ConfigurationError, DeadlineExceededError, ProviderError
from genops_helicone_async._flow.flights import MOST_FAILURES
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, error_answer

pytestmark = pytest.mark.anyio


def at(answer: Answer, event: asyncio.Event) -> Answer:
    """The answer once the event is set."""
    return Answer(after=event, status=answer.status, headers=answer.headers, parts=answer.parts)


async def turns(number: int = 20) -> None:
    """Lets everybody else go on."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", STORES)
async def test_500_identical_calls_make_one(kind: str, tmp_path: Path) -> None:
    """One asks a provider and pays; 499 are joined or hit, hold nothing and cost nothing."""
    transport = counting()
    rig = CacheRig(transport, store_of(kind, tmp_path, time.time))
    responses = await asyncio.gather(*(rig.chat(provider="openai") for _ in range(500)))
    assert len(transport.requests) == 1
    assert {response.content for response in responses} == {"1"}
    assert [response.cached for response in responses].count(False) == 1
    assert sum(response.cost for response in responses) == responses[0].cost > 0
    assert len({response.request_id for response in responses}) == 500
    assert [hold.held_pusd for hold in rig.budget.holds].count(0) == 499
    assert rig.counts == (0, 499, 1)
    rig.assert_settled(calls=500)
    await rig.kept()
    assert (await rig.chat(provider="openai")).metadata["cache"] == "hit"
    assert rig.told.stored == 1
    await rig.aclose()


async def test_500_calls_of_25_kinds_make_25() -> None:
    """Only identical calls share an answer, in whatever order they come."""
    transport = counting()
    rig = CacheRig(transport)
    calls = [(f"Message {number % 25}", number) for number in range(500)]
    responses = await asyncio.gather(*(rig.chat(text, provider="openai") for text, _ in calls))
    assert len(transport.requests) == 25
    answers: dict[str, set[str]] = {}
    for (text, _), response in zip(calls, responses, strict=True):
        answers.setdefault(text, set()).add(response.content)
    assert sorted(map(len, answers.values())) == [1] * 25
    assert len(set().union(*answers.values())) == 25


async def test_cancelling_one_that_waits_leaves_the_others() -> None:
    """It is gone at once, and counts as a cancelled call; the others get the answer."""
    done = asyncio.Event()
    transport = ScriptedTransport([at(chat_answer("one"), done)])
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(4)]
    await turns()
    tasks[2].cancel()
    await turns()
    assert [task.done() for task in tasks] == [False, False, True, False]
    done.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    assert [getattr(result, "content", None) for result in results] == ["one", "one", None, "one"]
    rig.assert_settled(calls=4)


async def test_cancelling_the_one_that_asks_lets_the_next_ask() -> None:
    """Its connection is dropped; one other asks, and not all of them."""
    done = asyncio.Event()
    transport = ScriptedTransport([at(chat_answer("one"), asyncio.Event()), at(chat_answer("two"), done)])
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(4)]
    await turns()
    tasks[0].cancel()
    await turns()
    assert len(transport.requests) == 2
    done.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "content", None) for result in results] == [None, "two", "two", "two"]
    assert [getattr(result, "cached", None) for result in results] == [None, False, True, True]
    rig.assert_settled(calls=4)


async def test_all_but_the_last_may_be_cancelled() -> None:
    """A cancelled call is no failure of the provider's: however many go, the next asks for who is left."""
    transport = ScriptedTransport(lambda _request: at(chat_answer("one"), done) if last else at(chat_answer(), never))
    done, never, last = asyncio.Event(), asyncio.Event(), False
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(10)]
    for number in range(9):
        await turns()
        assert len(transport.requests) == number + 1
        last = number == 8
        tasks[number].cancel()
    await turns()
    done.set()
    assert (await tasks[9]).content == "one"
    assert len(transport.requests) == 10
    rig.assert_settled(calls=10)


async def test_one_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    """In the very moment between being told to ask and asking, its cancellation loses nobody's turn."""
    done = asyncio.Event()
    transport = ScriptedTransport([at(chat_answer(), asyncio.Event()), at(chat_answer("two"), done)])
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    await asyncio.sleep(0)  # the first hands over to the second, which has not run since
    tasks[1].cancel()
    await turns()
    done.set()
    assert (await asyncio.wait_for(tasks[2], 5)).content == "two"
    await asyncio.gather(*tasks, return_exceptions=True)
    rig.assert_settled(calls=3)


@pytest.mark.parametrize("after", range(1, 30))
async def test_cancelling_anywhere_hurts_nobody_else(after: int, tmp_path: Path) -> None:
    """Whenever the first is cancelled, on a store that has to be waited for, the others are answered."""
    rig = CacheRig(counting(), SlowStore())
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(3)]
    await turns(after)
    tasks[0].cancel()
    others = await asyncio.wait_for(asyncio.gather(*tasks[1:]), 5)
    assert len({response.content for response in others}) == 1
    await asyncio.gather(*tasks, return_exceptions=True)
    await rig.kept()
    assert rig.pipeline.replays._flights == {}
    rig.assert_settled(calls=3)


async def test_an_error_is_not_shared() -> None:
    """Who asked gets its error, the next asks and is answered, and the others with it."""
    done = asyncio.Event()
    transport = ScriptedTransport([at(error_answer(400), done), chat_answer("two")])
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(5)]
    await turns()
    done.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], ProviderError)
    assert [getattr(result, "content", None) for result in results[1:]] == ["two"] * 4
    assert len(transport.requests) == 2
    rig.assert_settled(calls=5)


@in_virtual_time
async def test_after_two_failures_everybody_asks_at_once() -> None:
    """A hundred that wait do not fail one after the other, each taking its second: they are done in three."""
    loop = asyncio.get_running_loop()

    def refused_in_a_second(_request: Any) -> Answer:
        event = asyncio.Event()
        loop.call_later(1, event.set)
        return at(error_answer(400), event)

    transport = ScriptedTransport(refused_in_a_second)
    rig = CacheRig(transport)
    began = loop.time()
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(100)]
    await turns()
    assert len(transport.requests) == 1
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert round(loop.time() - began, 3) == 3
    assert {type(result) for result in results} == {ProviderError}
    assert len(transport.requests) == 100
    assert MOST_FAILURES == 2
    assert len({id(result) for result in results}) == 100
    rig.assert_settled(calls=100)


async def test_an_error_is_not_kept() -> None:
    """The next identical call asks again."""
    rig = CacheRig(ScriptedTransport([error_answer(400), chat_answer("two")]))
    with pytest.raises(ProviderError):
        await rig.chat(provider="openai")
    assert (await rig.chat(provider="openai")).content == "two"
    assert rig.counts == (0, 0, 2)


@in_virtual_time
async def test_who_waits_keeps_its_own_deadline() -> None:
    """One that has less time gives up at its own deadline, and the one that asks goes on."""
    done = asyncio.Event()
    rig = CacheRig(ScriptedTransport([at(chat_answer("one"), done)]))
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(rig.chat(provider="openai"))
    await turns()
    began = loop.time()
    with pytest.raises(DeadlineExceededError, match="an identical call was on its way"):
        await rig.chat(provider="openai", timeout_seconds=2)
    assert loop.time() - began == 2
    done.set()
    assert (await first).content == "one"
    rig.assert_settled(calls=2)


async def test_closing_tells_who_waits() -> None:
    """Nobody hangs on a call of an adapter that is closed."""
    rig = CacheRig(ScriptedTransport([at(chat_answer(), asyncio.Event())]))
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(3)]
    await turns()
    closing = asyncio.create_task(rig.aclose())
    results = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert {type(result) for result in results} == {ConfigurationError}
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    await closing


async def test_what_a_filter_stopped_is_nobody_elses_answer() -> None:
    """Who asked gets it; everybody else asks for itself, and it is not kept."""
    done = asyncio.Event()

    def step(_request: Any) -> Answer:
        first = len(transport.requests) == 1
        return at(chat_answer("cut", finish_reason="content_filter"), done) if first else chat_answer("whole")

    transport = ScriptedTransport(step)
    rig = CacheRig(transport)
    tasks = [asyncio.create_task(rig.chat(provider="openai")) for _ in range(3)]
    await turns()
    done.set()
    results = await asyncio.gather(*tasks)
    assert [(result.content, result.cached) for result in results] == [
        ("cut", False),
        ("whole", False),
        ("whole", False),
    ]
    assert len(transport.requests) == 3


async def test_a_look_up_is_shared_too() -> None:
    """Of a hundred identical calls one asks the store, and all get what it has."""
    store = SlowStore()
    rig = CacheRig(counting(), store)
    await rig.chat(provider="openai")
    await rig.kept()
    store.steps.clear()
    responses = await asyncio.gather(*(rig.chat(provider="openai") for _ in range(100)))
    assert store.steps == ["get"]
    assert all(response.cached for response in responses)


@in_virtual_time
async def test_an_answer_is_there_while_it_is_being_kept() -> None:
    """Between the answer and the end of its writing nobody asks anew."""
    store = SlowStore(delay_s=0.2)
    transport = counting()
    rig = CacheRig(transport, store)
    await rig.chat(provider="openai")
    assert store.held == {}
    again = await rig.chat(provider="openai")
    assert (again.cached, again.metadata["cache"], len(transport.requests)) == (True, "hit", 1)
    await rig.kept()
    assert rig.pipeline.replays._flights == {}
    assert len(store.held) == 1


@in_virtual_time
async def test_a_stream_is_there_while_it_is_being_kept() -> None:
    """Read to its end and begun again at once, it is not asked for again, however slow the store."""
    store = SlowStore(delay_s=0.2)
    transport = counting()
    rig = CacheRig(transport, store)
    for _ in range(2):
        async with rig.stream(provider="openai") as stream:
            text = "".join([chunk.content async for chunk in stream])
    assert (text, stream.response.cached, len(transport.requests), store.held) == ("answer 1", True, 1, {})
    await rig.kept()
    assert rig.pipeline.replays._flights == {}


async def test_streams_do_not_wait_for_each_other() -> None:
    """Two identical streams, one read inside the other, both get their answers: nobody waits for a reader."""
    transport = counting()
    rig = CacheRig(transport)
    async with rig.stream(provider="openai") as outer:
        first = await anext(outer)
        async with rig.stream(provider="openai") as inner:
            text = "".join([chunk.content async for chunk in inner])
        rest = "".join([chunk.content async for chunk in outer])
    assert (first.content + rest, text, len(transport.requests)) == ("answer 1", "answer 2", 2)
    rig.assert_settled(calls=2)

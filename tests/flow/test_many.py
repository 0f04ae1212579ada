"""Many calls at once: bounded, in order or as they finish, ended early without a trace."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flow_parts import Rig, body_of

from genops_helicone_async import BulkResult, ConfigurationError, ProviderError
from genops_helicone_async._flow.many import ChatMany
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, error_answer

pytestmark = pytest.mark.anyio


class Gates(dict[str, asyncio.Event]):
    """A gate for each message: its answer comes when the gate is opened. Messages `free…` pass at once."""

    def __missing__(self, text: str) -> asyncio.Event:
        self[text] = asyncio.Event()
        return self[text]

    def step(self, request: HttpRequest) -> Answer:
        """Echoes the message, once its gate is open."""
        text = body_of(request)["messages"][-1]["content"]
        if text.startswith("bad"):
            return error_answer(400, "bad message")
        answer = chat_answer(text)
        return answer if text.startswith("free") else Answer(after=self[text], parts=answer.parts)


class Counted:
    """An iterable of messages that knows how many were taken."""

    def __init__(self, *texts: Any) -> None:
        self.texts = texts
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        for text in self.texts:
            self.taken += 1
            yield text


class CountedLater(Counted):
    """The same as an asynchronous iterable, each message a turn of the loop later."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        for text in self.texts:
            await asyncio.sleep(0)
            self.taken += 1
            yield text


async def rest() -> None:
    """Turns of the loop until everything that can happen has happened."""
    for _ in range(60):
        await asyncio.sleep(0)


@pytest.fixture
def gates() -> Gates:
    """The gates of this test."""
    return Gates()


@pytest.fixture
async def rig(gates: Gates) -> Rig:
    """A pipeline behind the gates."""
    return Rig(ScriptedTransport(gates.step), retry_attempts=0)


def many(rig: Rig, requests: Any, **options: Any) -> ChatMany:
    """The calls, all to one provider."""
    named = {name: options.pop(name) for name in ("max_in_flight", "ordered", "on_error") if name in options}
    return ChatMany(requests, rig.pipeline.run, {"provider": "openai", **options}, **named)


def told(result: BulkResult) -> tuple[int, str | None]:
    """Index and text of a result."""
    return result.index, result.response.content if result.response is not None else None


@pytest.mark.parametrize("kind", [Counted, CountedLater])
async def test_results_come_as_they_finish(kind: type[Counted], rig: Rig, gates: Gates) -> None:
    """Unordered, whoever is answered first is given first; the index says which request it was."""
    results = many(rig, kind("a", "b", "c"))
    first = asyncio.ensure_future(anext(results))
    await rest()
    gates["b"].set()
    assert told(await first) == (1, "b")
    gates["c"].set()
    assert told(await anext(results)) == (2, "c")
    gates["a"].set()
    assert [told(result) async for result in results] == [(0, "a")]
    rig.assert_settled(calls=3)


@pytest.mark.parametrize("kind", [Counted, CountedLater])
async def test_ordered_results_keep_the_order(kind: type[Counted], rig: Rig, gates: Gates) -> None:
    """Ordered, an early answer waits for those before it."""
    results = many(rig, kind("a", "b", "c"), ordered=True)
    first = asyncio.ensure_future(anext(results))
    await rest()
    gates["c"].set()
    gates["b"].set()
    await rest()
    assert not first.done()
    gates["a"].set()
    assert told(await first) == (0, "a")
    assert [told(result) async for result in results] == [(1, "b"), (2, "c")]


@pytest.mark.parametrize("kind", [Counted, CountedLater])
async def test_unordered_reads_no_further_than_the_limit(kind: type[Counted], rig: Rig, gates: Gates) -> None:
    """Running and untaken together never exceed `max_in_flight`: who does not take, does not get more begun."""
    requests = kind(*(f"free {number}" for number in range(20)))
    results = many(rig, requests, max_in_flight=3)
    for given in range(1, 21):
        await anext(results)
        await rest()
        assert requests.taken <= min(20, given + 3)
    assert [result async for result in results] == []
    assert requests.taken == 20


@pytest.mark.parametrize("kind", [Counted, CountedLater])
async def test_ordered_reads_at_most_four_windows_ahead(kind: type[Counted], rig: Rig, gates: Gates) -> None:
    """One slow call at the front does not let the finished ones behind it pile up without end."""
    requests = kind("slow", *(f"free {number}" for number in range(50)))
    results = many(rig, requests, max_in_flight=3, ordered=True)
    first = asyncio.ensure_future(anext(results))
    for _ in range(30):
        await rest()
    assert requests.taken == 12
    assert repr(results) == "ChatMany(12 read, 1 in flight, 0 given)"
    gates["slow"].set()
    assert told(await first) == (0, "slow")
    assert [result.index async for result in results] == list(range(1, 51))


async def test_no_more_than_the_limit_are_in_flight(rig: Rig, gates: Gates) -> None:
    """With `max_in_flight=2` the third call begins when one of the first two has been given."""
    results = many(rig, ["a", "b", "c", "d"], max_in_flight=2)
    first = asyncio.ensure_future(anext(results))
    await rest()
    assert rig.slots.statistics().taken == 2
    gates["a"].set()
    await first
    second = asyncio.ensure_future(anext(results))
    await rest()
    assert (sorted(gates), rig.slots.statistics().taken) == (["a", "b", "c"], 2)
    for text in "bcd":
        gates[text].set()
    await second
    assert len([result async for result in results]) == 2
    rig.assert_settled(calls=4)


async def test_every_kind_of_row_is_understood(rig: Rig) -> None:
    """Strings, mappings of keywords, OpenAI's `messages`, and finished requests; a row's keywords beat the defaults."""
    rows = [
        "free text",
        {"message": "free mapping", "temperature": 0.5},
        {"messages": [{"role": "user", "content": "free messages"}], "model": "gpt-9"},
        ChatRequest(message="free request", provider="groq"),
        [{"role": "user", "content": "free list"}],
    ]
    results = [result async for result in many(rig, rows, ordered=True, temperature=0.25)]
    assert [told(result) for result in results] == [
        (0, "free text"), (1, "free mapping"), (2, "free messages"), (3, "free request"), (4, "free list"),
    ]  # fmt: skip
    sent = {body["messages"][-1]["content"]: body for body in map(body_of, rig.pipeline.transport.requests)}  # type: ignore[attr-defined]
    assert [sent[f"free {kind}"].get("temperature") for kind in ("text", "mapping", "messages", "request", "list")] == [
        0.25, 0.5, 0.25, None, 0.25,
    ]  # fmt: skip
    assert sent["free messages"]["model"] == "gpt-9"
    assert [result.request for result in results] == rows


BAD_ROWS = [
    ("", ConfigurationError),
    (None, TypeError),
    (7, TypeError),
    ({"message": "free", "colour": "red"}, TypeError),
    ({"message": "free", "temperature": float("nan")}, ConfigurationError),
    ({}, TypeError),
    ({"message": "free", "provider": "nobody"}, ConfigurationError),
    ("bad", ProviderError),
]


async def test_a_bad_row_is_a_result_of_its_own(rig: Rig) -> None:
    """Whatever is wrong with a row, the others are answered."""
    rows = [row for bad, _ in BAD_ROWS for row in (bad, "free")]
    results = [result async for result in many(rig, rows, ordered=True)]
    assert [result.index for result in results] == list(range(len(rows)))
    assert [result.ok for result in results] == [False, True] * len(BAD_ROWS)
    kinds = [(row, type(result.error)) for (row, _), result in zip(BAD_ROWS, results[::2], strict=True)]
    assert [issubclass(kind, expected) for (_, kind), (_, expected) in zip(kinds, BAD_ROWS, strict=True)] == (
        [True] * len(BAD_ROWS)
    )


@pytest.mark.parametrize("ordered", [False, True])
async def test_on_error_raise_raises_where_the_result_would_have_come(ordered: bool, rig: Rig, gates: Gates) -> None:
    """What came before is given, the rest is cancelled, and the iteration is over."""
    results = many(rig, ["free", "bad", "never", "never too"], on_error="raise", ordered=ordered, max_in_flight=1)
    assert told(await anext(results)) == (0, "free")
    with pytest.raises(ProviderError, match="bad message"):
        await anext(results)
    assert [result async for result in results] == []
    assert rig.slots.statistics().taken == 0
    assert gates == {}


async def test_on_error_raise_cancels_what_is_in_flight(rig: Rig, gates: Gates) -> None:
    """The error ends the other calls, each settled once."""
    with pytest.raises(ProviderError, match="bad message"):
        await anext(many(rig, ["slow", "slower", "bad"], on_error="raise"))
    assert sorted(gates) == ["slow", "slower"]
    rig.assert_settled(calls=3)


async def test_a_slow_producer_does_not_delay_results(rig: Rig, gates: Gates) -> None:
    """While the next request is awaited, finished answers are given."""
    more = asyncio.Event()

    async def requests() -> AsyncIterator[str]:
        yield "free 1"
        yield "free 2"
        await more.wait()
        yield "free 3"

    results = many(rig, requests())
    assert [(await anext(results)).index for _ in range(2)] == [0, 1]
    more.set()
    assert [result.index async for result in results] == [2]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_iterator_that_fails_is_heard_after_the_answers(asynchronous: bool, rig: Rig, gates: Gates) -> None:
    """What had been begun is given first, then the caller's own error comes as it is."""

    def requests() -> Iterator[str]:
        yield "slow"
        raise LookupError("no more")

    async def later() -> AsyncIterator[str]:
        for request in requests():
            yield request

    results = many(rig, later() if asynchronous else requests())
    first = asyncio.ensure_future(anext(results))
    await rest()
    gates["slow"].set()
    assert told(await first) == (0, "slow")
    with pytest.raises(LookupError, match="no more"):
        await anext(results)
    assert [result async for result in results] == []


async def test_breaking_off_cancels_what_is_in_flight(rig: Rig) -> None:
    """Once the iteration is dropped, the calls end and are settled."""
    async for result in many(rig, ["free", *(f"slow {number}" for number in range(9))]):
        assert result.index == 0
        break
    gc.collect()
    await rest()
    rig.assert_settled(calls=10)


async def test_leaving_the_block_waits_for_the_cancelled(rig: Rig) -> None:
    """`async with` and `aclose` return when nothing of the calls is left; afterwards there are no results."""
    async with many(rig, ["free", "slow", "slower"]) as results:
        assert (await anext(results)).index == 0
    rig.assert_settled(calls=3)
    await results.aclose()
    assert [result async for result in results] == []


async def test_closing_ends_who_waits_in_another_task(rig: Rig) -> None:
    """`aclose` from elsewhere ends an iteration that waits for its next result."""
    results = many(rig, ["slow", "slower"])

    async def consume() -> list[BulkResult]:
        return [result async for result in results]

    consumer = asyncio.ensure_future(consume())
    await rest()
    await results.aclose()
    assert await consumer == []
    rig.assert_settled(calls=2)


async def test_cancelling_who_waits_cancels_the_calls(rig: Rig) -> None:
    """Cancelling the consumer ends everything that is in flight for it."""
    results = many(rig, ["slow", "slower"])
    consumer = asyncio.ensure_future(anext(results))
    await rest()
    consumer.cancel()
    await asyncio.wait([consumer])
    assert consumer.cancelled()
    rig.assert_settled(calls=2)


async def test_a_request_that_arrives_as_it_ends_is_not_begun(rig: Rig, gates: Gates) -> None:
    """A request that the producer yields in the very turn in which the iteration is closed is not sent."""
    closing: list[asyncio.Future[None]] = []

    async def requests() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        closing.append(asyncio.ensure_future(results.aclose()))
        yield "too late"

    results = many(rig, requests())
    assert [result async for result in results] == []
    await asyncio.wait(closing)
    await rest()
    assert gates == {}
    rig.assert_settled(calls=0)


async def test_never_iterated_nothing_happens(rig: Rig) -> None:
    """Requests are not read before the first result is asked for."""
    requests = Counted("a")
    results = many(rig, requests)
    await rest()
    assert requests.taken == 0
    await results.aclose()
    assert requests.taken == 0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"max_in_flight": 0}, ConfigurationError, "max_in_flight"),
        ({"max_in_flight": -1}, ConfigurationError, "max_in_flight"),
        ({"max_in_flight": 2.0}, ConfigurationError, "max_in_flight"),
        ({"max_in_flight": True}, ConfigurationError, "max_in_flight"),
        ({"on_error": "ignore"}, ConfigurationError, "on_error"),
        ({"requests": "one message"}, TypeError, "requests"),
        ({"requests": b"bytes"}, TypeError, "requests"),
        ({"requests": {"message": "one"}}, TypeError, "requests"),
        ({"requests": 7}, TypeError, "iterable"),
        ({"colour": "red"}, TypeError, "colour"),
        ({"temperature": float("nan")}, ConfigurationError, "temperature"),
    ],
)
async def test_nonsense_is_refused_at_once(
    given: dict[str, Any], error: type[Exception], message: str, rig: Rig
) -> None:
    """A wrong argument is named before anything is read."""
    with pytest.raises(error, match=message):
        many(rig, given.pop("requests", ["a"]), **given)


async def test_ten_thousand_requests_take_no_more_tasks_than_asked(rig: Rig) -> None:
    """Tasks stay at `max_in_flight`, however many requests there are."""
    most = 0
    count = 0
    async for result in many(rig, (f"free {number}" for number in range(10_000)), max_in_flight=50):
        assert result.response is not None
        most = max(most, len(asyncio.all_tasks()))
        count += 1
    assert count == 10_000
    assert most <= 50 + 5
    assert rig.slots.statistics().taken == 0

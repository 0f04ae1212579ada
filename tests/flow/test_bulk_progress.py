"""How a bulk run is told to be getting on: seldom, truly, and once more when it is over, however it ends."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
from flow_parts import KEY, PRICES, Rig, body_of
from test_loops import ServerThread
from virtual_time import in_virtual_time

from genops_helicone_async import BulkProgress, GenOpsHeliconeAdapter, ProviderError
from genops_helicone_async._flow.many import ChatMany
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, error_answer
from loopback import LoopbackServer

COST = (10 * 1_000_000 + 5 * 2_000_000) / 10**12
"""Dollars of one answer of the scripted provider: 10 tokens in, 5 out."""
SERVED_COST = (11 * 1_000_000 + 7 * 2_000_000) / 10**12
"""Dollars of one answer of the loopback server: 11 tokens in, 7 out."""


def answer(request: HttpRequest) -> Answer:
    """A message is the seconds after which it is answered; `bad` is refused at once."""
    text = body_of(request)["messages"][-1]["content"]
    if text == "bad":
        return error_answer(400, "bad message")
    passed = asyncio.Event()
    if float(text) > 0:
        asyncio.get_running_loop().call_later(float(text), passed.set)
    else:
        passed.set()
    return Answer(after=passed, parts=chat_answer(text).parts)


def many(requests: Any, heard: list[BulkProgress], **options: Any) -> ChatMany:
    """The calls; what is told is put into a list."""
    rig = Rig(ScriptedTransport(answer), retry_attempts=0)
    return ChatMany(requests, rig.pipeline.run, {"provider": "openai"}, on_progress=heard.append, **options)


def counts(progress: BulkProgress) -> tuple[int, int, int, int]:
    """Read, done, failed and in flight."""
    return progress.read, progress.done, progress.failed, progress.in_flight


@in_virtual_time
async def test_short_runs_are_told_once() -> None:
    """What is over within 0.1 s is told at its end, with everything in it, before the iteration ends."""
    heard: list[BulkProgress] = []
    results = many(["0", "bad", "0"], heard)
    for _ in range(3):
        await anext(results)
        assert heard == []
    assert [result async for result in results] == []
    assert heard == [
        BulkProgress(read=3, done=3, failed=1, in_flight=0, cost=2 * COST, elapsed_s=heard[0].elapsed_s, is_over=True)
    ]


@in_virtual_time
async def test_it_is_told_every_tenth_of_a_second_at_most() -> None:
    """A call that ends every 10 ms is told of ten times a second, not a hundred times."""
    heard: list[BulkProgress] = []
    rows = [f"{number / 100}" for number in range(1, 101)]
    assert len([result async for result in many(rows, heard)]) == 100
    times = [progress.elapsed_s for progress in heard]
    assert times == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], abs=0.02)
    assert all(later - before >= 0.0999 for before, later in pairwise(times[:-1]))
    assert [progress.done for progress in heard] == sorted({progress.done for progress in heard})
    assert counts(heard[4])[0] == 100
    assert heard[4].done + heard[4].in_flight == 100
    assert [progress.is_over for progress in heard] == [False] * (len(heard) - 1) + [True]


@in_virtual_time
async def test_what_happened_since_the_last_word_is_told_while_nothing_happens() -> None:
    """After a burst within the first 0.1 s nothing ends for a long time: the burst is told after 0.1 s, not at its end.

    While nothing changes nothing is told. The last word comes besides, at once.
    """
    heard: list[BulkProgress] = []
    assert len([result async for result in many(["0.01", "0.02", "20"], heard)]) == 3
    assert [(counts(progress), round(progress.elapsed_s, 3)) for progress in heard] == [
        ((3, 2, 0, 1), 0.1),
        ((3, 3, 0, 0), 20.0),
        ((3, 3, 0, 0), 20.0),
    ]


@in_virtual_time
async def test_failed_attempts_cost_too() -> None:
    """The cost is that of all attempts of finished rows, exactly as the receipts have it."""
    heard: list[BulkProgress] = []
    results = [result async for result in many(["0"] * 1000 + ["bad"], heard)]
    assert len(results) == 1001
    assert heard[-1].cost == 1000 * 20_000_000 / 10**12
    assert counts(heard[-1]) == (1001, 1001, 1, 0)


@in_virtual_time
async def test_an_error_that_is_raised_is_told_before() -> None:
    """With `on_error="raise"` the last word comes before the error, when nothing is in flight any more."""
    heard: list[BulkProgress] = []
    with pytest.raises(ProviderError):
        await anext(many(["9", "bad", "9"], heard, on_error="raise"))
    assert [(counts(progress), progress.is_over) for progress in heard] == [((3, 1, 1, 0), True)]


@in_virtual_time
async def test_leaving_early_is_told_once() -> None:
    """`aclose`, again and again, is one last word; what was cancelled is neither done nor in flight."""
    heard: list[BulkProgress] = []
    async with many(["0", "9", "9"], heard) as results:
        assert (await anext(results)).index == 0
    await results.aclose()
    assert [(counts(progress), progress.is_over) for progress in heard] == [((3, 1, 0, 0), True)]


@in_virtual_time
async def test_a_cancelled_consumer_is_told_once() -> None:
    """Cancelling who takes the results is an end like any other."""
    heard: list[BulkProgress] = []
    consumer = asyncio.ensure_future(anext(many(["9", "9"], heard)))
    await asyncio.sleep(1)
    consumer.cancel()
    await asyncio.wait([consumer])
    assert consumer.cancelled()
    assert [(counts(progress), progress.is_over) for progress in heard] == [((2, 0, 0, 2), False), ((2, 0, 0, 0), True)]


@in_virtual_time
async def test_never_iterated_nothing_is_told() -> None:
    """Where nothing began, nothing ends."""
    heard: list[BulkProgress] = []
    await many(["0"], heard).aclose()
    assert heard == []


def failing(progress: BulkProgress) -> None:
    """A listener that never works."""
    raise LookupError("no bar")


def test_a_listener_that_fails_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is reported once, and all results come."""

    @in_virtual_time
    async def run() -> None:
        rig = Rig(ScriptedTransport(answer), retry_attempts=0)
        results = ChatMany(["0.3", "0.6", "0.9"], rig.pipeline.run, {"provider": "openai"}, on_progress=failing)
        assert [result.index async for result in results] == [0, 1, 2]

    with caplog.at_level(logging.ERROR, logger="genops_helicone_async"):
        run()
    (record,) = caplog.records
    assert "`on_progress` failed; this is reported once" in record.message
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no bar"


@in_virtual_time
async def test_a_listener_must_be_a_function() -> None:
    """Anything else is refused at once."""
    with pytest.raises(TypeError, match="`on_progress` must be a function"):
        ChatMany([], Rig(ScriptedTransport(answer)).pipeline.run, {}, on_progress="loudly")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    """A server on a thread of its own; messages with `hang` are never answered."""
    with ServerThread() as running:
        yield running


@pytest.fixture
def adapter(server: LoopbackServer) -> Iterator[GenOpsHeliconeAdapter]:
    """A synchronous adapter on that server."""
    with GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as made:
        yield made


async def later(*texts: str) -> AsyncIterator[str]:
    """An asynchronous source."""
    for text in texts:
        yield text


@pytest.mark.parametrize("asynchronous", [False, True])
def test_synchronous_code_is_told_in_its_own_thread(asynchronous: bool, adapter: GenOpsHeliconeAdapter) -> None:
    """The function may use what belongs to its thread, and the adapter, without waiting for itself."""
    threads: set[threading.Thread] = set()
    heard: list[BulkProgress] = []

    def hear(progress: BulkProgress) -> None:
        threads.add(threading.current_thread())
        assert adapter.chat("Hi", provider="openai").content == "Hello"
        heard.append(progress)

    source = later("Hi", "", "Hi") if asynchronous else ["Hi", "", "Hi"]
    assert len(list(adapter.chat_many(source, provider="openai", on_progress=hear))) == 3
    assert threads == {threading.current_thread()}
    assert (counts(heard[-1]), heard[-1].cost, heard[-1].is_over) == ((3, 3, 1, 0), 2 * SERVED_COST, True)


def test_synchronous_code_is_told_while_it_waits(adapter: GenOpsHeliconeAdapter) -> None:
    """What is told while a step waits for its result does not wait for that result."""
    heard: list[BulkProgress] = []

    class Enough(BaseException):
        """Ends the run."""

    def hear(progress: BulkProgress) -> None:
        heard.append(progress)
        if not progress.is_over:
            raise Enough

    with adapter.chat_many(["Hi", "hang"], provider="openai", on_progress=hear) as results:
        assert next(results).index == 0
        with pytest.raises(Enough):
            next(results)
    assert [(counts(progress), progress.is_over) for progress in heard] == [((2, 1, 0, 1), False), ((2, 1, 0, 0), True)]
    assert adapter.statistics().slots.taken == 0

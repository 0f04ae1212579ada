"""Cancelled at every await of a call, nothing is left of it: slot, hold, connection and record are settled once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, get_args

import anyio
import pytest
from flow_parts import Rig
from stepping import Stepped, When
from virtual_time import run_virtually

from genops_helicone_async import DeadlineExceededError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._flow.embed import Embedding
from genops_helicone_async.chat_request import EmbedRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, error_answer, stream_answer
from loopback import Exchange, LoopbackServer, chat_body, chat_events

pytestmark = pytest.mark.anyio

MOST_SUSPENSIONS = 60
WHENS = get_args(When)
SEVERAL = {"providers": ["openai", "groq", "mistral"]}


async def cancel_everywhere(
    when: When, begin: Callable[[], Awaitable[tuple[Rig, Any]]], check: Callable[[Rig], Awaitable[None]]
) -> int:
    """Runs the call again and again, cancelled at its first, second, … suspension; how many there were."""
    answered = 0
    for at in range(1, MOST_SUSPENSIONS):
        rig, coroutine = await begin()
        stepped = Stepped(at, when)
        task = asyncio.ensure_future(stepped.run(coroutine))
        await asyncio.wait([task])
        await turns()
        rig.assert_settled()
        if not stepped.struck:
            assert task.exception() is None
            assert answered == 1
            return at - 1
        assert task.cancelled(), f"the cancellation at suspension {at} was swallowed"
        if rig.records[0].response is None:
            assert isinstance(rig.records[0].error, asyncio.CancelledError)
        else:
            answered += 1  # settled already: only the ledger's disk was still waited for
        await check(rig)
    raise AssertionError("the call never ended")


async def turns() -> None:
    """Some turns of the loop, in which whatever is under way comes to rest."""
    for _ in range(25):
        await asyncio.sleep(0)


def queue_for_a_slot(rig: Rig) -> None:
    """The only slot is taken; it comes back when the call waits for it, or some turns of the loop later."""
    assert rig.slots.take_nowait()
    loop = asyncio.get_running_loop()

    def release(turns_left: int) -> None:
        if rig.slots.statistics().waiting or not turns_left:
            rig.slots.release()
        else:
            loop.call_soon(release, turns_left - 1)

    release(20)


def scripted_rig(*script: Any) -> Rig:
    """A rig that waits for its price, its slot and its backoff."""
    rig = Rig(ScriptedTransport(script), awaited_prices=True, max_connections=1, random=1e-7)
    queue_for_a_slot(rig)
    return rig


async def nothing_open(rig: Rig) -> None:
    """No body was left open."""
    transport = rig.pipeline.transport
    assert isinstance(transport, ScriptedTransport)
    assert transport.open_bodies == 0


@pytest.mark.parametrize("when", WHENS)
async def test_a_chat_cancelled_at_any_await_leaves_nothing(when: When) -> None:
    """Waiting for prices, a slot, three providers and a backoff: wherever it is cancelled, all is given back once."""

    async def begin() -> tuple[Rig, Any]:
        failures = [error_answer(500), error_answer(503), error_answer(500)]
        rig = scripted_rig(*failures, chat_answer())
        return rig, rig.chat(**SEVERAL)

    assert await cancel_everywhere(when, begin, nothing_open) >= 3 + 1 + 4 * 2 + 1


async def read_through(rig: Rig) -> None:
    """Reads a stream to its end, as a caller does."""
    async with rig.stream(**SEVERAL) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("when", WHENS)
async def test_a_stream_cancelled_at_any_await_leaves_nothing(when: When) -> None:
    """The same for a stream, between any two of its events too."""

    async def begin() -> tuple[Rig, Any]:
        rig = scripted_rig(error_answer(500), error_answer(503), error_answer(500), stream_answer("Hel", "lo"))
        return rig, read_through(rig)

    assert await cancel_everywhere(when, begin, nothing_open) >= 3 + 1 + 3 * 2 + 1 + 6


@pytest.mark.parametrize("when", WHENS)
async def test_embeddings_cancelled_at_any_await_leave_nothing(when: When) -> None:
    """The same for embeddings."""
    vectors = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}

    async def begin() -> tuple[Rig, Any]:
        rig = scripted_rig(error_answer(500), chat_answer(**vectors))
        request = EmbedRequest.of("some text", "openai", "text-embedding-3-small", {})
        return rig, Embedding(rig.pipeline, request).run()

    assert await cancel_everywhere(when, begin, nothing_open) >= 1 + 1 + 2 * 2 + 1


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """Fails the first provider with a 503, and answers the others."""

    async def handle(exchange: Exchange) -> None:
        if exchange.provider == "openai":
            await exchange.reply(503, b'{"error": {"message": "down"}}')
        elif exchange.json.get("stream"):
            await exchange.events(*chat_events("Hel", "lo", "!"))
        else:
            await exchange.reply(200, chat_body())

    async with LoopbackServer(handle) as running:
        yield running


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_over_a_real_network_a_cancelled_call_leaves_no_connection_in_use(
    when: When, streamed: bool, server: LoopbackServer
) -> None:
    """Over sockets: wherever it is cancelled, no request stays on its way, and closing leaves no connection."""

    async def begin() -> tuple[Rig, Any]:
        transport = HttpTransport(max_response_bytes=10_000)
        rig = Rig(transport, provider_urls=server.provider_urls("openai", "groq"))
        names = ["openai", "groq"]
        if not streamed:
            return rig, rig.chat(providers=names)

        async def read() -> None:
            async with rig.stream(providers=names) as stream:
                async for _ in stream:
                    pass

        return rig, read()

    async def check(rig: Rig) -> None:
        transport = rig.pipeline.transport
        assert isinstance(transport, HttpTransport)
        told = transport.statistics()
        assert told.in_flight == 0
        assert told.requests == told.replies + told.failures
        await transport.aclose()
        await server.until(lambda: server.open == 0)

    assert await cancel_everywhere(when, begin, check) >= 4


class Hanging:
    """A call that hangs where it is told to, on a pipeline of its own; `reached` tells that it has got there."""

    def __init__(self, *, streamed: bool) -> None:
        first, *_ = stream_answer("Hel").parts
        headers = {"content-type": "text/event-stream"} if streamed else {}
        self.transport = ScriptedTransport([Answer(headers=headers, parts=(first if streamed else b"{", Hang()))])
        self.rig = Rig(self.transport)
        self.streamed = streamed

    async def call(self) -> None:
        """Never returns by itself."""
        if not self.streamed:
            await self.rig.chat(provider="openai")
        async with self.rig.stream(provider="openai") as stream:
            async for _ in stream:
                pass

    async def reached(self) -> None:
        """Returns when the call hangs."""
        while not self.transport.open_bodies:
            await asyncio.sleep(0)
        await turns()

    def assert_cancelled(self) -> None:
        """Dropped, settled once, recorded as cancelled."""
        assert (self.transport.open_bodies, self.transport.dropped) == (0, 1)
        (record,) = self.rig.records
        assert isinstance(record.error, asyncio.CancelledError)
        (attempt,) = record.attempts
        assert (attempt.error, attempt.error_message, attempt.billed) == ("CancelledError", "cancelled", "maybe")
        assert (attempt.cost_source, record.failed_pusd > 0) == ("estimated", True)
        self.rig.assert_settled()


async def by_task(hanging: Hanging) -> None:
    """A task that is cancelled."""
    task = asyncio.ensure_future(hanging.call())
    await hanging.reached()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def by_asyncio_timeout(hanging: Hanging) -> None:
    """asyncio's own timeout, which turns the cancellation into a `TimeoutError`."""
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(2):
            await hanging.call()
    assert type(caught.value) is TimeoutError


async def by_wait_for(hanging: Hanging) -> None:
    """`asyncio.wait_for`."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging.call(), 2)


async def by_anyio_scope(hanging: Hanging) -> None:
    """anyio's cancel scope, which swallows the cancellation at its own edge."""
    with anyio.move_on_after(2) as scope:
        await hanging.call()
    assert scope.cancelled_caught


async def by_anyio_group(hanging: Hanging) -> None:
    """A sibling in anyio's task group."""
    async with anyio.create_task_group() as group:
        group.start_soon(hanging.call)
        await hanging.reached()
        group.cancel_scope.cancel()


async def by_failing_sibling(hanging: Hanging) -> None:
    """A sibling in asyncio's task group that fails."""

    async def fail() -> None:
        await hanging.reached()
        raise LookupError("the sibling's own")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(hanging.call())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    assert [type(exc) for exc in caught.value.exceptions] == [LookupError]


WAYS = [by_task, by_asyncio_timeout, by_wait_for, by_anyio_scope, by_anyio_group, by_failing_sibling]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("streamed", [False, True])
def test_every_way_to_cancel_is_a_cancellation(
    way: Callable[[Hanging], Coroutine[Any, Any, None]], streamed: bool
) -> None:
    """Whoever cancels, the cancellation passes through and the call is settled as cancelled."""

    async def play() -> None:
        hanging = Hanging(streamed=streamed)
        await way(hanging)
        hanging.assert_cancelled()

    run_virtually(play())


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_coroutine_that_is_closed_is_settled(streamed: bool) -> None:
    """A suspended call that is thrown away, as when its loop is torn down, gives everything back at once."""
    hanging = Hanging(streamed=streamed)
    coroutine = hanging.call()
    while not hanging.transport.open_bodies:
        coroutine.send(None)
    coroutine.close()
    assert (hanging.transport.open_bodies, hanging.transport.dropped) == (0, 1)
    assert len(hanging.rig.records) == 1
    hanging.rig.assert_settled()


def test_a_timeout_of_the_caller_is_not_ours() -> None:
    """Our deadline inside a caller's timeout is a `DeadlineExceededError`, and the caller's timeout stays unused."""

    async def play() -> None:
        hanging = Hanging(streamed=False)
        async with asyncio.timeout(20):
            with pytest.raises(DeadlineExceededError):
                await hanging.rig.chat(provider="openai", timeout_seconds=10)
        hanging.rig.assert_settled()

    assert run_virtually(play())[1] == 10.0


async def test_cancelling_one_of_many_leaves_the_others(server: LoopbackServer) -> None:
    """Over one adapter's connections, a cancelled call takes nothing from its neighbours."""
    transport = HttpTransport(max_response_bytes=10_000)
    rig = Rig(transport, provider_urls=server.provider_urls("groq"), max_connections=3)
    tasks = [asyncio.ensure_future(rig.chat(provider="groq")) for _ in range(30)]
    for number, task in enumerate(tasks):
        if number % 3 == 0:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [number % 3 == 0 for number in range(30)]
    assert {task.result().content for task in tasks if not task.cancelled()} == {"Hello"}
    rig.assert_settled(calls=len(rig.records))
    await transport.aclose()

"""Cancelled at every await of a call, nothing is left of it: slot, hold, connection and record are settled once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, get_args

import pytest
from flow_parts import Rig
from stepping import Stepped, When

from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._flow.embed import Embedding
from genops_helicone_async.chat_request import EmbedRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import chat_answer, error_answer, stream_answer
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

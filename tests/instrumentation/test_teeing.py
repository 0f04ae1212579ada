"""Streams pass as they come, byte for byte, and however reading ends the call is settled once."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests
from aiohttp import web
from instrumented import ASK, MESSAGES, STREAMED, Watched, scripted, watching

from genops_helicone_async.testing import SandboxGateway

EVENTS = [
    {"id": "s", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "One "}}]},
    {"id": "s", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "two "}}]},
    {"id": "s", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "three."}}]},
    {"id": "s", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "s", "model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
]
PIECES = [*(f"data: {json.dumps(event)}\n\n".encode() for event in EVENTS), b"data: [DONE]\n\n"]


def only(watched: Watched) -> dict[str, Any]:
    """The attributes of the one unit."""
    (unit,) = watched.awus()
    return dict(unit.attributes or {})


class Stepwise:
    """An aiohttp server that sends the next event only when the test has seen the one before."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Semaphore(1)
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers with the events, one by one."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in PIECES:
            await self.may_go_on.acquire()
            await response.write(piece)
        return response


@pytest.fixture
async def stepwise() -> AsyncIterator[Stepwise]:
    """The server, running."""
    server = Stepwise()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


async def by_httpx(url: str) -> AsyncIterator[bytes]:
    """The pieces as httpx gives them."""
    async with httpx.AsyncClient() as client, client.stream("POST", url, json=STREAMED) as response:
        async for piece in response.aiter_raw():
            yield piece


async def by_aiohttp(url: str) -> AsyncIterator[bytes]:
    """The pieces as aiohttp gives them."""
    async with aiohttp.ClientSession() as session, session.post(url, json=STREAMED) as response:
        async for piece in response.content.iter_any():
            yield piece


@pytest.mark.anyio
@pytest.mark.parametrize("read", [by_httpx, by_aiohttp])
async def test_every_piece_is_handed_on_before_the_next_is_sent(stepwise: Stepwise, read: Any) -> None:
    """The server waits with each event until the last has been read: a buffer in between would wait for ever."""
    with watching(provider_urls={"openai": stepwise.url}) as watched:
        pieces = []
        async for piece in read(f"{stepwise.url}/chat/completions"):
            pieces.append(piece)
            stepwise.may_go_on.release()
    assert pieces == PIECES
    assert (watched.usage.input_tokens, watched.usage.output_tokens, watched.usage.error_count) == (9, 5, 0)


def httpx_pieces(url: str) -> Iterator[bytes]:
    """The pieces as httpx gives them."""
    with httpx.Client() as client, client.stream("POST", url, json=STREAMED) as response:
        yield from response.iter_raw()


def requests_pieces(url: str) -> Iterator[bytes]:
    """The pieces as requests gives them."""
    with requests.post(url, json=STREAMED, stream=True) as response:
        yield from response.iter_content(None)


@pytest.mark.parametrize("read", [httpx_pieces, requests_pieces])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_split_of_the_bytes_is_the_same_call(read: Any, size: int) -> None:
    """However the network cuts the stream, the caller gets its bytes and the call its tokens."""
    whole = b"".join(PIECES)
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        server.headers["Content-Type"] = "text/event-stream"
        server.pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert b"".join(read(f"{server.url}/chat/completions")) == whole
    assert (watched.usage.input_tokens, watched.usage.output_tokens) == (9, 5)


@pytest.mark.parametrize("way", ["closed", "forgotten"])
def test_an_abandoned_stream_is_an_estimate(way: str) -> None:
    """Whether the stream is closed or its last reference dropped: what had come is booked, marked incomplete."""
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        server.headers["Content-Type"] = "text/event-stream"
        server.pieces = PIECES
        client = httpx.Client()
        response = client.send(
            client.build_request("POST", f"{server.url}/chat/completions", json=STREAMED), stream=True
        )
        pieces = response.iter_raw(20)
        next(pieces)
        if way == "closed":
            response.close()
        else:
            del response, pieces
            gc.collect()
        unit = only(watched)
        client.close()
    assert unit["error.type"] == "Abandoned"
    assert unit["genops.accounting.incomplete"] is True
    assert watched.usage.request_count == 1
    assert watched.usage.total_cost > 0


def test_an_sdks_stream_left_after_its_end_is_whole(gateway: SandboxGateway) -> None:
    """The SDK stops at `[DONE]` and closes: that is the end of the answer, not its abandonment."""
    with watching(gateway) as watched, openai.OpenAI(base_url=gateway.provider_urls["openai"], api_key="k") as client:
        stream = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].finish_reason:
                break
        stream.close()
    assert "error.type" not in only(watched)
    assert watched.usage.error_count == 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_stream_that_breaks_is_told_and_raises_as_ever(is_whole: bool) -> None:
    """The caller gets the library's own error, or none where the body ends well; the unit says what became of it."""
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        server.headers["Content-Type"], server.is_whole, server.pieces = "text/event-stream", is_whole, PIECES[:2]
        for library, error in ((httpx, httpx.RemoteProtocolError), (requests, requests.ConnectionError)):
            read = httpx_pieces if library is httpx else requests_pieces
            if is_whole:
                assert b"".join(read(f"{server.url}/chat/completions")) == b"".join(PIECES[:2])
                continue
            with pytest.raises((error, requests.exceptions.ChunkedEncodingError)):
                list(read(f"{server.url}/chat/completions"))
        units = [dict(unit.attributes or {}) for unit in watched.awus()]
    assert [unit["error.type"] for unit in units] == ["StreamInterruptedError"] * 2
    assert [unit["genops.accounting.incomplete"] for unit in units] == [True] * 2
    assert watched.usage.error_count == 2


def test_a_connection_that_fails_raises_as_ever() -> None:
    """Nobody listens: the library's own error, a unit without cost, and no usage."""
    with watching(provider_urls={"openai": "http://127.0.0.1:9/v1"}) as watched:
        with pytest.raises(httpx.ConnectError):
            httpx.post("http://127.0.0.1:9/v1/chat/completions", json=ASK)
        with pytest.raises(requests.ConnectionError):
            requests.post("http://127.0.0.1:9/v1/chat/completions", json=ASK)
        units = watched.awus()
    assert [unit.attributes and unit.attributes["error.type"] for unit in units] == ["GatewayError"] * 2
    assert (watched.usage.total_cost, watched.usage.error_count) == (0, 2)


@pytest.mark.anyio
@pytest.mark.parametrize("read", [by_httpx, by_aiohttp])
async def test_a_cancelled_call_is_settled_and_stays_cancelled(stepwise: Stepwise, read: Any) -> None:
    """Cancellation passes, and what was sent is booked as an estimate."""
    begun = asyncio.Event()

    async def ask() -> None:
        async for _ in read(f"{stepwise.url}/chat/completions"):
            begun.set()

    with watching(provider_urls={"openai": stepwise.url}) as watched:
        task = asyncio.create_task(ask())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        unit = only(watched)
    assert unit["error.type"] in ("CancelledError", "Abandoned")
    assert watched.usage.request_count == 1
    assert watched.usage.total_cost > 0

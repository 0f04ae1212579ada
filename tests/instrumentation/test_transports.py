"""The libraries under the SDKs: whichever way is sent and read, it is accounted for, and the caller notices nothing."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import brotli
import httpx
import httpx2
import openai
import pytest
import requests
from instrumented import ASK, BEARER, MESSAGES, STREAMED, Scripted, billed_as, scripted, watching

from genops_helicone_async.testing import SandboxGateway


def chat_at(gateway: SandboxGateway) -> str:
    """Where OpenAI's Helicone host takes chats."""
    return f"{gateway.provider_urls['openai']}/chat/completions"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_httpx_sync(gateway: SandboxGateway, library: Any) -> None:
    """A client made before `init()` and one made after; whole bodies and streams of lines and bytes."""
    with library.Client(headers=BEARER) as before, watching(gateway) as watched, library.Client() as after:
        before.post(chat_at(gateway), json=ASK).raise_for_status()
        after.post(chat_at(gateway), content=json.dumps(ASK), headers=BEARER).raise_for_status()
        with before.stream("POST", chat_at(gateway), json=STREAMED) as response:
            assert list(response.iter_lines())[-2] == "data: [DONE]"
        with before.stream("POST", chat_at(gateway), json=ASK) as response:
            assert b"".join(response.iter_bytes(7)).startswith(b"{")
        with before.stream("POST", chat_at(gateway), json=ASK) as response:
            assert b"".join(response.iter_raw())
    billed_as(gateway, watched.usage)
    assert len(watched.awus()) == 5


@pytest.mark.anyio
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_httpx_async(gateway: SandboxGateway, library: Any) -> None:
    """The asynchronous client, whole and streamed, several calls at once."""
    async with library.AsyncClient(headers=BEARER) as client:
        with watching(gateway) as watched:
            await asyncio.gather(*(client.post(chat_at(gateway), json=ASK) for _ in range(5)))
            async with client.stream("POST", chat_at(gateway), json=STREAMED) as response:
                assert [line async for line in response.aiter_lines()][-2] == "data: [DONE]"
    billed_as(gateway, watched.usage)


def test_requests_reads(gateway: SandboxGateway) -> None:
    """Bodies read at once, by lines, by chunks and from the raw response."""
    with requests.Session() as session, watching(gateway) as watched:
        session.headers.update(BEARER)
        assert session.post(chat_at(gateway), json=ASK).json()["model"].startswith("gpt-4o-mini")
        session.post(chat_at(gateway), data=json.dumps(ASK)).raise_for_status()
        with session.post(chat_at(gateway), json=STREAMED, stream=True) as response:
            assert [line for line in response.iter_lines() if line][-1] == b"data: [DONE]"
        with session.post(chat_at(gateway), json=ASK, stream=True) as response:
            assert b"".join(response.iter_content(16)).startswith(b"{")
        with session.post(chat_at(gateway), json=ASK, stream=True) as response:
            assert response.raw.read(decode_content=True).startswith(b"{")
        with session.post(chat_at(gateway), json=ASK, stream=True) as response:
            pieces = iter(lambda: response.raw.read(64), b"")
            assert b"".join(pieces).startswith(b"{")
    billed_as(gateway, watched.usage)


READS: dict[str, Callable[[Any], Awaitable[object]]] = {}


def reading(read: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
    """Notes a way to read aiohttp's body."""
    READS[read.__name__] = read
    return read


@reading
async def by_json(response: Any) -> object:
    """As JSON."""
    return await response.json()


@reading
async def by_lines(response: Any) -> object:
    """Line by line."""
    return [line async for line in response.content]


@reading
async def by_any(response: Any) -> object:
    """As it arrives."""
    return [piece async for piece in response.content.iter_any()]


@reading
async def by_size(response: Any) -> object:
    """In pieces of a size."""
    return [piece async for piece in response.content.iter_chunked(50)]


@reading
async def by_chunks(response: Any) -> object:
    """As the server cut it."""
    return [piece async for piece, _ in response.content.iter_chunks()]


@reading
async def by_hand(response: Any) -> object:
    """With the reader's own methods."""
    return [await response.content.readexactly(10), await response.content.readany(), await response.content.read()]


@pytest.mark.anyio
@pytest.mark.parametrize("read", READS)
async def test_aiohttp_reads(gateway: SandboxGateway, read: str) -> None:
    """A session made before `init()`, its body read in this way."""
    async with aiohttp.ClientSession(headers=BEARER) as session:
        with watching(gateway) as watched:
            async with session.post(chat_at(gateway), json=ASK) as response:
                assert await READS[read](response)
    billed_as(gateway, watched.usage)


@pytest.mark.anyio
async def test_aiohttp_streams_and_middlewares(gateway: SandboxGateway) -> None:
    """A stream costs what was billed, and the session's own middlewares still run, before ours."""
    seen = []

    async def theirs(request: Any, handler: Any) -> Any:
        seen.append(request.url.path)
        return await handler(request)

    with watching(gateway) as watched:
        async with aiohttp.ClientSession(headers=BEARER, middlewares=(theirs,)) as session:
            async with session.post(chat_at(gateway), json=STREAMED) as response:
                lines = [line async for line in response.content if line.strip()]
            async with session.post(chat_at(gateway), json=ASK, middlewares=()) as response:
                await response.read()
    assert lines[-1] == b"data: [DONE]\n"
    assert len(seen) == 1
    billed_as(gateway, watched.usage)


COMPRESSIONS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}
ANSWER = {
    "id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
}  # fmt: skip


def cut(body: bytes, size: int) -> list[bytes]:
    """The body in pieces."""
    return [body[at : at + size] for at in range(0, len(body), size)]


def answering(server: Scripted, body: bytes, encoding: str) -> None:
    """Has the server give this body, compressed and in small pieces."""
    server.headers["Content-Encoding"] = encoding
    server.pieces = cut(COMPRESSIONS[encoding](body), 11)


@pytest.mark.parametrize(
    ("library", "encoding"),
    [(library, encoding) for library in ("httpx", "requests") for encoding in COMPRESSIONS]
    + [("aiohttp", encoding) for encoding in COMPRESSIONS if "," not in encoding],  # it takes one at a time
)
def test_compressed_bodies(library: str, encoding: str) -> None:
    """What is compressed is read beside the caller, who gets it as it would without us."""
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        answering(server, json.dumps(ANSWER).encode(), encoding)
        got = asyncio.run(_by_aiohttp(server)) if library == "aiohttp" else _by(library, server)
    assert got == ANSWER
    assert (watched.usage.input_tokens, watched.usage.output_tokens) == (10, 4)


def _by(library: str, server: Scripted) -> object:
    post = {"httpx": httpx.post, "requests": requests.post}[library]
    return post(f"{server.url}/chat/completions", json=ASK).json()  # type: ignore[operator]


async def _by_aiohttp(server: Scripted) -> object:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/chat/completions", json=ASK) as response,
    ):
        return await response.json()


def test_other_requests_are_none_of_our_business(gateway: SandboxGateway) -> None:
    """Model lists, other hosts, other methods and bodies that are no chat pass by unseen."""
    with scripted() as server, watching(gateway) as watched, httpx.Client(headers=BEARER) as client:
        server.pieces = [b"{}"]
        client.get(f"{gateway.provider_urls['openai']}/models").raise_for_status()
        client.post(f"{server.url}/chat/completions", json=ASK)
        client.post(chat_at(gateway), content=b"no JSON")
        client.post(f"{gateway.provider_urls['openai']}/audio/speech", json=ASK)
    assert (watched.usage.request_count, watched.awus()) == (0, [])


def test_a_redirect_is_followed_as_before(gateway: SandboxGateway) -> None:
    """A call that another host sends on is counted once, with the answer that the caller gets."""
    ask = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": MESSAGES}
    with scripted() as server, watching(gateway, provider_urls={"anthropic": server.url}) as watched:
        server.status, server.headers["Location"] = 307, f"{gateway.provider_urls['anthropic']}/messages"
        response = requests.post(f"{server.url}/messages", json=ask, headers={"x-api-key": "key"})
    assert (response.status_code, [each.status_code for each in response.history]) == (200, [307])
    billed_as(gateway, watched.usage)


RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o-mini", "status": "completed",
    "output": [{
        "type": "message", "id": "m", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
    }],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    "usage": {
        "input_tokens": 30, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 38,
    },
}  # fmt: skip


def test_the_responses_api() -> None:
    """The newer interface of OpenAI's SDK, whole and streamed, is counted and priced like chats."""
    events = [
        {"type": "response.created", "sequence_number": 0,
         "response": {**RESPONSE, "status": "in_progress", "usage": None}},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hello.", "item_id": "m",
         "output_index": 0, "content_index": 0, "logprobs": []},
        {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
    ]  # fmt: skip
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        client = openai.OpenAI(base_url=server.url, api_key="key", max_retries=0)
        server.pieces = [json.dumps(RESPONSE).encode()]
        whole = client.responses.create(model="gpt-4o-mini", input="Hi", instructions="Be brief.")
        server.headers["Content-Type"] = "text/event-stream"
        server.pieces = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
        kinds = [event.type for event in client.responses.create(model="gpt-4o-mini", input=MESSAGES, stream=True)]
        client.close()
        units = watched.awus()
    assert (whole.output_text, kinds) == ("Hello.", [event["type"] for event in events])
    assert (watched.usage.input_tokens, watched.usage.output_tokens) == (60, 16)
    cost = 2 * (20 * 0.15 + 10 * 0.075 + 8 * 0.6) / 1e6
    assert watched.usage.total_cost == pytest.approx(cost, rel=1e-12)
    assert [unit.attributes and unit.attributes["gen_ai.usage.reasoning.output_tokens"] for unit in units] == [2, 2]


def test_googles_own_shape(gateway: SandboxGateway) -> None:
    """generateContent, whose path names the model, is counted with its thoughts."""
    base = gateway.provider_urls["gemini"].removesuffix("/openai")
    body = {
        "contents": [{"role": "user", "parts": [{"text": "Say hello"}]}],
        "generationConfig": {"maxOutputTokens": 40},
    }
    with watching(gateway, provider_urls={"gemini": base}) as watched:
        for verb in ("generateContent", "streamGenerateContent?alt=sse"):
            url = f"{base}/models/gemini-2.5-flash:{verb}"
            httpx.post(url, json=body, headers={"x-goog-api-key": "k"}).raise_for_status()
    billed_as(gateway, watched.usage)
    assert [unit.name for unit in watched.awus()] == ["chat gemini-2.5-flash"] * 2

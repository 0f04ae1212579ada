"""What calls leave behind for the collector of cyclic garbage: nothing of ours, however they end."""

import asyncio
import gc
import types
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, HeliconeError, tune_garbage_collection
from genops_helicone_async._garbage import THRESHOLDS
from loopback import Exchange, LoopbackServer, chat_body, chat_events

pytestmark = pytest.mark.anyio

Adapter = GenOpsHeliconeAsyncAdapter


async def answer(exchange: Exchange) -> None:
    """Does what the message says."""
    message = str(exchange.json["messages"][-1]["content"])  # type: ignore[index]
    if message == "hang":
        await exchange.gone()
    elif message == "stream":
        await exchange.events(*chat_events("a", "b"))
    elif message.isdigit():
        await exchange.reply(int(message), b'{"error": {"message": "no"}}', {"Content-Type": "application/json"})
    elif message == "groq fails" and exchange.provider == "groq":
        await exchange.reply(500, b"{}")
    else:
        await exchange.reply(200, chat_body(), {"Content-Type": "application/json"})


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """A server that does what the message says."""
    async with LoopbackServer(answer) as running:
        yield running


@pytest.fixture
async def adapter(server: LoopbackServer) -> AsyncIterator[Adapter]:
    """An adapter that repeats nothing."""
    urls = server.provider_urls("openai", "groq")
    async with Adapter(KEY, gateway_url=server.url, provider_urls=urls, prices=PRICES, retry_attempts=0) as made:
        yield made


async def chat(adapter: Adapter) -> None:
    await adapter.chat_async("Hi", provider="openai")


async def many(adapter: Adapter) -> None:
    assert [result.ok async for result in adapter.chat_many(["Hi"] * 8, provider="openai", max_in_flight=4)] == [
        True
    ] * 8


async def stream(adapter: Adapter) -> None:
    async with adapter.stream_async("stream", provider="openai") as chunks:
        assert "".join([chunk.content async for chunk in chunks]) == "ab"


async def failover(adapter: Adapter) -> None:
    response = await adapter.chat_async("groq fails", providers=["groq", "openai"])
    assert response.provider == "openai"


async def all_fail(adapter: Adapter) -> None:
    with pytest.raises(HeliconeError):
        await adapter.chat_async("500", providers=["groq", "openai"])


async def refused_by_status(adapter: Adapter) -> None:
    for status in ("400", "401", "404", "500"):
        with pytest.raises(HeliconeError):
            await adapter.chat_async(status, provider="openai")


async def beyond_its_deadline(adapter: Adapter) -> None:
    with pytest.raises(HeliconeError):
        await adapter.chat_async("hang", provider="openai", timeout_seconds=0.02)


async def beyond_its_cost(adapter: Adapter) -> None:
    with pytest.raises(HeliconeError):
        await adapter.chat_async("Hi", provider="openai", max_cost=1e-12)


async def with_a_wrong_argument(adapter: Adapter) -> None:
    with pytest.raises(HeliconeError):
        await adapter.chat_async("Hi", provider="nobody")


async def cancelled(adapter: Adapter) -> None:
    call = asyncio.ensure_future(adapter.chat_async("hang", provider="openai"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize(
    "call",
    [
        chat, many, stream, failover, all_fail, refused_by_status, beyond_its_deadline, beyond_its_cost,
        with_a_wrong_argument, cancelled,
    ],
)  # fmt: skip
async def test_a_call_leaves_no_cycle_of_ours(call: Callable[[Adapter], Awaitable[None]], adapter: Adapter) -> None:
    """Neither one of our objects nor a frame of our code is left for the collector."""
    await call(adapter)  # the first one fills memories
    await asyncio.sleep(0)
    gc.disable()
    gc.freeze()  # what was there before is not looked at
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            await call(adapter)
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        left = sorted({name for name in map(ours, gc.garbage) if name})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    assert left == []


def ours(thing: object) -> str | None:
    """What of ours it is."""
    if isinstance(thing, types.FrameType):
        code = thing.f_code
        return f"the frame of {code.co_qualname}" if "genops_helicone_async" in code.co_filename else None
    kind = type(thing)
    return kind.__qualname__ if kind.__module__.startswith("genops_helicone_async") else None


def test_tuning_changes_the_thresholds_and_tells_the_former() -> None:
    """So that a program can have them back."""
    before = gc.get_threshold()
    try:
        assert tune_garbage_collection() == before
        assert gc.get_threshold()[:2] == THRESHOLDS[:2]
        assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

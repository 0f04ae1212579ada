"""What a call costs in memory while it waits for a slot: little, and no connection."""

import asyncio
import gc
import tracemalloc

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio
MESSAGES = [{"role": "user", "content": "Explain how a token bucket works and where it is used. " * 4}]


async def test_a_waiting_call_is_small_and_holds_no_connection() -> None:
    """At most 6,000 bytes each, its task included; the server sees the connections of those that have a slot."""

    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    async with (
        LoopbackServer(hang) as server,
        GenOpsHeliconeAsyncAdapter(KEY, gateway_url=server.url, prices=PRICES, max_connections=2) as adapter,
    ):

        def begin(number: int) -> list[asyncio.Task[object]]:
            return [asyncio.ensure_future(adapter.chat_async(MESSAGES, provider="openai")) for _ in range(number)]

        calls = begin(20)
        await server.until(lambda: len(server.exchanges) == 2)
        gc.collect()
        tracemalloc.start()
        calls += begin(400)
        while adapter.statistics().limits[0].waiting < 418:
            await asyncio.sleep(0)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert server.connections == 2
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    assert used / 400 < 6_000

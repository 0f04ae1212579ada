"""Everything goes wrong at once: whatever the mixture of faults, cancellations and impatience, the books balance."""

import asyncio
import random
from typing import Any

import pytest
from flow_parts import PROVIDERS, Rig, cost_pusd

from genops_helicone_async import HeliconeError, HeliconeResponse
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async.errors import Attempt
from loopback import Exchange, LoopbackServer, chat_body, chat_events

pytestmark = pytest.mark.anyio

CALLS = 300


class Weather:
    """A server whose answers are drawn from a seed; `paid` counts the answers that went out whole."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    async def answer(self, exchange: Exchange) -> None:
        """One of many fates."""
        fate = self.draw.choice(("well", "well", "well", "down", "limited", "reset", "hang", "half", "nonsense"))
        streamed = bool(exchange.json.get("stream"))
        if fate == "well" and streamed:
            await exchange.events(*chat_events("Hel", "lo", "!"))
        elif fate == "well":
            await exchange.reply(200, chat_body("Hello!"))
        elif fate == "down":
            await exchange.reply(503, b'{"error": {"message": "down"}}')
        elif fate == "limited":
            await exchange.reply(429, b'{"error": {"message": "slow down"}}', {"retry-after-ms": "2"})
        elif fate == "reset":
            exchange.reset()
        elif fate == "hang":
            await exchange.gone()
        elif fate == "half" and streamed:
            await exchange.events(*chat_events("Hel", "lo")[:2], end=False)
            exchange.close()
        elif fate == "half":
            await exchange.head(200, {"Content-Length": "500"})
            exchange.close()
        else:
            await exchange.reply(200, b"<html>", {"Content-Type": "text/html"})


async def one_call(rig: Rig, draw: random.Random) -> HeliconeResponse | None:
    """A call of one kind or the other, with more or less patience."""
    options: dict[str, Any] = {"timeout_seconds": draw.choice((0.02, 0.2, 0.5)), "max_tokens": 20}
    options |= draw.choice(({"provider": "openai"}, {"providers": list(PROVIDERS)}, {"providers": ["groq", "openai"]}))
    if draw.random() < 0.5:
        return await rig.chat(**options)
    async with rig.stream(**options) as stream:
        async for _ in stream:
            if draw.random() < 0.1:
                return None
    return stream.response


async def turn_away(tasks: list[asyncio.Task[Any]], draw: random.Random) -> None:
    """Cancels a quarter of the calls, here and there, now and then; those that have ended are left in peace."""
    for _ in range(CALLS // 4):
        draw.choice(tasks).cancel()
        await asyncio.sleep(draw.choice((0, 0.001, 0.01)))


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_balance_in_any_weather(seed: int) -> None:
    """Each call ends once: one record, one settling to the sum of its attempts, no slot, no connection left."""
    draw = random.Random(seed)
    async with LoopbackServer(Weather(seed).answer) as server:
        transport = HttpTransport(max_response_bytes=10_000)
        rig = Rig(transport, provider_urls=server.provider_urls(*PROVIDERS), max_connections=20, random=0.001)
        tasks = [asyncio.ensure_future(one_call(rig, draw)) for _ in range(CALLS)]
        await asyncio.gather(turn_away(tasks, draw), asyncio.wait(tasks))
        failures = [task.exception() for task in tasks if not task.cancelled()]
        assert [failure for failure in failures if not isinstance(failure, HeliconeError | None)] == []
        begun = len(rig.records)
        rig.assert_settled(calls=begun)
        assert len(rig.budget.holds) == begun
        assert sum(not task.cancelled() for task in tasks) <= begun <= CALLS
        assert_told_truly(rig, [task.result() for task in tasks if not task.cancelled() and not task.exception()])
        told = transport.statistics()
        assert told.in_flight == 0
        assert told.requests == told.replies + told.failures
        await transport.aclose()
        await server.until(lambda: server.open == 0)


def assert_told_truly(rig: Rig, responses: list[HeliconeResponse | None]) -> None:
    """Answers are whole, and every attempt says the same of itself wherever it is told."""
    assert {response.content for response in responses if response is not None} <= {"Hello!"}
    attempts: list[Attempt] = [attempt for record in rig.records for attempt in record.attempts]
    assert len({attempt.request_id for attempt in attempts}) == len(attempts)
    for record in rig.records:
        assert record.cost_pusd + record.failed_pusd == cost_pusd(record.attempts)
        assert sum(row.cost_pusd for row in record.rows) == record.cost_pusd + record.failed_pusd
    for attempt in attempts:
        assert (attempt.cost == 0) is (attempt.billed == "no")
        assert attempt.cost_source == {"no": "none", "maybe": "estimated", "yes": "computed"}[attempt.billed]

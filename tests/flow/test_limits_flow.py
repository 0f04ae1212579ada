"""Limits through an adapter and a real server: what arrives there, and when; bounds that a loaded machine keeps."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import (
    AllProvidersFailedError,
    DeadlineExceededError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
)
from loopback import Exchange, LoopbackServer, chat_body, chat_events

pytestmark = pytest.mark.anyio


class Arrivals:
    """A server that notes the moment and the provider of each request, and answers as it is told."""

    def __init__(self, respond: Callable[[Exchange, int], Any] | None = None) -> None:
        self.moments_s: list[float] = []
        self.providers: list[str] = []
        self._respond = respond

    async def __call__(self, exchange: Exchange) -> None:
        """Answers a chat, a stream or an embedding."""
        self.moments_s.append(time.monotonic())
        self.providers.append(exchange.provider)
        if self._respond is not None and (answer := self._respond(exchange, len(self.moments_s))) is not None:
            await exchange.reply(*answer)
        elif exchange.path.endswith("/embeddings"):
            body = b'{"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}'
            await exchange.reply(200, body)
        elif exchange.json.get("stream"):
            await exchange.events(*chat_events("Hello"))
        else:
            await exchange.reply(200, chat_body("Hello"))


def adapter_at(server: LoopbackServer, **given: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter for three providers on this server."""
    names = ("openai", "groq", "mistral")
    return GenOpsHeliconeAsyncAdapter(
        KEY, dict.fromkeys(names, "key"), provider_urls=server.provider_urls(*names), prices=PRICES, **given
    )


def assert_kept(moments_s: list[float], began_s: float, burst: int, rate_per_s: float) -> None:
    """No call arrived before the bucket allowed it: a slow machine only makes them later."""
    for number, moment_s in enumerate(sorted(moments_s)):
        assert moment_s - began_s >= (number + 1 - burst) / rate_per_s - 1e-3, number


async def test_a_burst_and_then_ten_a_second_arrive() -> None:
    """600 a minute with a burst of 20: the 40th call arrives after two seconds, in whatever way it is made."""
    handler = Arrivals()
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        helicone.configure_rate_limits(requests_per_minute=600, burst_allowance=20)
        began_s = time.monotonic()

        async def stream() -> None:
            async with helicone.stream_async("Hi", provider="openai") as chunks:
                assert "".join([chunk.content async for chunk in chunks]) == "Hello"

        async with asyncio.TaskGroup() as group:
            for _ in range(14):
                group.create_task(helicone.chat_async("Hi", provider="openai"))
                group.create_task(stream())
                group.create_task(helicone.embed_async(["Hi"], provider="openai", model="text-embedding-3-small"))
        assert len(handler.moments_s) == 42
        assert_kept(handler.moments_s, began_s, 20, 10.0)
        told = {gate.provider: gate for gate in helicone.statistics().limits}["openai"]
        assert (told.entered, told.in_flight, told.waiting) == (42, 0, 0)
        assert 0 < told.queued <= 22  # fewer on a slow machine


async def test_providers_have_limits_of_their_own() -> None:
    """One that is used up does not hold up another, and one may have more than everyone."""
    handler = Arrivals()
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        helicone.configure_rate_limits(1, 1, per_provider={"mistral": {"requests_per_minute": 60_000}})
        for provider in ("openai", "groq", *["mistral"] * 100):
            await helicone.chat_async("Hi", provider=provider)
        with pytest.raises(DeadlineExceededError, match="waited for its turn at groq"):
            await helicone.chat_async("Hi", provider="groq", timeout_seconds=0.05)
    assert handler.providers == ["openai", "groq", *["mistral"] * 100]


async def test_a_pause_of_one_provider_sends_calls_to_another() -> None:
    """Retry-After of a minute: the call fails over, the next ones go elsewhere at once, and nobody waits."""
    refusal = (429, b'{"error": {"message": "slow down"}}', {"Retry-After": "60"})
    handler = Arrivals(lambda exchange, _: refusal if exchange.provider == "openai" else None)
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        for _ in range(5):
            answer = await helicone.chat_async("Hi", providers=["openai", "groq"], timeout_seconds=20)
            assert answer.provider == "groq"
        await helicone.chat_async("Hi", provider="mistral", timeout_seconds=20)
        gate = {gate.provider: gate for gate in helicone.statistics().limits}["openai"]
        assert gate.throttled == 1
        assert 30 < gate.paused_s <= 60
    assert handler.providers == ["openai", *["groq"] * 5, "mistral"]


async def test_a_stream_keeps_its_turn_until_it_ends() -> None:
    """With one at a time the next call goes when the stream is over, not when it has begun."""
    handler = Arrivals()
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        helicone.configure_rate_limits(max_concurrency=1)
        async with helicone.stream_async("Hi", provider="openai") as chunks:
            await anext(chunks)
            with pytest.raises(DeadlineExceededError, match="1 at once, 1 are on their way"):
                await helicone.chat_async("Hi", provider="openai", timeout_seconds=0.05)
            assert len(handler.moments_s) == 1
        await helicone.chat_async("Hi", provider="openai")
        assert helicone.statistics().limits[0].in_flight == 0


async def test_tokens_are_corrected_by_what_was_used() -> None:
    """A thousand tokens are set aside for each answer and a few used: forty calls need no minutes."""
    handler = Arrivals()
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        helicone.configure_rate_limits(tokens_per_minute=12_000)
        for _ in range(40):
            await helicone.chat_async("Hi", provider="openai", max_tokens=1000, timeout_seconds=20)
    assert len(handler.moments_s) == 40


async def test_what_a_provider_tells_of_its_limit_is_kept_to() -> None:
    """Its headers say that two are left for the next minute: the third call does not even go out."""
    left = {"x-ratelimit-limit-requests": "100", "x-ratelimit-reset-requests": "60s"}

    def respond(_: Exchange, number: int) -> Any:
        return (200, chat_body("Hello"), {**left, "x-ratelimit-remaining-requests": str(max(0, 3 - number))})

    handler = Arrivals(respond)
    async with LoopbackServer(handler) as server, adapter_at(server) as helicone:
        for _ in range(3):
            await helicone.chat_async("Hi", provider="openai")
        with pytest.raises(DeadlineExceededError, match="waited for its turn at openai"):
            await helicone.chat_async("Hi", provider="openai", timeout_seconds=0.05)
        assert (await helicone.chat_async("Hi", providers=["openai", "groq"], timeout_seconds=0.3)).provider == "groq"
        helicone.configure_rate_limits(adaptive=False)
        await helicone.chat_async("Hi", provider="openai")
    assert handler.providers == ["openai"] * 3 + ["groq", "openai"]


async def test_a_hidden_limit_is_found_by_its_refusals() -> None:
    """200 calls against 50 a second and a burst of 20: all are answered, and most refusals are those of the start."""
    level, seen_s, refused = 20.0, time.monotonic(), 0

    def respond(_: Exchange, __: int) -> Any:
        nonlocal level, seen_s, refused
        now_s = time.monotonic()
        level, seen_s = min(20.0, level + (now_s - seen_s) * 50.0), now_s
        if level >= 1:
            level -= 1
            return None
        refused += 1
        return (429, b'{"error": {"message": "rate limit reached"}}', {})

    async with LoopbackServer(Arrivals(respond)) as server, adapter_at(server) as helicone:
        answered = [
            result.error
            async for result in helicone.chat_many(
                ["Hi"] * 200, max_in_flight=60, provider="openai", timeout_seconds=60
            )
        ]
        assert answered == [None] * 200
        assert refused <= 60 + 40
        gate = helicone.statistics().limits[0]
        assert gate.throttled == refused


async def test_everybody_is_told_when_no_turn_comes() -> None:
    """Every candidate's limit is used up: the error names each, and nothing was sent or billed."""
    async with LoopbackServer(Arrivals()) as server, adapter_at(server) as helicone:
        helicone.configure_rate_limits(1, 1)
        for provider in ("openai", "groq"):
            await helicone.chat_async("Hi", provider=provider)
        with pytest.raises((AllProvidersFailedError, DeadlineExceededError), match="turn") as caught:
            await helicone.chat_async("Hi", providers=["openai", "groq"], timeout_seconds=0.2)
        assert caught.value.billed == "no"
        assert sum(gate.entered for gate in helicone.statistics().limits) == 2
    assert len(server.exchanges) == 2


async def test_threads_of_the_synchronous_adapter_share_one_limit() -> None:
    """Eight threads: what arrives keeps to the limit."""
    handler = Arrivals()
    async with LoopbackServer(handler) as server:
        helicone = GenOpsHeliconeAdapter(
            KEY, {"openai": "key"}, provider_urls=server.provider_urls("openai"), prices=PRICES
        )
        helicone.configure_rate_limits(requests_per_minute=1200, burst_allowance=5)
        began_s = time.monotonic()

        def work() -> None:
            for _ in range(4):
                helicone.chat("Hi", provider="openai")

        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(8)))
        await asyncio.to_thread(helicone.close)
    assert len(handler.moments_s) == 32
    assert_kept(handler.moments_s, began_s, 5, 20.0)


async def test_a_change_reaches_every_event_loop() -> None:
    """A thread with a loop of its own waits for its turn; the limit is taken away here, and it goes on there."""
    async with LoopbackServer(Arrivals()) as server:
        helicone = adapter_at(server)
        helicone.configure_rate_limits(1, 1)
        first = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def call_twice() -> None:
            await helicone.chat_async("Hi", provider="openai")
            loop.call_soon_threadsafe(first.set)
            await helicone.chat_async("Hi", provider="openai", timeout_seconds=60)

        thread = threading.Thread(target=lambda: asyncio.run(call_twice()))
        thread.start()
        await helicone.chat_async("Hi", provider="openai")
        await first.wait()
        helicone.configure_rate_limits()
        await asyncio.to_thread(thread.join)
        await helicone.chat_async("Hi", provider="openai")
        await helicone.aclose()
    assert len(server.exchanges) == 4

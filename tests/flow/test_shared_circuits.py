"""One adapter, several event loops and the synchronous facade: what one learns of a provider, all know."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from genops_helicone_async import GenOpsHeliconeAdapter, GenOpsHeliconeAsyncAdapter, ProviderError
from genops_helicone_async.testing import SandboxGateway

BOTH = ["openai", "groq"]


@pytest.fixture
def gateway() -> Iterator[SandboxGateway]:
    """A gateway on a thread of its own that answers at once."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        yield running


def test_an_outage_found_on_one_loop_is_known_on_all(gateway: SandboxGateway) -> None:
    """Five failures on one thread's loop, and no other loop asks that provider before its probe is due."""
    adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0)
    gateway.faults.down("openai")

    async def ask(times: int) -> list[list[str]]:
        responses = [await adapter.chat_async("Hi", providers=BOTH) for _ in range(times)]
        return [[attempt.provider for attempt in response.attempts] for response in responses]

    assert asyncio.run(ask(5)) == [BOTH] * 5
    asked: list[list[str]] = []
    threads = [threading.Thread(target=lambda: asked.extend(asyncio.run(ask(3)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [["groq"]] * 9
    asyncio.run(adapter.aclose())


def test_several_loops_wait_for_one_recovery(gateway: SandboxGateway) -> None:
    """With nobody else to ask: each loop's calls wait for the probe, whichever loop makes it."""
    adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0)
    gateway.faults.down("openai")

    async def fail() -> None:
        for _ in range(5):
            with pytest.raises(ProviderError):
                await adapter.chat_async("Hi", provider="openai")

    asyncio.run(fail())
    gateway.faults.up("openai")
    answers: list[str] = []

    async def ask() -> None:
        calls = [adapter.chat_async("Hi", provider="openai", timeout_seconds=20) for _ in range(20)]
        answers.extend([response.provider for response in await asyncio.gather(*calls)])

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["openai"] * 60
    assert len(gateway.requests) == 5 + 60
    asyncio.run(adapter.aclose())


def test_the_synchronous_adapter_rests_a_failing_provider(gateway: SandboxGateway) -> None:
    """From many threads: after the fifth failure the other one is asked at once."""
    gateway.faults.down("openai")
    with GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0) as adapter:
        first = [adapter.chat("Hi", providers=BOTH) for _ in range(5)]
        assert [len(response.attempts) for response in first] == [2] * 5
        told: list[int] = []
        threads = [
            threading.Thread(target=lambda: told.append(len(adapter.chat("Hi", providers=BOTH).attempts)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [1] * 8
        health = {row.provider: row.circuit for row in adapter.statistics().health}
    assert health == {"openai": "open", "groq": "closed"}

"""Rates are kept by waiting, not by failing; a limit that nobody told is found; the urgent go first."""

import asyncio
import time

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway


async def keep_a_rate(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Ten at once, then ten a second; the urgent call overtakes those that wait."""
    adapter.configure_rate_limits(requests_per_minute=600, burst_allowance=10)
    started_s, finished = time.monotonic(), []

    async def ask(name: str, priority: int) -> None:
        await adapter.chat_async("Hello", provider="groq", priority=priority)
        finished.append((name, time.monotonic() - started_s))

    await asyncio.gather(*(ask(f"call {number}", 0) for number in range(20)), ask("urgent", 10))
    place, urgent_s = next((place, s) for place, (name, s) in enumerate(finished, 1) if name == "urgent")
    print(f"21 calls took {finished[-1][1]:.1f} s, none failed; the urgent one, asked last, was number {place}")
    print(f"  after {urgent_s:.1f} s")


async def find_a_limit(adapter: GenOpsHeliconeAsyncAdapter, sandbox: SandboxGateway) -> None:
    """The provider refuses beyond a rate that it tells nobody."""
    adapter.configure_rate_limits()
    sandbox.faults.set_hidden_limit("openai", requests_per_minute=1200, burst=20)
    started_s, refused = time.monotonic(), 0
    async for result in adapter.chat_many(["Hello"] * 40, provider="openai", max_in_flight=30, on_error="raise"):
        assert result.response is not None
        refused += sum(attempt.status_code == 429 for attempt in result.response.attempts)
    print(f"40 answers in {time.monotonic() - started_s:.1f} s, {refused} attempts refused on the way, no call failed")


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        await keep_a_rate(adapter)
        await find_a_limit(adapter, sandbox)
        for limits in adapter.statistics().limits:
            print(f"{limits.provider}: {limits.entered} attempts, {limits.queued} of them waited their turn")


asyncio.run(main())

"""A process that calls a server under limits it shares with others; it prints what its limits came to.

python limits_worker.py SERVER_URL STATE_URL CALLS REQUESTS_PER_MINUTE BURST
"""

import asyncio
import sys

from flow_parts import KEY, PRICES

from genops_helicone_async import GenOpsHeliconeAsyncAdapter


async def work(server_url: str, state_url: str, calls: int, per_minute: float, burst: int) -> None:
    """All calls at once, each in its turn."""
    async with GenOpsHeliconeAsyncAdapter(
        KEY,
        {"openai": "key"},
        provider_urls={"openai": f"{server_url}/openai/v1"},
        prices=PRICES,
        state_url=state_url,
        timeout_seconds=60,
    ) as helicone:
        helicone.configure_rate_limits(requests_per_minute=per_minute, burst_allowance=burst)
        await asyncio.gather(*(helicone.chat_async("Hi", provider="openai") for _ in range(calls)))
        print(helicone.statistics().limits[0].entered)


if __name__ == "__main__":
    _, server_url, state_url, calls, per_minute, burst = sys.argv
    asyncio.run(work(server_url, state_url, int(calls), float(per_minute), int(burst)))

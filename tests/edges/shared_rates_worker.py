"""A process that reserves from shared rates, started by the tests: its grants are its last line.

    python shared_rates_worker.py URL PREFIX CAPACITY RATE_PER_S GRANTS

A grant is its amount and three times of the server in microseconds: between the first two lies the moment from which
it was usable, and the third is when it was used.
"""

import asyncio
import json
import sys
import time

import redis.asyncio

from genops_helicone_async._edges.shared_rates import SharedRates

TASKS = 3


async def work(url: str, prefix: str, capacity: float, rate_per_s: float, count: int) -> None:
    """Reserves one after the other in each of several tasks, beside each other, and uses each when it may."""
    rates, grants = SharedRates(url, prefix=prefix), []

    async def use(number: int) -> None:
        async with redis.asyncio.Redis.from_url(url) as client:
            for _ in range(count):
                began_us = await server_us(client)
                wait_s = await rates.reserve("calls", 1.0 + number / 4, capacity=capacity, rate_per_s=rate_per_s)
                until_s = time.perf_counter() + wait_s
                ended_us = await server_us(client)
                while (left_s := until_s - time.perf_counter()) > 0:
                    await asyncio.sleep(left_s)
                used_us = await server_us(client)
                wait_us = round(wait_s * 1e6)
                grants.append((1.0 + number / 4, began_us + wait_us, ended_us + wait_us, used_us))

    await asyncio.gather(*map(use, range(TASKS)))
    await rates.aclose()
    print(json.dumps(grants))


async def server_us(client: redis.asyncio.Redis) -> int:
    """The server's time."""
    seconds, microseconds = await client.time()
    return int(seconds) * 1_000_000 + int(microseconds)


if __name__ == "__main__":
    _, url, prefix, capacity, rate_per_s, count = sys.argv
    asyncio.run(work(url, prefix, float(capacity), float(rate_per_s), int(count)))

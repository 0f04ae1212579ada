"""What calls cost that wait for their turn: memory of each, and of 5,000 at once, in a process of their own.

    python benchmarks/queued.py [--json] [--calls 5000]

- `chat`: `chat_async` calls as an application begins them, each in a task, behind one call a minute: request, ticket,
  budget, route and place in the queue are in it.
- `gate`: only the place in the queue, each in a task.
- `task`: the baseline, a task that waits for a future.
`bytes` is what Python allocated for each (tracemalloc), `rss` what the process grew by for each; limits are 6 kB and
100 MB for 5,000, which counts what the process needs without them, too. `start` and `cancel` are microseconds of CPU
for each: until it waits, and until it is gone without a trace.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.limits import Gate, Slots
from genops_helicone_async._rules.rate_limits import RateLimits

LIMIT_BYTES, LIMIT_MB = 6_000, 100
VARIANTS = ("task", "gate", "chat")
WARM = 50
Wait = Callable[[int], Coroutine[object, object, object]]


def rss_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def waiting_of(variant: str, adapter: GenOpsHeliconeAsyncAdapter) -> Wait:
    """A coroutine function that waits for its turn, for ever as far as this is concerned."""
    loop = asyncio.get_running_loop()
    gate = Gate("openai", RateLimits(requests_per_minute=0.001), Slots(100), loop.time)

    async def wait_in_task(_: int) -> None:
        await loop.create_future()

    async def wait_at_gate(number: int) -> None:
        deadline = loop.time() + 1e5
        await gate.enter("gpt-4o-mini", 0.0, priority=0, tenant=(str(number % 9), None), deadline=deadline)

    async def chat(number: int) -> None:
        await adapter.chat_async(f"Question {number}", provider="openai", team=f"team-{number % 9}")

    return {"task": wait_in_task, "gate": wait_at_gate, "chat": chat}[variant]


async def begin(wait: Wait, count: int) -> list[asyncio.Task[object]]:
    """So many that wait."""
    tasks = [asyncio.ensure_future(wait(number)) for number in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def end(tasks: list[asyncio.Task[object]]) -> None:
    """Cancels them and sees them gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def measure(variant: str, calls: int, *, traced: bool) -> dict[str, float]:
    """One variant, in this process."""
    urls = {"openai": "http://127.0.0.1:9/v1"}  # nobody is there
    prices = {"openai/gpt-4o-mini": {"input": 0.15, "output": 0.6}}  # so that nobody waits for the price list
    async with GenOpsHeliconeAsyncAdapter(
        "key", provider_urls=urls, prices=prices, timeout_seconds=3600, retry_attempts=0
    ) as adapter:
        adapter.configure_rate_limits(requests_per_minute=0.001, burst_allowance=1)
        wait = waiting_of(variant, adapter)
        if variant != "task":
            await begin(wait, 1)  # goes on, and nobody after it
        await end(await begin(wait, WARM))
        gc.collect()
        before_mb = rss_mb()
        if traced:
            tracemalloc.start()
        began_s = time.process_time()
        tasks = await begin(wait, calls)
        started_s = time.process_time()
        waiting = calls if variant != "chat" else adapter.statistics().limits[0].waiting
        size = tracemalloc.get_traced_memory()[0] if traced else 0
        told = {"rss_kb": (rss_mb() - before_mb) / calls * 1e3, "process_mb": rss_mb()}
        ending_s = time.process_time()
        await end(tasks)
        ended_s = time.process_time()
        tracemalloc.stop()
        if waiting < calls:
            raise SystemExit(f"only {waiting} of {calls} waited")
    if traced:
        return {"bytes": size / calls}
    return {**told, "start_us": (started_s - began_s) / calls * 1e6, "cancel_us": (ended_s - ending_s) / calls * 1e6}


def alone(variant: str, calls: int) -> dict[str, float]:
    """The same in processes of its own: memory that was used once would not grow again."""
    told: dict[str, float] = {}
    for kind in ("plain", "traced"):
        command = [sys.executable, __file__, "--only", variant, "--kind", kind, "--calls", str(calls)]
        told |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def main() -> int:
    """Prints the table or JSON; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="plain", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        json.dump(asyncio.run(measure(given.only, given.calls, traced=given.kind == "traced")), sys.stdout)
        return 0
    figures = {variant: alone(variant, given.calls) for variant in VARIANTS}
    whole = figures["chat"]
    is_met = max(whole["bytes"] / 1e3, whole["rss_kb"]) * 1e3 <= LIMIT_BYTES and whole["process_mb"] <= LIMIT_MB
    if given.json:
        told = {"limit_bytes": LIMIT_BYTES, "limit_mb": LIMIT_MB, "is_met": is_met, "rows": figures}
        json.dump(told, sys.stdout, indent=2)
        print()
    else:
        print(f"{'':>6} {'bytes':>7} {'rss kB':>7} {'process MB':>11} {'start µs':>9} {'cancel µs':>10}")
        for name, row in figures.items():
            print(f"{name:>6} {row['bytes']:7.0f} {row['rss_kb']:7.2f} {row['process_mb']:11.1f} "
                  f"{row['start_us']:9.1f} {row['cancel_us']:10.1f}")  # fmt: skip
        print("within the limits" if is_met else "over the limits")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())

"""Microseconds of CPU to pass a provider's gate and leave it again, where nobody has to wait.

    python benchmarks/limits.py [--json] [--rounds 7] [--calls 5000]

- `free`: nothing is configured, the provider has told nothing: what every call pays.
- `requests`, `tokens`, `both`: `configure_rate_limits` with limits so high that nobody waits.
- `told`: the provider's `x-ratelimit-*` headers are mirrored.
- `pace`: a limit found by refusals is kept to.
- `queued`: as `both`, but every call goes through the queue, 500 at a time.
The baseline in the same run is a slot taken and released, which was there before there were limits. Figures are the
least and the median of the rounds; the limit is 3 µs for the first six, by the least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from genops_helicone_async._edges.limits import Gate, Slots
from genops_helicone_async._rules.rate_limits import NO_LIMITS, RateLimits

LIMIT_US = 3.0
TOKENS = 150.0
QUEUED = 500
PLANS = {
    "free": NO_LIMITS,
    "requests": RateLimits(requests_per_minute=1e9, burst=10**9),
    "tokens": RateLimits(tokens_per_minute=1e9),
    "both": RateLimits(requests_per_minute=1e9, burst=10**9, tokens_per_minute=1e9),
    "told": NO_LIMITS,
    "pace": NO_LIMITS,
    "queued": RateLimits(requests_per_minute=1e9, burst=10**9, tokens_per_minute=1e9),
}
TOLD = {"x-ratelimit-limit-requests": "1000000000", "x-ratelimit-remaining-requests": "999999999",
        "x-ratelimit-limit-tokens": "1000000000", "x-ratelimit-remaining-tokens": "999999999"}  # fmt: skip


async def gate_of(variant: str) -> Gate:
    """A gate in the state to be measured."""
    loop_s = asyncio.get_running_loop().time
    gate = Gate("openai", PLANS[variant], Slots(10_000), loop_s)
    if variant == "told":
        gate.heard("gpt-4o-mini", TOLD)
    elif variant == "pace":
        found = gate._conditions.found
        found.is_unlimited = False
        found._controller.rate_per_s, found._controller.decreases = 1e7, 1
        found._follow(loop_s())
    return gate


async def pass_through(gate: Gate, calls: int) -> None:
    """Calls one after the other, each with a few tokens less than reserved."""
    deadline = asyncio.get_running_loop().time() + 60
    tokens = TOKENS if gate.counts_tokens else 0.0
    used = tokens * 0.9
    for _ in range(calls):
        await gate.enter("gpt-4o-mini", tokens, priority=0, tenant=("team", None), deadline=deadline)
        gate.accepted()
        gate.leave("gpt-4o-mini", tokens, used)


async def queue_up(gate: Gate, calls: int) -> None:
    """Calls that all come at once while the gate is closed, which then opens."""
    deadline = asyncio.get_running_loop().time() + 60

    async def one() -> None:
        await gate.enter("gpt-4o-mini", TOKENS, priority=0, tenant=("team", None), deadline=deadline)
        gate.leave("gpt-4o-mini", TOKENS, TOKENS)

    limits = gate.statistics().limits
    for _ in range(calls // QUEUED):
        gate.configure(RateLimits(max_concurrency=1))
        await gate.enter("gpt-4o-mini", TOKENS, priority=0, tenant=None, deadline=deadline)
        async with asyncio.TaskGroup() as group:
            for _ in range(QUEUED):
                group.create_task(one())
            await asyncio.sleep(0)
            gate.configure(limits)
            gate.leave("gpt-4o-mini", TOKENS, TOKENS)


async def take_slots(calls: int) -> None:
    """The baseline: a slot each."""
    slots = Slots(10_000)
    for _ in range(calls):
        if not slots.take_nowait():
            raise AssertionError("no slot")
        slots.release()


async def measure(run: Callable[[], Awaitable[None]], calls: int, rounds: int) -> tuple[float, float]:
    """Least and median of CPU microseconds a call."""
    seen = []
    for _ in range(rounds):
        began = time.process_time()
        await run()
        seen.append((time.process_time() - began) / calls * 1e6)
    return min(seen), statistics.median(seen)


async def main() -> int:
    """Prints the table or JSON; 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=5000)
    given = parser.parse_args()
    figures = {"slot alone": await measure(lambda: take_slots(given.calls), given.calls, given.rounds)}
    for variant in PLANS:
        gate = await gate_of(variant)
        drive = queue_up if variant == "queued" else pass_through
        figures[variant] = await measure(lambda d=drive, g=gate: d(g, given.calls), given.calls, given.rounds)  # type: ignore[misc]
    over = [name for name in PLANS if name != "queued" and figures[name][0] > LIMIT_US]
    if given.json:
        rows = {name: {"least_us": least, "median_us": median} for name, (least, median) in figures.items()}
        json.dump({"limit_us": LIMIT_US, "over": over, "rows": rows}, sys.stdout, indent=2)
        print()
    else:
        for name, (least, median) in figures.items():
            print(f"{name:>12} {least:6.2f} µs (median {median:.2f}){'  over the limit' if name in over else ''}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

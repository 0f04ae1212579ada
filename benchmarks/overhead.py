"""CPU per call of `chat_async` against aiohttp bare and tuned, and against a raw protocol, interleaved in one run.

    python benchmarks/overhead.py [--rounds 5] [--seconds 0.5] [--concurrency 1 64 512] [--only SIDE …]
        [--transport direct|session] [--uvloop] [--quick] [--json]

What counts is user CPU as a ratio to bare aiohttp in the same round: on loopback, wall and system time say more about
wake-ups than about clients; and since the kernel tells user from system time by its ticks, a measurement takes half a
second of CPU. `off` is the adapter with no SDK of OpenTelemetry beside it, and with neither budgets nor
limits set; `metrics` has budgets, request and token limits, exact costs, metrics of the SDK, and a sampler that takes
no span; `spans` has every span sampled and batched as well; `session` is `metrics` over aiohttp's session in place of
the direct way over its connector. Exporters drop what they get.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import clients
import harness
from charts import Bar, bar_chart

BASE = "aiohttp bare"
SESSION = "genops session"
SIDES = ("raw protocol", "aiohttp tuned", BASE, "genops off", "genops metrics", "genops spans", SESSION)
LIMITS = {"genops metrics": 1.0, "genops spans": 1.25}
"""× bare aiohttp, user CPU at 64 in flight."""


async def client_of(side: str, port: int, transport: str) -> clients.Client:
    """A side's client."""
    if side == SESSION:
        return await clients.ours(port, "metrics", "session")
    if side.startswith("genops "):
        return await clients.ours(port, side.removeprefix("genops "), transport)
    return await {"raw protocol": clients.raw, "aiohttp tuned": clients.tuned, BASE: clients.bare}[side](port)


async def measure(side: str, options: argparse.Namespace) -> dict[str, harness.Row]:
    """One side at each number in flight, in this process."""
    client = await client_of(side, options.port, options.transport)
    rows = {}
    for concurrency in options.concurrency:
        await clients.drive(client.call, max(50, 2 * concurrency), concurrency)  # warm: connections, prices, caches
        calls = max(options.least_calls, 2 * concurrency)
        began_s = time.process_time()
        await clients.drive(client.call, calls, concurrency)
        calls = max(calls, int(calls * options.seconds / (time.process_time() - began_s)))
        with harness.Meter(options.port) as meter:
            await clients.drive(client.call, calls, concurrency)
        if meter.requests != calls:
            raise SystemExit(f"{side} sent {meter.requests} requests for {calls} calls")
        rows[str(concurrency)] = meter.per(calls)
    await client.close()
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all sides: a table for each number in flight."""
    told = harness.surroundings()
    passed = [
        "--seconds",
        str(options.seconds),
        "--least-calls",
        str(options.least_calls),
        "--transport",
        options.transport,
    ]
    passed += ["--concurrency", *map(str, options.concurrency), *["--uvloop"] * options.uvloop]
    sides = [side for side in SIDES if side == BASE or not options.only or side in options.only]
    with harness.server() as port:
        rounds = harness.in_turns(
            sides, options, lambda side: harness.child(__file__, side, "--port", str(port), *passed)
        )
    tables = {}
    for concurrency in map(str, options.concurrency):
        table = harness.compared({side: [row[concurrency] for row in rows] for side, rows in rounds.items()}, BASE)
        if concurrency != "1":  # there client and server wait for each other, and waking up is what costs
            harness.check_server(table)
        tables[concurrency] = table
    return {
        "surroundings": told,
        "loop": "uvloop" if options.uvloop else "asyncio",
        "transport": options.transport,
        "cpu_seconds": options.seconds,
        "rounds": options.rounds,
        "limits": LIMITS,
        "in_flight": tables,
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = []
    for concurrency, rows in result["in_flight"].items():
        lines.append(
            f"{concurrency} in flight, {result['cpu_seconds']} s of CPU a time, medians of {result['rounds']} rounds"
        )
        lines.append(f"{'':<16}{'user µs':>9}{'× bare':>8}{'quartiles':>14}{'CPU µs':>9}{'× bare':>8}"
                     f"{'calls/s':>9}{'server µs':>11}")  # fmt: skip
        for side, row in rows.items():
            ratio = row["user_us_ratio"]
            lines.append(
                f"{side:<16}{row['user_us']['median']:>9.1f}{ratio['median']:>8.2f}"
                f"{ratio['low']:>8.2f}–{ratio['high']:.2f} {row['cpu_us']['median']:>9.1f}"
                f"{row['cpu_us_ratio']['median']:>8.2f}{row['calls_per_s']['median']:>9.0f}"
                f"{row['server_us']['median']:>11.1f}"
            )
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""
    groups = {}
    for concurrency, rows in result["in_flight"].items():
        groups[f"{concurrency} in flight"] = [
            Bar(
                side,
                row["user_us_ratio"]["median"],
                f"{row['user_us_ratio']['median']:.2f} × · {row['user_us']['median']:.0f} µs",
                (row["user_us_ratio"]["low"], row["user_us_ratio"]["high"]),
                is_ours=side.startswith("genops"),
            )
            for side, row in rows.items()
        ]
    caption = (
        f"{harness.method(options, result['surroundings'])} bare: session.post(json=…) and resp.json(). off: no SDK, "
        "no budgets, no limits. metrics: budgets, request and token limits, exact costs and metrics on, spans not "
        "sampled. spans: every span sampled and batched. session: metrics, over aiohttp's session."
    )
    title = "User CPU per call, against a bare aiohttp call"
    return bar_chart(title, "× bare aiohttp in the same round", groups, caption, mark=1.0)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time that a measurement takes at least")
    parser.add_argument("--least-calls", type=int, default=300, help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--only", nargs="+", choices=SIDES, default=[], help="these sides, beside bare aiohttp")
    parser.add_argument("--transport", choices=["direct", "session"], default="direct", help="ours to the network")
    parser.add_argument("--uvloop", action="store_true", help="all sides on uvloop")
    options = harness.parsed(parser)
    if options.child:
        harness.pin()
        print(json.dumps(harness.run_loop(measure(options.child, options), uvloop=options.uvloop)))
        return
    if options.quick:
        options.rounds, options.seconds, options.least_calls, options.concurrency = 1, 0.01, 20, [8]
        options.only = options.only or ["genops spans"]
    result = run(options)
    harness.publish("overhead", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

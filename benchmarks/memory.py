"""Memory for each call in flight and for each that waits for a slot, and resident memory over 100,000 rows.

    python benchmarks/memory.py [--rounds 3] [--calls 3000] [--rows 100000] [--quick] [--json]

In flight: calls whose answers the server holds back; ours, and tuned aiohttp beside it. Waiting: calls beyond
`max_connections=100`; the server counts the connections, of which a waiting call has none. `rss` is what the process
grew by for each call, connections included, after a hundred calls that filled caches; `bytes` is what Python allocated
for each (tracemalloc, in a process of its own). Rows: `chat_many` over generated prompts, resident memory after a tenth
of them and after all.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import clients
import harness
from charts import Bar, bar_chart

TUNED, OURS, QUEUED = "aiohttp tuned", "genops metrics", "genops waiting"
SLOTS = 100
LIMIT_RATIO, LIMIT_QUEUED_BYTES, LIMIT_ROWS_RATIO = 1.15, 6000, 1.2
HOLD_S = 1000


def rss_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def client_of(side: str, port: int) -> clients.Client:
    """A side's client; a call that waits for a slot is any other call."""
    if side == TUNED:
        return await clients.tuned(port)
    settings: dict[str, Any] = {"timeout_seconds": 3600.0}
    made = clients.adapter(port, "metrics", **settings, **({"max_connections": SLOTS} if side == QUEUED else {}))

    async def call() -> object:
        response = await made.chat_async(clients.MESSAGES, provider="openai", model="gpt-4o-mini", team="bench")
        return response.content

    return clients.Client(call, made.aclose)


async def until_asked(port: int, requests: int) -> dict[str, Any]:
    """Returns when the server has seen so many requests and this process has nothing left to do."""
    while True:
        told = await asyncio.to_thread(harness.figures_of, port)
        if told["requests"] >= requests:
            return told
        await asyncio.sleep(0.02)


async def in_flight(side: str, options: argparse.Namespace) -> None:
    """So many calls that wait, for answers or for slots; prints what they take, and ends the process."""
    client = await client_of(side, options.port)
    harness.figures_of(options.port, "delay/0")
    await clients.drive(client.call, SLOTS, SLOTS // 4)  # prices, caches
    told = harness.figures_of(options.port, f"delay/{HOLD_S}")
    asked = told["requests"]
    tasks = []
    if side == QUEUED:
        asked += SLOTS
        tasks = [asyncio.ensure_future(client.call()) for _ in range(SLOTS)]
        await until_asked(options.port, asked)
    gc.collect()
    before = rss_bytes()
    if options.traced:
        tracemalloc.start()
    tasks += [asyncio.ensure_future(client.call()) for _ in range(options.calls)]
    await until_asked(options.port, asked + (0 if side == QUEUED else options.calls))
    await asyncio.sleep(0.3)  # in which a call that ought to wait would have opened a connection
    there = harness.figures_of(options.port)
    gc.collect()
    row = {"connections": float(there["connections"] - 1)}
    row["rss"] = (rss_bytes() - before) / options.calls
    row["rss_mb"] = rss_bytes() / 1e6
    if options.traced:
        row["bytes"] = tracemalloc.get_traced_memory()[0] / options.calls
    if not any(task.done() for task in tasks):
        print(json.dumps(row), flush=True)
        os._exit(0)  # nobody waits for the answers
    raise AssertionError("a call did not wait")


def prompts(count: int) -> Iterator[str]:
    """Rows, made as they are read."""
    return (
        f"Classify ticket {number}: the printer on floor {number % 40} is on fire again." for number in range(count)
    )


async def many(options: argparse.Namespace) -> None:
    """Prints resident memory over all rows."""
    adapter = clients.adapter(options.port, "metrics")
    done, early = 0, 0
    options_of_call = {"provider": "openai", "model": "gpt-4o-mini", "team": "bench"}
    async for result in adapter.chat_many(prompts(options.rows), max_in_flight=256, **options_of_call):
        if not result.ok or result.response.content != clients.EXPECTED:
            raise AssertionError(result)
        done += 1
        if done == options.rows // 10:
            early = rss_bytes()
    late = rss_bytes()
    await adapter.aclose()
    if done != options.rows:
        raise AssertionError(f"{done} results")
    print(json.dumps({"early_mb": early / 1e6, "late_mb": late / 1e6, "ratio": late / early}))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Calls in flight and waiting, in turns; the rows once."""
    told = harness.surroundings()
    with harness.server() as port:
        passed = ["--port", str(port), "--calls", str(options.calls), "--rows", str(options.rows)]

        def measure(side: str) -> harness.Row:
            row: harness.Row = harness.child(__file__, side, *passed, *["--traced"] * options.quick)
            if options.quick:
                return row
            return {**row, "bytes": harness.child(__file__, side, *passed, "--traced")["bytes"]}

        rounds: harness.Rounds = harness.in_turns([TUNED, OURS, QUEUED], options, measure)
        harness.figures_of(port, "delay/0")
        rows = harness.child(__file__, "rows", *passed)
    if (most := max(row["connections"] for row in rounds[QUEUED])) > SLOTS:
        raise SystemExit(f"calls that wait for {SLOTS} slots hold {most:.0f} connections")
    in_flight = {side: rounds[side] for side in (TUNED, OURS)}
    return {
        "surroundings": told,
        "rounds": options.rounds,
        "calls": options.calls,
        "limits": {"ratio": LIMIT_RATIO, "queued_bytes": LIMIT_QUEUED_BYTES, "rows_ratio": LIMIT_ROWS_RATIO},
        "in_flight": harness.compared(in_flight, TUNED, keys=("rss", "bytes")),
        "waiting": harness.compared({QUEUED: rounds[QUEUED]}, QUEUED, keys=())[QUEUED],
        "rows": {"count": options.rows, **rows},
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'in flight':<18}{'rss kB':>8}{'× tuned':>9}{'bytes':>9}{'× tuned':>9}{'process MB':>12}"]
    for side, row in result["in_flight"].items():
        lines.append(
            f"{side:<18}{row['rss']['median'] / 1e3:>8.2f}{row['rss_ratio']['median']:>9.2f}"
            f"{row['bytes']['median']:>9.0f}{row['bytes_ratio']['median']:>9.2f}"
            f"{row['rss_mb']['median']:>12.1f}"
        )
    waiting, rows = result["waiting"], result["rows"]
    lines.append(f"waiting for one of {SLOTS} slots: {waiting['rss']['median']:.0f} bytes of rss each, "
                 f"{waiting['bytes']['median']:.0f} by Python's count (limit {LIMIT_QUEUED_BYTES}), "
                 f"{waiting['connections']['median']:.0f} connections")  # fmt: skip
    lines.append(
        f"{rows['count']:,} rows: {rows['early_mb']:.1f} MB after a tenth, {rows['late_mb']:.1f} MB at the end "
        f"({rows['ratio']:.2f} ×)"
    )
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""

    def bar(name: str, figure: dict[str, float], *, is_ours: bool, more: str = "") -> Bar:
        kilobytes = {key: value / 1e3 for key, value in figure.items()}
        words = f"{kilobytes['median']:.1f} kB{more}"
        return Bar(name, kilobytes["median"], words, (kilobytes["low"], kilobytes["high"]), is_ours=is_ours)

    flying = result["in_flight"]
    ratio = flying[OURS]["rss_ratio"]["median"]
    groups = {
        f"{result['calls']:,} calls in flight, each on its connection": [
            bar(TUNED, flying[TUNED]["rss"], is_ours=False),
            bar(OURS, flying[OURS]["rss"], is_ours=True, more=f" · {ratio:.2f} ×"),
        ],
        f"{result['calls']:,} calls waiting for one of {SLOTS} slots": [
            bar("genops metrics", result["waiting"]["rss"], is_ours=True)
        ],
    }
    rows = result["rows"]
    caption = (
        f"What resident memory grew by for each call, medians of {options.rounds} rounds, a fresh process each; "
        f"budgets, limits, costs and metrics on. {rows['count']:,} rows by chat_many: {rows['early_mb']:.0f} MB of "
        f"resident memory after a tenth of them, {rows['late_mb']:.0f} MB after all. "
        f"Python {result['surroundings']['python']}."
    )
    return bar_chart("Memory for each call", "kB a call", groups, caption)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=3)
    parser.add_argument("--calls", type=int, default=3000, help="in flight or waiting")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = harness.parsed(parser)
    if options.child:
        harness.pin()
        asyncio.run(many(options) if options.child == "rows" else in_flight(options.child, options))
        return
    if options.quick:
        options.rounds, options.calls, options.rows = 1, 50, 200
    result = run(options)
    harness.publish("memory", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

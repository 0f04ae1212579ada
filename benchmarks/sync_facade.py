"""Microseconds that the synchronous adapter adds to a call: `chat` against `chat_async`, one at a time and in threads.

    python benchmarks/sync_facade.py [--rounds 5] [--calls 2000] [--quick] [--json]

One at a time: a thread that calls `chat` again and again, against a task that awaits `chat_async`. In threads: 16
threads against 16 tasks. `over` is the difference to the asynchronous side in the same round, in CPU of the whole
process and in wall time. The client keeps to one core, which its threads share as they share the interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import clients
import harness
from charts import bar_chart, spread_bar

SIDES = ("chat_async", "chat")
LIMIT_US = 80.0


async def in_tasks(options: argparse.Namespace) -> harness.Row:
    """The asynchronous adapter."""
    client = await clients.ours(options.port, "metrics")
    await clients.drive(client.call, max(200, options.concurrency * 4), options.concurrency)
    with harness.Meter(options.port) as meter:
        await clients.drive(client.call, options.calls, options.concurrency)
    await client.close()
    return meter.per(options.calls)


def in_threads(options: argparse.Namespace) -> harness.Row:
    """The synchronous one."""
    from genops_helicone_async import GenOpsHeliconeAdapter

    url = f"http://127.0.0.1:{options.port}"
    with (
        GenOpsHeliconeAdapter("key", gateway_url=url, **clients.telemetry_of("metrics")) as adapter,
        ThreadPoolExecutor(options.concurrency) as pool,
    ):
        clients.govern(adapter)

        def calls(count: int) -> None:
            for _ in range(count):
                response = adapter.chat(clients.MESSAGES, provider="openai", model="gpt-4o-mini", team="bench")
                if response.content != clients.EXPECTED or not response.cost:
                    raise AssertionError("wrong reply")

        def drive(count: int) -> None:
            if options.concurrency == 1:
                calls(count)
                return
            for _ in pool.map(calls, [count // options.concurrency] * options.concurrency):
                pass

        drive(max(200, options.concurrency * 4))
        with harness.Meter(options.port) as meter:
            drive(options.calls)
    return meter.per(meter.requests)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """One at a time and several, all rounds."""
    told = harness.surroundings()
    tables = {}
    with harness.server() as port:
        for concurrency in options.levels:
            passed = ["--port", str(port), "--calls", str(options.calls), "--concurrency", str(concurrency)]
            rounds = harness.in_turns(
                SIDES, options, lambda side, passed=passed: harness.child(__file__, side, *passed)
            )
            table = harness.compared(rounds, "chat_async")
            for key in ("user_us", "cpu_us", "wall_us"):
                table["chat"][f"{key}_over"] = harness.over(rounds, "chat", "chat_async", key)
            tables[str(concurrency)] = table
    return {
        "surroundings": told,
        "rounds": options.rounds,
        "calls": options.calls,
        "limit_us": LIMIT_US,
        "at_once": tables,
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'':<24}{'user µs':>9}{'CPU µs':>9}{'wall µs':>9}{'over: user':>12}{'CPU':>8}{'wall':>8}"]
    for concurrency, rows in result["at_once"].items():
        for side, row in rows.items():
            text = f"{side + ', ' + concurrency + ' at once':<24}"
            text += "".join(f"{row[key]['median']:>9.1f}" for key in ("user_us", "cpu_us", "wall_us"))
            if side == "chat":
                text += f"{row['user_us_over']['median']:>12.1f}{row['cpu_us_over']['median']:>8.1f}"
                text += f"{row['wall_us_over']['median']:>8.1f}   limit {LIMIT_US:.0f}"
            lines.append(text)
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""
    groups = {}
    for concurrency, rows in result["at_once"].items():
        over = rows["chat"]
        groups[f"{concurrency} at once"] = [
            spread_bar(
                f"{side}, {words}",
                row[key],
                f"{row[key]['median']:.0f} µs"
                + (f" (+ {over[key + '_over']['median']:.0f})" if side == "chat" else ""),
                is_ours=side == "chat",
            )
            for key, words in (("cpu_us", "CPU"), ("wall_us", "wall"))
            for side, row in rows.items()
        ]
    return bar_chart(
        "What the synchronous adapter adds to a call",
        "µs a call",
        groups,
        f"{harness.method(options, result['surroundings'])} chat from threads against chat_async from tasks, budgets, "
        "limits, costs and metrics on; in brackets the difference in the same round.",
    )


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 16], help="calls at once")
    parser.add_argument("--concurrency", type=int, help=argparse.SUPPRESS)
    options = harness.parsed(parser)

    def measure(side: str) -> harness.Row:
        return asyncio.run(in_tasks(options)) if side == "chat_async" else in_threads(options)

    if harness.is_child(options, measure):
        return
    if options.quick:
        options.rounds, options.calls, options.levels = 1, 50, [1]
    result = run(options)
    harness.publish("sync_facade", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

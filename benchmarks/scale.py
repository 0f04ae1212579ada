"""How the cost of a call grows: from 10 to 10,000 in flight, with 1 to 50 providers, with 1 to 1,000 teams.

    python benchmarks/scale.py [--rounds 3] [--levels 10 100 1000 10000] [--rate 3000] [--quick] [--json]

In flight: ours beside tuned aiohttp, on connections that are open already. The server answers after a delay that makes
it `--rate` calls a second at every level, evenly spread, and counts how many wait for it at once: a level that was not
reached is measured again at half the rate. Providers and teams: 64 in flight without a delay, every call to the next
one of them; each team has a budget of its own. All of ours has budgets, limits, costs and metrics on. The garbage
collector is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from typing import Any

import clients
import harness
from charts import Line, line_charts

TUNED, OURS = "aiohttp tuned", "genops metrics"
LIMIT_RATIO = 1.1
IN_FLIGHT = 64
SPARE_FILES = 300
LEAST_SHARE, LEAST_RATE = 0.9, 100
MODEL = "gpt-4o-mini"


async def at_level(side: str, options: argparse.Namespace) -> harness.Row:
    """So many in flight, for whole turns of the server's delay."""
    level, delay_s = options.level, options.level / options.rate
    made = clients.tuned(options.port) if side == TUNED else clients.ours(options.port, "metrics")
    client = await made
    await clients.drive(client.call, 30, 5)
    harness.figures_of(options.port, f"delay/{delay_s}")

    async def worker(number: int, calls: int) -> None:
        await asyncio.sleep(number * delay_s / level)  # spread, so that answers come evenly
        for _ in range(calls):
            if await client.call() != clients.EXPECTED:
                raise AssertionError("wrong reply")

    async def drive(calls: int) -> None:
        await asyncio.gather(*(worker(number, calls) for number in range(level)))

    await drive(1)  # opens the connections
    harness.figures_of(options.port, f"delay/{delay_s}")  # begins to count anew
    each = max(2, -(-options.least_calls // level))
    with harness.Meter(options.port) as meter:
        await drive(each)
    harness.figures_of(options.port, "delay/0")
    await client.close()
    return {**meter.per(each * level), "in_flight": meter.most_waiting}


async def over_many(options: argparse.Namespace) -> harness.Row:
    """Calls to so many providers by so many teams in turn."""
    names = [f"provider-{number}" for number in range(options.providers)]
    teams = [f"team-{number}" for number in range(options.teams)]
    adapter = clients.adapter(
        options.port,
        "metrics",
        provider_urls=dict.fromkeys(names, f"http://127.0.0.1:{options.port}/v1"),
        prices={f"{name}/{MODEL}": {"input": 0.15, "output": 0.6} for name in names},
    )
    adapter.set_budget_limits(daily_limit=1e6, monthly_limit=5e6, per_team_limits=dict.fromkeys(teams, 1e6))
    provider, team = itertools.cycle(names), itertools.cycle(teams)

    async def call() -> object:
        response = await adapter.chat_async(clients.MESSAGES, provider=next(provider), model=MODEL, team=next(team))
        assert response.cost > 0
        return response.content

    await clients.drive(call, max(200, options.teams), IN_FLIGHT)
    with harness.Meter(options.port) as meter:
        await clients.drive(call, options.least_calls, IN_FLIGHT)
    await adapter.aclose()
    return meter.per(options.least_calls)


def in_turns(options: argparse.Namespace, port: int, cases: dict[str, list[str]]) -> harness.Rounds:
    """All rounds of the cases: a name, and the arguments of its process, the first of which is the side."""
    passed = ["--port", str(port), "--least-calls", str(options.least_calls)]
    return harness.in_turns(
        list(cases), options, lambda case: harness.child(__file__, cases[case][0], *cases[case][1:], *passed)
    )


def in_flight(options: argparse.Namespace, port: int, level: int) -> dict[str, dict[str, Any]]:
    """Both sides with so many in flight; at half the rate where this machine is too slow to get there."""
    rate = options.rate
    while True:
        cases = {side: [side, "--level", str(level), "--rate", str(rate)] for side in (TUNED, OURS)}
        rounds = in_turns(options, port, cases)
        reached = min(row["in_flight"] for rows in rounds.values() for row in rows)
        if reached >= LEAST_SHARE * level:
            table = harness.compared(rounds, TUNED)
            harness.check_server(table)
            return {side: {"rate": rate, **row} for side, row in table.items()}
        rate //= 2
        if rate < LEAST_RATE:
            raise SystemExit(f"only {reached} calls in flight in place of {level}: is the machine busy?")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All three, one after the other."""
    told = harness.surroundings()
    files = harness.raise_open_files(max(options.levels) + 2 * SPARE_FILES)
    levels = [level for level in options.levels if level + SPARE_FILES <= files]
    with harness.server() as port:
        flying = {}
        for level in levels:
            flying[str(level)] = in_flight(options, port, level)
        many = {}
        for what, counts in (("providers", options.provider_counts), ("teams", options.team_counts)):
            rounds = in_turns(options, port, {str(n): ["many", f"--{what}", str(n)] for n in counts})
            many[what] = harness.compared(rounds, str(counts[0]))
            harness.check_server(many[what])
    return {
        "surroundings": told,
        "rounds": options.rounds,
        "rate": options.rate,
        "limit_ratio": LIMIT_RATIO,
        "left_out": {str(n): f"only {files} files may be open" for n in options.levels if n not in levels},
        "in_flight": flying,
        **many,
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'in flight':<12}{'':<16}{'user µs':>9}{'× tuned':>9}{'CPU µs':>9}{'× tuned':>9}{'reached':>9}"]
    for level, rows in result["in_flight"].items():
        lines += [
            f"{level:<12}{side:<16}{row['user_us']['median']:>9.1f}{row['user_us_ratio']['median']:>9.2f}"
            f"{row['cpu_us']['median']:>9.1f}{row['cpu_us_ratio']['median']:>9.2f}{row['in_flight']['median']:>9.0f}"
            for side, row in rows.items()
        ]
    lines += [f"{level}: LEFT OUT: {reason}" for level, reason in result["left_out"].items()]
    for what in ("providers", "teams"):
        first = next(iter(result[what]))
        lines.append(f"{what:<28}{'user µs':>9}{'× of ' + first:>9}{'CPU µs':>9}{'× of ' + first:>9}")
        lines += [
            f"{count:<28}{row['user_us']['median']:>9.1f}{row['user_us_ratio']['median']:>9.2f}"
            f"{row['cpu_us']['median']:>9.1f}{row['cpu_us_ratio']['median']:>9.2f}"
            for count, row in result[what].items()
        ]
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""

    def line(name: str, rows: dict[str, Any], colour: str) -> Line:
        return Line(name, [(float(count), row["cpu_us"]["median"]) for count, row in rows.items()], colour)

    flying = [
        line(side, {level: rows[side] for level, rows in result["in_flight"].items()}, colour)
        for side, colour in ((TUNED, "b"), (OURS, "a"))
    ]
    panels = {
        "calls in flight": flying,
        "providers, 64 in flight": [line(OURS, result["providers"], "a")],
        "teams, 64 in flight": [line(OURS, result["teams"], "a")],
    }
    rates = sorted({row["rate"] for rows in result["in_flight"].values() for row in rows.values()}, reverse=True)
    caption = (
        f"{harness.method(options, result['surroundings'])} In flight: on open connections, the server answers after "
        f"a delay that makes it {' or '.join(f'{rate:,}' for rate in rates)} calls a second."
    )
    return line_charts("CPU per call as everything grows", panels, "CPU (user and system), µs a call", caption)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=3)
    parser.add_argument("--levels", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="calls in flight")
    parser.add_argument("--rate", type=int, default=3000, help="calls a second, at every level")
    parser.add_argument("--least-calls", type=int, default=3000, help="in a measurement")
    parser.add_argument("--provider-counts", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--team-counts", type=int, nargs="+", default=[1, 10, 100, 1000])
    for name in ("--level", "--providers", "--teams"):
        parser.add_argument(name, type=int, default=1, help=argparse.SUPPRESS)
    options = harness.parsed(parser)
    if options.child:
        harness.pin()
        harness.raise_open_files(options.level + SPARE_FILES)
        row = asyncio.run(over_many(options) if options.child == "many" else at_level(options.child, options))
        print(json.dumps(row))
        return
    if options.quick:
        options.rounds, options.levels, options.rate, options.least_calls = 1, [8], 200, 16
        options.provider_counts, options.team_counts = [2], [2]
    result = run(options)
    harness.publish("scale", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

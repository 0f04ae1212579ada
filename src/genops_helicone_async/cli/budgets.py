"""`budgets`: what is spent, held and left of each limit, by the ledger that all processes share."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .cost_options import show
from .ledger_options import add_ledger_options, add_limit_options, state_url_of, without_secrets
from .money import PUSD_PER_USD, digits_of, exact_usd
from .tables import Table

if TYPE_CHECKING:
    from .._rules.report_totals import Line
    from .budget_lines import BudgetLine, Spending

_TOP = 20
_FOUND = ("team", "project", "customer")


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "budgets",
        help="what is spent and left of budgets, by a ledger",
        description="Shows what is spent, held and left of the limits you name, as the ledger of all processes has it; "
        "without limits, what was spent today, this month, and by every team, project and customer.",
    )
    add_limit_options(parser)
    add_ledger_options(parser, "the budgets")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Looks up; 0 once the table is printed."""
    from .._flow.budget_limits import zone_of
    from ..report import check_readable, ledger_rows
    from .budget_lines import Spending, budget_lines, has_limit, limits_from

    url, limits = state_url_of(arguments), limits_from(arguments)
    now = datetime.now(zone_of(limits.zone))
    spending = Spending(now)
    is_limited = has_limit(limits)
    check_readable(url)
    if is_limited:
        lines = asyncio.run(budget_lines(url, limits))
        if any(not line.settled_pusd for line in lines):
            spending.add(ledger_rows(url, since_s=spending.month_s))
        notes = _uncounted(lines, spending)
    else:
        spending.add(ledger_rows(url, since_s=spending.month_s))
        lines, notes = _found(url, limits.zone, spending, arguments.top or _TOP), []
    if arguments.json:
        _print_json(without_secrets(url), limits.zone, lines, notes)
    elif is_limited:
        _print_limits(lines, notes)
    else:
        _print_spending(lines, spending, arguments.top or _TOP)
    return 0


def others(rest: Line) -> str:
    """How many names a line stands for that are not shown."""
    return f"{'At least ' * rest.at_least}{rest.names:,} more"


def _uncounted(lines: list[BudgetLine], spending: Spending) -> list[str]:
    """A budget that counts nothing although there are calls: it says nothing about them, and must not look as if."""
    return [
        f"{name}: the ledger has calls worth {exact_usd(spent_pusd)} in this window, none of them counted in it: "
        "adapters count days and months in their own time zone, give the same as --timezone"
        for line in lines
        if not line.settled_pusd and (spent_pusd := spending.of(name := line.status.name))
    ]


def _found(url: str, zone: str, spending: Spending, most: int) -> list[BudgetLine]:
    """What rows came to this day and month, with what is held now."""
    import msgspec

    from .._flow.budget_limits import BudgetLimits
    from .budget_lines import budget_lines

    teams, projects, customers = (dict.fromkeys(spending.dearest(name, most), 0) for name in _FOUND)
    limits = BudgetLimits(daily_pusd=0, monthly_pusd=0, teams=teams, projects=projects, customers=customers, zone=zone)
    return [
        msgspec.structs.replace(line, limit_pusd=None, settled_pusd=spending.of(line.status.name))
        for line in asyncio.run(budget_lines(url, limits))
    ]


def _print_limits(lines: list[BudgetLine], notes: list[str]) -> None:
    amounts = [(line.limit_pusd or 0, line.settled_pusd, line.held_pusd, line.remaining_pusd or 0) for line in lines]
    limit, settled, held, left = (digits_of(column) for column in zip(*amounts, strict=True))
    rows = [
        (
            line.status.name, line.status.period, exact_usd(line.limit_pusd or 0, limit),
            exact_usd(line.settled_pusd, settled), exact_usd(line.held_pusd, held),
            exact_usd(line.remaining_pusd or 0, left), _used(line), _moment(line.status.resets_at),
        )
        for line in lines
    ]  # fmt: skip
    columns = ("budget", "per", "limit >", "settled >", "held >", "remaining >", "used >", "resets")
    show(Table(title="Budgets, as all processes have spent them", columns=columns, rows=rows))
    for note in notes:
        print(f"{note}.")


def _print_spending(lines: list[BudgetLine], spending: Spending, most: int) -> None:
    settled = digits_of([line.settled_pusd for line in lines])
    held = digits_of([line.held_pusd for line in lines])
    rows = [
        (
            line.status.name, line.status.period, exact_usd(line.settled_pusd, settled),
            exact_usd(line.held_pusd, held), _moment(line.status.resets_at),
        )
        for line in lines
    ]  # fmt: skip
    columns = ("of", "this", "spent >", "held >", "until")
    show(Table(title="Spent so far (name limits to see what is left of them)", columns=columns, rows=rows))
    for name in _FOUND:
        rest = spending.rest(name, most)
        if rest is not None:
            print(f"{others(rest)} {name}s spent {exact_usd(rest.totals.cost_pusd)} together.")


def _print_json(source: str, zone: str, lines: list[BudgetLine], notes: list[str]) -> None:
    import msgspec

    told = {"source": source, "timezone": zone, "budgets": [facts_of(line) for line in lines], "notes": notes}
    print(msgspec.json.encode(told).decode())


def facts_of(line: BudgetLine) -> dict[str, Any]:
    """A budget for a machine."""
    amounts = {
        "limit": line.limit_pusd,
        "settled": line.settled_pusd,
        "held": line.held_pusd,
        "remaining": line.remaining_pusd,
    }
    facts: dict[str, Any] = {"name": line.status.name, "scope": line.status.scope, "period": line.status.period}
    for name, pusd in amounts.items():
        facts[f"{name}_usd"] = None if pusd is None else pusd / PUSD_PER_USD
        facts[f"{name}_pusd"] = pusd
    return {**facts, "resets_at": line.status.resets_at}


def _used(line: BudgetLine) -> str:
    if not line.limit_pusd:
        return "-"
    return f"{100 * (line.settled_pusd + line.held_pusd) / line.limit_pusd:,.1f}%"


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".rstrip()


__all__ = ["add_to", "facts_of", "others", "run"]

"""`report`: a ledger as a self-contained HTML page, with its main figures on the screen; `--live`, see `live.py`."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .budgets import others
from .cost_options import show
from .failures import WRONG_USAGE, CommandError
from .ledger_options import add_ledger_options, add_limit_options, at, point, state_url_of, without_secrets
from .live import add_live_options, check_live_options, run_live
from .money import digits_of, exact_usd
from .summary import counted
from .tables import Table

if TYPE_CHECKING:
    from .._rules.report_figures import ReportFigures
    from .._rules.report_totals import Line, Totals

_PAGE = Path("report.html")
_BEGINS = b"<!doctype html>"
_SHOWN = (("provider", "provider"), ("model", "provider/model"), ("team", "team"))


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="what a ledger's calls cost, as an HTML page",
        description="Writes what a ledger's calls cost as one HTML page that loads nothing from elsewhere: over time, "
        "by provider, model, team, project and customer, with latency, errors and what is left of the budgets you "
        "name. The main figures are printed, too. With --live it shows a running process's last minutes instead.",
    )
    parser.add_argument(
        "--since", metavar="WHEN", type=point, help="from then on: 7d, 12h, 2026-11-23, 2026-11-23T08:00"
    )
    parser.add_argument("--until", metavar="WHEN", type=point, help="before then (default: up to now)")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help=f"the page (default {_PAGE}; with --json, none)"
    )
    parser.add_argument("--title", metavar="TEXT", default="What the calls cost", help="the page's title")
    add_limit_options(parser)
    add_live_options(parser)
    add_ledger_options(parser, "the figures")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Reads the ledger; 0 once the page is written and the figures are printed."""
    from ..report import MOST_NAMES, check_readable, checked_zone, figures_of, ledger_rows, write_report
    from .budget_lines import as_status, budget_lines, has_limit, limits_from

    check_live_options(arguments)
    if arguments.live:
        return run_live(arguments)
    url, limits = state_url_of(arguments), limits_from(arguments)
    zone = checked_zone(arguments.timezone)
    now = datetime.now(zone)
    since, until = at(arguments.since, zone, now), at(arguments.until, zone, now)
    if since is not None and until is not None and since >= until:
        raise CommandError(f"--since {since:%Y-%m-%d %H:%M} is not before --until {until:%Y-%m-%d %H:%M}", WRONG_USAGE)
    output: Path | None = arguments.output or (None if arguments.json else _PAGE)
    if output is not None:
        _check_replaceable(output)
    rows = ledger_rows(url, since_s=_seconds(since), until_s=_seconds(until))
    most = arguments.top or MOST_NAMES
    asked: dict[str, Any] = {"timezone": arguments.timezone, "since": since, "until": until, "most_names": most}
    budgets = []
    if has_limit(limits):
        check_readable(url)
        budgets = asyncio.run(budget_lines(url, limits))
    source = without_secrets(url)
    if output is None:
        figures = figures_of(rows, **asked)
    else:
        statuses = [as_status(line) for line in budgets]
        figures = write_report(rows, output, title=arguments.title, budgets=statuses, source=source, **asked)
    if arguments.json:
        from .report_json import encoded

        print(encoded(figures, budgets, source=source, zone=arguments.timezone, page=output))
    else:
        _print(figures, arguments.timezone)
        print(f"The whole report: {output}")
    return 0


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _check_replaceable(path: Path) -> None:
    """A page may be written over an older one, not over a ledger that was named by mistake."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder: name a file in it", WRONG_USAGE)
    if path.is_file():
        with path.open("rb") as file:
            begins = file.read(len(_BEGINS))
        if begins and begins.lower() != _BEGINS:
            raise CommandError(f"{path} is no HTML page and is left as it is: name another file", WRONG_USAGE)


def _print(figures: ReportFigures, zone: str) -> None:
    from .._rules.report_time import local_time
    from .._rules.report_totals import MOST_NAMES

    if figures.first_s is None or figures.last_s is None:
        print("The ledger has no attempts in this period.")
        return
    from ..report import checked_zone

    first, last = (f"{local_time(s, checked_zone(zone)):%Y-%m-%d %H:%M}" for s in (figures.first_s, figures.last_s))
    for dimension, heading in _SHOWN:
        lines = figures.breakdowns[dimension]
        if any(line.name != ("",) for line in lines):
            show(_table(f"By {dimension}", heading, lines, figures.totals))
    if any(line.at_least for lines in figures.breakdowns.values() for line in lines):
        print(
            f"Beyond {MOST_NAMES:,} names of a kind, further ones are counted together: a dear one may be among them."
        )
    print(f"{_attempts(figures.totals)} from {first} to {last} {zone}.")
    print(f"{_certainty(figures.totals)}.")


def _table(title: str, heading: str, lines: tuple[Line, ...], whole: Totals) -> Table:
    digits = digits_of([line.totals.cost_pusd for line in lines])
    columns = {
        heading: [_name(line) for line in lines],
        "attempts >": [f"{line.totals.attempts:,}" for line in lines],
        "failed >": [f"{line.totals.failed:,}" for line in lines],
        "tokens in >": [f"{line.totals.input_tokens:,}" for line in lines],
        "tokens out >": [f"{line.totals.output_tokens:,}" for line in lines],
        "cost >": [exact_usd(line.totals.cost_pusd, digits) for line in lines],
        "share >": [_share(line.totals.cost_pusd, whole.cost_pusd) for line in lines],
    }
    if any(line.totals.estimates for line in lines):
        columns["of it estimated >"] = [
            f"~{exact_usd(line.totals.estimated_pusd, digits)}" if line.totals.estimates else "" for line in lines
        ]
    if any(line.totals.unpriced for line in lines):
        columns["unpriced >"] = [f"{line.totals.unpriced:,}" for line in lines]
    return Table(title=title, columns=tuple(columns), rows=list(zip(*columns.values(), strict=True)))


def _name(line: Line) -> str:
    if line.name is None:
        return f"(other: {others(line).lower()})"
    return "/".join(line.name) or "(none)"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _attempts(totals: Totals) -> str:
    return f"{counted(totals.attempts, 'attempt')}, {totals.failed:,} of them failed,"


def _certainty(totals: Totals) -> str:
    said = f"Spent: {exact_usd(totals.cost_pusd)}"
    if totals.is_exact:
        return f"{said}, exactly"
    if totals.estimates:
        said += f", of it ~{exact_usd(totals.estimated_pusd)} estimated for {counted(totals.estimates, 'attempt')}"
    if totals.unpriced:
        said += f"; {counted(totals.unpriced, 'attempt')} without a known price not in it"
    return said


__all__ = ["add_to", "run"]

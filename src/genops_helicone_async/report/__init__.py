"""A ledger as a page: one self-contained HTML file that loads nothing, runs nothing and adds up exactly.

`write_report(ledger_rows("sqlite:///ledger.db"), "report.html")` is all there is to it. Everything here reads or writes
files and blocks: inside an event loop, use `asyncio.to_thread`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from .._flow.budget_limits import zone_of
from .._rules.ledger import LedgerRow
from .._rules.report_figures import Figures, ReportFigures
from ..errors import ConfigurationError
from ..models import BudgetStatus
from .page import Heading, page_of
from .sources import check_readable, ledger_rows, recent_rows
from .written import write_whole

MOST_NAMES = 10
"""Names that a breakdown shows; and how many of the dearest calls."""


def figures_of(
    rows: Iterable[LedgerRow],
    *,
    timezone: str = "UTC",
    since: datetime | None = None,
    until: datetime | None = None,
    most_names: int = MOST_NAMES,
) -> ReportFigures:
    """What the rows come to, in one pass whose memory does not grow with them.

    Args:
        rows: Of a ledger, in any order; `ledger_rows` reads them.
        timezone: Whose hours, days and months spending is told by.
        since: Rows before it are left out; with a time zone of its own, or else in `timezone`.
        until: Rows at or after it are left out.
        most_names: How many names a breakdown has at most before the rest, which is counted together.

    Raises:
        ConfigurationError: the time zone is unknown.
        LedgerError: the rows cannot be read.
    """
    zone = checked_zone(timezone)
    figures = Figures(zone, most_shown=most_names)
    from_s, before_s = _seconds(since, zone, -math.inf), _seconds(until, zone, math.inf)
    for row in rows:
        if from_s <= row.at_s < before_s or (since is None and until is None):
            figures.add(row)
    return figures.finish()


def write_report(
    rows: Iterable[LedgerRow],
    path: str | Path,
    *,
    title: str = "What the calls cost",
    budgets: Sequence[BudgetStatus] = (),
    timezone: str = "UTC",
    since: datetime | None = None,
    until: datetime | None = None,
    most_names: int = MOST_NAMES,
    source: str | None = None,
) -> ReportFigures:
    """Writes the page and gives the figures on it: over time, by provider, model, team, project, customer, and more.

    The page is complete when it appears: a failure leaves what was at `path` before.

    Args:
        rows: Of a ledger, in any order; `ledger_rows` reads them.
        path: Where the page is written, in place of what is there.
        title: The page's.
        budgets: In dollars, as `get_budget_status` gives them, to be shown with what is spent and left of each.
        timezone: In which the page tells every time.
        since: Rows before it are left out; with a time zone of its own, or else in `timezone`.
        until: Rows at or after it are left out.
        most_names: How many names a breakdown has at most before the rest, which is counted together.
        source: Where the rows come from, for the heading.

    Raises:
        ConfigurationError: the time zone is unknown.
        LedgerError: the rows cannot be read.
        OSError: the page cannot be written.
    """
    zone = checked_zone(timezone)
    figures = figures_of(rows, timezone=timezone, since=since, until=until, most_names=most_names)
    heading = Heading(
        title=title, written_at=datetime.now(zone), zone=timezone, source=source, since=since, until=until
    )
    write_whole(Path(path), page_of(figures, heading, budgets))
    return figures


def checked_zone(name: str) -> tzinfo:
    """The time zone of a name.

    Raises:
        ConfigurationError: there is none of this name.
    """
    try:
        return zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ConfigurationError(
            f"`timezone` is {name!r}, which is no known time zone: try 'UTC' or 'Europe/Berlin'"
        ) from exc


def _seconds(moment: datetime | None, zone: tzinfo, without: float) -> float:
    if moment is None:
        return without
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp()


__all__ = [
    "MOST_NAMES",
    "LedgerRow",
    "ReportFigures",
    "check_readable",
    "checked_zone",
    "figures_of",
    "ledger_rows",
    "recent_rows",
    "write_report",
]

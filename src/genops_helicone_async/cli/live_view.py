"""How a ledger's last minutes are shown: drawn anew on a terminal, as blocks of text or lines of JSON elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .._rules.report_figures import LatencyLine
from .._rules.report_totals import Line
from .budget_lines import BudgetLine
from .budgets import others
from .live_figures import Snapshot
from .money import PUSD_PER_USD, digits_of, exact_usd, short_usd
from .tables import RICH_HINT, Table, drawn, has_rich, plain

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = (("team", "team"), ("provider", "provider"), ("model", "provider/model"))
_NOT_LIVE = frozenset({"page", "over_time", "dearest"})
_BAR = 20


class View(Protocol):
    """What shows snapshots."""

    def show(self, seen: Snapshot) -> None:
        """Shows one."""

    def stop(self) -> None:
        """The last one stays."""


class JsonView:
    """A line of JSON for each."""

    __slots__ = ("_source", "_zone")

    def __init__(self, source: str, zone: str) -> None:
        self._source = source
        self._zone = zone

    def show(self, seen: Snapshot) -> None:
        """Prints the line."""
        from ..report import checked_zone
        from .report_json import encoded

        told = encoded(seen.figures, seen.budgets, source=self._source, zone=self._zone, page=None)
        figures: dict[str, Any] = msgspec.json.decode(told)
        live = {
            "at": datetime.fromtimestamp(seen.at_s, checked_zone(self._zone)),
            "window_s": seen.window_s,
            "attempts_per_s": round(seen.per_s, 3),
            "usd_per_hour": seen.pusd_per_h / PUSD_PER_USD,
            "error_rate": seen.error_rate,
            "is_cut": seen.is_cut,
            "trouble": seen.trouble,
        }
        kept = {name: value for name, value in figures.items() if name not in _NOT_LIVE}
        print(msgspec.json.encode({**live, **kept}).decode(), flush=True)

    def stop(self) -> None:
        """Nothing is left to print."""


class PlainView:
    """A block of text for each, for logs and pipes."""

    __slots__ = ("_source", "_zone")

    def __init__(self, source: str, zone: str) -> None:
        self._source = source
        self._zone = zone

    def show(self, seen: Snapshot) -> None:
        """Prints the block."""
        lines = [headline(seen, self._zone), *(plain(table) for table in tables_of(seen)), *notes_of(seen)]
        print("\n".join(lines), flush=True)

    def stop(self) -> None:
        """Nothing is left to print."""


class RichView:
    """One picture, drawn anew each time."""

    __slots__ = ("_live", "_source", "_zone")

    def __init__(self, source: str, zone: str, console: Console | None = None) -> None:
        from rich.live import Live

        self._source = source
        self._zone = zone
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def show(self, seen: Snapshot) -> None:
        """Draws it."""
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = [Text(f"{self._source}   (Ctrl-C ends)", style="dim")]
        parts.append(Text(headline(seen, self._zone), style="bold"))
        for table in tables_of(seen):
            parts += [Text(""), drawn(table)]
        parts += [Text(note, style="yellow") for note in notes_of(seen)]
        self._live.update(Group(*parts), refresh=True)

    def stop(self) -> None:
        """Leaves the last picture where it is."""
        self._live.stop()


def view_for(source: str, zone: str, *, is_json: bool) -> View:
    """The view that fits standard output."""
    if is_json:
        return JsonView(source, zone)
    if sys.stdout.isatty():
        if has_rich():
            return RichView(source, zone)
        print(f"(a table that is drawn anew comes with: {RICH_HINT})", file=sys.stderr)
    return PlainView(source, zone)


def headline(seen: Snapshot, zone: str) -> str:
    """The figures that matter most, in a line."""
    from ..report import checked_zone

    totals, latency = seen.figures.totals, seen.figures.latency
    errors = "-" if seen.error_rate is None else f"{100 * seen.error_rate:.1f}%"
    return (
        f"{datetime.fromtimestamp(seen.at_s, checked_zone(zone)):%H:%M:%S} {zone}, last {_stretch(seen.window_s)}: "
        f"{totals.attempts:,} attempts, {seen.per_s:.1f}/s, {errors} errors, "
        f"p50 {_ms(latency.p50_ms)}, p95 {_ms(latency.p95_ms)}, "
        f"{exact_usd(totals.cost_pusd)} spent, {short_usd(round(seen.pusd_per_h))}/h"
    )


def tables_of(seen: Snapshot) -> list[Table]:
    """Spending by team, provider and model, and the budgets."""
    figures, tables = seen.figures, []
    times = {line.provider: line for line in figures.latencies}
    for dimension, heading in _SHOWN:
        lines = figures.breakdowns[dimension]
        if any(line.name != ("",) for line in lines):
            tables.append(_spending(dimension, heading, lines, times))
    if seen.budgets:
        tables.append(_budgets(seen.budgets))
    return tables


def notes_of(seen: Snapshot) -> list[str]:
    """What is wrong with the figures."""
    notes = []
    if seen.trouble is not None:
        notes.append(f"The ledger cannot be read, these figures are of before: {seen.trouble}")
    if seen.is_cut:
        notes.append("There were more calls than are kept: only the newest are counted.")
    return notes


def _spending(dimension: str, heading: str, lines: Sequence[Line], times: dict[str | None, LatencyLine]) -> Table:
    digits = digits_of([line.totals.cost_pusd for line in lines])
    columns = {
        heading: [_name(line) for line in lines],
        "attempts >": [f"{line.totals.attempts:,}" for line in lines],
        "errors >": [_errors(line) for line in lines],
        "spent >": [exact_usd(line.totals.cost_pusd, digits) for line in lines],
    }
    if dimension == "provider":
        found = [times.get(line.name[0]) if line.name is not None else None for line in lines]
        columns["p50 >"] = [_ms(each.p50_ms if each is not None else None) for each in found]
        columns["p95 >"] = [_ms(each.p95_ms if each is not None else None) for each in found]
    return Table(title=f"By {dimension}", columns=tuple(columns), rows=list(zip(*columns.values(), strict=True)))


def _budgets(lines: Sequence[BudgetLine]) -> Table:
    rows = [
        (
            line.status.name, exact_usd(line.limit_pusd or 0), exact_usd(line.settled_pusd + line.held_pusd),
            exact_usd(line.remaining_pusd or 0), _bar(line), f"{line.status.resets_at:%Y-%m-%d %H:%M}",
        )
        for line in lines
    ]  # fmt: skip
    columns = ("budget", "limit >", "spent or held >", "left >", "used", "resets")
    return Table(title="Budgets", columns=columns, rows=rows)


def _bar(line: BudgetLine) -> str:
    if not line.limit_pusd:
        return "-"
    used = (line.settled_pusd + line.held_pusd) / line.limit_pusd
    filled = max(0, min(_BAR, int(used * _BAR)))
    return f"{'#' * filled}{'.' * (_BAR - filled)} {100 * used:.1f}%"


def _name(line: Line) -> str:
    if line.name is None:
        return f"(other: {others(line).lower()})"
    return "/".join(line.name) or "(none)"


def _errors(line: Line) -> str:
    totals = line.totals
    return f"{100 * totals.failed / totals.attempts:.1f}%" if totals.attempts else "-"


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:,.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:,.1f} s"


def _stretch(seconds: float) -> str:
    for unit_s, name in ((3600, "h"), (60, "min")):
        if seconds % unit_s == 0:
            return f"{seconds / unit_s:g} {name}"
    return f"{seconds:g} s"


__all__ = ["JsonView", "PlainView", "RichView", "View", "headline", "notes_of", "tables_of", "view_for"]

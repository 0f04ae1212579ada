"""A report's figures for a machine: money in exact pico-dollars beside dollars, times in ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import msgspec

from .._rules.ledger import LedgerRow
from .._rules.report_figures import LatencyLine, ReportFigures
from .._rules.report_time import Timeline, local_time
from .._rules.report_totals import Line, Totals
from ..report import checked_zone
from .budget_lines import BudgetLine
from .budgets import facts_of
from .money import PUSD_PER_USD


def encoded(figures: ReportFigures, budgets: Sequence[BudgetLine], *, source: str, zone: str, page: Path | None) -> str:
    """One line of JSON."""
    where = checked_zone(zone)
    told = {
        "source": source,
        "page": None if page is None else str(page),
        "timezone": zone,
        "first_at": _moment(figures.first_s, where),
        "last_at": _moment(figures.last_s, where),
        "totals": _totals(figures.totals),
        **{f"by_{dimension}": _lines(lines) for dimension, lines in figures.breakdowns.items()},
        "errors": _lines(figures.errors),
        "by_cost_source": _lines(figures.sources),
        "latency_ms": {
            "all": _latency(figures.latency),
            "by_provider": {line.provider: _latency(line) for line in figures.latencies},
        },
        "over_time": _timeline(figures.timeline),
        "dearest": [_row(row, where) for row in figures.biggest],
        "budgets": [facts_of(line) for line in budgets],
    }
    return msgspec.json.encode(told).decode()


def _totals(totals: Totals) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.structs.asdict(totals)
    return {**facts, "cost_usd": totals.cost_pusd / PUSD_PER_USD}


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {
            "name": None if line.name is None else "/".join(line.name),
            "names": line.names,
            "at_least": line.at_least,
            **_totals(line.totals),
        }
        for line in lines
    ]


def _latency(line: LatencyLine) -> dict[str, Any]:
    facts = {"p50": line.p50_ms, "p90": line.p90_ms, "p95": line.p95_ms, "p99": line.p99_ms, "longest": line.most_ms}
    rounded = {name: None if ms is None else round(ms, 3) for name, ms in facts.items()}
    return {"answers": line.answers, **rounded}


def _timeline(timeline: Timeline) -> dict[str, Any]:
    return {
        "grain": timeline.grain,
        "earlier": _totals(timeline.earlier),
        "bars": [
            {
                "starts_at": bar.starts_at,
                **_totals(bar.totals),
                "cost_pusd_by_provider": {name: totals.cost_pusd for name, totals in bar.by_provider.items()},
            }
            for bar in timeline.bars
        ],
    }


def _row(row: LedgerRow, zone: tzinfo) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "at": _moment(row.at_s, zone), "cost_usd": row.cost_pusd / PUSD_PER_USD}


def _moment(at_s: float | None, zone: tzinfo) -> datetime | None:
    return None if at_s is None else local_time(at_s, zone)


__all__ = ["encoded"]

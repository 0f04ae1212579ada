"""What a ledger says of the last minutes: its newest rows, read again and again, and what they come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from .._rules.ledger import LedgerRow
from .._rules.report_figures import ReportFigures
from ..report import figures_of, recent_rows
from .budget_lines import BudgetLine

LATE_S: Final = 60.0
"""A row is dated when its attempt ends and booked when its call does: it may come this much after later ones."""
CLOCKS_APART_S: Final = 60.0
MOST_ROWS: Final = 500_000
RATE_S: Final = 60.0
"""Over how much of the last time a rate is told."""

ReadRows = Callable[[float], Iterable[LedgerRow]]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One moment: what the rows of the last `window_s` come to. Times are Unix seconds.

    `per_s` and `pusd_per_h` are rates over the last minute, or since the first row where that is later. `is_cut` says
    that there were more rows than are kept. `trouble` tells why the ledger could not be read: then the figures are
    those of before.
    """

    at_s: float
    window_s: float
    figures: ReportFigures
    per_s: float
    pusd_per_h: float
    budgets: Sequence[BudgetLine] = ()
    is_cut: bool = False
    trouble: str | None = None

    @property
    def error_rate(self) -> float | None:
        """The share of attempts that failed, None without attempts."""
        totals = self.figures.totals
        return totals.failed / totals.attempts if totals.attempts else None


class Window:
    """The rows of the last `window_s`; each reading asks only for what may be new."""

    __slots__ = ("_is_cut", "_most", "_read", "_read_at_s", "_rows", "_window_s")

    def __init__(self, read: ReadRows, window_s: float, *, most_rows: int = MOST_ROWS) -> None:
        self._read = read
        self._window_s = window_s
        self._most = most_rows
        self._rows: dict[str, LedgerRow] = {}
        self._read_at_s: float | None = None
        self._is_cut = False

    def refresh(self, now_s: float) -> None:
        """Reads what is new and forgets what is old.

        Raises:
            LedgerError: the ledger cannot be read; what was known is kept.
        """
        begins_s = now_s - self._window_s
        since_s = begins_s if self._read_at_s is None else max(begins_s, self._read_at_s - LATE_S)
        for row in self._read(since_s):
            self._rows[row.request_id] = row
        self._read_at_s = now_s
        self._forget(begins_s)

    def _forget(self, begins_s: float) -> None:
        kept = [row for row in self._rows.values() if row.at_s >= begins_s]
        self._is_cut = len(kept) > self._most
        if self._is_cut:
            kept = sorted(kept, key=lambda row: row.at_s)[-self._most :]
        if len(kept) < len(self._rows):
            self._rows = {row.request_id: row for row in kept}

    def snapshot(
        self, now_s: float, zone: str, most_names: int, budgets: Sequence[BudgetLine], trouble: str | None = None
    ) -> Snapshot:
        """What the rows come to now."""
        figures = figures_of(self._rows.values(), timezone=zone, most_names=most_names)
        first_s = figures.first_s if figures.first_s is not None else now_s
        span_s = max(1.0, min(RATE_S, self._window_s, now_s - first_s))
        newest = [row for row in self._rows.values() if row.at_s > now_s - span_s]
        return Snapshot(
            at_s=now_s,
            window_s=self._window_s,
            figures=figures,
            per_s=len(newest) / span_s,
            pusd_per_h=sum(row.cost_pusd for row in newest) * 3600 / span_s,
            budgets=budgets,
            is_cut=self._is_cut,
            trouble=trouble,
        )


def window_on(state_url: str, window_s: float) -> Window:
    """The window on a ledger."""
    return Window(lambda since_s: recent_rows(state_url, since_s=since_s, clocks_apart_s=CLOCKS_APART_S), window_s)


def now() -> float:
    """Unix seconds."""
    return time.time()


__all__ = ["LATE_S", "Snapshot", "Window", "now", "window_on"]

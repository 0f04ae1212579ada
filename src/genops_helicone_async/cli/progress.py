"""What is seen while rows are done: rich's bar on a terminal, a line every few seconds elsewhere, all on stderr."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from ..bulk.tally import Tally
from .money import short_usd
from .summary import counted
from .tables import RICH_HINT, has_rich

if TYPE_CHECKING:
    from ..models import BulkResult

LINE_EVERY_S = 5.0
NOTES_SHOWN = 20
"""Bad lines told one by one; further ones are only counted and written to the errors file."""


class View(Protocol):
    """What a job shows of itself. `total` may be set when it is known."""

    total: int | None

    def start(self, tally: Tally) -> None:
        """The job begins."""

    def took(self, result: BulkResult) -> None:
        """A row has its outcome."""

    def note(self, text: str) -> None:
        """Something to read, beside the progress."""

    def stop(self) -> None:
        """The job is over."""


class Lines:
    """Progress for logs: one line every few seconds, and none of a job that is done before the first."""

    __slots__ = ("_every_s", "_started", "_tally", "_timer", "total")

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self.total: int | None = None
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self, tally: Tally) -> None:
        """Begins to count the time."""
        self._tally = tally
        self._started = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)

    def took(self, result: BulkResult) -> None:
        """Nothing: the next line tells it."""

    def note(self, text: str) -> None:
        """Prints it."""
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """No further line."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.note(progress_line(self._tally, self.total, time.monotonic() - self._started))
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)


class Silent(Lines):
    """Progress nobody wants to see; notes are still told."""

    __slots__ = ()

    def start(self, tally: Tally) -> None:
        """Shows nothing."""


class Bar:
    """Progress for people: a bar with rows, speed, cost and failures."""

    __slots__ = ("_progress", "_started", "_tally", "_task", "total")

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self.total: int | None = None
        self._progress = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(bar_width=None),
            TextColumn("{task.fields[told]}"), console=Console(stderr=True), refresh_per_second=8, expand=True,
            get_time=time.monotonic,
        )  # fmt: skip
        self._task = self._progress.add_task(title, total=None, told="")

    def start(self, tally: Tally) -> None:
        """Draws the bar."""
        self._tally = tally
        self._started = time.monotonic()
        self._progress.start()

    def took(self, result: BulkResult) -> None:
        """Moves the bar."""
        self._update()

    def note(self, text: str) -> None:
        """Prints it above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leaves the bar as it is."""
        self._update()
        self._progress.stop()

    def _update(self) -> None:
        told = progress_line(self._tally, self.total, time.monotonic() - self._started)
        self._progress.update(self._task, completed=self._tally.done, total=self.total, told=told)


def progress_line(tally: Tally, total: int | None, elapsed_s: float) -> str:
    """Rows, speed, cost and failures so far."""
    rows = f"{tally.done:,}/{total:,} rows" if total is not None else counted(tally.done, "row")
    parts = [rows, f"{tally.done / max(elapsed_s, 1e-3):,.0f} rows/s", short_usd(tally.cost_pusd)]
    if tally.failovers:
        parts.append(counted(tally.failovers.total(), "failover"))
    if total is not None and 0 < tally.done < total:
        parts.append(f"{math.ceil(elapsed_s * (total - tally.done) / tally.done):,} s left")
    parts += [f"{number:,} {what}" for number, what in ((tally.failed, "failed"), (tally.skipped, "skipped")) if number]
    return " · ".join(parts)


def view_for(title: str, *, quiet: bool = False) -> Any:
    """The fitting view: a bar on a terminal with rich, lines otherwise."""
    if quiet:
        return Silent()
    if not sys.stderr.isatty():
        return Lines()
    if has_rich():
        return Bar(title)
    print(f"(a progress bar comes with: {RICH_HINT})", file=sys.stderr)
    return Lines(every_s=2.0)


__all__ = ["LINE_EVERY_S", "NOTES_SHOWN", "Bar", "Lines", "Silent", "View", "progress_line", "view_for"]

"""What is seen while rows are done, all on stderr: a bar on a terminal, a line every few seconds elsewhere, or JSON.

Views look at the tally by a timer, so that a row costs them nothing.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import Any, Protocol

import msgspec

from ..bulk.tally import Tally
from .money import PUSD_PER_USD, short_usd
from .pace import Pace, Standing
from .summary import counted
from .tables import RICH_HINT, has_rich

LINE_EVERY_S = 5.0
JSON_EVERY_S = 1.0
_BAR_EVERY_S = 0.125
NOTES_SHOWN = 20
"""Bad lines told one by one; further ones are only counted and written to the errors file."""


class View(Protocol):
    """What a job shows of itself. `total` may be set when it is known."""

    total: int | None

    def start(self, tally: Tally) -> None:
        """The job begins; what is in the tally already was done by earlier runs."""

    def took(self, result: Any) -> None:
        """A row has its outcome."""

    def note(self, text: str) -> None:
        """Something to read, beside the progress."""

    def stop(self) -> None:
        """The job is over."""


class Ticking:
    """A view that looks at its job every so many seconds."""

    __slots__ = ("_every_s", "_pace", "_timer", "total")

    def __init__(self, every_s: float) -> None:
        self.total: int | None = None
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None
        self._pace = Pace(Tally(), time.monotonic())

    def start(self, tally: Tally) -> None:
        """Begins to count the time."""
        self._pace = Pace(tally, time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)

    def took(self, result: object) -> None:
        """Nothing: the next look at the tally tells it."""

    def note(self, text: str) -> None:
        """Prints it."""
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """No further look."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, *, over: bool = False) -> Standing:
        """The job as it stands."""
        return self._pace.look(time.monotonic(), self.total, over=over)

    def _tick(self) -> None:
        self.show(self.look())
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)

    def show(self, standing: Standing) -> None:
        """Shows it, in the way of the view."""
        raise NotImplementedError


class Lines(Ticking):
    """Progress for logs: one line every few seconds, and none of a job that is done before the first."""

    __slots__ = ()

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        super().__init__(every_s)

    def show(self, standing: Standing) -> None:
        """Prints a line."""
        self.note(line_of(standing))


class JsonLines(Ticking):
    """Progress for machines: `Standing` as JSON, one object a line, notes too; the last one has `"over": true`."""

    __slots__ = ()

    def __init__(self, every_s: float = JSON_EVERY_S) -> None:
        super().__init__(every_s)

    def start(self, tally: Tally) -> None:
        """Prints the first object."""
        super().start(tally)
        self.show(self.look())

    def note(self, text: str) -> None:
        """Prints it as an object with nothing else in it."""
        print(msgspec.json.encode({"note": text}).decode(), file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Prints the last object."""
        super().stop()
        self.show(self.look(over=True))

    def show(self, standing: Standing) -> None:
        """Prints an object."""
        print(msgspec.json.encode(standing).decode(), file=sys.stderr, flush=True)


class Silent(Lines):
    """Progress nobody wants to see; notes are still told."""

    __slots__ = ()

    def start(self, tally: Tally) -> None:
        """Shows nothing."""


class Bar(Ticking):
    """Progress for people: a bar with rows, speed, cost and failures."""

    __slots__ = ("_progress", "_task")

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        super().__init__(_BAR_EVERY_S)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(bar_width=None),
            TextColumn("{task.fields[told]}"), console=Console(stderr=True), refresh_per_second=8, expand=True,
            get_time=time.monotonic,
        )  # fmt: skip
        self._task = self._progress.add_task(title, total=None, told="")

    def start(self, tally: Tally) -> None:
        """Draws the bar."""
        super().start(tally)
        self._progress.start()

    def note(self, text: str) -> None:
        """Prints it above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leaves the bar as it is."""
        super().stop()
        self.show(self.look(over=True))
        self._progress.stop()

    def show(self, standing: Standing) -> None:
        """Moves the bar."""
        told = line_of(standing)
        self._progress.update(self._task, completed=standing.rows_done, total=standing.rows_total, told=told)


def progress_line(tally: Tally, total: int | None, elapsed_s: float) -> str:
    """Rows, speed, cost and failures of a job whose rows were all done within the time."""
    return line_of(Pace.since_nothing(tally).look(elapsed_s, total))


def line_of(standing: Standing) -> str:
    """A moment in a line: rows, speed and cost always, the rest where there is any."""
    done, total = standing.rows_done, standing.rows_total
    parts = [f"{done:,}/{total:,} rows" if total is not None else counted(done, "row")]
    parts.append(f"{standing.rows_per_s:,.0f} rows/s")
    if standing.tokens_per_min >= 1:
        parts.append(f"{standing.tokens_per_min:,.0f} tokens/min")
    cost = short_usd(round(standing.cost_usd * PUSD_PER_USD))
    if standing.is_projected and standing.projected_cost_usd:
        cost += f" of about {short_usd(round(standing.projected_cost_usd * PUSD_PER_USD))}"
    parts.append(cost)
    if standing.failovers:
        parts.append(counted(standing.failovers, "failover"))
    if standing.is_projected and standing.eta_s is not None:
        parts.append(f"{_time(standing.eta_s)} left")
    rest = ((standing.rows_failed, "failed"), (standing.rows_skipped, "skipped"), (standing.rows_unsent, "given back"))
    parts += [f"{number:,} {what}" for number, what in rest if number]
    return " · ".join(parts)


def _time(seconds: float) -> str:
    whole = math.ceil(seconds)
    if whole < 120:
        return f"{whole:,} s"
    if whole < 7200:
        return f"{math.ceil(whole / 60):,} min"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def view_for(title: str, *, quiet: bool = False, as_json: bool = False) -> Any:
    """The fitting view: a bar on a terminal with rich, lines otherwise; JSON where that was asked for."""
    if as_json:
        return JsonLines()
    if quiet:
        return Silent()
    if not sys.stderr.isatty():
        return Lines()
    if has_rich():
        return Bar(title)
    print(f"(a progress bar comes with: {RICH_HINT})", file=sys.stderr)
    return Lines(every_s=2.0)


__all__ = [
    "JSON_EVERY_S",
    "LINE_EVERY_S",
    "NOTES_SHOWN",
    "Bar",
    "JsonLines",
    "Lines",
    "Silent",
    "Ticking",
    "View",
    "line_of",
    "progress_line",
    "view_for",
]

"""What is seen of the demo while it runs: a bar, the providers, and the failovers as they happen."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..bulk.receipts import label_of, moves
from ..bulk.tally import Tally
from .demo_script import PROVIDERS, FaultScript
from .money import short_usd
from .progress import Lines, progress_line
from .tables import RICH_HINT, has_rich

if TYPE_CHECKING:
    from ..bulk.ports import Outcome

_EVENTS_SHOWN = 6
_DRAWN_EVERY_S = 0.1


class LiveView:
    """The demo on a terminal, drawn by rich ten times a second."""

    __slots__ = ("_drawn_at", "_events", "_live", "_script", "_started", "_tally", "console", "total")

    def __init__(self, script: FaultScript, total: int, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.total: int | None = total
        self.console = console or Console(stderr=True)
        self._script = script
        self._events: deque[tuple[str, tuple[str, str]]] = deque(maxlen=_EVENTS_SHOWN)
        self._tally = Tally()
        self._started = self._drawn_at = time.monotonic()
        self._live = Live(console=self.console, transient=True, auto_refresh=False, redirect_stdout=False)

    def start(self, tally: Tally) -> None:
        """Draws the first picture."""
        self._tally = tally
        self._started = time.monotonic()
        self._live.start()
        self._draw()

    def took(self, outcome: Outcome) -> None:
        """Notes failovers, and draws again when a tenth of a second has passed."""
        for failed, following in moves(outcome.attempts):
            what = (f"{failed.provider} {label_of(failed)}", following.provider)
            self._events.append((f"row {outcome.line}", what))
        if time.monotonic() - self._drawn_at > _DRAWN_EVERY_S:
            self._draw()

    def happened(self, text: str) -> None:
        """Notes a turn of the fault script, and shows it at once."""
        self._events.append(("", (text, "")))
        self._draw()

    def note(self, text: str) -> None:
        """Prints it above the picture."""
        self.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Takes the picture away: the tables come instead."""
        self._draw()
        self._live.stop()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._live.update(self.picture(), refresh=True)

    def picture(self) -> Any:
        """The bar, the providers and the last failovers."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, total = self._tally, self.total or 1
        head = Table.grid(padding=(0, 2))
        told = progress_line(tally, total, time.monotonic() - self._started)
        head.add_row(ProgressBar(total=total, completed=tally.done, width=32), Text(told))
        last = Table.grid(padding=(0, 2))
        last.add_column(style="dim", justify="right", min_width=8)
        for where, (what, following) in self._events:
            moved = Text.assemble((what, "red"), " → ", (following, "green"))
            last.add_row(where, moved if following else Text(what, style="bold"))
        for _ in range(_EVENTS_SHOWN - len(self._events)):
            last.add_row("", "")
        return Panel(
            Group(head, "", self._providers(), "", last), title="genops-helicone demo", border_style="dim", width=98
        )

    def _providers(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("provider", style="cyan", min_width=10)
        table.add_column("state", min_width=16)
        for name in ("calls", "answered", "failed", "p50", "cost"):
            table.add_column(name, justify="right", min_width=9)
        for name in PROVIDERS:
            state, colour = self._script.state_of(name)
            one = self._tally.providers.get(name)
            cells = ("0", "0", "0", "-", "-")
            if one is not None:
                p50 = one.latencies.percentile(50)
                cells = (
                    f"{one.asked:,}", f"{one.answered:,}", f"{one.failed:,}", f"{p50:.2f} s" if p50 else "-",
                    short_usd(one.cost_pusd),
                )  # fmt: skip
            table.add_row(name, Text(f"● {state}", style=colour), *cells)
        return table


class LinesView(Lines):
    """The demo in a log: a line every two seconds, and each turn of the fault script."""

    __slots__ = ()

    def __init__(self, total: int) -> None:
        super().__init__(every_s=2.0)
        self.total = total

    def happened(self, text: str) -> None:
        """Prints it."""
        self.note(text)


def demo_view(script: FaultScript, total: int) -> Any:
    """The fitting view: live on a terminal with rich, lines otherwise."""
    if sys.stderr.isatty():
        if has_rich():
            return LiveView(script, total)
        print(f"(the live view comes with: {RICH_HINT})", file=sys.stderr)
    return LinesView(total)


__all__ = ["LinesView", "LiveView", "demo_view"]

"""`report --live`: a running process seen through its ledger, until Ctrl-C or for as long as was asked."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from typing import TYPE_CHECKING

from .failures import WRONG_USAGE, CommandError
from .ledger_options import seconds, state_url_of, without_secrets

if TYPE_CHECKING:
    from .live_figures import Snapshot, Window

_TOP = 5
_NEEDS_LIVE = (("interval", "--interval"), ("window", "--window"), ("for_s", "--for"), ("once", "--once"))
_NOT_LIVE = (("since", "--since"), ("until", "--until"), ("output", "--output"))
INTERVAL_S = 2.0
WINDOW_S = 300.0


def add_live_options(parser: argparse.ArgumentParser) -> None:
    """Options of the live view."""
    group = parser.add_argument_group("a running process")
    group.add_argument(
        "--live", action="store_true", help="show the last minutes, again and again, in place of writing a page"
    )
    group.add_argument("--window", metavar="TIME", type=seconds, help="how much of the past: 5m (default), 90s, 1h")
    group.add_argument("--interval", metavar="TIME", type=seconds, help="how often: 2s (default), 0.5, 1m")
    group.add_argument("--for", dest="for_s", metavar="TIME", type=seconds, help="end after so long")
    group.add_argument("--once", action="store_true", help="show it once")


def check_live_options(arguments: argparse.Namespace) -> None:
    """Refuses options that do not go together.

    Raises:
        CommandError: which.
    """
    names = _NOT_LIVE if arguments.live else _NEEDS_LIVE
    for attribute, option in names:
        if getattr(arguments, attribute):
            which = "does not go with" if arguments.live else "needs"
            raise CommandError(f"{option} {which} --live", WRONG_USAGE)


def run_live(arguments: argparse.Namespace) -> int:
    """Shows it; 0 at the end, also where Ctrl-C brought it.

    Raises:
        LedgerError: there is no ledger, or it cannot be read the first time.
    """
    from ..report import check_readable, checked_zone
    from .live_figures import now, window_on
    from .live_view import view_for

    url = state_url_of(arguments)
    checked_zone(arguments.timezone)
    check_readable(url)
    window = window_on(url, arguments.window or WINDOW_S)
    first = _snapshot(arguments, url, window, now())
    ends_s = None if arguments.for_s is None else time.monotonic() + arguments.for_s
    view = view_for(without_secrets(url), arguments.timezone, is_json=arguments.json)
    pause = threading.Event()
    try:
        view.show(first)
        last = first
        while not arguments.once:
            wait_s = arguments.interval or INTERVAL_S
            if ends_s is not None:
                wait_s = min(wait_s, ends_s - time.monotonic())
            if wait_s <= 0:
                break
            pause.wait(wait_s)  # never set: a sleep that Ctrl-C ends
            last = _next(arguments, url, window, now(), last)
            view.show(last)
    except KeyboardInterrupt:
        pass  # that is how it is ended
    finally:
        view.stop()
    return 0


def _snapshot(arguments: argparse.Namespace, url: str, window: Window, now_s: float) -> Snapshot:
    from .budget_lines import budget_lines, has_limit, limits_from

    limits = limits_from(arguments)
    window.refresh(now_s)
    budgets = asyncio.run(budget_lines(url, limits)) if has_limit(limits) else []
    return window.snapshot(now_s, arguments.timezone, arguments.top or _TOP, budgets)


def _next(arguments: argparse.Namespace, url: str, window: Window, now_s: float, last: Snapshot) -> Snapshot:
    """The next snapshot; a ledger that cannot be read now is told, and asked again the next time."""
    from ..errors import LedgerError

    try:
        return _snapshot(arguments, url, window, now_s)
    except LedgerError as exc:
        return window.snapshot(now_s, arguments.timezone, arguments.top or _TOP, last.budgets, exc.message)


__all__ = ["add_live_options", "check_live_options", "run_live"]

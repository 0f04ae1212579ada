"""What the commands that read a ledger share: which ledger, whose time zone, and stretches of time as typed."""

from __future__ import annotations

import argparse
import math
import os
import re
from datetime import datetime, timedelta, tzinfo
from urllib.parse import urlsplit

from .failures import WRONG_USAGE, CommandError
from .options import add_json_option, count

_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_STRETCH = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)")
_LONGEST_S = 86_400
_AGO = re.compile(r"(\d{1,6})([mhdw])")

Point = timedelta | datetime
"""A point in time as typed: so long ago, or a date."""


def add_ledger_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Which ledger, and how it is told."""
    parser.add_argument(
        "--state-url", metavar="URL",
        help="the ledger: sqlite:///ledger.db, redis://host:6379/0 (default: GENOPS_STATE_URL)",
    )  # fmt: skip
    parser.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="whose days and months (default UTC), such as Europe/Berlin"
    )
    parser.add_argument(
        "--top", metavar="N", type=count, default=None, help="how many names to show of each kind before the rest"
    )
    add_json_option(parser, what)


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Budgets, as `set_budget_limits` takes them: in dollars."""
    group = parser.add_argument_group("limits, in dollars; those of teams, projects and customers are per month")
    group.add_argument("--daily", metavar="USD", type=dollars, help="per day, over everything")
    group.add_argument("--monthly", metavar="USD", type=dollars, help="per month, over everything")
    for name in ("team", "project", "customer"):
        group.add_argument(
            f"--{name}", metavar="NAME=USD", action="append", default=[], type=_limit, help=f"of a {name}; repeatable"
        )


def state_url_of(arguments: argparse.Namespace) -> str:
    """The URL given, or the environment's.

    Raises:
        CommandError: neither is there.
    """
    url: str | None = arguments.state_url or os.environ.get("GENOPS_STATE_URL")
    if not url:
        raise CommandError(
            "no ledger is named: give --state-url sqlite:///ledger.db, or set GENOPS_STATE_URL", WRONG_USAGE
        )
    return url


def without_secrets(url: str) -> str:
    """The URL without user, password and options, to be shown."""
    if url.startswith("sqlite:"):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def point(text: str) -> Point:
    """An option's point in time: `7d`, `2026-11-23` or `2026-11-23T08:00`."""
    if ago := _AGO.fullmatch(text):
        return timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no point in time: write 7d, 12h or 30m for so long ago, or 2026-11-23, or 2026-11-23T08:00"
        ) from None


def at(given: Point | None, zone: tzinfo, now: datetime) -> datetime | None:
    """The moment that a point in time means; a date without a zone is in `zone`.

    Raises:
        CommandError: the calendar does not reach back so far.
    """
    if isinstance(given, timedelta):
        try:
            return now - given
        except OverflowError:
            raise CommandError(f"{given.days:,} days ago is before the calendar begins", WRONG_USAGE) from None
    if given is None or given.tzinfo is not None:
        return given
    return given.replace(tzinfo=zone)


def seconds(text: str) -> float:
    """An option's stretch of time, as seconds: `90`, `0.5s`, `5m`, `1h`."""
    found = _STRETCH.fullmatch(text)
    stretch_s = float(found[1]) * _UNITS_S.get(found[2], 1) if found else 0.0
    if not 0 < stretch_s <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no stretch of time: write 90s, 5m or 1h, a day at most")
    return stretch_s


def dollars(text: str) -> float:
    """An option's limit in dollars."""
    try:
        amount = float(text.removeprefix("$").replace(",", ""))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < 9_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit: write dollars from 0 to 9,000,000")
    return amount


def _limit(text: str) -> tuple[str, float]:
    name, equals, amount = text.rpartition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=USD")
    return name, dollars(amount)


__all__ = [
    "Point",
    "add_ledger_options",
    "add_limit_options",
    "at",
    "dollars",
    "point",
    "seconds",
    "state_url_of",
    "without_secrets",
]

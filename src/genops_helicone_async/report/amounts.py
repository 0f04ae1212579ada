"""Amounts as a reader sees them: exact dollars, counts, shares, times. Nothing here depends on a locale."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from .._rules.report_time import local_time
from .markup import Html, joined, tag

NO_BREAK: Final = "\u202f"
"""The narrow space between a number and its unit."""
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_PICO_DIGITS: Final = 12
_LEAST_DIGITS: Final = 4
_TAIL_FROM_PUSD: Final = 10**10  # a cent: below it, the digits behind the fourth are all there is


def digits_of(amounts_pusd: Iterable[int], least: int = _LEAST_DIGITS) -> int:
    """How many digits after the point show all these amounts exactly."""
    digits = least
    for amount in amounts_pusd:
        while digits < _PICO_DIGITS and amount % 10 ** (_PICO_DIGITS - digits):
            digits += 1
    return digits


def usd(amount_pusd: int, digits: int | None = None) -> str:
    """Exact dollars, with at least this many digits after the point."""
    shown = max(digits or 0, digits_of([amount_pusd], digits or 0))
    sign = "−" if amount_pusd < 0 else ""
    return f"{sign}${Decimal(abs(amount_pusd)).scaleb(-_PICO_DIGITS):,.{shown}f}"


def money(amount_pusd: int, digits: int = _LEAST_DIGITS) -> Html:
    """The same as markup, the digits behind the fourth set smaller; they are as exact as the others."""
    told = usd(amount_pusd, digits)
    cut = told.index(".") + 1 + _LEAST_DIGITS if "." in told else len(told)
    if abs(amount_pusd) < _TAIL_FROM_PUSD or cut >= len(told):
        return joined(told)
    return joined(told[:cut], tag("span", told[cut:], class_="tail"))


def about(amount_pusd: int, digits: int = _LEAST_DIGITS) -> Html:
    """An amount that is an estimate."""
    return tag("span", f"≈{NO_BREAK}", money(amount_pusd, digits), class_="about")


def count(number: int) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,}"


def counted(number: int, one: str) -> str:
    """`1 attempt`, `2 attempts`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def share(part: int, whole: int) -> str:
    """Per cent to one digit; what is there but smaller says so."""
    if not whole:
        return "–"
    per_mille = 1000 * part / whole
    if part and per_mille < 1:
        return f"<{NO_BREAK}0.1{NO_BREAK}%"
    if part != whole and per_mille > 999:
        return f">{NO_BREAK}99.9{NO_BREAK}%"
    return f"{per_mille / 10:.1f}{NO_BREAK}%"


def duration(ms: float | None) -> str:
    """A time with its unit, to three digits."""
    if ms is None:
        return "–"
    if ms < 999.5:
        return f"{_three_digits(ms)}{NO_BREAK}ms"
    if ms < 120_000:
        return f"{_three_digits(ms / 1000)}{NO_BREAK}s"
    if ms < 7_200_000:
        return f"{_three_digits(ms / 60_000)}{NO_BREAK}min"
    return f"{ms / 3_600_000:,.1f}{NO_BREAK}h"


def round_duration(ms: float) -> str:
    """A round time with its unit, as on an axis."""
    for unit, unit_ms in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= unit_ms:
            return f"{ms / unit_ms:.3g}{NO_BREAK}{unit}"
    return f"{ms:.3g}{NO_BREAK}ms"


def _three_digits(number: float) -> str:
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def moment(at_s: float, zone: tzinfo) -> str:
    """A moment in a time zone, to the second."""
    return f"{local_time(at_s, zone):%Y-%m-%d %H:%M:%S}"


__all__ = [
    "MONTHS",
    "NO_BREAK",
    "about",
    "count",
    "counted",
    "digits_of",
    "duration",
    "moment",
    "money",
    "round_duration",
    "share",
    "usd",
]

"""Dollars as text and as integers: pico-dollars in sums, exact decimals on the screen."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

PICO_DIGITS = 12
PUSD_PER_USD = 1_000_000_000_000
LEAST_DIGITS = 4


def digits_of(amounts_pusd: Collection[int]) -> int:
    """How many digits after the point show all these amounts exactly; at least four."""
    digits = PICO_DIGITS
    while digits > LEAST_DIGITS and all(amount % 10 ** (PICO_DIGITS - digits + 1) == 0 for amount in amounts_pusd):
        digits -= 1
    return digits


def exact_usd(amount_pusd: int, digits: int | None = None) -> str:
    """An amount in dollars, exact; with at least this many digits after the point, so that columns align."""
    shown = max(digits or 0, digits_of([amount_pusd]))
    return f"${Decimal(amount_pusd).scaleb(-PICO_DIGITS):,.{shown}f}"


def short_usd(amount_pusd: int) -> str:
    """An amount in dollars for a progress line."""
    return f"${amount_pusd / PUSD_PER_USD:,.4f}"


def about_usd(amount_pusd: int) -> str:
    """An estimate in dollars: two digits that count, four after the point at least."""
    shown = LEAST_DIGITS
    while shown < PICO_DIGITS and 0 < amount_pusd * 10**shown < 10 * PUSD_PER_USD:
        shown += 1
    return f"${amount_pusd / PUSD_PER_USD:,.{shown}f}"


__all__ = ["PUSD_PER_USD", "about_usd", "digits_of", "exact_usd", "short_usd"]

"""Budgets as they stand: how much of each is spent, how much is held for calls on their way, and what is left."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import PUSD_PER_USD, BudgetStatus
from .amounts import NO_BREAK, digits_of, money
from .markup import Html, foreign, joined, tag

_NEARLY = 80


def budget_bars(budgets: Sequence[BudgetStatus]) -> Html:
    """One bar a budget, in the order given."""
    return tag("div", *map(_budget, budgets), class_="budgets")


def _budget(budget: BudgetStatus) -> Html:
    limit, settled, held = (round(amount * PUSD_PER_USD) for amount in (budget.limit, budget.settled, budget.held))
    used = 100 * (settled + held) / limit if limit else 100.0
    state = "over" if settled + held > limit else "nearly" if used >= _NEARLY else "fine"
    words = [tag("b", _exact(settled)), " of ", _exact(limit), " spent"]
    if held:
        words += [", ", _exact(held), " held for calls on their way"]
    left = limit - settled - held
    ending = [_exact(left), " left"] if left >= 0 else [_exact(-left), " over the limit"]
    scale = max(limit, settled + held, 1)
    return tag(
        "div",
        tag("h3", foreign(budget.name), " ", tag("span", f"per {budget.period}", class_="quiet")),
        tag(
            "span",
            tag("span", class_="spent", style=f"width:{100 * max(settled, 0) / scale:.2f}%"),
            tag("span", class_="held", style=f"width:{100 * max(held, 0) / scale:.2f}%"),
            class_="track",
            aria_hidden="true",
        ),
        tag("p", *words),
        tag(
            "p",
            tag("b", f"{used:,.1f}{NO_BREAK}%", class_="used"),
            joined(" used, ", *ending, "; resets "),
            tag("span", f"{budget.resets_at:%Y-%m-%d %H:%M} {budget.resets_at.tzname() or ''}".rstrip(), class_="when"),
            class_="quiet",
        ),
        class_=f"budget {state}",
    )


def _exact(amount_pusd: int) -> Html:
    return money(amount_pusd, digits_of([amount_pusd], 2))


__all__ = ["budget_bars"]

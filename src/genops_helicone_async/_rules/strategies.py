"""In which order candidates are asked: one plain function per strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..errors import RoutingError


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as a strategy sees it; `expected_pusd` is None where no price is known."""

    index: int
    provider: str
    model: str
    expected_pusd: int | None = None


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate's place: lower scores are asked first; `reason` says in words why."""

    index: int
    score: float
    reason: str


def by_given_order(options: Sequence[Option]) -> list[Ranked]:
    """The order in which the caller named them."""
    return [Ranked(index=o.index, score=float(i), reason=f"number {i + 1} as given") for i, o in enumerate(options)]


def by_expected_cost(options: Sequence[Option]) -> list[Ranked]:
    """Cheapest first for this very request, its tokens times the prices; those without a price last."""
    known = sorted((o for o in options if o.expected_pusd is not None), key=lambda o: (o.expected_pusd, o.index))
    ranked = [
        Ranked(index=o.index, score=(o.expected_pusd or 0) / 1e12, reason=f"about ${(o.expected_pusd or 0) / 1e12:.6f}")
        for o in known
    ]
    unknown = [o for o in options if o.expected_pusd is None]
    return ranked + [Ranked(index=o.index, score=float("inf"), reason="no price is known") for o in unknown]


STRATEGIES: dict[str, Callable[[Sequence[Option]], list[Ranked]]] = {
    "failover": by_given_order,
    "cost_optimized": by_expected_cost,
}


def rank(strategy: str, options: Sequence[Option]) -> list[Ranked]:
    """The options in the order of the strategy: a permutation, nobody is left out.

    Raises:
        RoutingError: no strategy of this name.
    """
    order = STRATEGIES.get(strategy)
    if order is None:
        raise RoutingError(f"unknown routing strategy {strategy!r}: this version has {', '.join(sorted(STRATEGIES))}")
    return order(options)


__all__ = ["STRATEGIES", "Option", "Ranked", "by_expected_cost", "by_given_order", "rank"]

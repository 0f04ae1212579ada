"""In which order candidates are asked: one plain function per strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from ..errors import RoutingError
from .options import EXPLORATION, FIRST_TOKEN_SHARE, FOLLOW_UP, Option, RankContext, Ranked
from .performance import by_performance
from .quality import quality_of

_PLAIN = RankContext()


def by_given_order(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """The order in which the caller named them."""
    return [Ranked(index=o.index, score=float(i), reason=f"number {i + 1} as given") for i, o in enumerate(options)]


def by_turns(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Each in turn: `counter` says whose turn it is, the others follow in the order given."""
    start = context.counter % len(options) if options else 0
    turned = [*options[start:], *options[:start]]
    return [Ranked(index=o.index, score=float(i), reason="its turn" if i == 0 else "next in turn")
            for i, o in enumerate(turned)]  # fmt: skip


def by_weight(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Drawn by weight with the one random number: the first as often as its share says, then the next of the rest.

    What is left of the number after a draw is again even from 0 up to 1, so one number draws the whole order.
    """
    left, number = list(options), context.random
    ranked: list[Ranked] = []
    while left:
        total = sum([o.weight for o in left])
        target, at, before = number * total, 0, 0.0
        while at < len(left) - 1 and before + left[at].weight <= target:
            before += left[at].weight
            at += 1
        drawn = left.pop(at)
        number = min(max((target - before) / drawn.weight, 0.0), 1.0) if drawn.weight else 0.0
        reason = f"drawn with {drawn.weight / total:.0%} of the weight" if total else "has no weight"
        ranked.append(Ranked(index=drawn.index, score=float(len(ranked)), reason=reason))
    return ranked


def by_expected_cost(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Cheapest first for this very request, its tokens times the prices; those without a price last."""
    known = sorted([(o.expected_pusd, o.index) for o in options if o.expected_pusd is not None])
    ranked = [Ranked(index=i, score=pusd / 1e12, reason=_cost_told(round(pusd / 1e6))) for pusd, i in known]
    if len(ranked) < len(options):
        unknown = [o for o in options if o.expected_pusd is None]
        ranked += [Ranked(index=o.index, score=math.inf, reason="no price is known") for o in unknown]
    return ranked


def by_quality(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Best first by the table in `quality.py` or the caller's own scores; models without a score last."""
    scores = [(quality_of(o.provider, o.model, context.qualities), o.index) for o in options]
    known = sorted((-score, index) for score, index in scores if score is not None)
    ranked = [Ranked(index=index, score=score, reason=_quality_told(-score)) for score, index in known]
    unknown = [index for score, index in scores if score is None]
    return ranked + [Ranked(index=index, score=math.inf, reason="no quality score is known") for index in unknown]


def by_load(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Fewest calls in flight first, ties as given."""
    return [
        Ranked(index=o.index, score=float(o.in_flight), reason=f"{o.in_flight} in flight")
        for o in sorted(options, key=lambda o: o.in_flight)
    ]


# Reasons are rounded first and then kept, for writing a number as text costs more than ranking it.


@lru_cache(maxsize=1024)
def _cost_told(micro_dollars: int) -> str:
    return f"about ${micro_dollars / 1e6:.6f}"


@lru_cache(maxsize=1024)
def _quality_told(score: float) -> str:
    return f"quality {score:g}"


Strategy = Callable[[Sequence[Option], RankContext], list[Ranked]]

STRATEGIES: dict[str, Strategy] = {
    "cost_optimized": by_expected_cost,
    "failover": by_given_order,
    "least_busy": by_load,
    "performance_optimized": by_performance,
    "quality_optimized": by_quality,
    "round_robin": by_turns,
    "weighted": by_weight,
}


FOR_SEVERAL = frozenset({"consensus", "fan_out", "hedged", "race"})
"""What `multi_provider_chat` offers on top: strategies that may ask several providers at once."""


def rank(
    strategy: str, options: Sequence[Option], context: RankContext = _PLAIN, fallback: str | None = None
) -> list[Ranked]:
    """The options in the order of the strategy: a permutation, nobody is left out.

    Those whose circuit is open go last, in the strategy's order. With `fallback` only the first is the strategy's
    choice, and that strategy orders those who follow.

    Raises:
        RoutingError: no strategy of this name.
    """
    ranked = _open_last(options, _strategy(strategy)(options, context))
    if fallback is None or not ranked:
        return ranked
    rest = [option for option in options if option.index != ranked[0].index]
    followers = _open_last(rest, _strategy(fallback)(rest, context))
    return [ranked[0], *followers]


def _strategy(name: str) -> Strategy:
    order = STRATEGIES.get(name)
    if order is None and name in FOR_SEVERAL:
        raise RoutingError(
            f"routing strategy {name!r} may ask several providers at once: use it with multi_provider_chat"
        )
    if order is None:
        raise RoutingError(f"unknown routing strategy {name!r}: this version has {', '.join(sorted(STRATEGIES))}")
    return order


def _open_last(options: Sequence[Option], ranked: list[Ranked]) -> list[Ranked]:
    for option in options:
        if option.health is not None and not option.health.is_usable:
            break
    else:
        return ranked
    unusable = {option.index for option in options if not option.is_usable}
    last = [
        Ranked(index=r.index, score=math.inf, reason=f"circuit open, asked last; {r.reason}")
        for r in ranked
        if r.index in unusable
    ]
    return [r for r in ranked if r.index not in unusable] + last


__all__ = [
    "EXPLORATION",
    "FIRST_TOKEN_SHARE",
    "FOLLOW_UP",
    "FOR_SEVERAL",
    "STRATEGIES",
    "Option",
    "RankContext",
    "Ranked",
    "Strategy",
    "by_expected_cost",
    "by_given_order",
    "by_load",
    "by_performance",
    "by_quality",
    "by_turns",
    "by_weight",
    "rank",
]

"""In which order candidates are asked: one plain function per strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ..errors import RoutingError
from .health import HealthStatistics
from .quality import SNAPSHOT, quality_of

EXPLORATION = 0.05
"""Share of calls with which `performance_optimized` looks again at the candidate it has not seen for longest."""
FIRST_TOKEN_SHARE = 0.3
"""Weight of the time to the first token beside that of the whole answer, where all candidates have streamed."""
_LEAST_SUCCESS = 0.05
"""Where fewer succeed, the time that repeats would take says nothing any more."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as a strategy sees it; `expected_pusd` is None where no price is known.

    `weight` is its share in `provider_preferences`; `health` is None where nothing is known.
    """

    index: int
    provider: str
    model: str
    expected_pusd: int | None = None
    weight: float = 1.0
    health: HealthStatistics | None = None

    @property
    def is_usable(self) -> bool:
        """Whether its circuit lets a call pass: it is closed, or a probe is due."""
        return self.health is None or self.health.is_usable

    @property
    def in_flight(self) -> int:
        """Calls under way to it."""
        return 0 if self.health is None else self.health.in_flight


class RankContext(msgspec.Struct, frozen=True, kw_only=True):
    """What strategies decide by besides the options.

    `random` is a number from 0 up to 1, `counter` counts the calls, `qualities` overrides quality scores by
    `provider/model` or model.
    """

    random: float = 0.0
    counter: int = 0
    exploration: float = EXPLORATION
    first_token_share: float = FIRST_TOKEN_SHARE
    qualities: Mapping[str, float] | None = None


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate's place: lower scores are asked first; `reason` says in words why."""

    index: int
    score: float
    reason: str


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
        total = math.fsum(o.weight for o in left)
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
    known = sorted((o for o in options if o.expected_pusd is not None), key=lambda o: (o.expected_pusd, o.index))
    ranked = [
        Ranked(index=o.index, score=(o.expected_pusd or 0) / 1e12, reason=f"about ${(o.expected_pusd or 0) / 1e12:.6f}")
        for o in known
    ]
    unknown = [o for o in options if o.expected_pusd is None]
    return ranked + [Ranked(index=o.index, score=math.inf, reason="no price is known") for o in unknown]


def by_quality(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Best first by the table in `quality.py` or the caller's own scores; models without a score last."""
    scores = {o.index: quality_of(o.provider, o.model, context.qualities) for o in options}
    known = sorted((o for o in options if scores[o.index] is not None), key=lambda o: -(scores[o.index] or 0))
    ranked = [
        Ranked(index=o.index, score=-(scores[o.index] or 0.0), reason=f"quality {scores[o.index]:g} ({SNAPSHOT})")
        for o in known
    ]
    unknown = [o for o in options if scores[o.index] is None]
    return ranked + [Ranked(index=o.index, score=math.inf, reason="no quality score is known") for o in unknown]


def by_load(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Fewest calls in flight first, ties as given."""
    return [
        Ranked(index=o.index, score=float(o.in_flight), reason=f"{o.in_flight} in flight")
        for o in sorted(options, key=lambda o: o.in_flight)
    ]


def by_performance(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Fastest first, by the moving average of its times over its share of successes: the time until one succeeds.

    A candidate that has never been asked leads while nothing is under way to it, so each is tried early and no burst
    goes to an unknown one. With probability `exploration` the one not seen for longest leads, if nothing is under way
    to it: so a provider that has become faster is found again.
    """
    share = _first_token_share(options, context)
    known = sorted((_expected_s(o, share), o.index, o) for o in options if o.health and o.health.latency_s is not None)
    rest = sorted((o for o in options if not (o.health and o.health.latency_s is not None)), key=lambda o: o.in_flight)
    ranked = [Ranked(index=o.index, score=score, reason=_told(o)) for score, _, o in known]
    ranked += [Ranked(index=o.index, score=math.inf, reason=_told(o)) for o in rest]
    leader = next((o for o in rest if o.is_usable and not _was_seen(o) and not o.in_flight), None)
    reason = "not asked yet"
    if leader is None and context.random >= 1 - context.exploration:
        leader = _stalest([o for o in options if o.index != ranked[0].index])
        if leader is not None and leader.health is not None:
            reason = f"looked at again after {leader.health.idle_s or 0.0:.0f} s"
    if leader is None:
        return ranked
    return [Ranked(index=leader.index, score=0.0, reason=reason), *(r for r in ranked if r.index != leader.index)]


def _first_token_share(options: Sequence[Option], context: RankContext) -> float:
    """The share that counts: none where some candidate was never streamed, for its times would not compare."""
    answered = [o.health for o in options if o.health is not None and o.health.latency_s is not None]
    return context.first_token_share if all(health.first_token_s is not None for health in answered) else 0.0


def _expected_s(option: Option, share: float) -> float:
    health = option.health
    if health is None or health.latency_s is None:
        return math.inf
    seconds = (1 - share) * health.latency_s + share * (health.first_token_s or 0.0)
    errors = 0.0 if health.circuit == "half_open" else health.error_rate  # a probe is to find out what is true now
    return seconds / max(_LEAST_SUCCESS, 1 - errors)


def _told(option: Option) -> str:
    health = option.health
    if health is None or health.latency_s is None:
        return "never answered" if _was_seen(option) else "not asked yet"
    return f"{health.latency_s * 1000:.0f} ms on average, {health.error_rate:.0%} errors"


def _was_seen(option: Option) -> bool:
    return option.health is not None and option.health.idle_s is not None


def _stalest(options: Sequence[Option]) -> Option | None:
    idle = [o for o in options if o.is_usable and not o.in_flight and _was_seen(o)]
    return max(idle, key=lambda o: (o.health.idle_s or 0.0) if o.health else 0.0, default=None)


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
    if order is None:
        raise RoutingError(f"unknown routing strategy {name!r}: this version has {', '.join(sorted(STRATEGIES))}")
    return order


def _open_last(options: Sequence[Option], ranked: list[Ranked]) -> list[Ranked]:
    unusable = {option.index for option in options if not option.is_usable}
    if not unusable:
        return ranked
    last = [
        Ranked(index=r.index, score=math.inf, reason=f"circuit open, asked last; {r.reason}")
        for r in ranked
        if r.index in unusable
    ]
    return [r for r in ranked if r.index not in unusable] + last


__all__ = [
    "EXPLORATION",
    "FIRST_TOKEN_SHARE",
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

"""In which order candidates are asked: one plain function per strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import msgspec

from ..errors import RoutingError
from .health import HealthStatistics
from .quality import quality_of

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


def by_performance(options: Sequence[Option], context: RankContext = _PLAIN) -> list[Ranked]:
    """Fastest first, by the moving average of its times over its share of successes: the time until one succeeds.

    A candidate that has never been asked leads while nothing is under way to it, so each is tried early and no burst
    goes to an unknown one. With probability `exploration` the one not seen for longest leads, if nothing is under way
    to it: so a provider that has become faster is found again.
    """
    share, known, rest = context.first_token_share, [], []
    for option in options:
        health = option.health
        if health is None or health.latency_s is None:
            rest.append(option)
        else:
            known.append((option.index, health))
            if health.first_token_s is None:
                share = 0.0  # one was never streamed, and its times would not compare
    scored = sorted([(_expected_s(health, share), index, health) for index, health in known])
    ranked = [Ranked(index=index, score=score, reason=_pace_told(health)) for score, index, health in scored]
    if rest:
        rest.sort(key=lambda o: o.in_flight)
        ranked += [Ranked(index=o.index, score=math.inf, reason=_unknown_told(o)) for o in rest]
    leader = next((o for o in rest if o.is_usable and not _was_seen(o) and not o.in_flight), None)
    if leader is not None:
        return _led(leader, "not asked yet", ranked)
    if context.random >= 1 - context.exploration:
        leader = _stalest([o for o in options if o.index != ranked[0].index])
        if leader is not None and leader.health is not None:
            return _led(leader, f"looked at again after {leader.health.idle_s or 0.0:.0f} s", ranked)
    return ranked


def _led(leader: Option, reason: str, ranked: list[Ranked]) -> list[Ranked]:
    return [Ranked(index=leader.index, score=0.0, reason=reason), *(r for r in ranked if r.index != leader.index)]


def _expected_s(health: HealthStatistics, share: float) -> float:
    latency_s = health.latency_s or 0.0
    if share:
        latency_s += share * ((health.first_token_s or 0.0) - latency_s)
    # a probe is to find out what is true now, so a half open circuit's errors do not count
    errors = health.error_rate if health.circuit != "half_open" else 0.0
    return latency_s / max(_LEAST_SUCCESS, 1 - errors) if errors else latency_s


def _was_seen(option: Option) -> bool:
    return option.health is not None and option.health.idle_s is not None


def _stalest(options: Sequence[Option]) -> Option | None:
    idle = [o for o in options if o.is_usable and not o.in_flight and _was_seen(o)]
    return max(idle, key=lambda o: (o.health.idle_s or 0.0) if o.health else 0.0, default=None)


# Reasons are rounded first and then kept, for writing a number as text costs more than ranking it.


@lru_cache(maxsize=1024)
def _cost_told(micro_dollars: int) -> str:
    return f"about ${micro_dollars / 1e6:.6f}"


@lru_cache(maxsize=1024)
def _quality_told(score: float) -> str:
    return f"quality {score:g}"


def _pace_told(health: HealthStatistics) -> str:
    return _milliseconds_told(int((health.latency_s or 0.0) * 1000 + 0.5), int(health.error_rate * 100 + 0.5))


@lru_cache(maxsize=4096)
def _milliseconds_told(ms: int, percent: int) -> str:
    return f"{ms} ms on average, {percent}% errors"


def _unknown_told(option: Option) -> str:
    return "never answered" if _was_seen(option) else "not asked yet"


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

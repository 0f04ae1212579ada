"""The strategy `performance_optimized`: who answers fastest, and how one finds out that this has changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from .health import HealthStatistics
from .options import Option, RankContext, Ranked

_LEAST_SUCCESS = 0.05
"""Where fewer succeed, the time that repeats would take says nothing any more."""


def by_performance(options: Sequence[Option], context: RankContext) -> list[Ranked]:
    """Fastest first, by the moving average of its times over its share of successes: the time until one succeeds.

    A candidate that has never been asked leads while nothing is under way to it, so each is tried early and no burst
    goes to an unknown one. With probability `exploration` the one not seen for longest leads, and with `follow_up`
    more one whose last answer was faster than the leader's average, if nothing is under way to it: so a provider that
    has become faster is found again, and soon believed.
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
    scored = sorted([(_until_success_s(_average_s(health, share), health), index, health) for index, health in known])
    ranked = [Ranked(index=index, score=score, reason=_pace_told(health)) for score, index, health in scored]
    if rest:
        rest.sort(key=lambda o: o.in_flight)
        ranked += [Ranked(index=o.index, score=math.inf, reason=_unknown_told(o)) for o in rest]
    leader = next((o for o in rest if o.is_usable and not _was_seen(o) and not o.in_flight), None)
    if leader is not None:
        return _led(leader, "not asked yet", ranked)
    if context.random < 1 - context.exploration - context.follow_up:
        return ranked
    others = [o for o in options if o.is_usable and not o.in_flight and o.index != ranked[0].index]
    if context.random < 1 - context.exploration:
        return _followed_up(others, next((health for *_, health in scored if health.is_usable), None), ranked)
    stalest = max(others, key=_idle_s, default=None)
    if stalest is None or not _was_seen(stalest):
        return ranked
    return _led(stalest, f"looked at again after {_idle_s(stalest):.0f} s", ranked)


def _followed_up(others: Sequence[Option], best: HealthStatistics | None, ranked: list[Ranked]) -> list[Ranked]:
    """The ranking, led by whoever's last answer was the fastest, if it was faster than the best one's average."""
    if best is None:
        return ranked
    least_s, fastest = _until_success_s(best.latency_s or 0.0, best), None
    for option in others:
        health = option.health
        if health is not None and health.last_latency_s is not None:
            last_s = _until_success_s(health.last_latency_s, health)
            if last_s < least_s:
                least_s, fastest = last_s, option
    return ranked if fastest is None else _led(fastest, f"its last answer took {least_s * 1000:.0f} ms", ranked)


def _led(leader: Option, reason: str, ranked: list[Ranked]) -> list[Ranked]:
    return [Ranked(index=leader.index, score=0.0, reason=reason), *(r for r in ranked if r.index != leader.index)]


def _average_s(health: HealthStatistics, share: float) -> float:
    latency_s = health.latency_s or 0.0
    return latency_s + share * ((health.first_token_s or 0.0) - latency_s) if share else latency_s


def _until_success_s(seconds: float, health: HealthStatistics) -> float:
    """Time until one succeeds, repeats counted; old errors do not hold back the probe that is to find out."""
    errors = health.error_rate if health.circuit != "half_open" else 0.0
    return seconds / max(_LEAST_SUCCESS, 1 - errors) if errors else seconds


def _was_seen(option: Option) -> bool:
    return option.health is not None and option.health.idle_s is not None


def _idle_s(option: Option) -> float:
    return 0.0 if option.health is None or option.health.idle_s is None else option.health.idle_s


def _pace_told(health: HealthStatistics) -> str:
    return _milliseconds_told(int((health.latency_s or 0.0) * 1000 + 0.5), int(health.error_rate * 100 + 0.5))


@lru_cache(maxsize=4096)
def _milliseconds_told(ms: int, percent: int) -> str:
    return f"{ms} ms on average, {percent}% errors"


def _unknown_told(option: Option) -> str:
    return "never answered" if _was_seen(option) else "not asked yet"


__all__ = ["by_performance"]

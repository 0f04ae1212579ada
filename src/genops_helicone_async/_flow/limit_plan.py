"""What limits a caller set with `configure_rate_limits`, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from .._providers import PROVIDERS, canonical
from .._rules.rate_limits import BACKOFF_STRATEGIES, BackoffStrategy, LimitPlan, RateLimits, default_burst
from ..config import Settings
from ..errors import ConfigurationError

_NAMES = ("requests_per_minute", "burst_allowance", "tokens_per_minute", "max_concurrency", "adaptive")
_MOST_PER_MINUTE = 1e9


def plan_of(
    settings: Settings,
    everyone: Mapping[str, Any],
    per_provider: Mapping[str, Mapping[str, Any]] | None,
    backoff_strategy: str,
) -> LimitPlan:
    """The plan these arguments mean; what a provider's own limits leave out, it has from everyone's.

    Raises:
        ConfigurationError: a limit, the strategy or a provider's name makes no sense.
        TypeError: a value has the wrong type.
    """
    if backoff_strategy not in BACKOFF_STRATEGIES:
        raise ConfigurationError(
            f"`backoff_strategy` is {backoff_strategy!r}: use one of {', '.join(map(repr, BACKOFF_STRATEGIES))}"
        )
    strategy: BackoffStrategy = backoff_strategy
    if per_provider is not None and not isinstance(per_provider, Mapping):
        raise TypeError(f"`per_provider` must map providers to limits, not {type(per_provider).__name__}")
    known = {*PROVIDERS, *settings.provider_urls, *settings.candidates}
    own = {}
    for name, given in (per_provider or {}).items():
        provider = canonical(name) if isinstance(name, str) else name
        if provider not in known:
            near = get_close_matches(str(name), [str(each) for each in known], n=1)
            hint = f": did you mean {near[0]!r}?" if near else ": see `genops-helicone prices` for the names"
            raise ConfigurationError(f"`per_provider` names {name!r}, which is no known provider{hint}")
        where = f"per_provider[{name!r}]"
        if not isinstance(given, Mapping):
            raise TypeError(f"`{where}` must be a mapping of limits, not {type(given).__name__}")
        if unknown := sorted(set(given) - set(_NAMES), key=str):
            raise ConfigurationError(f"`{where}` has {unknown[0]!r}: limits are {', '.join(_NAMES)}")
        own[provider] = _limits({**everyone, **_without_burst(given), **given}, f"{where}.")
    return LimitPlan(everyone=_limits(everyone, ""), per_provider=own, backoff_strategy=strategy)


def _without_burst(given: Mapping[str, Any]) -> dict[str, Any]:
    """Everyone's burst belongs to everyone's rate: one with a rate of its own, or with none, has the usual burst."""
    return {"burst_allowance": None} if "requests_per_minute" in given else {}


def _limits(given: Mapping[str, Any], where: str) -> RateLimits:
    per_minute = _number(f"{where}requests_per_minute", given.get("requests_per_minute"))
    burst = _count(f"{where}burst_allowance", given.get("burst_allowance"))
    if per_minute is None and burst is not None:
        raise ConfigurationError(f"`{where}burst_allowance` is {burst} without `requests_per_minute`: give both")
    adaptive = given.get("adaptive", True)
    if not isinstance(adaptive, bool):
        raise TypeError(f"`{where}adaptive` must be True or False, not {type(adaptive).__name__}")
    return RateLimits(
        requests_per_minute=per_minute,
        burst=burst or (default_burst(per_minute) if per_minute is not None else 1),
        tokens_per_minute=_number(f"{where}tokens_per_minute", given.get("tokens_per_minute")),
        max_concurrency=_count(f"{where}max_concurrency", given.get("max_concurrency")),
        adaptive=adaptive,
    )


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number, not {type(value).__name__}")
    if not (math.isfinite(value) and 0 < value <= _MOST_PER_MINUTE):
        raise ConfigurationError(f"`{name}` is {value!r}: give a number above 0, or None for no limit")
    return float(value)


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be a whole number, not {type(value).__name__}")
    if not 1 <= value <= _MOST_PER_MINUTE:
        raise ConfigurationError(f"`{name}` is {value!r}: give 1 or more, or None for no limit of your own")
    return value


__all__ = ["plan_of"]

"""`provider_preferences`: which providers, with which models, and how often each is asked first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from .._providers import canonical
from ..errors import ConfigurationError

_FORM = 'give a mapping such as {"openai": {"model": "gpt-4o", "weight": 0.7}, "groq": 0.3}'
_KEYS = frozenset({"model", "weight"})
_MOST_REMEMBERED = 256


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's share of the calls; the shares of all add up to 1. Without a `model` it is the call's own."""

    provider: str
    model: str | None
    weight: float


def parse_preferences(value: object) -> tuple[Preference, ...]:
    """The preferences in the order given, their weights normalised.

    A provider's entry is a number, its weight, or a mapping with `weight` and `model`. Where no entry has a weight
    all weigh the same; where some have, all must.

    Raises:
        ConfigurationError: an entry, weight or model that cannot be meant; the message says which and why.
    """
    known = _remembered.get(id(value))
    if known is not None and known[0] is value and known[1] == value:
        return known[2]
    parsed = _parsed(value)
    if type(value) is dict:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        copy = {name: dict(entry) if isinstance(entry, Mapping) else entry for name, entry in value.items()}
        _remembered[id(value)] = (value, copy, parsed)
    return parsed


_remembered: dict[int, tuple[object, dict[Any, Any], tuple[Preference, ...]]] = {}
"""Of the mappings parsed last, kept alive by this: what they held then, should their owner change them, and meant."""


def _parsed(value: object) -> tuple[Preference, ...]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"`provider_preferences` is a {type(value).__name__}: {_FORM}")
    if not value:
        raise ConfigurationError(f"`provider_preferences` is empty: {_FORM}")
    entries: dict[str, tuple[str | None, float | None]] = {}
    for name, entry in value.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(f"`provider_preferences` has the key {name!r}: keys are names of providers")
        provider = canonical(name)
        if provider in entries:
            raise ConfigurationError(f"`provider_preferences` names {provider!r} twice: {name!r} is another name of it")
        entries[provider] = _entry(f"provider_preferences[{name!r}]", entry)
    weights = _normalised({provider: weight for provider, (_, weight) in entries.items()})
    return tuple(
        Preference(provider=provider, model=model, weight=weights[provider]) for provider, (model, _) in entries.items()
    )


def _entry(where: str, entry: object) -> tuple[str | None, float | None]:
    if not isinstance(entry, Mapping):
        return None, _weight(where, entry)
    if unknown := [key for key in entry if key not in _KEYS]:
        raise ConfigurationError(f"`{where}` has {unknown[0]!r}: known are `model` and `weight`")
    model = entry.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise ConfigurationError(f"`{where}` has the model {model!r}: give its name")
    weight = entry.get("weight")
    return model, None if weight is None else _weight(where, weight)


def _weight(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"`{where}` has the weight {value!r}: {_FORM}")
    try:
        weight = float(value)
    except OverflowError:
        weight = math.inf
    if not 0 < weight < math.inf:
        raise ConfigurationError(
            f"`{where}` has the weight {value!r}: weights are finite numbers above 0; "
            "leave out a provider that is not to be asked"
        )
    return weight


def _normalised(given: Mapping[str, float | None]) -> dict[str, float]:
    known = {provider: weight for provider, weight in given.items() if weight is not None}
    if not known:
        return dict.fromkeys(given, 1 / len(given))
    if len(known) < len(given):
        lacking = next(provider for provider, weight in given.items() if weight is None)
        raise ConfigurationError(f"`provider_preferences[{lacking!r}]` has no weight: give one to all or to none")
    largest = max(known.values())  # divided by first, so that no sum can overflow
    total = math.fsum(weight / largest for weight in known.values())
    return {provider: weight / largest / total for provider, weight in known.items()}


__all__ = ["Preference", "parse_preferences"]

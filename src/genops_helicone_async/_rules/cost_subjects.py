"""What a cost analysis is about: the arguments that name providers, models and the answer's length, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from .._arguments import check_int, check_label, check_mapping, check_providers
from .._providers import PROVIDERS, canonical, maker_of
from ..errors import ConfigurationError
from .averages import UNKNOWN_OUTPUT_TOKENS

_MOST_SUGGESTED = 3


def models_by_provider(providers: Sequence[str], preferences: Mapping[str, str] | None) -> dict[str, str]:
    """The providers in the order given, in the directory's spelling, each with its preferred or its default model.

    Raises:
        ConfigurationError: a name is unknown, empty, given twice or not among the providers.
        TypeError: a value has the wrong type.
    """
    check_providers("providers", providers)
    names = [canonical(name) for name in providers]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigurationError(f"`providers` names {twice[0]!r} twice: {list(providers)}")
    if preferences is not None:
        check_mapping("model_preferences", preferences)
    preferred = {}
    for name, model in (preferences or {}).items():
        check_label(f"model_preferences[{name!r}]", model)
        if canonical(name) not in names:
            raise ConfigurationError(f"`model_preferences` names {name!r}, which is not among `providers`")
        if canonical(name) in preferred:
            raise ConfigurationError(f"`model_preferences` names {canonical(name)!r} twice: {list(preferences or ())}")
        preferred[canonical(name)] = model
    return {name: preferred.get(name) or _default_model(name) for name in names}


def _default_model(provider: str) -> str:
    row = PROVIDERS.get(provider)
    if row is None:
        raise unknown_provider("providers", provider)
    return row.default_model


def targets_of(providers: Sequence[str], models: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of provider and model out of two lists that belong together.

    Raises:
        ConfigurationError: a list is empty, their lengths differ, or a pair is there twice.
        TypeError: a value has the wrong type.
    """
    for name, listed in (("target_providers", providers), ("target_models", models)):
        if isinstance(listed, str | bytes) or not isinstance(listed, Sequence):
            raise TypeError(f"`{name}` must be a list of names, not {type(listed).__name__}")
        if not listed:
            raise ConfigurationError(f"`{name}` is an empty list: name at least one")
        for index, item in enumerate(listed):
            check_label(f"{name}[{index}]", item)
    if len(providers) != len(models):
        raise ConfigurationError(
            f"`target_providers` has {len(providers)} names and `target_models` {len(models)}: "
            "give one model for each provider"
        )
    pairs = [(canonical(provider), model) for provider, model in zip(providers, models, strict=True)]
    if twice := [pair for pair in pairs if pairs.count(pair) > 1]:
        raise ConfigurationError(
            f"`target_providers` and `target_models` have {'/'.join(twice[0])} twice: leave one out"
        )
    return pairs


def answer_tokens(max_tokens: int | None, expected: int | None) -> int:
    """The answer's length to assume: the expected one, else the longest allowed, else what is assumed of any model.

    Raises:
        ConfigurationError: a number is out of range, or more is expected than allowed.
        TypeError: a value is no integer.
    """
    if max_tokens is not None:
        check_int(1, "1 or more")("max_tokens", max_tokens)
    if expected is None:
        return UNKNOWN_OUTPUT_TOKENS if max_tokens is None else max_tokens
    check_int(0, "0 or more")("expected_output_tokens", expected)
    if max_tokens is not None and expected > max_tokens:
        raise ConfigurationError(
            f"`expected_output_tokens` is {expected}, more than `max_tokens` allows ({max_tokens}): change one of them"
        )
    return expected


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """The known names most like this one, best first; a family's name (`gpt-4`) also finds its members."""
    by_lowered = {each.lower(): each for each in known}
    wanted = name.lower()
    near = get_close_matches(wanted, by_lowered, n=_MOST_SUGGESTED)
    near += [each for each in by_lowered if wanted in each and each not in near]
    return [by_lowered[each] for each in near[:_MOST_SUGGESTED]]


def likely_provider(provider: str) -> str:
    """What an unknown provider may have meant to be, as a clause."""
    near = nearest_names(provider, PROVIDERS)[:1]
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(PROVIDERS))}."


def likely_model(provider: str, model: str, listed: Iterable[str]) -> str:
    """What a model without a price may have meant to be, as a clause; `listed` are the provider's models."""
    near = nearest_names(model, listed)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    maker = maker_of(model)
    return f"no list has it there{f', it is a model of {maker!r}' if maker not in (None, provider) else ''}."


def unknown_provider(argument: str, provider: str) -> ConfigurationError:
    """The error for a provider that is neither in the directory nor on a price list."""
    return ConfigurationError(
        f"`{argument}` names the unknown provider {provider!r}: {likely_provider(provider)} For any other, name a "
        f"model and give its price in dollars per million tokens: {_price_example(provider, 'MODEL')}",
        provider=provider,
    )


def unknown_model(argument: str, provider: str, model: str, listed: Iterable[str]) -> ConfigurationError:
    """The error for a model without a price, with the names nearest to it of those `listed` for the provider."""
    return ConfigurationError(
        f"`{argument}` names {model!r}, for which no price is known at {provider!r}: "
        f"{likely_model(provider, model, listed)} If the name is right, give its price in dollars per million tokens: "
        f"{_price_example(provider, model)}",
        provider=provider,
        model=model,
    )


def _price_example(provider: str, model: str) -> str:
    return f"prices={{'{provider}/{model}': {{'input': 1, 'output': 2}}}}"


__all__ = [
    "answer_tokens",
    "likely_model",
    "likely_provider",
    "models_by_provider",
    "nearest_names",
    "targets_of",
    "unknown_model",
    "unknown_provider",
]

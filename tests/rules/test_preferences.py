"""`provider_preferences`: every form that is meant, and an error that names what cannot be."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.preferences import Preference, parse_preferences


def test_the_guides_form() -> None:
    """Models and weights by provider, in the order given."""
    value = {"openai": {"model": "gpt-4", "weight": 0.7}, "anthropic": {"model": "claude-3-opus", "weight": 0.3}}
    assert parse_preferences(value) == (
        Preference(provider="openai", model="gpt-4", weight=0.7),
        Preference(provider="anthropic", model="claude-3-opus", weight=0.3),
    )


def test_plain_numbers_are_weights() -> None:
    """Normalised to shares of 1; another name of a provider is taken for its own."""
    assert parse_preferences({"openai": 3, "google": 1.0}) == (
        Preference(provider="openai", model=None, weight=0.75),
        Preference(provider="gemini", model=None, weight=0.25),
    )


def test_without_any_weight_all_weigh_the_same() -> None:
    """A model alone is a preference too."""
    assert parse_preferences({"openai": {"model": "gpt-4"}, "groq": {}}) == (
        Preference(provider="openai", model="gpt-4", weight=0.5),
        Preference(provider="groq", model=None, weight=0.5),
    )


@pytest.mark.parametrize(
    "value, told",
    [
        (None, "is a NoneType"),
        (["openai"], "is a list"),
        ("openai", "is a str"),
        ({}, "is empty"),
        ({1: 0.5}, "has the key 1"),
        ({" ": 0.5}, "has the key ' '"),
        ({"openai": "gpt-4"}, r"provider_preferences\['openai'\]` has the weight 'gpt-4'"),
        ({"openai": None}, "has the weight None"),
        ({"openai": True}, "has the weight True"),
        ({"openai": 0}, "has the weight 0: weights are finite numbers above 0"),
        ({"openai": {"weight": 0.0}}, "has the weight 0.0: weights are finite numbers above 0"),
        ({"openai": -0.5}, "has the weight -0.5"),
        ({"openai": math.nan}, "has the weight nan"),
        ({"openai": math.inf}, "has the weight inf"),
        ({"openai": 10**400}, "has the weight 1000"),
        ({"openai": {"weigth": 1}}, "has 'weigth': known are `model` and `weight`"),
        ({"openai": {"model": 7}}, "has the model 7"),
        ({"openai": {"model": ""}}, "has the model ''"),
        ({"openai": 1, "groq": {"model": "m"}}, r"\['groq'\]` has no weight: give one to all or to none"),
        ({"google": 1, "gemini": 1}, "names 'gemini' twice: 'gemini' is another name of it"),
    ],
)
def test_what_cannot_be_meant_is_named(value: Any, told: str) -> None:
    """The error says which entry, and what was wrong with it."""
    with pytest.raises(ConfigurationError, match=told):
        parse_preferences(value)


@given(weights=st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=5))
def test_shares_add_up_to_one(weights: list[float]) -> None:
    """In the proportions given, however large or small the weights are."""
    names = ["openai", "anthropic", "groq", "xai", "mistral"]
    shares = [preference.weight for preference in parse_preferences(dict(zip(names, weights, strict=False)))]
    assert math.fsum(shares) == pytest.approx(1.0)
    assert all(0 <= share <= 1 for share in shares)
    assert sorted(range(len(weights)), key=weights.__getitem__) == sorted(
        range(len(weights)), key=lambda i: (shares[i], weights[i])
    )


def test_a_mapping_is_parsed_again_when_its_owner_has_changed_it() -> None:
    """What was parsed is remembered, but a change within it, however deep, holds for the next call."""
    given = {"openai": {"model": "gpt-4o", "weight": 1.0}, "groq": 1.0}
    first = parse_preferences(given)
    assert parse_preferences(given) is first
    given["openai"]["weight"] = 3.0  # type: ignore[index]
    assert [preference.weight for preference in parse_preferences(given)] == [0.75, 0.25]
    given["groq"] = -1.0
    with pytest.raises(ConfigurationError, match="groq"):
        parse_preferences(given)
    assert [preference.weight for preference in first] == [0.5, 0.5]

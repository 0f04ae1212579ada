"""What-if arithmetic and the arguments of a cost analysis, in exact pico-dollars."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.cost_analysis import (
    DailyUsage,
    cheapest_of,
    monthly_cost_pusd,
    parse_usage,
    tokenizer_ratio,
)
from genops_helicone_async._rules.cost_subjects import (
    answer_tokens,
    models_by_provider,
    nearest_names,
    targets_of,
    unknown_model,
    unknown_provider,
)
from genops_helicone_async._rules.prices import Price, compile_tiers, parse_override


def flat(**dollars: float) -> Price:
    """A price without tiers, in dollars per million tokens."""
    return parse_override("m", {"input": 0, "output": 0, **dollars})[1]


def usage(requests: object, input_tokens: object, output_tokens: object) -> DailyUsage:
    """Usage of exact numbers, given as text or integers."""
    amounts = [Fraction(str(amount)) for amount in (requests, input_tokens, output_tokens)]
    return DailyUsage(requests=amounts[0], input_tokens=amounts[1], output_tokens=amounts[2])


ONE, TWO, TEN, TWENTY = map(Decimal, (1, 2, 10, 20))
TIERED = Price(
    provider="p",
    model="m",
    tiers=compile_tiers({"input": [(0, ONE), (200_001, TWO)], "output": [(0, TEN), (200_001, TWENTY)]}),
    source="test",
    date=None,
)


@pytest.mark.parametrize(
    "price,daily,expected_pusd",
    [
        # 30 × 1,000 × (375 × $0.50 + 125 × $1.50) a million = $11.25
        (flat(input=0.5, output=1.5), usage(1000, 375, 125), 11_250_000_000_000),
        # 30 × 1,000 × (375 × $0.25 + 125 × $1.25) a million = $7.50
        (flat(input=0.25, output=1.25), usage(1000, 375, 125), 7_500_000_000_000),
        # 30 × 0.1 × (1 × $1 + 0.5 × $4) a million = $0.000009
        (flat(input=1, output=4), usage("0.1", 1, "0.5"), 9_000_000),
        # 30 × 10 × $0.005 for the request itself
        (flat(request=0.005), usage(10, 100, 100), 1_500_000_000_000),
        (flat(input=3, output=15), usage(0, 375, 125), 0),
        (flat(input=3, output=15), usage(1000, 0, 0), 0),
        (flat(), usage(1000, 375, 125), 0),
        # a third of a pico-dollar and two thirds: rounded at the very end
        (flat(input=0.000001), usage("1/90", 1, 0), 0),
        (flat(input=0.000001), usage("1/45", 1, 0), 1),
    ],
)
def test_a_month_is_thirty_days_of_requests_times_tokens_times_price(
    price: Price, daily: DailyUsage, expected_pusd: int
) -> None:
    """The sums are those of a pocket calculator, to the pico-dollar."""
    assert monthly_cost_pusd(price, daily) == expected_pusd


@pytest.mark.parametrize(
    "input_tokens,expected_pusd",
    [
        ("200000", 36_000_000_000_000),  # 30 × ($0.20 + $1.00)
        ("200000.5", 36_000_015_000_000),
        ("200001", 72_000_060_000_000),  # 30 × ($0.400002 + $2.00)
    ],
)
def test_the_average_request_decides_the_tier(input_tokens: str, expected_pusd: int) -> None:
    """A price with tiers moves as a whole once the average request has reached the higher one."""
    assert monthly_cost_pusd(TIERED, usage(1, input_tokens, 100_000)) == expected_pusd


@given(
    st.integers(0, 10**6),
    st.fractions(0, 10**6, max_denominator=100),
    st.fractions(0, 10**6, max_denominator=100),
    st.integers(2, 50),
)
def test_cost_grows_in_step_with_requests(
    requests: int, input_tokens: Fraction, output_tokens: Fraction, times: int
) -> None:
    """Many times the requests cost as many times as much, but for the rounding of the last pico-dollar."""
    price = flat(input=0.15, output=0.6)
    one = monthly_cost_pusd(price, usage(requests, input_tokens, output_tokens))
    many = monthly_cost_pusd(price, usage(requests * times, input_tokens, output_tokens))
    assert abs(many - one * times) <= times


@pytest.mark.parametrize(
    "given_usage,expected",
    [
        ({"requests_per_day": 1000, "avg_tokens": 500}, usage(1000, 375, 125)),
        ({"requests_per_day": 1000, "avg_tokens": 501}, usage(1000, "375.75", "125.25")),
        ({"requests_per_day": 0.1, "avg_tokens": 0.4}, usage("0.1", "0.3", "0.1")),
        ({"requests_per_day": 7, "avg_input_tokens": 900, "avg_output_tokens": 12.5}, usage(7, 900, "12.5")),
        ({"requests_per_day": 0, "avg_tokens": 0}, usage(0, 0, 0)),
    ],
)
def test_usage_is_exact_and_splits_three_to_one(given_usage: dict[str, float], expected: DailyUsage) -> None:
    """Of `avg_tokens` a quarter is output; a float stands for the decimal that was written."""
    assert parse_usage("historical_usage", given_usage) == expected


@pytest.mark.parametrize(
    "given_usage,message",
    [
        ({"requests_per_day": 1}, "`u` lacks 'avg_tokens': give for example"),
        ({"avg_tokens": 500}, "`u` lacks 'requests_per_day': give for example"),
        ({}, "`u` lacks 'requests_per_day': give for example"),
        ({"requests_per_day": 1, "avg_input_tokens": 5}, "`u` lacks 'avg_output_tokens': give both"),
        ({"requests_per_day": 1, "avg_output_tokens": 5}, "`u` lacks 'avg_input_tokens': give both"),
        (
            {"requests_per_day": 1, "avg_tokens": 5, "avg_output_tokens": 5},
            "`u` has both 'avg_tokens' and 'avg_output_tokens': give the sum or its two parts",
        ),
        ({"requests_per_day": 1, "avg_token": 5}, "`u` has the unknown key 'avg_token': known are requests_per_day, "),
        ({"requests_per_day": -1, "avg_tokens": 5}, "`u['requests_per_day']` is -1: it must be between 0 and"),
        ({"requests_per_day": 1, "avg_tokens": float("nan")}, "`u['avg_tokens']` is nan: it must be between 0 and"),
        ({"requests_per_day": float("inf"), "avg_tokens": 5}, "`u['requests_per_day']` is inf: it must be between 0"),
        ({"requests_per_day": 10**13, "avg_tokens": 5}, "`u['requests_per_day']` is 10000000000000: it must be"),
    ],
)
def test_wrong_usage_is_named(given_usage: dict[str, float], message: str) -> None:
    """Missing, unknown and contradictory keys and numbers out of range say what to give instead."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        parse_usage("u", given_usage)


@pytest.mark.parametrize(
    "given_usage,message",
    [
        (None, "`u` must be a mapping such as {'requests_per_day': 1000, 'avg_tokens': 500}, not NoneType"),
        ([1000, 500], "`u` must be a mapping such as {'requests_per_day': 1000, 'avg_tokens': 500}, not list"),
        ({"requests_per_day": "9", "avg_tokens": 5}, "`u['requests_per_day']` must be a number, not str"),
        ({"requests_per_day": True, "avg_tokens": 5}, "`u['requests_per_day']` must be a number, not bool"),
    ],
)
def test_usage_of_the_wrong_type_is_a_type_error(given_usage: object, message: str) -> None:
    """A value that is no number is never taken for one."""
    with pytest.raises(TypeError, match=re.escape(message)):
        parse_usage("u", given_usage)


@pytest.mark.parametrize(
    "current,target,expected",
    [
        ("gpt-3.5-turbo", "gpt-4o", "1"),
        ("gpt-4o", "claude-3-haiku", "1.15"),
        ("gpt-4o", "mixtral-8x7b", "1.1"),
        ("claude-3-haiku", "gpt-4o", "20/23"),
        ("claude-opus-4-7", "claude-opus-4-7", "1"),
    ],
)
def test_tokenizers_are_compared_by_their_measured_multipliers(current: str, target: str, expected: str) -> None:
    """A text's tokens at another model are those here times the ratio of the two multipliers."""
    assert tokenizer_ratio(current, target) == Fraction(expected)


@pytest.mark.parametrize("costs,expected", [([5], 0), ([3, 1, 2], 1), ([2, 1, 1], 1), ([0, 0], 0)])
def test_the_first_of_the_cheapest_wins(costs: list[int], expected: int) -> None:
    """Equals keep the order given."""
    assert cheapest_of(costs) == expected


def test_models_are_preferred_or_the_documented_defaults() -> None:
    """Providers keep the caller's order and get the directory's names, whichever alias they were given by."""
    models = models_by_provider(["groq", "Google", "openai"], {"google-ai-studio": "gemini-2.5-pro"})
    assert list(models.items()) == [
        ("groq", "llama-3.1-8b-instant"),
        ("gemini", "gemini-2.5-pro"),
        ("openai", "gpt-4o-mini"),
    ]


@pytest.mark.parametrize(
    "providers,preferences,message",
    [
        ([], None, "`providers` is an empty list"),
        (["groq", "groq"], None, "`providers` names a provider twice: ['groq', 'groq']"),
        (["google", "gemini"], None, "`providers` names 'gemini' twice: ['google', 'gemini']"),
        (["openai", ""], None, "`providers` is empty: leave it out or give a value"),
        (["opnai"], None, "`providers` names the unknown provider 'opnai': did you mean 'openai'?"),
        (["openai"], {"groq": "m"}, "`model_preferences` names 'groq', which is not among `providers`"),
        (["openai"], {"openai": " "}, "`model_preferences['openai']` is empty"),
    ],
)
def test_wrong_providers_are_named(providers: list[str], preferences: dict[str, str] | None, message: str) -> None:
    """Empty, doubled, unknown and stray names say which argument has them."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        models_by_provider(providers, preferences)


@pytest.mark.parametrize(
    "providers,preferences,message",
    [
        ("openai", None, "`providers` must be a list of provider names, not str"),
        ([None], None, "`providers` must be a string, not NoneType"),
        (["openai"], ["gpt-4o"], "`model_preferences` must be a mapping, not list"),
        (["openai"], [], "`model_preferences` must be a mapping, not list"),
        (["openai"], {"openai": 4}, "`model_preferences['openai']` must be a string, not int"),
    ],
)
def test_providers_of_the_wrong_type_are_a_type_error(providers: object, preferences: object, message: str) -> None:
    """A text is not taken for a list of letters, nor a list for a mapping."""
    with pytest.raises(TypeError, match=re.escape(message)):
        models_by_provider(providers, preferences)  # type: ignore[arg-type]


def test_targets_are_pairs_in_order() -> None:
    """A provider may be a target with several models; aliases become the directory's names."""
    assert targets_of(("openai", "google", "openai"), ["gpt-4o", "gemini-2.5-pro", "gpt-4o-mini"]) == [
        ("openai", "gpt-4o"),
        ("gemini", "gemini-2.5-pro"),
        ("openai", "gpt-4o-mini"),
    ]


@pytest.mark.parametrize(
    "providers,models,message",
    [
        (
            ["groq"],
            ["a", "b"],
            "`target_providers` has 1 names and `target_models` 2: give one model for each provider",
        ),
        ([], [], "`target_providers` is an empty list: name at least one"),
        (["groq"], [], "`target_models` is an empty list: name at least one"),
        (["groq"], [""], "`target_models[0]` is empty"),
        (["x", "xai"], ["m", "m"], "`target_providers` and `target_models` have xai/m twice: leave one out"),
    ],
)
def test_lists_that_do_not_match_are_refused(providers: list[str], models: list[str], message: str) -> None:
    """Lists of different lengths are never cut to the shorter one."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        targets_of(providers, models)


@pytest.mark.parametrize(
    "providers,models,message",
    [
        ("groq", ["m"], "`target_providers` must be a list of names, not str"),
        (["groq"], None, "`target_models` must be a list of names, not NoneType"),
        (["groq"], [3], "`target_models[0]` must be a string, not int"),
    ],
)
def test_targets_of_the_wrong_type_are_a_type_error(providers: object, models: object, message: str) -> None:
    """Each of the two lists is named."""
    with pytest.raises(TypeError, match=re.escape(message)):
        targets_of(providers, models)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "max_tokens,expected,tokens", [(None, None, 1000), (200, None, 200), (None, 50, 50), (200, 50, 50), (5, 0, 0)]
)
def test_the_answers_length_is_the_expected_one_or_the_longest(
    max_tokens: int | None, expected: int | None, tokens: int
) -> None:
    """Without both, the 1,000 tokens that holds assume as well."""
    assert answer_tokens(max_tokens, expected) == tokens


@pytest.mark.parametrize(
    "max_tokens,expected,message",
    [
        (10, 11, "`expected_output_tokens` is 11, more than `max_tokens` allows (10): change one of them"),
        (0, None, "`max_tokens` is 0: it must be 1 or more"),
        (None, -1, "`expected_output_tokens` is -1: it must be 0 or more"),
    ],
)
def test_an_impossible_answer_is_refused(max_tokens: int | None, expected: int | None, message: str) -> None:
    """An answer longer than allowed is a contradiction, not a thing to guess about."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        answer_tokens(max_tokens, expected)


def test_names_near_and_names_of_the_family_are_suggested() -> None:
    """Misspelt names come first, then those that contain what was asked for."""
    known = ["gpt-4o", "gpt-4o-mini", "o3", "gpt-4o-2024-08-06", "Mixtral-8x7B-Instruct"]
    assert (nearest_names("gtp-4o", known), nearest_names("mixtral", known), nearest_names("zzz", known)) == (
        ["gpt-4o"],
        ["Mixtral-8x7B-Instruct"],
        [],
    )


def test_an_unknown_model_says_what_could_be_meant() -> None:
    """Near names first, else the maker of the model, else only how to give a price."""
    price = "If the name is right, give its price in dollars per million tokens: prices={'openai/%s'"
    errors = [unknown_model("current_model", "openai", model, ["gpt-4o"]) for model in ("gpt-4", "claude-9", "zz")]
    assert [(error.provider, error.model) for error in errors] == [
        ("openai", "gpt-4"),
        ("openai", "claude-9"),
        ("openai", "zz"),
    ]
    starts = [
        "`current_model` names 'gpt-4', for which no price is known at 'openai': did you mean 'gpt-4o'? "
        + price % "gpt-4",
        "`current_model` names 'claude-9', for which no price is known at 'openai': no list has it there, "
        "it is a model of 'anthropic'. " + price % "claude-9",
        "`current_model` names 'zz', for which no price is known at 'openai': no list has it there. " + price % "zz",
    ]
    assert [error.message.startswith(start) for error, start in zip(errors, starts, strict=True)] == [True] * 3


def test_an_unknown_provider_says_who_is_known() -> None:
    """Where no name is near, all are listed."""
    error = unknown_provider("target_providers[0]", "zzz")
    assert error.message.startswith(
        "`target_providers[0]` names the unknown provider 'zzz': known are anthropic, azure, bedrock, "
    )
    assert (error.provider, error.model) == ("zzz", None)

"""Rates, tiers, worst cases and the user's own prices, in exact pico-dollars."""

import re
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.model_names import spellings
from genops_helicone_async._rules.prices import (
    Price,
    Rates,
    compile_tiers,
    cost_pusd,
    parse_override,
    rates_for,
    worst_case_pusd,
)
from genops_helicone_async._values import TokenCounts

# Claude Sonnet 4.5 on Vertex, dollars per million tokens: 3/15, above 200,000 input tokens 6/22.5.
SONNET = Price(
    provider="vertex",
    model="claude-sonnet-4-5",
    tiers=compile_tiers(
        {
            "input": [(0, Decimal(3)), (200_001, Decimal(6))],
            "output": [(0, Decimal(15)), (200_001, Decimal("22.5"))],
            "cache_read": [(0, Decimal("0.3")), (200_001, Decimal("0.6"))],
            "cache_write": [(0, Decimal("3.75")), (200_001, Decimal("7.5"))],
            "cache_write_1h": [(0, Decimal(6)), (200_001, Decimal(12))],
        }
    ),
    source="test",
    date=None,
)


def flat(**dollars: str | float) -> Price:
    """A price without tiers, as a user gives it."""
    return parse_override("m", {"input": 0, "output": 0, **dollars})[1]


@pytest.mark.parametrize(
    "counts,expected_pusd",
    [
        (TokenCounts(), 0),
        (TokenCounts(input=1), 3_000_000),
        (TokenCounts(output=1), 15_000_000),
        (TokenCounts(input=1_000, output=500), 10_500_000_000),
        (TokenCounts(input=1_000, cached=400), 600 * 3_000_000 + 400 * 300_000),
        (TokenCounts(input=1_000, cache_write=1_000), 3_750_000_000),
        (TokenCounts(input=1_000, cache_write=1_000, cache_write_1h=300), 700 * 3_750_000 + 300 * 6_000_000),
        (TokenCounts(input=10, cached=3, cache_write=4, output=2), 9_000_000 + 900_000 + 15_000_000 + 30_000_000),
        (TokenCounts(input=200_000, output=10), 200_000 * 3_000_000 + 10 * 15_000_000),
        (TokenCounts(input=200_001, output=10), 200_001 * 6_000_000 + 10 * 22_500_000),
        (TokenCounts(input=200_001, cached=200_001), 200_001 * 600_000),
    ],
)
def test_cost_is_exact(counts: TokenCounts, expected_pusd: int) -> None:
    """Every kind of token costs its own rate, and the whole request the rates of its tier."""
    assert cost_pusd(SONNET, counts) == expected_pusd


def test_reasoning_has_its_own_rate_where_it_is_priced_apart() -> None:
    """Perplexity's deep research: output 8, reasoning 3 dollars per million tokens."""
    price = flat(input=2, output=8, reasoning=3)
    assert cost_pusd(price, TokenCounts(input=10, output=100, reasoning=60)) == 20_000_000 + 320_000_000 + 180_000_000


def test_a_request_price_is_charged_once() -> None:
    """Perplexity's sonar: 12 dollars per thousand requests on top of its tokens."""
    price = flat(input=1, output=1, request=0.012)
    assert cost_pusd(price, TokenCounts(input=100, output=50)) == 12_000_000_000 + 150_000_000


def test_what_has_no_price_of_its_own_costs_what_it_is_a_part_of() -> None:
    """Cache reads and writes fall back to input, hour-long writes to short ones, reasoning to output."""
    (_, plain), (_, written) = flat(input=2, output=8).tiers[0], flat(input=2, output=8, cache_write=2.5).tiers[0]
    assert (plain.cache_read, plain.cache_write, plain.cache_write_1h) == (2_000_000, 2_000_000, 2_000_000)
    assert (plain.reasoning, plain.request) == (8_000_000, 0)
    assert (written.cache_write, written.cache_write_1h) == (2_500_000, 2_500_000)


def test_tiers_of_different_prices_are_merged() -> None:
    """A tier begins wherever any price steps; a price without that step keeps its last one."""
    tiers = compile_tiers(
        {"input": [(0, Decimal(1)), (101, Decimal(2))], "output": [(0, Decimal(4)), (51, Decimal(5))]}
    )
    assert [(start, rates.input, rates.output) for start, rates in tiers] == [
        (0, 1_000_000, 4_000_000),
        (51, 1_000_000, 5_000_000),
        (101, 2_000_000, 5_000_000),
    ]


@pytest.mark.parametrize("input_tokens,expected", [(0, 0), (50, 0), (51, 1), (100, 1), (101, 2), (10**9, 2)])
def test_the_tier_is_the_last_one_reached(input_tokens: int, expected: int) -> None:
    """A tier holds from its first token on."""
    tiers = compile_tiers({"input": [(0, Decimal(1)), (51, Decimal(2)), (101, Decimal(3))]})
    price = Price(provider="p", model="m", tiers=tiers, source="test", date=None)
    assert rates_for(price, input_tokens) == tiers[expected][1]


def test_fractions_of_a_pico_dollar_are_rounded_half_to_even() -> None:
    """Some lists carry quotients such as 0.0833333333333333 dollars per million tokens."""
    tiers = compile_tiers({"input": [(0, Decimal("0.0833333333333333"))], "output": [(0, Decimal("0.0000025"))]})
    assert (tiers[0][1].input, tiers[0][1].output) == (83_333, 2)


@pytest.mark.parametrize(
    "may_write_cache,expected_pusd",
    [(False, 1_000 * 3_000_000 + 500 * 15_000_000), (True, 1_000 * 3_750_000 + 500 * 15_000_000)],
)
def test_the_worst_case_holds_for_a_cache_write_nobody_asked_for(may_write_cache: bool, expected_pusd: int) -> None:
    """The AI Gateway has Anthropic write long prompts to its cache, at 1.25 times the input rate."""
    assert worst_case_pusd(SONNET, 1_000, 500, may_write_cache=may_write_cache) == expected_pusd


def test_the_worst_case_takes_the_higher_tier() -> None:
    """The tier is that of the most input tokens the request may have."""
    assert worst_case_pusd(SONNET, 200_001, 1) == 200_001 * 6_000_000 + 22_500_000


def test_a_provider_that_writes_its_cache_unasked_is_held_for_it() -> None:
    """OpenAI charges 1.25 times the input price for prompts it caches by itself, since GPT-5.6."""
    price = msgspec.structs.replace(flat(input=2, output=10, cache_write=2.5), writes_cache=True)
    assert worst_case_pusd(price, 1_000, 0) == 2_500_000_000


counts_of_any_kind = st.builds(
    lambda fresh, cached, written, output, reasoning: TokenCounts(
        input=fresh + cached + written,
        cached=cached,
        cache_write=written,
        output=output + reasoning,
        reasoning=reasoning,
    ),
    *[st.integers(0, 300_000)] * 5,
)
rates = st.builds(
    Rates,
    **{name: st.integers(0, 10**9) for name in Rates.__struct_fields__[:-1]},
    request=st.integers(0, 10**12),
)


@given(counts=counts_of_any_kind, rates=rates)
def test_no_cost_exceeds_the_worst_case(counts: TokenCounts, rates: Rates) -> None:
    """Whatever the rates and however the tokens divide up, the hold covers the cost."""
    price = Price(provider="p", model="m", tiers=((0, rates),), source="test", date=None)
    assert cost_pusd(price, counts) <= worst_case_pusd(price, counts.input, counts.output, may_write_cache=True)


@settings(deadline=None)
@given(
    counts=counts_of_any_kind,
    hour_percent=st.integers(0, 100),
    low=rates,
    high=rates,
    threshold=st.none() | st.integers(1, 400_000),
)
def test_the_cost_is_that_of_each_kind_apart(
    counts: TokenCounts, hour_percent: int, low: Rates, high: Rates, threshold: int | None
) -> None:
    """Of the tier that the request is in; a price without tiers knows its rates, also one made from another."""
    counts = msgspec.structs.replace(counts, cache_write_1h=counts.cache_write * hour_percent // 100)
    tiers = ((0, low),) if threshold is None else ((0, low), (threshold, high))
    price = msgspec.structs.replace(flat(input=1, output=1), tiers=tiers)
    assert price.flat is (low if threshold is None else None)
    at = low if threshold is None or counts.input < threshold else high
    assert cost_pusd(price, counts) == (
        at.request
        + counts.fresh * at.input
        + counts.cached * at.cache_read
        + (counts.cache_write - counts.cache_write_1h) * at.cache_write
        + counts.cache_write_1h * at.cache_write_1h
        + (counts.output - counts.reasoning) * at.output
        + counts.reasoning * at.reasoning
    )


@given(first=counts_of_any_kind, second=counts_of_any_kind, rates=rates)
def test_costs_add_up(first: TokenCounts, second: TokenCounts, rates: Rates) -> None:
    """Without tiers and request fees, two requests cost what one with the tokens of both would."""
    free = Price(provider="p", model="m", tiers=((0, rates),), source="test", date=None)
    both = TokenCounts(**{name: getattr(first, name) + getattr(second, name) for name in TokenCounts.__struct_fields__})
    assert cost_pusd(free, first) + cost_pusd(free, second) == cost_pusd(free, both) + rates.request


@pytest.mark.parametrize(
    "key,expected_keys",
    [
        ("gpt-x", ("gpt-x",)),
        ("openai/gpt-x", ("openai/gpt-x", "openai/gpt-x")),
        ("google/gemini-x", ("google/gemini-x", "gemini/gemini-x")),
        ("acme/llama/x", ("acme/llama/x", "acme/llama/x")),
        (("google-ai-studio", "gemini-x"), (("gemini", "gemini-x"),)),
        (("acme", "llama/x"), (("acme", "llama/x"),)),
    ],
)
def test_an_override_is_filed_under_its_key(key: object, expected_keys: tuple[object, ...]) -> None:
    """As written, and with the provider's canonical name."""
    assert parse_override(key, {"input": 1, "output": 2})[0] == expected_keys


def test_an_override_takes_every_field() -> None:
    """All fields become whole pico-dollars, exactly as written."""
    fields = {"input": 0.1, "output": Decimal("0.2"), "cached_input": 0.05, "cache_write": 0.125, "cache_write_1h": 0.2}
    _, price = parse_override("m", {**fields, "reasoning": 3, "request": 0.005})
    assert price.tiers == (
        (
            0,
            Rates(
                input=100_000,
                output=200_000,
                cache_read=50_000,
                cache_write=125_000,
                cache_write_1h=200_000,
                reasoning=3_000_000,
                request=5_000_000_000,
            ),
        ),
    )
    assert (price.source, price.date, price.valid_until_s) == ("override", None, None)


@pytest.mark.parametrize(
    "amount", [-1, -0.01, float("nan"), float("inf"), Decimal("NaN"), "1.0", None, True, 1_000_001, 1e-7, [1]]
)
def test_an_impossible_amount_is_refused_by_name(amount: object) -> None:
    """The message names the key and the field."""
    with pytest.raises(ConfigurationError, match=re.escape("`prices['openai/gpt-x']['output']` is ")):
        parse_override("openai/gpt-x", {"input": 1, "output": amount})


@pytest.mark.parametrize(
    "value,expected",
    [
        ({"output": 1}, "`prices['m']` lacks 'input': give dollars per million input tokens"),
        ({"input": 1}, "`prices['m']` lacks 'output': give dollars per million output tokens"),
        (
            {"input": 1, "output": 1, "cached": 1},
            "`prices['m']` has the unknown field 'cached': known are input, output, ",
        ),
    ],
)
def test_a_missing_or_unknown_field_is_refused_by_name(value: object, expected: str) -> None:
    """A typo in a field must not leave a part of the bill out."""
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        parse_override("m", value)


@pytest.mark.parametrize("key", ["", "  ", 3, None, ("openai",), ("openai", ""), ("", "m"), ("a", "b", "c"), ("a", 1)])
def test_a_key_that_names_no_model_is_refused(key: object) -> None:
    """The message shows the key."""
    with pytest.raises(ConfigurationError, match=re.escape(f"`prices[{key!r}]`: a price's key is")):
        parse_override(key, {"input": 1, "output": 1})


@pytest.mark.parametrize("value", [(1, 2), 1.0, "1", None])
def test_a_price_that_is_no_mapping_is_a_type_error(value: object) -> None:
    """The message says what is expected."""
    with pytest.raises(TypeError, match="must be a mapping with 'input' and 'output'"):
        parse_override("m", value)


@pytest.mark.parametrize(
    "provider,model,expected",
    [
        ("openai", "gpt-4o", ("gpt-4o",)),
        ("openai", "gpt-4o:online", ("gpt-4o:online", "gpt-4o")),
        ("groq", "Mixtral-8x7B", ("Mixtral-8x7B", "mixtral-8x7b-32768", "mixtral-8x7b")),
        ("anthropic", "claude-4.5-sonnet", ("claude-4.5-sonnet", "claude-sonnet-4-5", "claude-sonnet-4.5")),
        ("anthropic", "claude-3.5-sonnet-v2", ("claude-3.5-sonnet-v2", "claude-3-5-sonnet", "claude-3.5-sonnet")),
        ("anthropic", "claude-5-fable", ("claude-5-fable", "claude-fable-5")),
        ("vertex", "google/gemini-2.5-flash", ("google/gemini-2.5-flash", "gemini-2.5-flash")),
        (
            "bedrock",
            "claude-4.5-haiku",
            ("claude-4.5-haiku", "claude-haiku-4-5", "claude-haiku-4.5", "claude-haiku-4-5-20251001"),
        ),
        (
            "fireworks",
            "accounts/fireworks/models/llama-v3p3-70b-instruct",
            (
                "accounts/fireworks/models/llama-v3p3-70b-instruct",
                "llama-v3p3-70b-instruct",
                "llama-3.3-70b-instruct",
            ),
        ),
    ],
)
def test_other_spellings_follow_the_name_itself(provider: str, model: str, expected: tuple[str, ...]) -> None:
    """The first names tried, before those with a maker's name in front."""
    assert spellings(provider, model)[: len(expected)] == expected


def test_a_host_of_others_models_is_asked_with_the_makers_name() -> None:
    """OpenRouter lists `openai/gpt-4o-mini` where Helicone says `gpt-4o-mini`."""
    assert "openai/gpt-4o-mini" in spellings("openrouter", "gpt-4o-mini")


def test_another_makers_model_is_no_spelling() -> None:
    """A model of Acme's never takes the price of the model it is named after."""
    assert spellings("together", "acme/llama-3.3-70b-instruct") == ("acme/llama-3.3-70b-instruct",)

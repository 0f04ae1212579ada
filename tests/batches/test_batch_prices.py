"""What a row of a batch costs: the list's own price for batches, else half, and where it comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._rules.prices import Price, Rates, cost_pusd, halved, rates_for
from genops_helicone_async._values import TokenCounts
from genops_helicone_async.testing._simulated.prices import PriceBook as SandboxPrices
from genops_helicone_async.testing._simulated.prices import Usage

MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("openai", "gpt-5.6-sol"),
    ("anthropic", "claude-haiku-4-5"),
    ("anthropic", "claude-3-haiku-20240307"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
]


def price_of(rates: Rates) -> Price:
    """A price without tiers."""
    return Price(provider="openai", model="x", tiers=((0, rates),), source="list", date=None)


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("tokens", [(1000, 0, 0, 500), (3000, 1500, 0, 7), (300_001, 0, 0, 11)])
def test_batch_price_agrees_with_the_sandbox(provider: str, model: str, tokens: tuple[int, int, int, int]) -> None:
    """Two books that share no code price a row alike, to the pico-dollar, in every tier and with cached tokens."""
    put_in, cached, written, out = tokens
    price = PriceBook().batch_price_now(provider, model)
    assert price is not None
    ours = cost_pusd(price, TokenCounts(input=put_in, cached=cached, cache_write=written, output=out))
    usage = Usage(input_tokens=put_in, cached_tokens=cached, cache_write_tokens=written, output_tokens=out)
    assert ours == SandboxPrices().batch_cost_pusd(provider, model, usage)


@pytest.mark.parametrize(
    ("model", "provider", "ending"),
    [
        ("gpt-4o-mini", "openai", ", batch"),
        ("claude-3-haiku-20240307", "anthropic", ", half for batches"),
    ],
)
def test_batch_price_names_its_source(model: str, provider: str, ending: str) -> None:
    """A list's own batch price says `batch`, one that is derived says `half`; both name the list."""
    price = PriceBook().batch_price_now(provider, model)
    assert price is not None
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith(ending)


def test_override_is_halved_and_an_unknown_model_has_no_price() -> None:
    """The user's own price of a call is taken at half; no price stays no price."""
    book = PriceBook({"openai/own": {"input": 1, "output": 4, "cached_input": 0.5}})
    price = book.batch_price_now("openai", "own")
    assert price is not None
    assert (rates_for(price, 1).input, rates_for(price, 1).output) == (500_000, 2_000_000)
    assert (rates_for(price, 1).cache_read, price.source) == (250_000, "override, half for batches")
    assert book.batch_price_now("openai", "unknown-model") is None
    assert book.resolve_now("openai", "own") != price


@given(st.lists(st.integers(0, 10**9), min_size=7, max_size=7), st.integers(0, 10**6), st.integers(0, 10**6))
def test_half_is_half(figures: list[int], put_in: int, out: int) -> None:
    """With even rates the half costs exactly half; with odd ones at most half a pico-dollar a token away from it."""
    counts = TokenCounts(input=put_in, output=out)
    even = price_of(Rates(**dict(zip(Rates.__struct_fields__, [2 * figure for figure in figures], strict=True))))
    assert 2 * cost_pusd(halved(even), counts) == cost_pusd(even, counts)
    odd = price_of(Rates(**dict(zip(Rates.__struct_fields__, figures, strict=True))))
    assert abs(2 * cost_pusd(halved(odd), counts) - cost_pusd(odd, counts)) <= put_in + out + 1

"""The order in which candidates are asked: exact for each strategy, and always a permutation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import RoutingError
from genops_helicone_async._rules.strategies import STRATEGIES, Option, Ranked, rank


def options(*costs: int | None) -> list[Option]:
    """Candidates with these expected costs in pico-dollars."""
    names = ("openai", "anthropic", "groq", "mistral", "xai")
    return [Option(index=i, provider=names[i % 5], model="m", expected_pusd=cost) for i, cost in enumerate(costs)]


def test_failover_keeps_the_order_given() -> None:
    """Whatever they cost, they are asked as they were named."""
    assert rank("failover", options(300, None, 100)) == [
        Ranked(index=0, score=0.0, reason="number 1 as given"),
        Ranked(index=1, score=1.0, reason="number 2 as given"),
        Ranked(index=2, score=2.0, reason="number 3 as given"),
    ]


def test_cost_optimized_asks_the_cheapest_first() -> None:
    """By expected cost, ties as given, those without a price last."""
    assert rank("cost_optimized", options(3_000_000, None, 1_000_000, 3_000_000, 0)) == [
        Ranked(index=4, score=0.0, reason="about $0.000000"),
        Ranked(index=2, score=1e-06, reason="about $0.000001"),
        Ranked(index=0, score=3e-06, reason="about $0.000003"),
        Ranked(index=3, score=3e-06, reason="about $0.000003"),
        Ranked(index=1, score=float("inf"), reason="no price is known"),
    ]


def test_an_unknown_strategy_is_named() -> None:
    """The error says what was asked for and what there is."""
    with pytest.raises(RoutingError, match=r"'fastest': this version has cost_optimized, failover"):
        rank("fastest", options(1))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@given(costs=st.lists(st.none() | st.integers(0, 10**15), max_size=12))
def test_every_strategy_returns_a_permutation(strategy: str, costs: list[int | None]) -> None:
    """Nobody is left out, nobody is asked twice, and scores never fall."""
    ranked = rank(strategy, options(*costs))
    assert sorted(place.index for place in ranked) == list(range(len(costs)))
    scores = [place.score for place in ranked]
    assert scores == sorted(scores)

"""Custom routing functions: what they are told, and what each answer means."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import RoutingError
from genops_helicone_async._rules.custom_routing import Choice, RoutingCandidate, RoutingContext, resolve_custom
from genops_helicone_async._rules.health import HealthStatistics
from genops_helicone_async._rules.strategies import Option

KNOWN = ("openai", "anthropic", "groq", "gemini", "xai")


def options(*providers: str, resting: str = "") -> list[Option]:
    """Candidates of these providers, one of them with an open circuit."""
    return [
        Option(
            index=index,
            provider=name,
            model="m",
            health=HealthStatistics(provider=name, model="m", circuit="open", is_usable=False)
            if name == resting
            else None,
        )
        for index, name in enumerate(providers)
    ]


def order(result: object, candidates: list[Option]) -> list[tuple[str, int | None]]:
    """Providers and candidates in the order that an answer means."""
    return [(choice.provider, choice.index) for choice in resolve_custom(result, candidates, KNOWN)]


@pytest.mark.parametrize(
    "result, expected",
    [
        (None, [("openai", 0), ("groq", 1), ("anthropic", 2)]),
        ([], [("openai", 0), ("groq", 1), ("anthropic", 2)]),
        ("groq", [("groq", 1), ("openai", 0), ("anthropic", 2)]),
        ("GROQ", [("groq", 1), ("openai", 0), ("anthropic", 2)]),
        (["anthropic", "groq"], [("anthropic", 2), ("groq", 1), ("openai", 0)]),
        (("anthropic", "anthropic"), [("anthropic", 2), ("openai", 0), ("groq", 1)]),
        ("xai", [("xai", None), ("openai", 0), ("groq", 1), ("anthropic", 2)]),
        (["groq", "google"], [("groq", 1), ("gemini", None), ("openai", 0), ("anthropic", 2)]),
    ],
)
def test_what_an_answer_means(result: object, expected: list[tuple[str, int | None]]) -> None:
    """A name, names or no opinion; the other candidates follow as given, a known outsider takes its place."""
    assert order(result, options("openai", "groq", "anthropic")) == expected


def test_a_provider_with_two_models_comes_with_both() -> None:
    """In the order in which they were given."""
    candidates = [
        Option(index=0, provider="openai", model="a"),
        Option(index=1, provider="groq", model="b"),
        Option(index=2, provider="openai", model="c"),
    ]
    assert order("openai", candidates) == [("openai", 0), ("openai", 2), ("groq", 1)]


def test_reasons_tell_who_decided() -> None:
    """Named by the function, or as given; an open circuit goes last even if named."""
    assert resolve_custom(["openai", "groq"], options("groq", "openai", "xai", resting="openai"), KNOWN) == [
        Choice(provider="groq", index=0, reason="named by the routing function"),
        Choice(provider="xai", index=2, reason="as given"),
        Choice(provider="openai", index=1, reason="circuit open, asked last; named by the routing function"),
    ]


@pytest.mark.parametrize("result", ["gpt-4", ["openai", "nobody"], "", [""]])
def test_a_name_that_is_no_provider_is_refused(result: object) -> None:
    """The error says what was named, and what is known."""
    with pytest.raises(
        RoutingError, match="which is no known provider: known are anthropic, gemini, groq, openai, xai"
    ):
        resolve_custom(result, options("openai"), KNOWN)


@pytest.mark.parametrize("result", [7, {"openai": 1}, [1], b"openai", {"openai"}, object])
def test_any_other_answer_is_refused(result: Any) -> None:
    """The error shows it."""
    with pytest.raises(RoutingError, match=r"the routing function returned .+: return a provider's name"):
        resolve_custom(result, options("openai"), KNOWN)


@given(
    providers=st.lists(st.sampled_from(KNOWN), max_size=6),
    result=st.none() | st.sampled_from(KNOWN) | st.lists(st.sampled_from(KNOWN), max_size=6),
    resting=st.sampled_from([*KNOWN, ""]),
)
def test_no_candidate_is_lost(providers: list[str], result: Any, resting: str) -> None:
    """Every candidate stands in the order once, and so does every outsider that was named."""
    choices = resolve_custom(result, options(*providers, resting=resting), KNOWN)
    assert sorted(choice.index for choice in choices if choice.index is not None) == list(range(len(providers)))
    named = {result} if isinstance(result, str) else set(result or ())
    assert sorted(choice.provider for choice in choices if choice.index is None) == sorted(named - set(providers))


def test_the_context_tells_what_one_may_decide_by() -> None:
    """Attribution, candidates with prices and health, budget and time; candidates are found by any name."""
    gemini = RoutingCandidate(
        provider="gemini",
        model="gemini-2.5-flash",
        input_price=0.3,
        output_price=2.5,
        expected_cost=0.0012,
        health=HealthStatistics(provider="gemini", model="gemini-2.5-flash"),
    )
    context = RoutingContext(
        now=datetime(2026, 11, 23, 23, 0, tzinfo=UTC),
        candidates=(gemini,),
        attributes={"team": "research", "project": "p1", "customer_id": "c1"},
    )
    assert (context.team, context.project, context.customer_id) == ("research", "p1", "c1")
    assert (context.candidate("google"), context.candidate("openai")) == (gemini, None)
    bare = RoutingContext(now=context.now, candidates=())
    assert (bare.team, bare.project, bare.customer_id, bare.budget_left) == (None, None, None, None)

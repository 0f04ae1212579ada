"""Who could answer a call that names no more than a provider and a model is found at once, and never out of date."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._flow.candidates import Candidates
from genops_helicone_async._flow.ticket import Target
from genops_helicone_async._rules.prices import Price, Rates
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.config import GivenSettings, resolve

pytestmark = pytest.mark.anyio
PERIOD_S = 100.0
NAMED: list[dict[str, Any]] = [
    {"provider": "openai", "model": "gpt-4o"},
    {"provider": "openai", "model": "gpt-4o-mini"},
    {"provider": "openai"},
    {"model": "gpt-4o"},
    {},
    {"providers": ["openai", "anthropic"]},
    {"providers": ("openai", "anthropic")},
    {"provider": "openai", "model": "gpt-4o", "prices": {"gpt-4o": {"input": 1, "output": 2}}},
    {"provider": "openai", "model": "gpt-4o", "extra_body": {}},
    {"provider": "openai", "model": "gpt-4o", "extra_body": {"n": 2}},
    {"model_preferences": {"anthropic": "claude-haiku-4-5"}, "providers": ["anthropic"]},
]


class World:
    """A price book and candidates. Prices hold for a hundred seconds, Anthropic's for 50, `gpt-4o-mini`'s for good."""

    def __init__(self) -> None:
        self.now_s = 0.0
        given = {"helicone_api_key": "sk-helicone-x", "provider_keys": {"openai": "k", "groq": "k", "anthropic": "k"}}
        self.book = PriceBook(clock=lambda: self.now_s, table=self.listed)
        self.candidates = Candidates(resolve(GivenSettings(**given), {}, 1024), self.book, lambda: self.now_s)

    def listed(self, provider: str, model: str, now_s: float) -> Price:
        """Dearer with each period."""
        period_s = 50.0 if provider == "anthropic" else PERIOD_S
        period = int(now_s // period_s)
        rates = Rates(
            **dict.fromkeys(("input", "output", "cache_read", "cache_write", "cache_write_1h"), 1), reasoning=1
        )
        return Price(
            provider=provider, model=model, tiers=((0, rates),), source=f"period {period}", date=None,
            valid_until_s=None if model == "gpt-4o-mini" else (period + 1) * period_s,
        )  # fmt: skip

    def one_by_one(self, request: ChatRequest) -> list[Target]:
        """What is known of each of the targets now."""
        if request.extra_body or request.prices:
            return []
        known = [(key, self.candidates._remembered.get(key)) for key in self.candidates._asked(request)]
        targets = [target for key, target in known if target and target.price is self.book.lookup(*key, self.now_s)]
        return targets if len(targets) == len(known) else []


STEPS = st.lists(
    st.tuples(st.just("ask"), st.sampled_from(NAMED))
    | st.tuples(st.just("find"), st.sampled_from(NAMED))
    | st.tuples(st.just("wait"), st.sampled_from([1.0, 60.0, 100.0]))
    | st.tuples(st.just("renew"), st.sampled_from(["gpt-4o", "gpt-4o-mini"]))
    | st.tuples(st.just("batch"), st.sampled_from(["gpt-4o", "gpt-4o-mini"])),
    min_size=4, max_size=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
async def test_what_is_known_is_what_looking_up_each_gives(steps: list[tuple[str, Any]]) -> None:
    """Whatever became of the prices meanwhile: expired, looked up anew, asked for in batches."""
    world = World()
    for step, what in steps:
        if step == "wait":
            world.now_s += what
        elif step == "renew":
            world.book.resolve_now("openai", what)
        elif step == "batch":
            world.book.batch_price_now("openai", what)
        elif step == "find":
            await world.candidates.of(ChatRequest(message="a", **what))
        else:
            request = ChatRequest(message="a", **what)
            expected = world.one_by_one(request)
            found = world.candidates.of_nowait(request)
            assert list(map(id, found)) == list(map(id, expected))


async def test_what_a_call_names_is_found_without_looking_again() -> None:
    """The very same list, until the prices' edition is another."""
    world = World()
    request = ChatRequest(message="a", provider="openai", model="gpt-4o-mini")
    targets = await world.candidates.of(request)
    known = world.candidates.of_nowait(request)
    assert known == targets
    assert world.candidates.of_nowait(request) is known
    world.book.resolve_now("openai", "another")
    again = world.candidates.of_nowait(request)
    assert again == known
    assert again is not known


@pytest.mark.parametrize(
    ("named", "until_s"),
    [({"provider": "openai", "model": "gpt-4o"}, 100.0), ({}, 50.0), ({"provider": "openai"}, None)],
)
async def test_a_price_that_expires_is_looked_up_again(named: dict[str, Any], until_s: float | None) -> None:
    """From its last moment on; of several candidates' the first that expires."""
    world = World()
    request = ChatRequest(message="a", **named)
    await world.candidates.of(request)
    known = world.candidates.of_nowait(request)
    assert known
    world.now_s = 1e6 if until_s is None else until_s - 1
    assert world.candidates.of_nowait(request) is known
    if until_s is not None:
        world.now_s = until_s
        assert world.candidates.of_nowait(request) == []


async def test_what_is_known_is_bounded() -> None:
    """Names come from callers: beyond 4,096 combinations all are looked up again."""
    world = World()
    candidates = world.candidates
    for number in range(4_200):
        request = ChatRequest(message="a", provider="openai", model=f"model-{number}")
        await candidates.of(request)
        assert candidates.of_nowait(request)[0].endpoint.model == f"model-{number}"
    assert len(candidates._known_lists) == 104


async def test_preferences_for_models_of_others_are_no_matter_where_provider_and_model_are_named() -> None:
    """As before; where only a provider is named they are refused."""
    world = World()
    preferences = {"anthropic": "claude-haiku-4-5"}
    request = ChatRequest(message="a", provider="openai", model="gpt-4o", model_preferences=preferences)
    assert world.candidates.of_nowait(request) == []
    (target,) = await world.candidates.of(request)
    assert world.candidates.of_nowait(request) == [target]
    with pytest.raises(ConfigurationError, match="not among the providers"):
        world.candidates.of_nowait(ChatRequest(message="a", provider="openai", model_preferences=preferences))


def test_the_edition_of_the_prices_is_another_since_any_answer_may_have_changed() -> None:
    """Those for batches, too; asking again for what is known changes nothing."""
    world = World()
    world.now_s = 1.796e9  # late in 2026: a list has a price for batches then
    book, editions = world.book, [world.book.edition]
    for ask in (book.resolve_now, book.batch_price_now):
        ask("openai", "gpt-4o-mini")
        editions.append(book.edition)
    assert len(set(map(id, editions))) == 3
    book.batch_price_now("openai", "gpt-4o-mini")
    book.lookup("openai", "gpt-4o-mini", world.now_s)
    assert book.edition is editions[-1]

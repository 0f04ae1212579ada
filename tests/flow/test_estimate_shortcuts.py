"""What ordinary requests come to is worked out in fewer steps, and is the same to the token and the pico-dollar."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._arguments import MAX_MESSAGE_CHARS, are_plain, check_message
from genops_helicone_async._edges.token_counter import TokenCounter
from genops_helicone_async._flow.estimates import Estimates
from genops_helicone_async._flow.ticket import Target
from genops_helicone_async._rules.prices import Price, Rates, worst_case_pusd
from genops_helicone_async._rules.tokens import heuristic_tokens, texts_of
from genops_helicone_async._wire.dialects import Endpoint
from genops_helicone_async.chat_request import ChatRequest

ROLES = st.sampled_from(["system", "user", "assistant"])
TEXTS = st.text(alphabet="ab c\u00e4\u4e2d", max_size=40)
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": TEXTS}), min_size=1, max_size=4)
RATES = st.integers(0, 50)


def target_of(rates: list[int], model: str = "m") -> Target:
    """A target at a flat price."""
    names = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning", "request")
    price = Price(
        provider="p", model=model, tiers=((0, Rates(**dict(zip(names, rates, strict=True)))),), source="s", date=None
    )
    endpoint = Endpoint(
        provider="p", model=model, dialect="helicone", shape="openai", base_url="https://h/v1", chat_url="https://h/v1/c",
        wire_model=model, headers={},
    )  # fmt: skip
    return Target(endpoint=endpoint, price=price)


def estimates() -> Estimates:
    """With a gateway's fee of 3 %."""
    return Estimates(lambda _, text: heuristic_tokens(text), {"PTB": 0.03})


@settings(max_examples=100, deadline=None)
@given(messages=MESSAGES | TEXTS.filter(str.strip), max_tokens=st.none() | st.integers(1, 99),
       system_prompt=st.none() | TEXTS, is_counter=st.booleans(),
       model=st.sampled_from(["gpt-4o", "claude-3", "llama"]))  # fmt: skip
def test_plain_messages_are_measured_as_all_others(
    messages: list[dict[str, str]] | str,
    max_tokens: int | None,
    system_prompt: str | None,
    is_counter: bool,
    model: str,
) -> None:
    """By the same tokens, the same margin, the same output, whoever counts."""
    counter = TokenCounter(is_exact=False)
    ours = Estimates(counter, {}, counter.rough, counter.each) if is_counter else estimates()
    request = ChatRequest(message=messages, max_tokens=max_tokens, system_prompt=system_prompt)
    assert ours._measured(request, model) == ours._measured_with_all(request, model)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": ({"type": "text", "text": "a"},)},
        {"role": "user", "content": "a", "name": "b"},
    ],
)
def test_messages_with_more_than_a_text_are_measured_with_all_they_have(message: dict[str, Any]) -> None:
    """Parts, tool calls and names count, too."""
    messages, ours = [{"role": "user", "content": "a"}, message], estimates()
    assert texts_of(messages) is None
    request = ChatRequest(message=messages)
    assert ours._measured(request, "m") == ours._measured_with_all(request, "m")


@settings(max_examples=60, deadline=None)
@given(rates=st.lists(RATES, min_size=7, max_size=7), sizes=st.lists(st.integers(1, 99), min_size=2, max_size=4),
       is_claude=st.booleans())  # fmt: skip
def test_a_remembered_price_gives_the_worst_case_of_the_price(
    rates: list[int], sizes: list[int], is_claude: bool
) -> None:
    """The first call works it out, those after it have it from memory."""
    ours, target = estimates(), target_of(rates, "claude-x" if is_claude else "m")
    assert target.price is not None
    for size in sizes:
        request = ChatRequest(message="x" * size * 10, max_tokens=size)
        tokens = ours._measured_with_all(request, "m").most_input
        cost = worst_case_pusd(target.price, tokens, size, may_write_cache=is_claude)
        assert ours.worst_case_pusd(request, target) == cost + -(-cost * 3 // 100)


def test_every_answer_that_is_asked_for_is_set_aside() -> None:
    """Three at once may be three times as long as few exceed."""
    ours, target = estimates(), target_of([2, 5, 2, 2, 2, 5, 0])
    ours.observe(ChatRequest(message="a"), target, "stop", 2_000)  # of which few exceed 6,000
    one, three = (ChatRequest(message="a", extra_body=extra) for extra in (None, {"n": 3}))
    ours.worst_case_pusd(one, target)  # from now on by the terms of the price
    worst = [ours.worst_case_pusd(request, target) for request in (one, three)]
    sent = [ours._measured_with_all(request, "m").most_input for request in (one, three)]
    costs = [2 * sent[0] + 5 * 6_000, 2 * sent[1] + 5 * 18_000]
    assert worst == [cost + -(-cost * 3 // 100) for cost in costs]


@pytest.mark.parametrize(
    "item",
    [
        "text", ["role", "content"], {"role": "user"}, {"role": "user", "text": "a"}, {"content": "a", "name": "b"},
        {"role": ["user"], "content": "a"}, {"role": "user", "content": b"a"}, {"role": "user", "content": None},
        {"role": "robot", "content": "a"}, {"role": "user", "content": "a", "name": "b"}, {1: 2, 3: 4},
        {"role": "user", "content": "\u00e4"}, None, 5,
    ],
)  # fmt: skip
def test_what_is_not_plain_is_looked_at_closely(item: Any) -> None:
    """One message that is anything but a role and an ASCII text has all of them checked one by one."""
    plain = {"role": "user", "content": "a"}
    assert are_plain([plain, plain])
    assert not are_plain([plain, item])


def test_a_plain_message_may_not_be_too_long() -> None:
    """However plain it is."""
    with pytest.raises(ConfigurationError, match="has 33,554,433 characters"):
        check_message([{"role": "user", "content": "a"}, {"role": "user", "content": "b" * (MAX_MESSAGE_CHARS + 1)}])

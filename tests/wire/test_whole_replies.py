"""Whole replies as nearly all are take fewer steps, and come to the same as replies that are looked at closely."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genops_helicone_async._values import Reply
from genops_helicone_async._wire.openai_shape import decode_chat
from genops_helicone_async._wire.usage import decode_openai_usage, openai_counts

COUNTS = st.none() | st.sampled_from([0, 0, 1, 7, 120, 10**9, 10**9 + 1, 10**30, -1, 7.0, 7.5]) | st.integers(0, 500)
SOME = st.sampled_from([None, 0, 1, 7, 0.5, -1])
DETAILS = st.none() | st.fixed_dictionaries({"cached_tokens": SOME, "cache_write_tokens": SOME, "audio_tokens": SOME})
SPLIT = st.none() | st.fixed_dictionaries({"reasoning_tokens": SOME})
MODALITIES = st.none() | st.dictionaries(
    st.just("image"), st.fixed_dictionaries({}, optional={"input_tokens": COUNTS, "cached_tokens": COUNTS}), max_size=1
)
FIGURES = {
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"), COUNTS),
    "prompt_tokens_details": DETAILS,
    "input_tokens_details": DETAILS,
    "modality_tokens": MODALITIES,
    "completion_tokens_details": SPLIT,
    "output_tokens_details": SPLIT,
    "prompt_cache_hit_tokens": COUNTS,
    "cost": st.sampled_from([None, 0, 0.5, -1, "dear", {"total_cost": 0.25}]),
}
FEW = st.lists(st.sampled_from(sorted(FIGURES)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: FIGURES[name] for name in names})
)
USUAL = st.fixed_dictionaries({"prompt_tokens": st.integers(1, 500), "completion_tokens": st.integers(0, 500)})
PARTS = st.fixed_dictionaries({"prompt_tokens_details": DETAILS, "completion_tokens_details": SPLIT})
USAGES = st.builds(lambda usual, more: {**usual, **more}, USUAL, FEW | PARTS) | st.fixed_dictionaries(
    {}, optional=FIGURES
)
WRITTEN = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}}
PROVIDERS = st.sampled_from(["openai", "xai", "gemini", "anthropic"])
TEXTS = st.none() | st.sampled_from(["", "a", "\u4e2d"])
CALLS = st.none() | st.just([]) | st.just([{"id": "c", "function": {"name": "f", "arguments": "{}"}}])
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | st.just([{"type": "text", "text": "b"}, {"type": "thinking", "thinking": "hm"}]),
        "tool_calls": CALLS,
        "function_call": st.sampled_from([None, {"name": "g", "arguments": {"x": 1}}]),
        "refusal": TEXTS,
        "reasoning": TEXTS | st.just({"no": "text"}),
        "reasoning_content": TEXTS,
    },
)
CHOICES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.sampled_from([None, 0, 1]),
            "message": st.none() | MESSAGES,
            "delta": st.none() | MESSAGES,
            "finish_reason": st.sampled_from([None, "", "stop", "end_turn", "max_tokens", "odd"]),
        },
    ),
    max_size=2,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.none() | CHOICES,
        "usage": st.none() | USAGES,
        "model": TEXTS,
        "error": st.sampled_from([None, {}, "", False, {"message": "no"}]),
    },
)


@settings(max_examples=300, deadline=None)
@given(body=BODIES, gateway=st.booleans(), provider=PROVIDERS)
def test_a_reply_is_the_same_however_closely_it_is_looked_at(
    body: dict[str, Any], gateway: bool, provider: str
) -> None:
    """An id that is no text has all of the reply looked at closely, and changes nothing but the id."""
    quick = decode_chat(msgspec.json.encode({**body, "id": "x"}), gateway=gateway, provider=provider)
    close = decode_chat(msgspec.json.encode({**body, "id": 1}), gateway=gateway, provider=provider)
    assert close is None or close.response_id is None
    assert quick == (None if close is None else msgspec.structs.replace(close, response_id="x"))


@settings(max_examples=300, deadline=None)
@given(usage=USAGES, gateway=st.booleans(), provider=PROVIDERS)
@example(WRITTEN, False, "openai")
@example({"prompt_tokens": 10**9 + 1, "completion_tokens": 1}, False, "openai")
@example({"prompt_tokens": 10, "completion_tokens": 10**9 + 1}, False, "openai")
@example({"prompt_tokens": 0, "completion_tokens": 1}, False, "openai")
def test_usual_figures_are_counted_as_all_others(usage: dict[str, Any], gateway: bool, provider: str) -> None:
    """With caches, reasoning, other modalities and impossible figures or without."""
    body = {"choices": [{"message": {"content": "a"}}], "usage": usage}
    reply = decode_chat(msgspec.json.encode(body), gateway=gateway, provider=provider)
    assert isinstance(reply, Reply)
    decoded = decode_openai_usage(msgspec.json.encode(usage))
    assert reply.usage == openai_counts(decoded, gateway=gateway, streamed=False, provider=provider)


@pytest.mark.parametrize("error", [{}, "", False, None])
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    """Some servers write an empty one beside the answer."""
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "error": error}
    reply = decode_chat(msgspec.json.encode(body), gateway=False, provider="openai")
    assert reply is not None
    assert (reply.content, reply.finish_reason) == ("a", "stop")

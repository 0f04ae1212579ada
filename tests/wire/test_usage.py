"""Token counts and reported costs out of every shape of `usage`, honest, quirky, contradictory or broken."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._values import TokenCounts
from genops_helicone_async._wire.usage import (
    AnthropicUsage,
    GoogleUsage,
    OpenAiUsage,
    anthropic_counts,
    decode_anthropic_usage,
    decode_google_usage,
    decode_openai_usage,
    google_counts,
    openai_counts,
    read_usage,
    reported_cost_usd,
)


def openai(
    usage: dict[str, Any], *, gateway: bool = False, streamed: bool = False, provider: str = "openai"
) -> TokenCounts | None:
    """The counts of an OpenAI-shaped usage given as JSON values."""
    decoded = msgspec.convert(usage, OpenAiUsage)
    return openai_counts(decoded, gateway=gateway, streamed=streamed, provider=provider)


def counts(**given: int) -> TokenCounts:
    """The counts expected."""
    return TokenCounts(**given)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("gateway", [False, True])
def test_plain_counts_are_taken_as_they_are(gateway: bool, streamed: bool) -> None:
    """Without caching or reasoning every way in gives the same."""
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19, "modality_tokens": {}}
    assert openai(usage, gateway=gateway, streamed=streamed) == counts(input=12, output=7)


def test_a_total_is_never_believed_for_openai() -> None:
    """The gateway's total counts cached tokens twice: 4226 for 2006 in, 1920 of them cached, and 300 out."""
    usage = {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 4226,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "modality_tokens": {},
    }
    assert openai(usage, gateway=True) == counts(input=2006, output=300, cached=1920)


def test_xai_through_the_gateway_counts_cached_tokens_twice() -> None:
    """The gateway adds xAI's cached tokens to a prompt count that holds them already; they are taken off again."""
    usage = {
        "prompt_tokens": 164,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 64},
        "modality_tokens": {},
    }
    assert openai(usage, gateway=True, provider="xai") == counts(input=100, output=10, cached=64)


@pytest.mark.parametrize(
    "streamed, prompt_tokens", [(False, 86), (True, 86 + 1920)], ids=["whole: fresh only", "streamed: fresh and cached"]
)
def test_claude_through_the_gateway_counts_everything_that_went_in(streamed: bool, prompt_tokens: int) -> None:
    """A reply converted from Claude has no `modality_tokens`; what its prompt count leaves out is added."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 300,
        "total_tokens": 2806,
        "prompt_tokens_details": {
            "cached_tokens": 1920,
            "cache_write_tokens": 500,
            "cache_write_details": {"write_5m_tokens": 400, "write_1h_tokens": 100},
        },
    }
    assert openai(usage, gateway=True, streamed=streamed) == counts(
        input=2506, output=300, cached=1920, cache_write=500, cache_write_1h=100
    )


def test_hour_writes_count_only_where_the_split_adds_up() -> None:
    """Without a breakdown the gateway puts the cache *reads* into the 5-minute figure: then nothing is for an hour."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "prompt_tokens_details": {
            "cached_tokens": 7,
            "cache_write_tokens": 5,
            "cache_write_details": {"write_5m_tokens": 7, "write_1h_tokens": 3},
        },
    }
    assert openai(usage, gateway=True) == counts(input=22, output=1, cached=7, cache_write=5)


def test_audio_and_images_stand_beside_the_text() -> None:
    """The gateway takes other modalities out of its prompt and completion counts; they were billed all the same."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 431,
        "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 30},
        "modality_tokens": {
            "audio": {"input_tokens": 30, "cached_tokens": 5, "output_tokens": 6},
            "image": {"input_tokens": 250, "cached_tokens": 0, "output_tokens": 0},
        },
    }
    assert openai(usage, gateway=True) == counts(input=385, output=46, cached=25)


@pytest.mark.parametrize("modality", [None, {}])
def test_an_empty_modality_still_says_it_was_not_converted(modality: object) -> None:
    """What matters is that the key is there, whatever it holds."""
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    assert openai({**usage, "modality_tokens": modality}, gateway=True) == counts(input=10, output=1, cached=4)


@pytest.mark.parametrize("provider", ["xai", "gemini", "vertex"])
def test_reasoning_hidden_in_the_total_is_output(provider: str) -> None:
    """On their own hosts xAI and Google leave thoughts out of the completion count and only the total tells."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 170}
    assert openai(usage, provider=provider) == counts(input=100, output=70, reasoning=60)


@pytest.mark.parametrize("reasoning", [40, 90])
def test_hidden_and_told_reasoning_are_not_added_up(reasoning: int) -> None:
    """A reported reasoning count is the hidden one told again; what does not fit into the output is cut."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 170,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert openai(usage, provider="xai") == counts(input=100, output=70, reasoning=max(60, min(reasoning, 70)))


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral", "deepseek", "openrouter"])
def test_other_providers_totals_hide_nothing(provider: str) -> None:
    """Where completions include reasoning a larger total is just a wrong total."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 170,
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert openai(usage, provider=provider) == counts(input=100, output=10, reasoning=4)


def test_deepseeks_own_names_are_read() -> None:
    """`prompt_cache_hit_tokens` are the cached part of the prompt."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 9,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
    }
    assert openai(usage, provider="deepseek") == counts(input=100, output=9, cached=64)


def test_the_other_naming_is_read_too() -> None:
    """The Responses names mean the same."""
    usage = {
        "input_tokens": 30,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    assert openai(usage) == counts(input=30, output=5, cached=8, reasoning=2)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"completion_tokens": 9},
        {"prompt_tokens": 0, "completion_tokens": 9},
        {"prompt_tokens": -1, "completion_tokens": 9},
        {"prompt_tokens": 9, "completion_tokens": -1},
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10}},
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": 9, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -1}},
        {"prompt_tokens": 10**9 + 1, "completion_tokens": 1},
        {"prompt_tokens": 9, "completion_tokens": 1e300},
    ],
)
def test_what_says_nothing_or_contradicts_itself_is_unknown(usage: dict[str, Any]) -> None:
    """Missing, made-up, negative, impossible or absurd counts are None, never a cheap-looking number."""
    assert openai(usage) is None


def test_floats_and_nulls_are_counts_like_any_other() -> None:
    """Some servers write 12.0, or null for what they do not count."""
    usage = {
        "prompt_tokens": 12.0,
        "completion_tokens": 7.0,
        "prompt_tokens_details": None,
        "completion_tokens_details": {"reasoning_tokens": None},
    }
    assert openai(usage) == counts(input=12, output=7)


def test_reasoning_never_exceeds_the_output() -> None:
    """A reasoning count above the output is cut to it."""
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 8}}
    assert openai(usage) == counts(input=5, output=3, reasoning=3)


_COUNT = st.none() | st.integers(-5, 5000) | st.floats(-5, 5000)
_DETAILS = st.none() | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens"), _COUNT)
)
_USAGES = st.fixed_dictionaries(
    {"prompt_tokens": _COUNT, "completion_tokens": _COUNT},
    optional={
        "total_tokens": _COUNT,
        "prompt_tokens_details": _DETAILS,
        "completion_tokens_details": _DETAILS,
        "modality_tokens": st.just({}),
    },
)


@given(
    _USAGES,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["openai", "anthropic", "xai", "gemini", "deepseek", "vertex"]),
)
def test_known_counts_always_add_up(usage: dict[str, Any], gateway: bool, streamed: bool, provider: str) -> None:
    """Whatever arrives: fresh, cached and written make up the input, and reasoning is part of the output."""
    read = openai(usage, gateway=gateway, streamed=streamed, provider=provider)
    if read is None:
        return
    assert read.input == read.fresh + read.cached + read.cache_write
    assert min(read.fresh, read.cached, read.cache_write - read.cache_write_1h, read.reasoning) >= 0
    assert 0 <= read.reasoning <= read.output


@pytest.mark.parametrize(
    "usage, expected",
    [
        ({"input_tokens": 5, "output_tokens": 3}, counts(input=5, output=3)),
        (
            {
                "input_tokens": 86,
                "cache_read_input_tokens": 1920,
                "cache_creation_input_tokens": 500,
                "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 100},
                "output_tokens": 300,
            },
            counts(input=2506, output=300, cached=1920, cache_write=500, cache_write_1h=100),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 1,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
            },
            counts(input=8, output=1, cache_write=7, cache_write_1h=3),
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 2,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
                "output_tokens": 1,
            },
            counts(input=3, output=1, cache_write=2, cache_write_1h=2),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 3}, counts(input=5, output=3)),
        ({"input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 1}, counts(input=7, output=1, cached=7)),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"output_tokens": 4}, None),
        ({"input_tokens": -1, "cache_read_input_tokens": 5, "output_tokens": 4}, None),
        ({"input_tokens": 5, "cache_read_input_tokens": -5, "output_tokens": 4}, None),
    ],
)
def test_messages_counts_are_disjoint_and_summed(usage: dict[str, Any], expected: TokenCounts | None) -> None:
    """Anthropic's own three input figures make up the input; writes for an hour are part of all writes."""
    assert anthropic_counts(msgspec.convert(usage, AnthropicUsage)) == expected


@pytest.mark.parametrize(
    "usage, expected",
    [
        ({"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}, counts(input=7, output=5)),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 64,
                "candidatesTokenCount": 10,
                "thoughtsTokenCount": 30,
            },
            counts(input=100, output=40, cached=64, reasoning=30),
        ),
        (
            {"promptTokenCount": 7, "toolUsePromptTokenCount": 20, "candidatesTokenCount": 5},
            counts(input=27, output=5),
        ),
        ({"promptTokenCount": 7}, counts(input=7, output=0)),
        ({}, None),
        ({"promptTokenCount": 7, "cachedContentTokenCount": 8}, None),
    ],
)
def test_google_counts_thoughts_as_output(usage: dict[str, Any], expected: TokenCounts | None) -> None:
    """Thoughts stand beside the candidates' tokens and are billed as output; tool prompts went in."""
    assert google_counts(msgspec.convert(usage, GoogleUsage)) == expected


@pytest.mark.parametrize(
    "cost, dollars",
    [
        (0.0123, 0.0123),
        (0, 0.0),
        (1, 1.0),
        ({"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}, 0.006),
        ({}, None),
        (None, None),
        (-0.5, None),
        (True, None),
        ("0.5", None),
        ([1], None),
    ],
)
def test_a_reported_cost_is_dollars_or_nothing(cost: object, dollars: float | None) -> None:
    """OpenRouter's number and Perplexity's object are read; what is no cost is none."""
    assert reported_cost_usd(msgspec.convert({"cost": cost}, OpenAiUsage)) == dollars


@pytest.mark.parametrize("decode", [decode_openai_usage, decode_google_usage, decode_anthropic_usage])
@pytest.mark.parametrize("text", [b"", b"null", b'"n/a"', b"[]", b"3", b"true", b'{"cost":1,"prompt_'])
def test_a_broken_usage_is_unknown_and_breaks_nothing(text: bytes, decode: Any) -> None:
    """An answer that was paid for is not lost because its usage makes no sense."""
    assert read_usage(msgspec.Raw(text), decode) is None


def test_a_count_in_words_makes_the_usage_unknown() -> None:
    """A count that is text cannot be trusted, nor can the rest beside it."""
    assert read_usage(msgspec.Raw(b'{"prompt_tokens":"12","completion_tokens":3}'), decode_openai_usage) is None


def test_a_sound_usage_is_read_from_its_raw_text() -> None:
    """The raw field gives the same as the values it spells."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}
    assert read_usage(msgspec.Raw(json.dumps(usage).encode()), decode_openai_usage) == msgspec.convert(
        usage, OpenAiUsage
    )

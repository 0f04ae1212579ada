"""How many tokens a reply says it used, read from every shape of `usage` that arrives.

The AI Gateway replaces `usage`: cached tokens stand twice in its total, Claude's prompt count leaves out cached
tokens unless the reply was streamed, and a provider that sent no usage is given zeros. So nothing here trusts
`total_tokens`, and all-zero counts on a reply that says something are taken for unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import msgspec

from .._values import TokenCounts

_Count = int | float | None
_Usage = TypeVar("_Usage")
_MOST_TOKENS = 10**9
"""A count above this is no count: the largest context window on sale holds 10 million tokens."""
_Exact = Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)] | None
_TOTAL_TELLS_MORE = frozenset({"xai", "gemini", "vertex"})
"""Whose reasoning may be in the total alone."""
ABSENT = msgspec.Raw(b"")
"""The default of a raw field; `msgspec.Raw | None` would refuse everything but null."""


class PromptDetails(msgspec.Struct):
    """`prompt_tokens_details`."""

    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    cache_write_details: CacheWriteDetails | None = None


class CacheWriteDetails(msgspec.Struct):
    """How the AI Gateway splits cache writes by lifetime; without a breakdown the 5-minute figure is wrong."""

    write_5m_tokens: _Count = None
    write_1h_tokens: _Count = None


class ModalityTokens(msgspec.Struct):
    """One entry of the AI Gateway's `modality_tokens`, whose three figures stand beside the text's, not among them."""

    input_tokens: _Count = None
    cached_tokens: _Count = None
    output_tokens: _Count = None


class CompletionDetails(msgspec.Struct):
    """`completion_tokens_details`."""

    reasoning_tokens: _Count = None


class OpenAiUsage(msgspec.Struct):
    """`usage` in the OpenAI shape, in either naming, as providers and the AI Gateway send it."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    input_tokens_details: PromptDetails | None = None
    output_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: _Count = None
    modality_tokens: dict[str, ModalityTokens] | msgspec.UnsetType | None = msgspec.UNSET
    cost: Any = None


class ExactUsage(OpenAiUsage):
    """The same where both figures are whole and possible, as in nearly every reply: looked at while it is decoded."""

    prompt_tokens: _Exact = None
    completion_tokens: _Exact = None


_beside_the_usual = attrgetter(
    "modality_tokens", "prompt_cache_hit_tokens", "input_tokens_details", "output_tokens_details"
)


class AnthropicCacheCreation(msgspec.Struct):
    """`usage.cache_creation`."""

    ephemeral_5m_input_tokens: _Count = None
    ephemeral_1h_input_tokens: _Count = None


class AnthropicUsage(msgspec.Struct):
    """`usage` in the Messages shape; the gateway may have written OpenAI names into it."""

    input_tokens: _Count = None
    output_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    cache_creation: AnthropicCacheCreation | None = None
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class GoogleUsage(msgspec.Struct, rename="camel"):
    """`usageMetadata` of a generateContent reply."""

    prompt_token_count: _Count = None
    candidates_token_count: _Count = None
    thoughts_token_count: _Count = None
    cached_content_token_count: _Count = None
    tool_use_prompt_token_count: _Count = None


decode_openai_usage = msgspec.json.Decoder(OpenAiUsage).decode
decode_anthropic_usage = msgspec.json.Decoder(AnthropicUsage).decode
decode_google_usage = msgspec.json.Decoder(GoogleUsage).decode


def read_usage(raw: msgspec.Raw, decode: Callable[[msgspec.Raw], _Usage]) -> _Usage | None:
    """The usage in a raw field; None where there is none, or none that makes sense: no answer is lost over it."""
    if bytes(raw) in (b"", b"null"):
        return None
    try:
        return decode(raw)
    except msgspec.DecodeError:
        return None


def reported_cost_usd(usage: OpenAiUsage) -> float | None:
    """The dollars the provider says the reply cost: OpenRouter's `cost`, Perplexity's `cost.total_cost`."""
    cost = usage.cost
    if cost is None:
        return None
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0:
        return None
    return float(cost)


def exact_counts(usage: ExactUsage, *, gateway: bool, provider: str) -> TokenCounts | None:
    """`openai_counts` of a whole reply. Most have nothing but the two figures: no cache, no reasoning."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    details, split = usage.prompt_tokens_details, usage.completion_tokens_details
    if (
        prompt
        and completion is not None
        and not any(_beside_the_usual(usage))
        and (details is None or not (details.cached_tokens or details.cache_write_tokens))
        and (split is None or not split.reasoning_tokens)
        and provider not in _TOTAL_TELLS_MORE
    ):
        return TokenCounts(input=prompt, output=completion)
    return openai_counts(usage, gateway=gateway, streamed=False, provider=provider)


def openai_counts(usage: OpenAiUsage, *, gateway: bool, streamed: bool, provider: str) -> TokenCounts | None:
    """Token counts of an OpenAI-shaped usage; None where it says nothing or contradicts itself.

    `gateway` says that the AI Gateway wrote it: then a missing `modality_tokens` means "converted from Claude".
    """
    prompt = _first(usage.prompt_tokens, usage.input_tokens)
    completion = _first(usage.completion_tokens, usage.output_tokens)
    details = usage.prompt_tokens_details or usage.input_tokens_details
    split = usage.completion_tokens_details or usage.output_tokens_details
    cached, written, reasoning = usage.prompt_cache_hit_tokens or 0, 0, 0
    if details is not None:
        cached = cached if details.cached_tokens is None else details.cached_tokens
        written = int(details.cache_write_tokens or 0)
    if split is not None:
        reasoning = int(split.reasoning_tokens or 0)
    cached = int(cached)
    if gateway:
        if usage.modality_tokens is msgspec.UNSET:
            prompt += written if streamed else cached + written
        elif provider == "xai":
            prompt -= cached
        else:
            prompt += written
        if usage.modality_tokens:
            for tokens in usage.modality_tokens.values():
                cached += _first(tokens.cached_tokens)
                prompt += _first(tokens.input_tokens) + _first(tokens.cached_tokens)
                completion += _first(tokens.output_tokens)
    elif provider in _TOTAL_TELLS_MORE and _first(usage.total_tokens) > prompt + completion:
        reasoning = max(reasoning, _first(usage.total_tokens) - prompt - completion)
        completion = _first(usage.total_tokens) - prompt
    return _counts(prompt, completion, cached, written, _hour_writes(details, written) if written else 0, reasoning)


def anthropic_counts(usage: AnthropicUsage) -> TokenCounts | None:
    """Token counts of a Messages usage: its three input figures are disjoint and are summed."""
    cached, split = _first(usage.cache_read_input_tokens), usage.cache_creation
    hour = _first(split.ephemeral_1h_input_tokens) if split else 0
    parts = hour + _first(split.ephemeral_5m_input_tokens) if split else 0
    written = _first(usage.cache_creation_input_tokens, parts)
    prompt = _first(usage.input_tokens, usage.prompt_tokens) + cached + written
    return _counts(prompt, _first(usage.output_tokens, usage.completion_tokens), cached, written, min(hour, written), 0)


def google_counts(usage: GoogleUsage) -> TokenCounts | None:
    """Token counts of a generateContent usage: thoughts stand beside the candidates' tokens and are output too."""
    thoughts = _first(usage.thoughts_token_count)
    prompt = _first(usage.prompt_token_count) + _first(usage.tool_use_prompt_token_count)
    output = _first(usage.candidates_token_count) + thoughts
    return _counts(prompt, output, _first(usage.cached_content_token_count), 0, 0, thoughts)


def _hour_writes(details: PromptDetails | None, written: int) -> int:
    split = details.cache_write_details if details else None
    if split is None:
        return 0
    hour = _first(split.write_1h_tokens)
    return hour if hour + _first(split.write_5m_tokens) == written else 0


def _first(value: _Count, other: _Count = None) -> int:
    """The first of two figures that is there, else 0."""
    if value is None:
        value = other
    return 0 if value is None else int(value)


def _counts(prompt: int, completion: int, cached: int, written: int, hour: int, reasoning: int) -> TokenCounts | None:
    counts = (prompt, completion, cached, written, hour, reasoning)
    if min(counts) < 0 or max(counts) > _MOST_TOKENS or cached + written > prompt:
        return None
    if not prompt:  # nothing is answered that was not asked: the count was left out or made up
        return None
    return TokenCounts(
        input=prompt,
        output=completion,
        cached=cached,
        cache_write=written,
        cache_write_1h=hour,
        reasoning=min(reasoning, completion),
    )


__all__ = [
    "ABSENT",
    "AnthropicUsage",
    "ExactUsage",
    "GoogleUsage",
    "OpenAiUsage",
    "anthropic_counts",
    "decode_anthropic_usage",
    "decode_google_usage",
    "decode_openai_usage",
    "exact_counts",
    "google_counts",
    "openai_counts",
    "read_usage",
    "reported_cost_usd",
]

"""What a caller asks for: one frozen `ChatRequest`, validated when it is made, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, TypedDict

import msgspec

from ._arguments import (
    are_plain,
    check_attributes,
    check_bool,
    check_effort,
    check_extra_body,
    check_int,
    check_label,
    check_mapping,
    check_message,
    check_metrics,
    check_models,
    check_number,
    check_positive,
    check_price_table,
    check_providers,
    check_response_model,
    check_stop,
    check_text,
    check_tool_choice,
    check_tools,
)
from ._providers import PROVIDERS, canonical
from .errors import ConfigurationError

Message = str | Sequence[Mapping[str, Any]]


class SharedOptions(TypedDict, total=False):
    """The keywords all chat verbs share: the fields of `ChatRequest` but for `message` and those of `ChatOptions`."""

    provider: str | None
    model: str | None
    provider_preferences: Mapping[str, Any] | None
    fallback_strategy: str | None
    max_cost: float | None
    prices: Mapping[Any, Any] | None
    enforce_budget: bool | None
    custom_metrics: Mapping[str, float] | None
    system_prompt: str | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    stop: str | Sequence[str] | None
    seed: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    response_model: Any
    reasoning_effort: str | None
    extra_body: Mapping[str, Any] | None
    timeout_seconds: float | None
    priority: int | None
    cache: bool | None
    session_id: str | None
    session_path: str | None
    session_name: str | None
    team: str | None
    project: str | None
    customer_id: str | None
    environment: str | None
    cost_center: str | None
    feature: str | None
    user_id: str | None
    sla_tier: str | None
    sla_latency_ms: float | None
    attributes: Mapping[str, str] | None


class ChatOptions(SharedOptions, total=False):
    """The keywords of `chat`, `stream` and `chat_many`; `multi_provider_chat` has these three as arguments."""

    providers: Sequence[str] | None
    model_preferences: Mapping[str, str] | None
    routing_strategy: str | None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat as the verbs `chat` and `stream` take it; every field is the keyword of the same name.

    `message` is a string or a list of OpenAI-style messages (text, images, tool calls and results). `max_cost` is in
    the adapter's currency, `prices` are dollars per million tokens for this call alone, `timeout_seconds` is the
    deadline of the whole call, `sla_latency_ms` is milliseconds. A field left at None
    takes the adapter's default.

    Raises:
        ConfigurationError: a value is out of range; the message names the argument.
        TypeError: a value has the wrong type.
    """

    message: Message
    provider: str | None = None
    model: str | None = None
    providers: Sequence[str] | None = None
    model_preferences: Mapping[str, str] | None = None
    routing_strategy: str | None = None
    provider_preferences: Mapping[str, Any] | None = None
    fallback_strategy: str | None = None
    max_cost: float | None = None
    prices: Mapping[Any, Any] | None = None
    enforce_budget: bool | None = None
    custom_metrics: Mapping[str, float] | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    response_model: Any = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None
    priority: int | None = None
    cache: bool | None = None
    session_id: str | None = None
    session_path: str | None = None
    session_name: str | None = None
    team: str | None = None
    project: str | None = None
    customer_id: str | None = None
    environment: str | None = None
    cost_center: str | None = None
    feature: str | None = None
    user_id: str | None = None
    sla_tier: str | None = None
    sla_latency_ms: float | None = None
    attributes: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        message = self.message
        if type(message) is not list or not are_plain(message):
            check_message(message)
        labels = _labels_of(self)
        try:
            are_known = labels in _known
        except TypeError:  # one cannot be hashed, so it is no text
            are_known = False
        if not are_known:
            _check_all(_LABEL_CHECKS, labels)
            _remember(labels)
        if (values := _values_of(self)) != _NO_VALUES:
            _check_all(_VALUE_CHECKS, values)
            if self.provider is not None and self.providers is not None:
                raise ConfigurationError("give `provider` for one or `providers` for several, not both")

    def messages(self) -> list[Mapping[str, Any]]:
        """The conversation as OpenAI-style messages, `system_prompt` first."""
        system: list[Mapping[str, Any]] = []
        if self.system_prompt is not None:
            system = [{"role": "system", "content": self.system_prompt}]
        if isinstance(self.message, str):
            return [*system, {"role": "user", "content": self.message}]
        return [*system, *self.message]

    def text(self) -> str:
        """All text of the conversation joined by line breaks, for estimates and custom routing functions."""
        if isinstance(self.message, str):
            return self.message if self.system_prompt is None else f"{self.system_prompt}\n{self.message}"
        return "\n".join(text for message in self.messages() for text in _texts(message.get("content")))


class EmbedRequest(ChatRequest, frozen=True, kw_only=True):
    """Texts to be turned into vectors; `message` holds them joined, for estimates."""

    texts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, texts: str | Sequence[str], provider: str, model: str | None, options: Mapping[str, Any]
    ) -> EmbedRequest:
        """A request for vectors.

        Raises:
            ConfigurationError: there is no text, or one is empty.
            TypeError: `texts` is no text and no list of texts, or a keyword is unknown.
        """
        listed = (texts,) if isinstance(texts, str) else texts
        if not isinstance(listed, Sequence) or isinstance(listed, bytes | bytearray):
            raise TypeError(f"`texts` must be a string or a list of strings, not {type(texts).__name__}")
        if not listed:
            raise ConfigurationError("`texts` is empty: give at least one text")
        for index, text in enumerate(listed):
            check_text(f"texts[{index}]", text)
            if not text:
                raise ConfigurationError(f"`texts[{index}]` is empty: leave it out or give a text")
        row = PROVIDERS.get(canonical(provider)) if isinstance(provider, str) else None
        model = model or (row.embedding_model if row is not None else None)
        if model is None:
            raise ConfigurationError(f"`model` is missing: {provider!r} has no default embedding model here")
        return cls(message="\n".join(listed), provider=provider, model=model, texts=tuple(listed), **options)


def make_request(message: Message, options: Mapping[str, Any]) -> ChatRequest:
    """A request from a message and the keywords of a verb.

    Raises:
        ConfigurationError: a value is out of range.
        TypeError: a keyword is unknown (the nearest known one is suggested) or a value has the wrong type.
    """
    try:
        return ChatRequest(message=message, **options)
    except TypeError:
        for name in options:
            if name not in ChatRequest.__struct_fields__:
                near = get_close_matches(name, ChatRequest.__struct_fields__, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"unexpected keyword argument {name!r}{hint}") from None
        raise


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, Sequence):
        return [p["text"] for p in content if isinstance(p, Mapping) and isinstance(p.get("text"), str)]
    return []


_LABELS = (
    *("provider", "model", "routing_strategy", "fallback_strategy", "session_id", "session_path", "session_name"),
    *("team", "project", "customer_id", "environment", "cost_center", "feature", "user_id", "sla_tier"),
)
_LABEL_CHECKS: tuple[tuple[str, Any], ...] = tuple((name, check_label) for name in _LABELS)
_VALUE_CHECKS: tuple[tuple[str, Any], ...] = (
    ("temperature", check_number(0, 2, "between 0 and 2")),
    ("max_tokens", check_int(1, "1 or more")),
    ("top_p", check_number(0, 1, "between 0 and 1")),
    ("seed", check_int(-(2**63), "a 64-bit integer")),
    ("timeout_seconds", check_positive),
    ("priority", check_int(-(2**63), "an integer")),
    ("providers", check_providers),
    ("model_preferences", check_models),
    ("custom_metrics", check_metrics),
    ("extra_body", check_extra_body),
    *((name, check_mapping) for name in ("provider_preferences", "response_format")),
    ("max_cost", check_positive),
    ("prices", check_price_table),
    *((name, check_bool) for name in ("enforce_budget", "cache")),
    ("system_prompt", check_text),
    ("stop", check_stop),
    ("tools", check_tools),
    ("tool_choice", check_tool_choice),
    ("response_model", check_response_model),
    ("reasoning_effort", check_effort),
    ("sla_latency_ms", check_positive),
    ("attributes", check_attributes),
)
_labels_of = attrgetter(*_LABELS)
_values_of = attrgetter(*(name for name, _ in _VALUE_CHECKS))
_NO_VALUES = (None,) * len(_VALUE_CHECKS)
_MOST_KNOWN = 1024
_known: set[tuple[str | None, ...]] = set()
"""Combinations of labels that were found right: few combinations make most calls. Only texts are in it."""


def _check_all(checks: tuple[tuple[str, Any], ...], values: tuple[Any, ...]) -> None:
    for (name, check), value in zip(checks, values, strict=True):
        if value is not None:
            check(name, value)


def _remember(labels: tuple[str | None, ...]) -> None:
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known.add(labels)


__all__ = [
    "ChatOptions",
    "ChatRequest",
    "EmbedRequest",
    "Message",
    "SharedOptions",
    "make_request",
]

"""What a caller asks for: one frozen `ChatRequest`, validated when it is made, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, TypedDict

import msgspec

from ._providers import PROVIDERS, canonical
from .errors import ConfigurationError

Message = str | Sequence[Mapping[str, Any]]

MAX_MESSAGE_CHARS = 32 * 1024 * 1024
"""Longest text of one request, in characters: above the largest context window on sale (10 million tokens)."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
REASONING_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})


class CommonOptions(TypedDict, total=False):
    """The keywords all chat verbs share: the fields of `ChatRequest` but for `message` and those of `ChatOptions`."""

    provider: str | None
    model: str | None
    provider_preferences: Mapping[str, Any] | None
    fallback_strategy: str | None
    max_cost: float | None
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


class ChatOptions(CommonOptions, total=False):
    """The keywords of `chat`, `stream` and `chat_many`; `multi_provider_chat` has these three as arguments."""

    providers: Sequence[str] | None
    model_preferences: Mapping[str, str] | None
    routing_strategy: str | None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat as the verbs `chat` and `stream` take it; every field is the keyword of the same name.

    `message` is a string or a list of OpenAI-style messages (text, images, tool calls and results). `max_cost` is
    dollars, `timeout_seconds` the deadline of the whole call, `sla_latency_ms` milliseconds. A field left at None
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
        check_message(self.message)
        for (name, check), value in zip(_CHECKS, _checked_fields(self), strict=True):
            if value is not None:
                check(name, value)
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


def check_message(message: object) -> None:
    """Refuses a message that no provider could take, naming what is wrong with it."""
    if isinstance(message, str):
        if not message or message.isspace():
            raise ConfigurationError("`message` is empty: give the text to send")
        check_text("message", message)
        return
    if isinstance(message, bytes | bytearray | memoryview):
        raise TypeError("`message` is bytes: decode it first, for example message.decode('utf-8')")
    if message is None or isinstance(message, Mapping) or not isinstance(message, Sequence):
        raise TypeError(f"`message` must be a string or a list of messages, not {type(message).__name__}")
    if not message:
        raise ConfigurationError("`message` is an empty list: give at least one message")
    for position, item in enumerate(message):
        _check_one_message(position, item)


def _check_one_message(position: int, item: object) -> None:
    where = f"`message[{position}]`"
    if not isinstance(item, Mapping):
        raise TypeError(f"{where} must be a mapping with `role` and `content`, not {type(item).__name__}")
    role = item.get("role")
    if role not in ROLES:
        raise ConfigurationError(f"{where} has role {role!r}: use one of {', '.join(sorted(ROLES))}")
    content = item.get("content")
    if content is None:
        if role != "assistant" or not (item.get("tool_calls") or item.get("function_call")):
            raise ConfigurationError(f"{where} has no `content`; only an assistant message with tool calls may lack it")
        return
    if isinstance(content, str):
        check_text(f"message[{position}].content", content)
        return
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise TypeError(f"{where}: `content` must be a string or a list of parts, not {type(content).__name__}")
    if not content:
        raise ConfigurationError(f"{where}: `content` is an empty list")
    for index, part in enumerate(content):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise TypeError(
                f"{where}: `content[{index}]` must be a mapping with a `type`, such as 'text' or 'image_url'"
            )
        if isinstance(part.get("text"), str):
            check_text(f"message[{position}].content[{index}].text", part["text"])


def check_text(name: str, value: object) -> None:
    """Refuses what is no text, too long, or not expressible in UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, not {type(value).__name__}")
    if len(value) > MAX_MESSAGE_CHARS:
        raise ConfigurationError(
            f"`{name}` has {len(value):,} characters, more than any model takes (limit {MAX_MESSAGE_CHARS:,}): split it"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise ConfigurationError(
                f"`{name}` holds an unpaired surrogate at character {exc.start}, which is not valid text: "
                "decode the source with errors='replace'"
            ) from None


def check_label(name: str, value: object) -> None:
    """Refuses what cannot travel in a header: no text, empty, or with control characters."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, not {type(value).__name__}")
    if not value or value.isspace():
        raise ConfigurationError(f"`{name}` is empty: leave it out or give a value")
    if not value.isprintable() and any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value):
        raise ConfigurationError(f"`{name}` holds a control character or a line break, which no header may carry")
    check_text(name, value)


def _check_number(low: float, high: float, what: str) -> Any:
    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"`{name}` must be a number, not {type(value).__name__}")
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigurationError(f"`{name}` is {value!r}: it must be {what}")

    return check


def _check_positive(name: str, value: object) -> None:
    _check_number(0, math.inf, "a positive, finite number")(name, value)
    if not value:
        raise ConfigurationError(f"`{name}` is 0: it must be a positive, finite number")


def _check_int(low: int, what: str) -> Any:
    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"`{name}` must be an integer, not {type(value).__name__}")
        if value < low or value >= 2**63:
            raise ConfigurationError(f"`{name}` is {value}: it must be {what}")

    return check


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, not {type(value).__name__}")


def _check_mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str) or not key:
            raise TypeError(f"`{name}` has the key {key!r}: keys must be non-empty strings")


def _check_attributes(name: str, value: object) -> None:
    _check_mapping(name, value)
    for key, text in value.items():  # type: ignore[attr-defined]
        check_label(f"{name}[{key!r}]", text)


def _check_providers(name: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"`{name}` must be a list of provider names, not {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"`{name}` is an empty list: name at least one provider or leave it out")
    for item in value:
        check_label(name, item)
    if len(set(value)) != len(value):
        raise ConfigurationError(f"`{name}` names a provider twice: {list(value)}")


def _check_stop(name: str, value: object) -> None:
    for item in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else [None]:
        check_text(name, item)
        if not item:
            raise ConfigurationError(f"`{name}` holds an empty text: name what should end the answer")


def _check_tools(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"`{name}` must be a list of tool definitions, not {type(value).__name__}")
    for index, tool in enumerate(value):
        if not isinstance(tool, Mapping) or "type" not in tool:
            raise TypeError(f"`{name}[{index}]` must be a mapping with a `type`, usually 'function'")
        function = tool.get("function")
        if tool["type"] == "function" and not (isinstance(function, Mapping) and isinstance(function.get("name"), str)):
            raise ConfigurationError(f"`{name}[{index}]` is a function tool without `function.name`")


def _check_tool_choice(name: str, value: object) -> None:
    if isinstance(value, str) and value not in {"auto", "none", "required"}:
        raise ConfigurationError(
            f"`{name}` is {value!r}: use 'auto', 'none', 'required' or a mapping naming a function"
        )
    if not isinstance(value, str | Mapping):
        raise TypeError(f"`{name}` must be a string or a mapping, not {type(value).__name__}")


def _check_effort(name: str, value: object) -> None:
    if value not in REASONING_EFFORTS:
        raise ConfigurationError(f"`{name}` is {value!r}: use one of {', '.join(sorted(REASONING_EFFORTS))}")


def _check_response_model(name: str, value: object) -> None:
    if not isinstance(value, type):
        raise TypeError(f"`{name}` must be a class (msgspec Struct, dataclass or Pydantic model), not {value!r}")


_CHECKS: tuple[tuple[str, Any], ...] = (
    *((name, check_label) for name in ("provider", "model", "routing_strategy", "fallback_strategy")),
    ("providers", _check_providers),
    *((name, _check_mapping) for name in ("model_preferences", "provider_preferences", "custom_metrics")),
    *((name, _check_mapping) for name in ("response_format", "extra_body")),
    ("max_cost", _check_positive),
    *((name, _check_bool) for name in ("enforce_budget", "cache")),
    ("system_prompt", check_text),
    ("temperature", _check_number(0, 2, "between 0 and 2")),
    ("max_tokens", _check_int(1, "1 or more")),
    ("top_p", _check_number(0, 1, "between 0 and 1")),
    ("stop", _check_stop),
    ("seed", _check_int(-(2**63), "a 64-bit integer")),
    ("tools", _check_tools),
    ("tool_choice", _check_tool_choice),
    ("response_model", _check_response_model),
    ("reasoning_effort", _check_effort),
    ("timeout_seconds", _check_positive),
    ("priority", _check_int(-(2**63), "an integer")),
    *((name, check_label) for name in ("session_id", "session_path", "session_name", "team", "project")),
    *((name, check_label) for name in ("customer_id", "environment", "cost_center", "feature", "user_id", "sla_tier")),
    ("sla_latency_ms", _check_positive),
    ("attributes", _check_attributes),
)

_checked_fields = attrgetter(*(name for name, _ in _CHECKS))

__all__ = [
    "MAX_MESSAGE_CHARS",
    "ChatOptions",
    "ChatRequest",
    "CommonOptions",
    "EmbedRequest",
    "Message",
    "make_request",
]

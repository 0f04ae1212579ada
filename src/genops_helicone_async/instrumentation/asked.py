"""What another client's request asks: its body in any of the known shapes as one of our own requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._providers import maker_of
from .._wire.dialects import Dialect, Endpoint
from ..chat_request import ChatRequest, EmbedRequest
from ..errors import ConfigurationError
from .places import Place, known_provider

GATEWAY = "helicone"
"""The provider of a call whose gateway chooses one, until it tells which."""
_UNKNOWN = "unknown"
_decode = msgspec.json.Decoder().decode


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign request understood: `endpoints` are those that may answer, the likeliest first."""

    place: Place
    request: ChatRequest
    endpoints: tuple[Endpoint, ...]
    streams: bool


def asked_of(place: Place, body: bytes, headers: Mapping[str, str]) -> Asked | None:
    """The request; None where the body is not what such a request has."""
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    named = _named(place, document, headers)
    targets = targets_of(named, place) or ((GATEWAY, _UNKNOWN),)
    provider, model = targets[0]
    options = _options(document, provider, model)
    if place.kind == "embeddings":
        request: ChatRequest | None = _embedding(document, options)
    else:
        request = _chat(_messages(place, document), options)
    if request is None:
        return None
    streams = document.get("stream") is True or place.path.endswith(":streamGenerateContent")
    return Asked(
        place=place,
        request=request,
        endpoints=tuple(endpoint_at(place, provider, model) for provider, model in targets),
        streams=streams,
    )


def endpoint_at(place: Place, provider: str, model: str, dialect: Dialect | None = None) -> Endpoint:
    """The endpoint that answers at a place; it has no key, for nothing of ours is sent there."""
    url = f"https://{place.host}"
    return Endpoint(
        provider=provider,
        model=model,
        dialect=dialect or place.dialect,
        shape="anthropic" if place.kind == "messages" else "openai",
        base_url=url,
        chat_url=f"{url}{place.path}",
        wire_model=model,
        headers={},
    )


def _named(place: Place, document: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """The model a request names: in its body, or in its path."""
    if place.kind == "generate":
        return place.path.rpartition("/models/")[2].partition(":")[0]
    if override := headers.get("helicone-model-override"):
        return override
    model = document.get("model")
    if isinstance(model, str) and model.strip():
        return model
    return place.path.partition("/deployments/")[2].partition("/")[0]


def targets_of(named: str, place: Place) -> tuple[tuple[str, str], ...]:
    """Provider and model of each place a named model may be answered at, in the order given.

    The AI Gateway takes a list of `model[/provider[/key]]`, the Rust gateway `provider/model`, all others a bare name.
    """
    if place.provider is not None:
        name = named.removeprefix("google/") if place.provider == "vertex" else named
        return ((place.provider, name or _UNKNOWN),)
    if place.dialect == "openai":
        return ((maker_of(named) or "openai", named or _UNKNOWN),)
    items = [item.strip() for item in named.split(",")]
    return tuple(_target(item, place.dialect) for item in items if item and not item.startswith("!"))


def _target(item: str, dialect: Dialect) -> tuple[str, str]:
    first, _, rest = item.partition("/")
    if dialect == "rust" and rest:
        return known_provider(first) or first, rest
    model = first.removesuffix(":online")
    provider = known_provider(rest.partition("/")[0]) if rest else None
    if provider is None and rest:
        other = known_provider(first)
        return (other, rest) if other is not None else (GATEWAY, item)
    return provider or maker_of(model) or GATEWAY, model


def _options(document: Mapping[str, Any], provider: str, model: str) -> dict[str, Any]:
    settings = document.get("generationConfig")
    given = {**(settings if isinstance(settings, dict) else {}), **document}
    options: dict[str, Any] = {"provider": provider, "model": model}
    for name, spellings in _SPELLINGS.items():
        value = next((given[each] for each in spellings if given.get(each) is not None), None)
        if value is not None and value != []:
            options[name] = value
    extra = {name: given[name] for name in ("n", "cache_control") if given.get(name) is not None}
    if extra:
        options["extra_body"] = extra
    return options


_SPELLINGS: dict[str, tuple[str, ...]] = {
    "max_tokens": ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "seed": ("seed",),
    "stop": ("stop", "stop_sequences", "stopSequences"),
    "tools": ("tools",),
    "response_format": ("response_format",),
}


def _chat(messages: list[Mapping[str, Any]], options: dict[str, Any]) -> ChatRequest:
    """The request; what our own checks refuse is left out, for whether it is right is the provider's business."""
    try:
        return ChatRequest(message=messages, **options)
    except (ConfigurationError, TypeError):
        pass
    kept = {name: options[name] for name in ("provider", "model")}
    for name, value in options.items():
        try:
            ChatRequest(message="?", **{name: value})
        except (ConfigurationError, TypeError):
            continue
        kept[name] = value
    text = "\n".join(_text(message.get("content")) for message in messages)
    return ChatRequest(message=text if text.strip() else "(no text)", **kept)


def _embedding(document: Mapping[str, Any], options: Mapping[str, Any]) -> EmbedRequest | None:
    given = document.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        return None
    # Lists of token ids are embedded, too: each id stands for about a token.
    spelled = tuple(text if isinstance(text, str) and text else "(tokens) " * _ids(text) or "?" for text in texts)
    return EmbedRequest(message="\n".join(spelled), provider=options["provider"], model=options["model"], texts=spelled)


def _ids(text: object) -> int:
    return len(text) if isinstance(text, list) else 1


def _messages(place: Place, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The conversation as OpenAI-style messages, the system's words first."""
    messages: list[Mapping[str, Any]] = []
    system = document.get("system") or document.get("instructions") or document.get("systemInstruction")
    if system and place.kind != "chat":
        messages.append(
            {"role": "system", "content": _parts(system.get("parts") if isinstance(system, dict) else system)}
        )
    turns = document.get(_TURNS.get(place.kind, "messages"))
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    found = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    messages += found if place.kind == "chat" else map(_message, found)
    return messages


_TURNS = {"responses": "input", "generate": "contents"}


def _message(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    """One turn of another shape: its role in our words, its parts as they are."""
    role = {"model": "assistant"}.get(turn.get("role", ""), turn.get("role"))
    content = turn.get("parts") if "parts" in turn else turn.get("content")
    if content is None:  # an item of the Responses shape that is no message: a call, or its output
        content = [turn]
    return {"role": role if isinstance(role, str) else "user", "content": _parts(content)}


def _parts(content: Any) -> Any:
    if not isinstance(content, list):
        return content if isinstance(content, str) else _spelled(content)
    return [_part(part) for part in content] or "(no text)"


def _part(part: Any) -> Mapping[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return {"type": "text", "text": _spelled(part)}
    if isinstance(part.get("text"), str):
        return {**part, "type": "text"}
    if part.get("type") == "input_image" or "inlineData" in part or "inline_data" in part:
        return {"type": "image"}
    return part if isinstance(part.get("type"), str) else {**part, "type": "other"}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def _spelled(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


__all__ = ["GATEWAY", "Asked", "asked_of", "endpoint_at", "targets_of"]

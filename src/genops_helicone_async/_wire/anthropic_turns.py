"""A conversation of OpenAI-style messages in the words of Anthropic's Messages: system blocks apart, turns merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..errors import ConfigurationError

_UNSAID = frozenset({"input_audio", "file", "video_url"})


def turns_of(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """System blocks, and turns in which neighbours of the same role are one.

    Raises:
        ConfigurationError: a message cannot be said to Anthropic.
    """
    system: list[Any] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = _blocks(message)
        if message["role"] in ("system", "developer"):
            system += blocks
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise ConfigurationError("`message` holds no text but the system's: Anthropic needs at least one user message")
    return system, turns


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content") or []
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    blocks = [_part(part) for part in parts if part.get("type") != "text" or part.get("text")]
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": _id_of(message, "tool_call_id"), "content": blocks}]
    if message["role"] == "function" or message.get("function_call"):
        raise ConfigurationError("`message`: Anthropic knows no `function_call`: use `tool_calls` and the role 'tool'")
    return blocks + [_tool_use(call) for call in message.get("tool_calls") or ()]


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments") or "{}"
    try:
        decoded = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ConfigurationError(
            f"`message`: the arguments of tool call {call.get('id')!r} are not JSON ({exc})"
        ) from exc
    if not isinstance(decoded, Mapping):
        raise ConfigurationError(f"`message`: the arguments of tool call {call.get('id')!r} are no JSON object")
    return {"type": "tool_use", "id": _id_of(call, "id"), "name": function.get("name", ""), "input": decoded}


def _id_of(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field)
    if not isinstance(found, str) or not found:
        raise ConfigurationError(f"`message`: a tool call and its result need the same `{field}`, not {found!r}")
    return found


def _part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = part.get("type")
    if kind in _UNSAID:
        raise ConfigurationError(f"`message`: Anthropic takes no part of type {kind!r}: use another provider for it")
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal") or ""}
    if kind != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url:
        raise ConfigurationError("`message`: an `image_url` part has no url")
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    head, comma, data = url.removeprefix("data:").partition(",")
    kind, *options = head.split(";")
    if not comma or "base64" not in options:
        raise ConfigurationError("`message`: an image's data URL must be base64: data:image/png;base64,…")
    return {"type": "image", "source": {"type": "base64", "media_type": kind or "image/png", "data": data}}


__all__ = ["turns_of"]

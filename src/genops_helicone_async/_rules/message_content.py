"""Prompts and answers as telemetry would carry them, in the GenAI conventions' parts; made only on opt-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..chat_request import ChatRequest
from ..models import HeliconeResponse
from . import telemetry_names as names

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def content_attributes(request: ChatRequest, response: HeliconeResponse | None) -> dict[str, str]:
    """System instructions, the conversation and the answer, each as JSON."""
    told: dict[str, Any] = {}
    if request.system_prompt is not None:
        told[names.SYSTEM_INSTRUCTIONS] = [_text(request.system_prompt)]
    given = [{"role": "user", "content": request.message}] if isinstance(request.message, str) else request.message
    told[names.INPUT_MESSAGES] = [_message(message) for message in given]
    if response is not None:
        parts = [_text(response.content)] if response.content else []
        if response.reasoning:
            parts.insert(0, {"type": "reasoning", "content": response.reasoning})
        parts += [_call(call.id, call.name, call.arguments) for call in response.tool_calls]
        answer = {"role": "assistant", "parts": parts, "finish_reason": response.finish_reason or "stop"}
        told[names.OUTPUT_MESSAGES] = [answer]
    return {name: _encode(value).decode() for name, value in told.items()}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = str(message.get("role", "user")), message.get("content")
    if role == "tool":
        part = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return {"role": role, "parts": [part]}
    parts: list[Any] = []
    if isinstance(content, str):
        parts.append(_text(content))
    elif isinstance(content, Sequence):
        parts += [_part(part) for part in content]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(_call(call.get("id"), function.get("name"), function.get("arguments")))
    return {"role": role, "parts": parts}


def _part(part: Any) -> dict[str, Any]:
    """Text as it is; of an image or a file only what kind of part it is, for they may be megabytes."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return _text(part["text"])
    return {"type": str(kind or "unknown")}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _call(identity: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": identity, "name": name, "arguments": arguments}


__all__ = ["content_attributes"]

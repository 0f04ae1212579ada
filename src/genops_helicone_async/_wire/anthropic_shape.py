"""Anthropic's Messages shape: requests out, replies and stream events in. OpenAI vocabulary on our side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..chat_request import ChatRequest
from ..errors import ConfigurationError
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .schema import answer_tool_of
from .usage import ABSENT, AnthropicUsage, anthropic_counts, decode_anthropic_usage, read_usage

DEFAULT_MAX_TOKENS = 4096
"""Messages wants a limit; 4096 is what the AI Gateway puts in as well."""

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THINKING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768}
_encode = msgspec.json.Encoder().encode


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    partial_json: str | None = None


class _Body(msgspec.Struct):
    type: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    model: str | None = None
    usage: msgspec.Raw = ABSENT


class _Delta(_Block):
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    index: int = 0
    message: _Body | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def encode_messages(request: ChatRequest, model: str, *, stream: bool) -> bytes:
    """The request's body in the Messages shape; what the shape cannot say is left to `extra_body`.

    Raises:
        ConfigurationError: a message or tool cannot be said in this shape.
    """
    system, messages = _split(request.messages())
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": messages,
    }
    if system:
        body["system"] = system
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None:
            body[name] = min(value, 1.0)
    if request.stop is not None:
        body["stop_sequences"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    _add_tools(body, request)
    budget = _THINKING_BUDGETS.get(request.reasoning_effort or "")
    if budget is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        body["max_tokens"] = max(body["max_tokens"], budget + 1024)
    if stream:
        body["stream"] = True
    if request.user_id is not None:
        body["metadata"] = {"user_id": request.user_id}
    if request.extra_body:
        body.update(request.extra_body)
    return _encode(body)


def _add_tools(body: dict[str, Any], request: ChatRequest) -> None:
    tools = [_tool(tool) for tool in request.tools or ()]
    choice: dict[str, Any] | None = None
    if isinstance(request.tool_choice, str):
        choice = {"type": {"auto": "auto", "none": "none", "required": "any"}[request.tool_choice]}
    elif request.tool_choice is not None:
        choice = {"type": "tool", "name": _function_name(request.tool_choice)}
    if request.response_model is not None:
        tools.append(_tool(answer_tool_of(request.response_model)))
        choice = {"type": "tool", "name": "answer"}
    if tools:
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = choice


def _function_name(choice: Mapping[str, Any]) -> str:
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    if not isinstance(name, str):
        raise ConfigurationError("`tool_choice` names no function: use {'type': 'function', 'function': {'name': …}}")
    return name


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return tool
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    native = {"name": function["name"], "input_schema": parameters}
    return {**native, "description": function["description"]} if "description" in function else native


def _split(messages: list[Mapping[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """System blocks, and turns in which neighbours of the same role are one."""
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
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise ConfigurationError("`message` holds only system text: Anthropic needs at least one user message")
    return system, turns


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
    blocks = [_part(part) for part in parts]
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": blocks}]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = function.get("arguments") or "{}"
        try:
            decoded = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
        except msgspec.DecodeError as exc:
            raise ConfigurationError(
                f"`message`: the arguments of tool call {call.get('id')!r} are not JSON ({exc})"
            ) from exc
        blocks.append(
            {"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": decoded}
        )
    return blocks


def _part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url:
        raise ConfigurationError("`message`: an `image_url` part has no url")
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    head, _, data = url[5:].partition(",")
    kind = head.split(";")[0] or "image/png"
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def decode_messages(body: bytes) -> Reply | None:
    """A whole reply; None where the body is no Messages reply.

    Raises:
        msgspec.DecodeError: the body is not JSON or a field has an impossible type.
    """
    decoded = _decode_body(body)
    if decoded.type != "message" or decoded.content is None:
        return None
    usage = read_usage(decoded.usage, decode_anthropic_usage)
    thinking = "".join(block.thinking or "" for block in decoded.content if block.type == "thinking")
    return Reply(
        content="".join(block.text or "" for block in decoded.content if block.type == "text"),
        finish_reason=_FINISH.get(decoded.stop_reason, decoded.stop_reason) if decoded.stop_reason else None,
        usage=anthropic_counts(usage) if usage is not None else None,
        tool_calls=tuple(
            ToolCall(id=block.id or "", name=block.name or "", arguments=bytes(block.input).decode() or "{}")
            for block in decoded.content
            if block.type == "tool_use"
        ),
        reasoning=thinking or None,
        served_model=decoded.model,
    )


class AnthropicStream:
    """Turns Messages stream events into chunks and remembers usage, finish reason and any error."""

    __slots__ = ("_calls", "_counted", "error", "finish_reason", "reported_cost_usd", "served_model", "usage")

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        self._counted = AnthropicUsage()
        self.finish_reason: str | None = None
        self.usage: TokenCounts | None = None
        self.reported_cost_usd: float | None = None
        self.served_model: str | None = None
        self.error: bytes | None = None

    def event(self, data: bytes) -> StreamChunk | None:
        """The chunk of one event, None where the event adds nothing to the answer.

        Raises:
            msgspec.DecodeError: the event is not JSON of the expected shape.
        """
        event = _decode_event(data)
        kind = event.type
        if kind == "content_block_delta" and event.delta is not None:
            return self._delta(event.index, event.delta)
        if kind == "error" or (kind is None and bytes(event.error)):
            self.error = self.error or data
        elif kind == "message_start" and event.message is not None:
            self.served_model = event.message.model
            self._count(event.message.usage)
            self.usage = None  # the output is not counted yet
        elif kind == "content_block_start" and event.content_block is not None:
            return self._block(event.index, event.content_block)
        elif kind == "message_delta" and event.delta is not None:
            self._count(event.usage)
            if reason := event.delta.stop_reason:
                self.finish_reason = _FINISH.get(reason, reason)
                return StreamChunk(finish_reason=self.finish_reason)
        return None

    def _block(self, index: int, block: _Block) -> StreamChunk | None:
        if block.type == "tool_use":
            position = self._calls.setdefault(index, len(self._calls))
            return StreamChunk(tool_calls=(ToolCallDelta(index=position, id=block.id or "", name=block.name or ""),))
        return StreamChunk(content=block.text) if block.text else None

    def _delta(self, index: int, delta: _Delta) -> StreamChunk | None:
        if delta.text:
            return StreamChunk(content=delta.text)
        if delta.thinking:
            return StreamChunk(reasoning=delta.thinking)
        if delta.partial_json:
            position = self._calls.setdefault(index, len(self._calls))
            return StreamChunk(tool_calls=(ToolCallDelta(index=position, arguments=delta.partial_json),))
        return None

    def _count(self, raw: msgspec.Raw) -> None:
        """Later figures replace earlier ones; those a later event leaves out stay."""
        usage = read_usage(raw, decode_anthropic_usage)
        if usage is None:
            return
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._counted, name, value)
        self.usage = anthropic_counts(self._counted)


__all__ = ["DEFAULT_MAX_TOKENS", "AnthropicStream", "decode_messages", "encode_messages"]

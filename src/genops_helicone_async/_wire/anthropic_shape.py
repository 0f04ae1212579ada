"""Anthropic's Messages shape: requests out, replies and stream events in. OpenAI vocabulary on our side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..chat_request import ChatRequest
from ..errors import ConfigurationError
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .anthropic_turns import turns_of
from .request_json import encode_body
from .schema import ANSWER_TOOL, answer_tool_for, may_force_answer
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
_LEAST_THINKING = 1024
_THINKING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768}


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
    id: str | None = None
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

    A `temperature` above 1 is sent as 1, and none beside thinking, with which Messages takes no other. `max_tokens`
    covers thinking too: the thinking budget is what fits into half of it.

    Raises:
        ConfigurationError: a message or tool cannot be said in this shape.
    """
    messages = request.messages()
    system, turns = turns_of(messages)
    body: dict[str, Any] = {"model": model, "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS, "messages": turns}
    if system:
        body["system"] = system
    # After a tool's result Messages wants the thoughts of before, which OpenAI-style messages do not carry.
    budget = 0 if messages[-1]["role"] == "tool" else _thinking_budget(request)
    if budget:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        body["max_tokens"] = request.max_tokens or budget + DEFAULT_MAX_TOKENS
    elif request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)
    if request.top_p is not None and not budget:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop_sequences"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    _add_tools(body, request)
    if stream:
        body["stream"] = True
    return encode_body(body, request)


def _thinking_budget(request: ChatRequest) -> int:
    """Tokens to think with; 0 where none were asked for, or where `max_tokens` leaves no room for the least of them."""
    budget = _THINKING_BUDGETS.get(request.reasoning_effort or "", 0)
    if request.max_tokens is not None:
        budget = min(budget, request.max_tokens // 2)
    return budget if budget >= _LEAST_THINKING else 0


def _add_tools(body: dict[str, Any], request: ChatRequest) -> None:
    tools = [_tool(tool) for tool in request.tools or ()]
    choice: dict[str, Any] | None = None
    if isinstance(request.tool_choice, str):
        choice = {"type": {"auto": "auto", "none": "none", "required": "any"}[request.tool_choice]}
    elif request.tool_choice is not None:
        choice = {"type": "tool", "name": _function_name(request.tool_choice)}
    answer = answer_tool_for(request)
    if answer is not None:
        tools.append(_tool(answer))
        choice = {"type": "tool", "name": ANSWER_TOOL} if may_force_answer(request) else {"type": "auto"}
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
    return {**native, "description": function["description"]} if function.get("description") else native


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
        response_id=decoded.id,
    )


class AnthropicStream:
    """Turns Messages stream events into chunks and remembers usage, finish reason and any error.

    `usage` is None until the output is counted, at the end; `observed` tells the input as soon as it is known.
    """

    __slots__ = (
        "_calls",
        "_counted",
        "error",
        "finish_reason",
        "observed",
        "reported_cost_usd",
        "response_id",
        "served_model",
        "usage",
    )

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        self._counted = AnthropicUsage()
        self.finish_reason: str | None = None
        self.usage: TokenCounts | None = None
        self.observed: TokenCounts | None = None
        self.reported_cost_usd: float | None = None
        self.served_model: str | None = None
        self.response_id: str | None = None
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
            self.served_model, self.response_id = event.message.model, event.message.id
            self._count(event.message.usage)
        elif kind == "content_block_start" and event.content_block is not None:
            return self._block(event.index, event.content_block)
        elif kind == "message_delta":
            if self._count(event.usage):
                self.usage = self.observed
            reason = event.delta.stop_reason if event.delta is not None else None
            if reason:
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
        if delta.partial_json and index in self._calls:  # a tool that runs on Anthropic's side is none of the caller's
            delta_of = ToolCallDelta(index=self._calls[index], arguments=delta.partial_json)
            return StreamChunk(tool_calls=(delta_of,))
        return None

    def _count(self, raw: msgspec.Raw) -> bool:
        """Takes figures over; later ones replace earlier ones, those a later event leaves out stay."""
        usage = read_usage(raw, decode_anthropic_usage)
        if usage is None:
            return False
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._counted, name, value)
        self.observed = anthropic_counts(self._counted)
        return True


__all__ = ["DEFAULT_MAX_TOKENS", "AnthropicStream", "decode_messages", "encode_messages"]

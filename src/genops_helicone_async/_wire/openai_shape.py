"""The OpenAI shape: chat requests out, replies and stream events in."""

from __future__ import annotations

from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..chat_request import ChatRequest
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .schema import response_format_of
from .usage import ABSENT, decode_openai_usage, openai_counts, read_usage, reported_cost_usd

_REASONING_PREFIXES = ("o1", "o3", "o4", "gpt-5")
_encode = msgspec.json.Encoder().encode


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct):
    id: str | None = None
    index: int | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | list[Any] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = ABSENT
    model: str | None = None
    error: msgspec.Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode


def encode_chat(request: ChatRequest, model: str, provider: str, *, stream: bool, stream_usage: bool) -> bytes:
    """The request's body. `model` is the name on the wire; only fields the caller set are sent."""
    body: dict[str, Any] = {"model": model, "messages": request.messages()}
    if request.max_tokens is not None:
        renamed = provider in ("openai", "azure") and model.startswith(_REASONING_PREFIXES)
        body["max_completion_tokens" if renamed else "max_tokens"] = request.max_tokens
    for name in (
        "temperature",
        "top_p",
        "stop",
        "seed",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
    ):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.response_model is not None and "response_format" not in body:
        body["response_format"] = response_format_of(request.response_model)
    if stream:
        body["stream"] = True
        if stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.extra_body:
        body.update(request.extra_body)
    return _encode(body)


def decode_chat(body: bytes, *, gateway: bool, provider: str) -> Reply | None:
    """A whole reply; None where the body is no chat completion (the caller looks for another shape).

    Raises:
        msgspec.DecodeError: the body is not JSON or a field has an impossible type.
    """
    decoded = _decode_body(body)
    if not decoded.choices:
        return None
    choice = decoded.choices[0]
    message = choice.message or choice.delta or _Message()
    content, reasoning = text_of(message.content), reasoning_of(message)
    usage = read_usage(decoded.usage, decode_openai_usage)
    counts = None
    if usage is not None:
        counts = openai_counts(usage, gateway=gateway, streamed=False, provider=provider)
    return Reply(
        content=content or message.refusal or "",
        finish_reason=choice.finish_reason,
        usage=counts,
        tool_calls=_tool_calls(message),
        reasoning=reasoning or None,
        served_model=decoded.model,
        reported_cost_usd=reported_cost_usd(usage) if usage is not None else None,
    )


def text_of(content: str | list[Any] | None) -> str:
    """The text of a `content`: a string, or the text parts of a list joined."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content if isinstance(part, dict) and part.get("type") == "text")


def reasoning_of(message: _Message) -> str:
    """The reasoning text a provider put beside the content, under whichever name it uses."""
    for value in (message.reasoning_content, message.reasoning):
        if isinstance(value, str) and value:
            return value
    if isinstance(message.content, list):
        parts = [part.get("thinking") for part in message.content if isinstance(part, dict)]
        return "".join(text_of(part) if isinstance(part, list) else part for part in parts if part)
    return ""


def _tool_calls(message: _Message) -> tuple[ToolCall, ...]:
    calls = [
        ToolCall(id=call.id or "", name=call.function.name or "", arguments=_arguments(call.function.arguments))
        for call in message.tool_calls or ()
        if call.function is not None
    ]
    if not calls and message.function_call is not None:
        function = message.function_call
        calls = [ToolCall(id="", name=function.name or "", arguments=_arguments(function.arguments))]
    return tuple(calls)


def _arguments(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return _encode(value).decode()


def _says_something(error: msgspec.Raw) -> bool:
    return bytes(error) not in (b"", b"null", b"false", b"{}", b'""')


class OpenAiStream:
    """Turns the events of a chat stream into chunks and remembers usage, finish reason and any error."""

    __slots__ = (
        "_gateway",
        "_provider",
        "error",
        "finish_reason",
        "reported_cost_usd",
        "served_model",
        "usage",
    )

    def __init__(self, *, gateway: bool, provider: str) -> None:
        self._gateway = gateway
        self._provider = provider
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
        if data == b"[DONE]":
            return None
        decoded = _decode_body(data)
        if _says_something(decoded.error):
            self.error = self.error or data
            return None
        usage = read_usage(decoded.usage, decode_openai_usage)
        if usage is not None:
            cost = reported_cost_usd(usage)
            self.reported_cost_usd = self.reported_cost_usd if cost is None else cost
            self.usage = openai_counts(usage, gateway=self._gateway, streamed=True, provider=self._provider)
        if decoded.model:
            self.served_model = decoded.model
        if not decoded.choices:
            return None
        choice = decoded.choices[0]
        if choice.index:
            return None
        return self._chunk(choice.delta or choice.message or _Message(), choice.finish_reason)

    def _chunk(self, delta: _Message, finish_reason: str | None) -> StreamChunk | None:
        if finish_reason is not None:
            self.finish_reason = finish_reason
        content, reasoning = text_of(delta.content) or delta.refusal or "", reasoning_of(delta)
        calls: tuple[ToolCallDelta, ...] = ()
        if delta.tool_calls:
            calls = tuple(_tool_call_delta(position, call) for position, call in enumerate(delta.tool_calls))
        if not (content or reasoning or calls or finish_reason):
            return None
        return StreamChunk(content=content, reasoning=reasoning, tool_calls=calls, finish_reason=finish_reason)


def _tool_call_delta(position: int, call: _ToolCall) -> ToolCallDelta:
    function = call.function or _Function()
    return ToolCallDelta(
        index=position if call.index is None else call.index,
        id=call.id or "",
        name=function.name or "",
        arguments=_arguments(function.arguments),
    )


__all__ = ["OpenAiStream", "decode_chat", "encode_chat", "text_of"]

"""The OpenAI shape: chat requests out, replies and stream events in."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..chat_request import ChatRequest
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .request_json import encode_body
from .schema import ANSWER_TOOL, answer_tool_for, may_force_answer, response_format_of
from .usage import ABSENT, OpenAiUsage, decode_openai_usage, openai_counts, read_usage, reported_cost_usd

_REASONING_PREFIXES = ("o1", "o3", "o4", "gpt-5")
_SENT_AS_GIVEN = (
    "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format", "reasoning_effort",
)  # fmt: skip
_sent_as_given = attrgetter(*_SENT_AS_GIVEN)
_NONE_GIVEN = (None,) * len(_SENT_AS_GIVEN)
_FINISH = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
}
"""What providers write instead of OpenAI's own words."""
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

    def is_only_text(self) -> bool:
        """Whether there is nothing beside the content, as in nearly every piece of a stream."""
        return not (self.tool_calls or self.function_call or self.reasoning or self.reasoning_content)


class _Choice(msgspec.Struct):
    index: int | None = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = ABSENT
    model: str | None = None
    id: Any = None
    error: msgspec.Raw = ABSENT


class _Whole(msgspec.Struct):
    """The same with a usage as it should be, as nearly every reply has it: taking it apart costs half as much again."""

    choices: list[_Choice] | None = None
    usage: OpenAiUsage | None = None
    model: str | None = None
    id: Any = None
    error: msgspec.Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode


def encode_chat(
    request: ChatRequest, model: str, provider: str, *, stream: bool, stream_usage: bool, answer_by_tool: bool = False
) -> bytes:
    """The request's body. `model` is the name on the wire; only fields the caller set are sent.

    `answer_by_tool` asks for a structured answer by a tool call, where the gateway would drop `response_format`.

    Raises:
        ConfigurationError: a value has no form in JSON, or the answer tool cannot be made.
    """
    body: dict[str, Any] = {"model": model, "messages": request.messages()}
    if request.max_tokens is not None:
        name = model.removeprefix(f"{provider}/")
        renamed = provider in ("openai", "azure") and name.startswith(_REASONING_PREFIXES)
        body["max_completion_tokens" if renamed else "max_tokens"] = request.max_tokens
    given = _sent_as_given(request)
    if given != _NONE_GIVEN:
        pairs = zip(_SENT_AS_GIVEN, given, strict=True)
        body |= {name: value for name, value in pairs if value not in (None, [], ())}  # providers refuse an empty list
    if answer_by_tool:
        _ask_by_tool(body, request)
    elif request.response_model is not None and "response_format" not in body:
        body["response_format"] = response_format_of(request.response_model)
    if stream:
        body["stream"] = True
        if stream_usage:
            body["stream_options"] = {"include_usage": True}
    return encode_body(body, request)


def _ask_by_tool(body: dict[str, Any], request: ChatRequest) -> None:
    """Puts the answer tool in the place of `response_format`; forced by name, since `required` fails for Claude."""
    tool = answer_tool_for(request)
    if tool is None:
        return
    body.pop("response_format", None)
    body["tools"] = [*(request.tools or ()), tool]
    forced = {"type": "function", "function": {"name": ANSWER_TOOL}}
    body["tool_choice"] = forced if may_force_answer(request) else "auto"


def decode_chat(body: bytes, *, gateway: bool, provider: str) -> Reply | None:
    """A whole reply; None where the body is no chat completion (the caller looks for another shape).

    Raises:
        msgspec.DecodeError: the body is not JSON or a field has an impossible type.
    """
    decoded: _Body | _Whole
    try:
        decoded = whole = _decode_whole(body)
        usage = whole.usage
    except msgspec.ValidationError:
        decoded = _decode_body(body)
        usage = read_usage(decoded.usage, decode_openai_usage)
    if not decoded.choices or (decoded.error is not ABSENT and _says_something(decoded.error)):
        return None
    choice = decoded.choices[0]
    if choice.index:
        choice = _first_choice(decoded.choices)
    finish, message = _finish(choice), choice.message
    if message is None:
        if choice.delta is None and finish is None:
            return None
        message = choice.delta or _Message()
    content, reasoning = message.content, None
    if type(content) is not str or message.reasoning_content or message.reasoning:
        content, reasoning = text_of(content), reasoning_of(message)
    has_calls = message.tool_calls or message.function_call is not None
    counts = None
    if usage is not None:
        counts = openai_counts(usage, gateway=gateway, streamed=False, provider=provider)
    return Reply(
        content=content or message.refusal or "",
        finish_reason=finish,
        usage=counts,
        tool_calls=_tool_calls(message) if has_calls else (),
        reasoning=reasoning or None,
        served_model=decoded.model,
        response_id=decoded.id if isinstance(decoded.id, str) else None,
        reported_cost_usd=reported_cost_usd(usage) if usage is not None and usage.cost is not None else None,
    )


def text_of(content: str | list[Any] | None) -> str:
    """The text of a `content`: a string, or the text parts of a list joined."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def reasoning_of(message: _Message) -> str:
    """The reasoning text a provider put beside the content, under whichever name it uses."""
    if message.reasoning_content or message.reasoning:
        for value in (message.reasoning_content, message.reasoning):
            if isinstance(value, str) and value:
                return value
    if isinstance(message.content, list):
        parts = [part.get("thinking") for part in message.content if isinstance(part, dict)]
        return "".join(text_of(part) for part in parts if isinstance(part, str | list))
    return ""


def _first_choice(choices: list[_Choice]) -> _Choice:
    return next((choice for choice in choices if not choice.index), choices[0])


def _finish(choice: _Choice) -> str | None:
    """Why the answer ended, in OpenAI's words; some servers write an empty text until it has."""
    return _FINISH.get(choice.finish_reason or "", choice.finish_reason) or None


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
    return error is not ABSENT and bytes(error) not in (b"", b"null", b"false", b"{}", b'""')


class OpenAiStream:
    """Turns the events of a chat stream into chunks and remembers usage, finish reason and any error."""

    __slots__ = (
        "_begun",
        "_calls",
        "_gateway",
        "_provider",
        "error",
        "finish_reason",
        "reported_cost_usd",
        "response_id",
        "served_model",
        "usage",
    )

    def __init__(self, *, gateway: bool, provider: str) -> None:
        self._gateway = gateway
        self._provider = provider
        self._begun = 0
        self._calls: dict[int, tuple[int, str]] = {}
        self.finish_reason: str | None = None
        self.usage: TokenCounts | None = None
        self.reported_cost_usd: float | None = None
        self.served_model: str | None = None
        self.response_id: str | None = None
        self.error: bytes | None = None

    @property
    def observed(self) -> TokenCounts | None:
        """What is known of the tokens so far, even of a stream that breaks off."""
        return self.usage

    def event(self, data: bytes) -> StreamChunk | None:
        """The chunk of one event, None where the event adds nothing to the answer.

        Raises:
            msgspec.DecodeError: the event is not JSON of the expected shape.
        """
        if data == b"[DONE]":
            return None
        decoded = _decode_body(data)
        if decoded.error is not ABSENT and _says_something(decoded.error):
            self.error = self.error or data
            return None
        if decoded.usage is not ABSENT and (usage := read_usage(decoded.usage, decode_openai_usage)) is not None:
            cost = reported_cost_usd(usage)
            self.reported_cost_usd = self.reported_cost_usd if cost is None else cost
            self.usage = openai_counts(usage, gateway=self._gateway, streamed=True, provider=self._provider)
        if decoded.model:
            self.served_model = decoded.model
        if self.response_id is None and isinstance(decoded.id, str):
            self.response_id = decoded.id
        if not decoded.choices:
            return None
        choice = _first_choice(decoded.choices)
        if choice.index:
            return None
        delta = choice.delta or choice.message or _Message()
        return self._chunk(delta, None if choice.finish_reason is None else _finish(choice))

    def _chunk(self, delta: _Message, finish_reason: str | None) -> StreamChunk | None:
        self.finish_reason = finish_reason or self.finish_reason
        if delta.content and isinstance(delta.content, str) and delta.is_only_text():
            return StreamChunk(content=delta.content, finish_reason=finish_reason)
        content, reasoning = text_of(delta.content) or delta.refusal or "", reasoning_of(delta)
        calls = delta.tool_calls or ()
        if delta.function_call is not None:
            calls = [_ToolCall(index=0, function=delta.function_call)]
        deltas = tuple(self._call_delta(position, call) for position, call in enumerate(calls))
        if not (content or reasoning or deltas or finish_reason):
            return None
        return StreamChunk(content=content, reasoning=reasoning, tool_calls=deltas, finish_reason=finish_reason)

    def _call_delta(self, position: int, call: _ToolCall) -> ToolCallDelta:
        """A piece of a call. Another id on a known index is another call: Gemini gives every call the index 0."""
        function = call.function or _Function()
        index = position if call.index is None else call.index
        begun = self._calls.get(index)
        if begun is None or (call.id and function.name and call.id != begun[1]):
            begun = self._calls[index] = (self._begun, call.id or "")
            self._begun += 1
        return ToolCallDelta(
            index=begun[0],
            id=call.id or "",
            name=function.name or "",
            arguments=_arguments(function.arguments),
        )


__all__ = ["OpenAiStream", "decode_chat", "encode_chat", "text_of"]

"""The OpenAI shape: chat requests out, replies and stream events in."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..chat_request import ChatRequest
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .openai_body import (
    Choice,
    Function,
    Message,
    ToolCallPart,
    Whole,
    WholeChoice,
    beside_content,
    decode_body,
    decode_whole,
)
from .request_json import encode_body
from .schema import ANSWER_TOOL, answer_tool_for, may_force_answer, response_format_of
from .usage import (
    ABSENT,
    OpenAiUsage,
    decode_openai_usage,
    exact_counts,
    openai_counts,
    read_usage,
    reported_cost_usd,
)

_REASONING_PREFIXES = ("o1", "o3", "o4", "gpt-5")
_SENT_AS_GIVEN = (
    "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format", "reasoning_effort",
)  # fmt: skip
_options_of = attrgetter(*_SENT_AS_GIVEN, "response_model")
_NO_OPTIONS = (None,) * (len(_SENT_AS_GIVEN) + 1)
_FINISH: dict[str | None, str] = {
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


def encode_chat(
    request: ChatRequest, model: str, provider: str, *, stream: bool, stream_usage: bool, answer_by_tool: bool = False
) -> bytes:
    """The request's body. `model` is the name on the wire; only fields the caller set are sent.

    `answer_by_tool` asks for a structured answer by a tool call, where the gateway would drop `response_format`.

    Raises:
        ConfigurationError: a value has no form in JSON, or the answer tool cannot be made.
    """
    message = request.message
    is_whole = type(message) is list and request.system_prompt is None
    body: dict[str, Any] = {"model": model, "messages": message if is_whole else request.messages()}
    if request.max_tokens is not None:
        name = model.removeprefix(f"{provider}/")
        renamed = provider in ("openai", "azure") and name.startswith(_REASONING_PREFIXES)
        body["max_completion_tokens" if renamed else "max_tokens"] = request.max_tokens
    if (options := _options_of(request)) != _NO_OPTIONS:
        _add_options(body, request, options, answer_by_tool=answer_by_tool)
    if stream:
        body["stream"] = True
        if stream_usage:
            body["stream_options"] = {"include_usage": True}
    return encode_body(body, request)


def _add_options(body: dict[str, Any], request: ChatRequest, options: tuple[Any, ...], *, answer_by_tool: bool) -> None:
    given = zip(_SENT_AS_GIVEN, options, strict=False)  # the last option is sent in another form
    body |= {name: value for name, value in given if value not in (None, [], ())}  # providers refuse an empty list
    if answer_by_tool:
        _ask_by_tool(body, request)
    elif request.response_model is not None and "response_format" not in body:
        body["response_format"] = response_format_of(request.response_model)


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
    usage: OpenAiUsage | None
    calls: tuple[ToolCall, ...] = ()
    try:
        whole = decode_whole(body)
        usage = exact = whole.usage
        counts = exact_counts(exact, gateway=gateway, provider=provider) if exact is not None else None
    except msgspec.ValidationError:
        found = _whole_in(body)
        if found is None:
            return None
        whole, usage = found
        counts = None
        if usage is not None:
            counts = openai_counts(usage, gateway=gateway, streamed=False, provider=provider)
    choice = whole.choices[0]
    message, finish = choice.message, choice.finish_reason
    content, reasoning = message.content, None
    if type(content) is not str or any(beside_content(message)):
        content, reasoning, calls = text_of(content), reasoning_of(message) or None, _tool_calls(message)
    return Reply(
        content=content or message.refusal or "",
        finish_reason=_FINISH.get(finish, finish) or None,
        usage=counts,
        tool_calls=calls,
        reasoning=reasoning,
        served_model=whole.model,
        response_id=whole.id,
        reported_cost_usd=reported_cost_usd(usage) if usage is not None and usage.cost is not None else None,
    )


def _whole_in(body: bytes) -> tuple[Whole, OpenAiUsage | None] | None:
    """The reply in a body that is not all as it should be, and its usage apart; None where there is none."""
    decoded = decode_body(body)
    if not decoded.choices or _says_something(decoded.error):
        return None
    choice = _first_choice(decoded.choices)
    message = choice.message
    if message is None:
        if choice.delta is None and _finish(choice) is None:
            return None
        message = choice.delta or Message()
    told = WholeChoice(message=message, finish_reason=choice.finish_reason)
    response_id = decoded.id if isinstance(decoded.id, str) else None
    return Whole(choices=[told], model=decoded.model, id=response_id), read_usage(decoded.usage, decode_openai_usage)


def text_of(content: str | list[Any] | None) -> str:
    """The text of a `content`: a string, or the text parts of a list joined."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def reasoning_of(message: Message) -> str:
    """The reasoning text a provider put beside the content, under whichever name it uses."""
    if message.reasoning_content or message.reasoning:
        for value in (message.reasoning_content, message.reasoning):
            if isinstance(value, str) and value:
                return value
    if isinstance(message.content, list):
        parts = [part.get("thinking") for part in message.content if isinstance(part, dict)]
        return "".join(text_of(part) for part in parts if isinstance(part, str | list))
    return ""


def _first_choice(choices: list[Choice]) -> Choice:
    return next((choice for choice in choices if not choice.index), choices[0])


def _finish(choice: Choice) -> str | None:
    """Why the answer ended, in OpenAI's words; some servers write an empty text until it has."""
    return _FINISH.get(choice.finish_reason, choice.finish_reason) or None


def _tool_calls(message: Message) -> tuple[ToolCall, ...]:
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
        decoded = decode_body(data)
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
        delta = choice.delta or choice.message or Message()
        return self._chunk(delta, None if choice.finish_reason is None else _finish(choice))

    def _chunk(self, delta: Message, finish_reason: str | None) -> StreamChunk | None:
        self.finish_reason = finish_reason or self.finish_reason
        if delta.content and isinstance(delta.content, str) and delta.is_only_text():
            return StreamChunk(content=delta.content, finish_reason=finish_reason)
        content, reasoning = text_of(delta.content) or delta.refusal or "", reasoning_of(delta)
        calls = delta.tool_calls or ()
        if delta.function_call is not None:
            calls = [ToolCallPart(index=0, function=delta.function_call)]
        deltas = tuple(self._call_delta(position, call) for position, call in enumerate(calls))
        if not (content or reasoning or deltas or finish_reason):
            return None
        return StreamChunk(content=content, reasoning=reasoning, tool_calls=deltas, finish_reason=finish_reason)

    def _call_delta(self, position: int, call: ToolCallPart) -> ToolCallDelta:
        """A piece of a call. Another id on a known index is another call: Gemini gives every call the index 0."""
        function = call.function or Function()
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

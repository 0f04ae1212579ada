"""Google's generateContent shape, decoded only: a gateway may pass such a reply on unconverted."""

from __future__ import annotations

from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .usage import ABSENT, decode_google_usage, google_counts, read_usage

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_encode = msgspec.json.Encoder().encode


class _FunctionCall(msgspec.Struct):
    name: str = ""
    args: Any = None
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: msgspec.Raw = ABSENT
    prompt_feedback: Any = None
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode


def decode_generate_content(body: bytes) -> Reply | None:
    """A whole reply; None where the body is no generateContent reply.

    Raises:
        msgspec.DecodeError: the body is not JSON or a field has an impossible type.
    """
    decoded = _decode_body(body)
    if decoded.candidates is None and decoded.prompt_feedback is None:
        return None
    candidate = (decoded.candidates or [_Candidate(finish_reason="SAFETY")])[0]
    parts = (candidate.content.parts if candidate.content else None) or []
    usage = read_usage(decoded.usage_metadata, decode_google_usage)
    calls = tuple(
        ToolCall(id=call.id or f"call_{index}", name=call.name, arguments=_encode(call.args or {}).decode())
        for index, call in enumerate(part.function_call for part in parts if part.function_call is not None)
    )
    return Reply(
        content="".join(part.text or "" for part in parts if not part.thought),
        finish_reason=_finish(candidate.finish_reason, bool(calls)),
        usage=google_counts(usage) if usage is not None else None,
        tool_calls=calls,
        reasoning="".join(part.text or "" for part in parts if part.thought) or None,
        served_model=decoded.model_version,
        response_id=decoded.response_id,
    )


def _finish(reason: str | None, called_tools: bool) -> str | None:
    if reason is None:
        return None
    return "tool_calls" if called_tools and reason == "STOP" else _FINISH.get(reason, "content_filter")


class GoogleStream:
    """Turns streamed generateContent replies into chunks."""

    __slots__ = ("_calls", "error", "finish_reason", "reported_cost_usd", "response_id", "served_model", "usage")

    def __init__(self) -> None:
        self._calls = 0
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
        reply = decode_generate_content(data)
        if reply is None:
            if bytes(_decode_body(data).error):
                self.error = self.error or data
            return None
        self.usage = reply.usage or self.usage
        self.served_model = reply.served_model or self.served_model
        self.response_id = reply.response_id or self.response_id
        deltas = tuple(
            ToolCallDelta(index=self._calls + index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(reply.tool_calls)
        )
        self._calls += len(deltas)
        finish_reason = "tool_calls" if reply.finish_reason == "stop" and self._calls else reply.finish_reason
        self.finish_reason = finish_reason or self.finish_reason
        if not (reply.content or reply.reasoning or deltas or finish_reason):
            return None
        return StreamChunk(
            content=reply.content,
            reasoning=reply.reasoning or "",
            tool_calls=deltas,
            finish_reason=finish_reason,
        )


__all__ = ["GoogleStream", "decode_generate_content"]

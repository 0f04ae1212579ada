"""OpenAI's Responses shape, decoded only: other clients speak it through Helicone, ours does not."""

from __future__ import annotations

from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .usage import ABSENT, decode_openai_usage, openai_counts, read_usage

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILURES = frozenset({"response.failed", "error"})


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Body(msgspec.Struct):
    object: str | None = None
    id: str | None = None
    model: str | None = None
    status: str | None = None
    incomplete_details: _Details | None = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = ABSENT


class _Event(msgspec.Struct):
    type: str | None = None
    delta: Any = None
    item: _Item | None = None
    output_index: int = 0
    response: _Body | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def decode_response(body: bytes, provider: str) -> Reply | None:
    """A whole reply; None where the body is no Responses reply.

    Raises:
        msgspec.DecodeError: the body is not JSON or a field has an impossible type.
    """
    decoded = _decode_body(body)
    if decoded.object != "response" or decoded.output is None:
        return None
    items = decoded.output
    calls = tuple(
        ToolCall(id=item.call_id or "", name=item.name or "", arguments=item.arguments or "{}")
        for item in items
        if item.type == "function_call"
    )
    parts = [part for item in items if item.type == "message" for part in item.content or ()]
    thoughts = [part.text or "" for item in items if item.type == "reasoning" for part in item.summary or ()]
    return Reply(
        content="".join(part.text or part.refusal or "" for part in parts),
        finish_reason=_finish(decoded, bool(calls)),
        usage=_counts(decoded, provider),
        tool_calls=calls,
        reasoning="".join(thoughts) or None,
        served_model=decoded.model,
        response_id=decoded.id,
    )


def _finish(body: _Body, called_tools: bool) -> str | None:
    if body.status == "incomplete":
        reason = body.incomplete_details.reason if body.incomplete_details else None
        return _INCOMPLETE.get(reason or "", reason) or "length"
    if body.status in (None, "completed"):
        return "tool_calls" if called_tools else "stop"
    return None


def _counts(body: _Body, provider: str) -> TokenCounts | None:
    usage = read_usage(body.usage, decode_openai_usage)
    # The AI Gateway may write a chat's names into it, which are read as well; its totals are not looked at.
    return None if usage is None else openai_counts(usage, gateway=False, streamed=False, provider=provider)


class ResponsesStream:
    """Turns the events of a Responses stream into chunks; usage and the end come with its last event."""

    __slots__ = (
        "_calls", "_provider", "error", "finish_reason", "reported_cost_usd", "response_id", "served_model", "usage",
    )  # fmt: skip

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._calls: dict[int, int] = {}
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
        event = _decode_event(data)
        kind = event.type or ""
        if kind in _FAILURES:
            self.error = self.error or data
        elif event.response is not None:
            return self._told(event.response, ended=kind in _ENDS)
        elif kind in ("response.output_text.delta", "response.refusal.delta") and isinstance(event.delta, str):
            return StreamChunk(content=event.delta)
        elif kind.startswith("response.reasoning") and isinstance(event.delta, str):
            return StreamChunk(reasoning=event.delta)
        elif kind == "response.output_item.added" and event.item is not None and event.item.type == "function_call":
            index = self._calls.setdefault(event.output_index, len(self._calls))
            call = ToolCallDelta(index=index, id=event.item.call_id or "", name=event.item.name or "")
            return StreamChunk(tool_calls=(call,))
        elif kind == "response.function_call_arguments.delta" and isinstance(event.delta, str):
            index = self._calls.setdefault(event.output_index, len(self._calls))
            return StreamChunk(tool_calls=(ToolCallDelta(index=index, arguments=event.delta),))
        return None

    def _told(self, body: _Body, *, ended: bool) -> StreamChunk | None:
        self.served_model, self.response_id = body.model or self.served_model, body.id or self.response_id
        if not ended:
            return None
        self.usage = _counts(body, self._provider)
        self.finish_reason = _finish(body, bool(self._calls))
        return StreamChunk(finish_reason=self.finish_reason)


__all__ = ["ResponsesStream", "decode_response"]

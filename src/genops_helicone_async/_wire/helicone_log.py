"""Helicone's log of calls that did not pass it: what it is told of one attempt, and what its answers mean.

A reply that was streamed is told as the text of a stream, for Helicone reads the replies to requests with
`"stream": true` as such: its chunks are joined into one. Vectors are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._providers import Shape
from .._values import HttpReply, Reply, TokenCounts
from .failures import read_error, scrub
from .headers import attribution_headers

CANCELLED = -3
"""The status of a call that its caller gave up, by the convention of Helicone's own SDKs."""
TIMED_OUT = -2
"""The status of a stream that did not end in time."""
_UNANSWERED = 502
"""What a gateway between us and the provider would have said."""


class LoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to be told: what was sent and came back, and when, in Unix seconds.

    `reply_body` is the reply's JSON where it was kept; `reply` what there is of a stream. `status` is HTTP's, or one of
    Helicone's below zero. `omits_request` and `omits_response` leave all content out.
    """

    request_id: str
    url: str
    shape: Shape
    model: str
    attribution: Mapping[str, str]
    request_body: bytes
    status: int
    started_s: float
    ended_s: float
    first_chunk_s: float | None = None
    reply: Reply | None = None
    reply_body: bytes = b""
    error: str | None = None
    is_stream: bool = False
    is_embedding: bool = False
    omits_request: bool = False
    omits_response: bool = False

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        content = len(self.reply.content) if self.reply is not None else 0
        return len(self.request_body) + len(self.reply_body) + content + 1024


def log_body(entry: LoggedAttempt) -> bytes:
    """The JSON that the log takes."""
    sent: Any = {"model": entry.model} if entry.omits_request else msgspec.Raw(entry.request_body)
    timing: dict[str, Any] = {"startTime": _moment(entry.started_s), "endTime": _moment(entry.ended_s)}
    if entry.first_chunk_s is not None:
        timing["timeToFirstToken"] = round(entry.first_chunk_s * 1000)
    meta = {"Helicone-Request-Id": entry.request_id, **attribution_headers(entry.attribution)}
    return msgspec.json.encode(
        {
            "providerRequest": {"url": entry.url, "json": sent, "meta": meta},
            "providerResponse": {"status": entry.status, "headers": {}, **_response(entry)},
            "timing": timing,
        }
    )


def status_of(*, error: str | None, http_status: int | None, is_cut_short: bool) -> int:
    """The status that an attempt is told with; `is_cut_short` says that a stream had begun."""
    if error is None:
        return http_status or 200
    if error in ("Abandoned", "CancelledError"):
        return CANCELLED
    if error == "DeadlineExceededError":
        return TIMED_OUT if is_cut_short else 504
    return http_status if http_status is not None and http_status >= 400 else _UNANSWERED


def log_error(reply: HttpReply, key: str) -> str | None:
    """What went wrong by the log's answer, None where it has the call. The key is never quoted."""
    told = read_error(reply.body)
    has_failed = isinstance(told.decoded, dict) and told.decoded.get("error") is not None
    if 200 <= reply.status < 300 and not has_failed:
        return None
    return f"it answered {reply.status}: {scrub(told.message.replace(key, '<secret>'))}"


def _response(entry: LoggedAttempt) -> dict[str, Any]:
    """`json`, which must be there, and `textBody` for what was streamed."""
    reply = entry.reply
    if entry.error is not None and (reply is None or not (reply.content or reply.tool_calls or reply.reasoning)):
        return {"json": {"error": {"message": entry.error}}}
    if entry.omits_response or entry.is_embedding:
        kept = {"model": (reply.served_model if reply is not None else None) or entry.model}
        usage = reply.usage if reply is not None else None
        document = {**kept, "usage": _usage(entry.shape, usage)} if usage is not None else kept
        return {"json": {"object": "list", "data": [], **document} if entry.is_embedding else document}
    if entry.is_stream and reply is not None:
        events = _anthropic_events(reply) if entry.shape == "anthropic" else _openai_events(reply)
        done = "" if entry.status < 0 or entry.shape == "anthropic" else "data: [DONE]\n\n"
        return {"json": {}, "textBody": "".join(f"data: {_text(event)}\n\n" for event in events) + done}
    return {"json": msgspec.Raw(entry.reply_body) if entry.reply_body else {}}


def _openai_events(reply: Reply) -> list[dict[str, Any]]:
    head: dict[str, Any] = {
        "id": reply.response_id or "",
        "object": "chat.completion.chunk",
        "model": reply.served_model or "",
    }
    delta: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.reasoning:
        delta["reasoning"] = reply.reasoning
    if reply.tool_calls:
        delta["tool_calls"] = [
            {
                "index": index, "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(reply.tool_calls)
        ]  # fmt: skip
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reply.finish_reason}]}]
    if reply.usage is not None:
        events.append({**head, "choices": [], "usage": _usage("openai", reply.usage)})
    return events


def _anthropic_events(reply: Reply) -> list[dict[str, Any]]:
    usage = _usage("anthropic", reply.usage) if reply.usage is not None else {"input_tokens": 0, "output_tokens": 0}
    message: dict[str, Any] = {
        "id": reply.response_id or "", "type": "message", "role": "assistant", "model": reply.served_model or "",
        "content": [], "usage": usage,
    }  # fmt: skip
    blocks: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"type": "text", "text": ""}, {"type": "text_delta", "text": reply.content})
    ]
    for call in reply.tool_calls:
        begun = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        blocks.append((begun, {"type": "input_json_delta", "partial_json": call.arguments}))
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, (begun, delta) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": reply.finish_reason}, "usage": usage})
    return [*events, {"type": "message_stop"}]


def _usage(shape: Shape, counts: TokenCounts) -> dict[str, Any]:
    """Tokens in the provider's own naming."""
    if shape == "anthropic":
        return {
            "input_tokens": counts.fresh, "output_tokens": counts.output,
            "cache_read_input_tokens": counts.cached, "cache_creation_input_tokens": counts.cache_write,
        }  # fmt: skip
    usage: dict[str, Any] = {
        "prompt_tokens": counts.input, "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
    }  # fmt: skip
    if counts.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": counts.cached}
    return usage


def _text(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode()


def _moment(at_s: float) -> dict[str, int]:
    milliseconds = round(at_s * 1000)
    return {"seconds": milliseconds // 1000, "milliseconds": milliseconds % 1000}


__all__ = ["CANCELLED", "TIMED_OUT", "LoggedAttempt", "log_body", "log_error", "status_of"]

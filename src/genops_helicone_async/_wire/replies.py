"""Replies whatever shape they come in: a whole body to a `Reply`, a stream's bytes to chunks.

A gateway may answer in another shape than it was asked in (a provider that does not offer the model answers
unconverted; `stream: true` may be answered with plain JSON), so the shape is read off the reply itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .._values import Reply, TokenCounts
from ..errors import HeliconeError
from ..models import StreamChunk, ToolCall, ToolCallDelta
from .anthropic_shape import AnthropicStream, decode_messages
from .dialects import Endpoint
from .failures import read_error, stream_error, undecodable
from .google_shape import GoogleStream, decode_generate_content
from .openai_shape import OpenAiStream, decode_chat
from .responses_shape import ResponsesStream
from .sse import SseParser
from .usage import ABSENT

_Decoder = OpenAiStream | AnthropicStream | GoogleStream | ResponsesStream


class _Signs(msgspec.Struct, rename="camel"):
    """What tells the shape of a stream's event."""

    type: Any = None
    candidates: msgspec.Raw = ABSENT
    prompt_feedback: msgspec.Raw = ABSENT


_decode_signs = msgspec.json.Decoder(_Signs).decode


def decode_reply(body: bytes, status: int, endpoint: Endpoint, request_id: str) -> Reply:
    """The reply in a 2xx body.

    Raises:
        DecodeError: the body is no reply in any known shape.
        ProviderError: the body is an error although the status says success.
    """
    try:
        if endpoint.shape == "openai":
            reply = decode_chat(body, gateway=endpoint.is_gateway, provider=endpoint.provider)
            if reply is not None:
                return reply
            reply = decode_messages(body) or decode_generate_content(body)
        else:
            reply = decode_messages(body) or decode_chat(body, gateway=False, provider=endpoint.provider)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        if _is_error(body):
            raise stream_error(body, endpoint, request_id=request_id) from exc
        what = "an empty body" if not body.strip() else f"a body that is no valid reply ({exc})"
        raise undecodable(what, status, endpoint, request_id=request_id) from exc
    if reply is not None:
        return reply
    if _is_error(body):
        raise stream_error(body, endpoint, request_id=request_id)
    raise undecodable("JSON that holds no answer", status, endpoint, request_id=request_id)


def _is_error(body: bytes) -> bool:
    decoded = read_error(body).decoded
    return isinstance(decoded, dict) and bool(decoded.get("error"))


class ReplyStream:
    """A streamed reply being read: bytes in, chunks out, the whole answer at the end.

    The shape is read off the events, unless who reads knows it and gives the `decoder`.
    """

    __slots__ = (
        "_decoder",
        "_endpoint",
        "_request_id",
        "_sse",
        "_texts",
        "_thoughts",
        "_tools",
        "broken_event",
    )

    def __init__(self, endpoint: Endpoint, request_id: str, decoder: _Decoder | None = None) -> None:
        self._endpoint = endpoint
        self._request_id = request_id
        self._sse = SseParser()
        if decoder is None and endpoint.shape == "anthropic":
            decoder = AnthropicStream()
        self._decoder: _Decoder | None = decoder
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._tools: dict[int, list[str]] = {}
        self.broken_event = False

    def feed(self, data: bytes) -> list[StreamChunk]:
        """The chunks that these bytes complete; events that are no JSON mark the stream as broken."""
        return self._decode(self._sse.feed(data))

    def close(self) -> list[StreamChunk]:
        """The chunks that the end of the body completes."""
        return self._decode(self._sse.close())

    def whole(self, reply: Reply) -> list[StreamChunk]:
        """The one chunk of an answer that came in one piece although a stream was asked for."""
        calls = tuple(
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(reply.tool_calls)
        )
        chunk = StreamChunk(
            content=reply.content,
            reasoning=reply.reasoning or "",
            tool_calls=calls,
            finish_reason=reply.finish_reason or "stop",
        )
        decoder = self._decoder = OpenAiStream(gateway=False, provider=self._endpoint.provider)
        decoder.finish_reason, decoder.usage = chunk.finish_reason, reply.usage
        decoder.served_model, decoder.reported_cost_usd = reply.served_model, reply.reported_cost_usd
        decoder.response_id = reply.response_id
        self._remember(chunk)
        return [chunk]

    def _decode(self, events: list[bytes]) -> list[StreamChunk]:
        chunks = []
        for data in events:
            if data == b"[DONE]":
                continue
            decoder = self._decoder
            try:
                if decoder is None or (not self._texts and b'"message_start"' in data[:64] and not self.has_content):
                    decoder = self._decoder = self._pick(data)
                chunk = decoder.event(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.broken_event = True
                continue
            if chunk is not None:
                self._remember(chunk)
                chunks.append(chunk)
        return chunks

    def _pick(self, data: bytes) -> _Decoder:
        """The decoder for the shape of an event that comes before any content."""
        signs = _decode_signs(data)
        if signs.type in ("message_start", "ping"):
            return self._decoder if isinstance(self._decoder, AnthropicStream) else AnthropicStream()
        if bytes(signs.candidates) or bytes(signs.prompt_feedback):
            return GoogleStream()
        return self._decoder or OpenAiStream(gateway=self._endpoint.is_gateway, provider=self._endpoint.provider)

    def _remember(self, chunk: StreamChunk) -> None:
        if chunk.content:
            self._texts.append(chunk.content)
        if chunk.reasoning:
            self._thoughts.append(chunk.reasoning)
        for delta in chunk.tool_calls:
            self._add_tool(delta)

    def _add_tool(self, delta: ToolCallDelta) -> None:
        known = self._tools.setdefault(delta.index, ["", "", ""])
        known[0] = delta.id or known[0]
        known[1] = known[1] or delta.name
        known[2] += delta.arguments

    @property
    def has_content(self) -> bool:
        """Whether any of the answer has arrived: text, reasoning or a tool call."""
        return bool(self._texts or self._thoughts or self._tools)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; None while it has not, which is the only sign of a stream that was cut."""
        return self._decoder.finish_reason if self._decoder is not None else None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    @property
    def observed(self) -> TokenCounts | None:
        """The tokens known so far; of a stream that broke off the input is exact and the output what was reported."""
        return self._decoder.observed if self._decoder is not None else None

    def error(self) -> HeliconeError | None:
        """The error an event inside the stream reported, None without one."""
        if self._decoder is None or self._decoder.error is None:
            return None
        return stream_error(self._decoder.error, self._endpoint, request_id=self._request_id)

    def reply(self) -> Reply:
        """The whole answer as far as it has arrived."""
        decoder = self._decoder
        usage: TokenCounts | None = decoder.usage if decoder is not None else None
        return Reply(
            content=self.text,
            finish_reason=self.finish_reason,
            usage=usage,
            tool_calls=tuple(ToolCall(id=i, name=n, arguments=a) for i, n, a in self._tools.values()),
            reasoning="".join(self._thoughts) or None,
            served_model=decoder.served_model if decoder is not None else None,
            response_id=decoder.response_id if decoder is not None else None,
            reported_cost_usd=decoder.reported_cost_usd if decoder is not None else None,
            partial=self.finish_reason is None,
        )


__all__ = ["ReplyStream", "decode_reply"]

"""A streamed answer: opened with failover up to its first content, read chunk by chunk, settled exactly once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from .._values import HttpReply, HttpRequest
from .._wire.failures import classify
from .._wire.replies import ReplyStream, decode_reply
from ..errors import (
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    HeliconeError,
    ProviderError,
    StreamInterruptedError,
)
from ..models import HeliconeResponse, StreamChunk
from .attempt import Attempts
from .ports import BodyStream
from .route import route
from .settle import written
from .ticket import Target, Ticket

if TYPE_CHECKING:
    from .admit import Admission
    from .pipeline import Pipeline

_EVENT_STREAM = "text/event-stream"


class OpenStream(msgspec.Struct, kw_only=True):
    """A stream whose first content is here: `ready` holds the chunks that arrived with it."""

    target: Target
    request: HttpRequest
    started: float
    body: BodyStream
    decoder: ReplyStream
    ready: list[StreamChunk]
    first_content_s: float
    ended: bool


class Openings:
    """Opens streams: the attempt of a streamed call, which succeeds when the first content has arrived."""

    __slots__ = ("_attempts", "_pipeline")

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._attempts: Attempts = pipeline.attempts

    async def ask(self, ticket: Ticket, target: Target, until: float) -> OpenStream:
        """Sends the call and reads up to the first content, so that a failure before it can still fail over.

        Raises:
            HeliconeError: the attempt failed before its first content; it is on the ticket.
        """
        request = self._attempts.request(ticket, target, stream=True)
        started = self._pipeline.clock()
        body: BodyStream | None = None
        try:
            body = await self._pipeline.transport.open(request, until)
            return await self._first_content(request, target, started, body, until)
        except BaseException as exc:  # noqa: BLE001  recorded, then raised
            if body is not None:
                body.close()
            raise self._attempts.failed(exc, ticket, target, request, started, until) from exc.__cause__

    async def _first_content(
        self, request: HttpRequest, target: Target, started: float, body: BodyStream, until: float
    ) -> OpenStream:
        endpoint, request_id = target.endpoint, request.headers["Helicone-Request-Id"]
        decoder = ReplyStream(endpoint, request_id)
        if not 200 <= body.status < 300:
            refusal = HttpReply(status=body.status, headers=body.headers, body=await body.read_all(until))
            raise classify(refusal, endpoint, request_id=request_id, now_s=time.time())
        if _EVENT_STREAM not in body.headers.get("content-type", _EVENT_STREAM).lower():
            reply = decode_reply(await body.read_all(until), body.status, endpoint, request_id)
            ready, ended = decoder.whole(reply), True
        else:
            ready, ended = [], False
        while not ended and not decoder.has_content and decoder.finish_reason is None:
            data = await body.read(until)
            ended = not data
            ready += decoder.feed(data) if data else decoder.close()
            if error := _error_of(decoder):
                if not decoder.has_content:
                    raise error
                break
        if not decoder.has_content and decoder.finish_reason is None:
            raise ProviderError(
                f"{endpoint.provider}'s stream ended before it began", http_status=body.status, retry_safe=True,
                billed="maybe",
            )  # fmt: skip
        first = self._pipeline.clock() - started
        return OpenStream(
            target=target, request=request, started=started, body=body, decoder=decoder, ready=ready,
            first_content_s=first, ended=ended,
        )  # fmt: skip


class ChatStream:
    """A streamed answer: `async with adapter.stream_async(…) as stream: async for chunk in stream: …`.

    `response` is there after the last chunk and carries usage and cost, exactly as a call without streaming does.
    Leaving the block early drops the connection and books what had arrived as an estimate. The call's deadline
    covers the whole stream.

    Raises:
        StreamInterruptedError: the stream broke after its first content; `partial` has the text so far.
        HeliconeError: it failed before; then other candidates were tried first.
    """

    __slots__ = (
        "_admission",
        "_decoder",
        "_entered",
        "_loop",
        "_open",
        "_pipeline",
        "_ready",
        "_response",
    )

    def __init__(self, admission: Admission, pipeline: Pipeline) -> None:
        self._admission = admission
        self._pipeline = pipeline
        self._loop: asyncio.AbstractEventLoop
        self._open: OpenStream | None = None
        self._decoder: ReplyStream | None = None
        self._ready: deque[StreamChunk] = deque()
        self._response: HeliconeResponse | None = None
        self._entered = False

    @property
    def response(self) -> HeliconeResponse:
        """The whole answer with usage and cost.

        Raises:
            ConfigurationError: the stream has not been read to its end.
        """
        if self._response is None:
            raise ConfigurationError("`response` is there once the stream has been read to its end")
        return self._response

    @property
    def text(self) -> str:
        """The text that has arrived so far."""
        return self._decoder.text if self._decoder is not None else ""

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a stream can be entered only once: call stream again")
        self._entered = True
        self._loop = asyncio.get_running_loop()
        admission = await self._admission.__aenter__()
        ticket = admission.ticket
        try:
            targets = route(ticket, admission.targets, self._pipeline.estimates)
            self._open = await self._pipeline.failover.run(ticket, targets, Openings(self._pipeline).ask)
        except BaseException as exc:
            admission.close(exc)
            raise
        self._decoder = self._open.decoder
        self._ready.extend(self._open.ready)
        self._open.ready = []
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Why the caller left is the caller's affair, unless the call was cancelled.
        self._abandon(exc if isinstance(exc, asyncio.CancelledError) else None)

    def __del__(self) -> None:
        if self._open is None:
            return
        try:  # entered and never left; the collector may run on any thread
            self._loop.call_soon_threadsafe(self._abandon, None)
        except RuntimeError:  # the loop has ended, and its connections with it
            self._abandon(None)

    def __aiter__(self) -> ChatStream:
        return self

    async def __anext__(self) -> StreamChunk:
        ready = self._ready
        if ready:
            return ready.popleft()
        stream = self._open
        if stream is None:
            if not self._entered:
                raise ConfigurationError("enter the stream first: `async with adapter.stream_async(…) as stream`")
            raise StopAsyncIteration
        while not stream.ended:
            if error := _error_of(stream.decoder):
                raise self._broken(stream, error)
            await self._read(stream)
            if ready:
                return ready.popleft()
        self._settle(stream)
        await written(self._admission.ticket)
        raise StopAsyncIteration

    async def batch(self) -> list[StreamChunk]:
        """All chunks that are here, at least one; empty after the last. Cheaper than one by one across threads."""
        try:
            chunks = [await anext(self)]
        except StopAsyncIteration:
            return []
        chunks.extend(self._ready)
        self._ready.clear()
        return chunks

    async def _read(self, stream: OpenStream) -> None:
        try:
            data = await stream.body.read(self._admission.ticket.deadline)
        except HeliconeError as exc:
            if stream.decoder.finish_reason is None:
                raise self._broken(stream, exc)  # noqa: B904  its cause is set already
            stream.ended = True  # the answer is complete, only its last bytes are missing
            return
        except BaseException as exc:
            self._abandon(exc)
            raise
        stream.ended = not data
        self._ready.extend(stream.decoder.feed(data) if data else stream.decoder.close())

    def _settle(self, stream: OpenStream) -> None:
        """Books the whole answer, once."""
        if stream.decoder.finish_reason is None:
            raise self._broken(stream, _error_of(stream.decoder))
        self._open = None
        ticket, request = self._admission.ticket, stream.request
        http = HttpReply(status=stream.body.status, headers=stream.body.headers, body=b"")
        reply = stream.decoder.reply()
        stream.body.close()
        outcome = self._pipeline.attempts.succeeded(
            ticket, stream.target, request.headers["Helicone-Request-Id"], stream.started, reply, http
        )
        try:
            self._response = self._pipeline.settle(ticket, outcome)
        finally:
            self._admission.close(None)

    def _broken(self, stream: OpenStream, cause: HeliconeError | None) -> HeliconeError:
        """The error of a stream that broke after its first content; what arrived is booked as an estimate."""
        why = cause.message if cause is not None else "it ended without a finish reason"
        error: HeliconeError = StreamInterruptedError(
            f"the stream was interrupted: {why}",
            partial=stream.decoder.text,
            http_status=stream.body.status,
            status_code=cause.status_code if cause is not None else None,
            code=cause.code if cause is not None else None,
            billed="maybe",
        )
        error.__cause__ = cause
        if isinstance(cause, DeadlineExceededError):
            error = cause
            cause.billed = "maybe"
        self._abandon(error)
        return error

    def _abandon(self, exc: BaseException | None) -> None:
        """Drops the connection and books what had arrived; without effect after the end."""
        stream, self._open = self._open, None
        if stream is None:
            return
        self._ready.clear()
        stream.body.close()
        ticket = self._admission.ticket
        decoder = stream.decoder
        charge = self._pipeline.estimates.lost_charge(
            ticket.request, stream.target, decoder.reply(), reported=decoder.observed
        )
        self._pipeline.attempts.note(exc, ticket, stream.target, stream.request, stream.started, charge, "maybe")
        self._admission.close(exc)


def _error_of(decoder: ReplyStream) -> HeliconeError | None:
    """What is wrong with a stream by what it said: an event that reports an error, or one that cannot be read."""
    if error := decoder.error():
        return error
    if decoder.broken_event and decoder.finish_reason is None:
        return DecodeError("an event of the stream is no valid JSON", http_status=200, status_code=200, billed="maybe")
    return None


__all__ = ["ChatStream"]

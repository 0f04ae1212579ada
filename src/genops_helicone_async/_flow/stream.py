"""A streamed answer: opened with failover up to its first content, read chunk by chunk, settled exactly once."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._values import HttpReply, TokenCounts
from .._wire.replies import ReplyStream
from ..errors import Billed, ConfigurationError, DeadlineExceededError, HeliconeError, StreamInterruptedError
from ..models import HeliconeResponse, StreamChunk
from .opening import Openings, OpenStream, error_of
from .settle import is_hit, written
from .ticket import Charge

if TYPE_CHECKING:
    from .admit import Admission
    from .pipeline import Pipeline
    from .replayed import Replay


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
        "__weakref__",
        "_admission",
        "_decoder",
        "_ended_by",
        "_entered",
        "_loop",
        "_open",
        "_pipeline",
        "_ready",
        "_replayed",
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
        self._replayed: HeliconeResponse | None = None
        self._entered = False
        self._ended_by: HeliconeError | None = None

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
        if self._replayed is not None:
            return self._replayed.content
        return self._decoder.text if self._decoder is not None else ""

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a stream can be entered only once: call stream again")
        self._entered = True
        self._loop = asyncio.get_running_loop()
        admission = await self._admission.__aenter__()
        ticket = admission.ticket
        ticket.streamed = True
        if admission.replay is not None:
            self._replay_all(admission, admission.replay)
            return self
        try:
            targets = await self._pipeline.router.route(ticket, admission.targets)
            self._open = await self._pipeline.failover.run(ticket, targets, Openings(self._pipeline).ask)
        except BaseException as exc:
            admission.close(exc)
            raise
        self._pipeline.streams.add(self)
        self._pipeline.health.begin(self._open.key)  # under way until it has been read, for whoever asks who is busy
        self._decoder = self._open.decoder
        self._add(self._open.ready)
        self._open.ready = []
        return self

    def _replay_all(self, admission: Admission, replay: Replay) -> None:
        """The answer of a stream that was read before: all of it is here, and the call is over."""
        try:
            self._replayed = self._pipeline.replays.settle(admission.ticket, replay)
        finally:
            admission.close(None)
        self._ready.extend(replay.chunks)

    def _add(self, chunks: list[StreamChunk]) -> None:
        self._ready.extend(chunks)
        if (lead := self._admission.ticket.lead) is not None:
            lead.chunks.extend(chunks)

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
            if self._ended_by is not None:
                raise self._ended_by
            if not self._entered:
                raise ConfigurationError("enter the stream first: `async with adapter.stream_async(…) as stream`")
            self._response = self._response or self._replayed
            raise StopAsyncIteration
        while not stream.ended:
            if error := error_of(stream.decoder):
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
        self._add(stream.decoder.feed(data) if data else stream.decoder.close())

    def _settle(self, stream: OpenStream) -> None:
        """Books the whole answer, once."""
        if stream.decoder.finish_reason is None:
            raise self._broken(stream, error_of(stream.decoder))
        self._open = None
        self._pipeline.health.end(stream.key)
        ticket, request = self._admission.ticket, stream.request
        http = HttpReply(status=stream.body.status, headers=stream.body.headers, body=b"")
        reply = stream.decoder.reply()
        stream.body.close()
        outcome = self._pipeline.attempts.succeeded(
            ticket, stream.target, request.request_id, stream.started, reply, http,
            first_chunk_s=stream.first_content_s,
        )  # fmt: skip
        now = self._pipeline.clock()
        self._pipeline.health.observe_success(stream.key, now, outcome.duration_s, stream.first_content_s)
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
            request_id=stream.request.request_id,
            provider=stream.target.endpoint.provider,
            model=stream.target.endpoint.model,
        )
        error.__cause__ = cause
        if isinstance(cause, DeadlineExceededError):
            error = cause
            cause.billed = "maybe"
        else:  # that it had begun well does not make a provider well that breaks its streams
            self._pipeline.health.observe_failure(stream.key, self._pipeline.clock(), stream.started)
        self._abandon(error)
        return error

    def end(self, error: HeliconeError) -> None:
        """Ends the stream from outside: what had arrived is booked, and whoever reads on gets the error."""
        if self._open is not None:
            self._ended_by = error
            self._abandon(error)

    def _abandon(self, exc: BaseException | None) -> None:
        """Drops the connection and books what had arrived; without effect after the end."""
        stream, self._open = self._open, None
        if stream is None:
            return
        self._ready.clear()
        self._pipeline.health.end(stream.key)
        stream.body.close()
        ticket = self._admission.ticket
        charge, counts = self._charge_so_far(stream)
        billed: Billed = "maybe" if charge.source == "estimated" else "yes"
        self._pipeline.attempts.note(
            exc, ticket, stream.target, stream.request, stream.started, charge, billed, counts=counts,
            reply=stream.decoder.reply(), first_chunk_s=stream.first_content_s,
        )  # fmt: skip
        self._admission.close(exc)

    def _charge_so_far(self, stream: OpenStream) -> tuple[Charge, TokenCounts]:
        """What an answer not read to its end costs: exact where it came from a cache or its usage is here already."""
        request, target, reply = self._admission.ticket.request, stream.target, stream.decoder.reply()
        is_whole = reply.finish_reason is not None and reply.usage is not None
        if is_whole or is_hit(stream.body.headers):
            return self._pipeline.attempts.charge(request, target, reply, stream.body.headers)
        charge = self._pipeline.estimates.lost_charge(request, target, reply, reported=stream.decoder.observed)
        return charge, TokenCounts()


__all__ = ["ChatStream"]

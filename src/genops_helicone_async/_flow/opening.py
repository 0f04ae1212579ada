"""A stream's opening: the attempt that succeeds when the first content is here, so that a failure can fail over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from .._values import HttpReply, HttpRequest
from .._wire.failures import classify
from .._wire.replies import ReplyStream, decode_reply
from ..errors import DecodeError, HeliconeError, ProviderError
from ..models import StreamChunk
from .attempt import Attempts
from .ports import BodyStream
from .ticket import Target, Ticket

if TYPE_CHECKING:
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

    @property
    def key(self) -> tuple[str, str]:
        """What the health board knows its target by."""
        return self.target.endpoint.provider, self.target.endpoint.model


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
        request = self._attempts.streamed(ticket, target)
        started = self._pipeline.clock()
        body: BodyStream | None = None
        try:
            body = await self._pipeline.transport.open(request, until)
            ticket.heard(body.headers)
            return await self._first_content(request, target, started, body, until)
        except BaseException as exc:  # noqa: BLE001  recorded, then raised
            if body is not None:
                body.close()
            raise self._attempts.failed(exc, ticket, target, request, started, until) from exc.__cause__

    async def _first_content(
        self, request: HttpRequest, target: Target, started: float, body: BodyStream, until: float
    ) -> OpenStream:
        endpoint, request_id = target.endpoint, request.request_id
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
            if error := error_of(decoder):
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


def error_of(decoder: ReplyStream) -> HeliconeError | None:
    """What is wrong with a stream by what it said: an event that reports an error, or one that cannot be read."""
    if error := decoder.error():
        return error
    if decoder.broken_event and decoder.finish_reason is None:
        return DecodeError("an event of the stream is no valid JSON", http_status=200, status_code=200, billed="maybe")
    return None


__all__ = ["OpenStream", "Openings", "error_of"]

"""A reply as it passes to another client: read beside it, and told at its end as what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from .._flow.attempt import Attempts
from .._flow.estimates import Estimates
from .._flow.opening import error_of
from .._flow.settle import decided, is_hit, metadata_of, response_of, usage_of
from .._flow.ticket import Charge, Outcome, Target, Ticket
from .._values import Currency, HttpReply, HttpRequest, Reply, TokenCounts
from .._wire.failures import classify, undecodable
from .._wire.google_shape import GoogleStream
from .._wire.replies import ReplyStream, decode_reply
from .._wire.responses_shape import ResponsesStream, decode_response
from .._wire.usage import ABSENT, decode_openai_usage, openai_counts, read_usage
from ..errors import GatewayError, HeliconeError, StreamInterruptedError
from ..models import EmbeddingResponse, HeliconeResponse
from .asked import Asked
from .bodies import Unreadable, inflater_of

_NONE = TokenCounts()


class _Vectors(msgspec.Struct):
    """A reply with vectors, of which only the bill is of interest."""

    data: msgspec.Raw
    usage: msgspec.Raw = ABSENT
    model: str | None = None


_decode_vectors = msgspec.json.Decoder(_Vectors).decode


class Replying:
    """A reply whose body is passing. Once settled, `outcome` is there where it was an answer."""

    __slots__ = (
        "_asked", "_body", "_inflate", "_is_whole", "_most_bytes", "_request_id", "_size", "_stream", "_unreadable",
        "first_content_s", "headers", "outcome", "status", "target",
    )  # fmt: skip

    def __init__(
        self, asked: Asked, target: Target, status: int, headers: Mapping[str, str], *, request_id: str, most_bytes: int
    ) -> None:
        self._asked = asked
        self.target = target
        self.status = status
        self.headers = headers
        self._request_id = request_id
        self._most_bytes = most_bytes
        self.outcome: Outcome | None = None
        self.first_content_s: float | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._is_whole = False
        self._unreadable: str | None = None
        self._inflate: Callable[[bytes], bytes] | None = None
        self._stream: ReplyStream | None = None
        is_stream = "text/event-stream" in headers.get("content-type", "").lower()
        if is_stream and 200 <= status < 300 and asked.place.kind != "embeddings":
            self._stream = self._open()

    def _open(self) -> ReplyStream:
        endpoint, kind = self.target.endpoint, self._asked.place.kind
        if kind == "responses":
            return ReplyStream(endpoint, self._request_id, ResponsesStream(endpoint.provider))
        return ReplyStream(endpoint, self._request_id, GoogleStream() if kind == "generate" else None)

    def feed(self, data: bytes, *, decoded: bool) -> bool:
        """Reads a piece; whether the first of the answer's content came with it."""
        if self._unreadable is not None or not data:
            return False
        if not decoded:
            data = self._inflated(data)
        stream = self._stream
        if stream is not None:
            had_content = stream.has_content
            stream.feed(data)
            return stream.has_content and not had_content
        self._size += len(data)
        if self._size > self._most_bytes:
            self._body.clear()
            self._unreadable = f"it is larger than {self._most_bytes} bytes"
        else:
            self._body.append(data)
        return False

    def _inflated(self, data: bytes) -> bytes:
        try:
            if self._inflate is None:
                self._inflate = inflater_of(self.headers.get("content-encoding", ""))
            return self._inflate(data)
        except Unreadable as exc:
            self._unreadable = str(exc)
            return b""

    def close(self) -> None:
        """The body is here to its end."""
        self._is_whole = True
        if self._stream is not None:
            self._stream.close()

    def settle(
        self,
        attempts: Attempts,
        estimates: Estimates,
        ticket: Ticket,
        http: HttpRequest,
        started: float,
        error: BaseException | None,
    ) -> BaseException | None:
        """Puts the attempt on the ticket; gives the error it ended with, None for answers and where it was left."""
        try:
            reply = self._reply(error)
        except HeliconeError as exc:
            attempts.failed(exc, ticket, self.target, http, started, ticket.deadline)
            return exc
        if reply is not None:
            known = HttpReply(status=self.status, headers=self.headers, body=b"")
            self.outcome = attempts.succeeded(
                ticket, self.target, self._request_id, started, reply, known, first_chunk_s=self.first_content_s
            )
            return None
        if self._stream is not None and (isinstance(error, GatewayError) or (error is None and self._is_whole)):
            error = self._interrupted(error)
        said, charge = self._charge_so_far(estimates, ticket)
        attempts.note(
            error, ticket, self.target, http, started, charge, "maybe" if charge.source == "estimated" else "yes",
            reply=said, first_chunk_s=self.first_content_s,
        )  # fmt: skip
        return error

    def _reply(self, error: BaseException | None) -> Reply | None:
        """The whole answer; None where it did not come to its end.

        Raises:
            HeliconeError: the reply is none, or tells an error.
        """
        endpoint, body = self.target.endpoint, b"".join(self._body)
        if not 200 <= self.status < 300:
            refusal = HttpReply(status=self.status, headers=self.headers, body=body)
            raise classify(refusal, endpoint, request_id=self._request_id, now_s=time.time())
        if self._stream is not None:
            return self._stream.reply() if self._stream.finish_reason is not None else None
        if self._unreadable is not None:
            what = f"a body that cannot be read beside the client ({self._unreadable})"
            raise undecodable(what, self.status, endpoint, request_id=self._request_id)
        if self._is_whole and error is None:
            return self._decoded(body)
        try:
            return self._decoded(body)
        except HeliconeError:  # it was cut
            return None

    def _decoded(self, body: bytes) -> Reply:
        endpoint, kind = self.target.endpoint, self._asked.place.kind
        try:
            if kind == "embeddings":
                vectors = _decode_vectors(body)
                usage = read_usage(vectors.usage, decode_openai_usage)
                counts = None
                if usage is not None:
                    counts = openai_counts(usage, gateway=False, streamed=False, provider=endpoint.provider)
                return Reply(content="", finish_reason="stop", usage=counts, served_model=vectors.model)
            reply = decode_response(body, endpoint.provider) if kind == "responses" else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            what = f"a body that is no valid reply ({exc})"
            raise undecodable(what, self.status, endpoint, request_id=self._request_id) from exc
        return reply if reply is not None else decode_reply(body, self.status, endpoint, self._request_id)

    def _interrupted(self, cause: HeliconeError | None) -> HeliconeError:
        """The error of a stream that ended before its answer did."""
        assert self._stream is not None
        endpoint, told = self.target.endpoint, error_of(self._stream)
        cause = told if told is not None else cause
        why = cause.message if cause is not None else self._unreadable or "it ended without a finish reason"
        return StreamInterruptedError(
            f"the stream was interrupted: {why}", partial=self._stream.text, http_status=self.status, billed="maybe",
            status_code=cause.status_code if cause is not None else None,
            code=cause.code if cause is not None else None,
            request_id=self._request_id, provider=endpoint.provider, model=endpoint.model,
        )  # fmt: skip

    def _charge_so_far(self, estimates: Estimates, ticket: Ticket) -> tuple[Reply, Charge]:
        """What was said, and what an answer not read to its end costs."""
        stream = self._stream
        said = stream.reply() if stream is not None else Reply(content="", finish_reason=None, usage=None)
        if is_hit(self.headers):
            return said, Charge()
        observed = stream.observed if stream is not None else None
        return said, estimates.lost_charge(ticket.request, self.target, said if stream is not None else None, observed)

    def response(self, ticket: Ticket, currency: Currency) -> HeliconeResponse | EmbeddingResponse:
        """The answer as the sinks see it."""
        outcome = self.outcome
        assert outcome is not None
        if self._asked.place.kind != "embeddings":
            return response_of(ticket, outcome, currency)
        usage = usage_of(outcome, currency)
        return EmbeddingResponse(
            embeddings=(), provider=usage.provider, model=usage.model, usage=usage, request_id=outcome.request_id,
            routing=decided(None, usage.provider), attempts=tuple(ticket.attempts), metadata=metadata_of(outcome),
        )  # fmt: skip


__all__ = ["Replying"]

"""Embeddings: the same life as a chat's, with vectors at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from .._values import Reply, TokenCounts
from .._wire.dialects import embeddings_url
from .._wire.embeddings import EmbeddingReply, decode_embeddings, encode_embeddings
from .._wire.failures import classify, undecodable
from .._wire.usage import openai_counts
from ..chat_request import EmbedRequest
from ..models import EmbeddingResponse
from .settle import decided, metadata_of, usage_of, written
from .ticket import Outcome, Target, Ticket, record_of

if TYPE_CHECKING:
    from .pipeline import Pipeline


class Embedding:
    """Runs one embeddings call on a pipeline."""

    __slots__ = ("_pipeline", "_request", "_vectors")

    def __init__(self, pipeline: Pipeline, request: EmbedRequest) -> None:
        self._pipeline = pipeline
        self._request = request
        self._vectors: tuple[tuple[float, ...], ...] = ()

    async def run(self) -> EmbeddingResponse:
        """The vectors of the request's texts.

        Raises:
            ConfigurationError: the way to a provider offers no embeddings.
            HeliconeError: it failed; the error carries every attempt.
        """
        pipeline = self._pipeline
        async with pipeline.admit(self._request) as admission:
            ticket = admission.ticket
            for target in admission.targets:
                embeddings_url(target.endpoint)
            outcome = await pipeline.failover.run(
                ticket, await pipeline.router.route(ticket, admission.targets), self._ask
            )
            ticket.settled = True
            ticket.durable = ticket.hold.settle(ticket.rows, failed=False, cached=False)
            response = EmbeddingResponse(
                embeddings=self._vectors,
                provider=outcome.target.endpoint.provider,
                model=outcome.target.endpoint.model,
                usage=usage_of(outcome, pipeline.currency),
                request_id=outcome.request_id,
                routing=decided(ticket.routing, outcome.target.endpoint.provider),
                attempts=tuple(ticket.attempts),
                metadata=metadata_of(outcome),
            )
            cost_pusd = outcome.charge.total_pusd
            pipeline.sinks.emit(record_of(ticket, pipeline.clock(), cost_pusd=cost_pusd, response=response))
        await written(ticket)
        return response

    async def _ask(self, ticket: Ticket, target: Target, until: float) -> Outcome:
        attempts, endpoint = self._pipeline.attempts, target.endpoint
        body = encode_embeddings(self._request.texts, endpoint.wire_model, self._request.extra_body)
        request = attempts.prepared(ticket, target, embeddings_url(endpoint), body)
        request_id, started = request.request_id, self._pipeline.clock()
        try:
            http = await self._pipeline.transport.send(request, until)
            ticket.heard(http.headers)
            if not 200 <= http.status < 300:
                raise classify(http, endpoint, request_id=request_id, now_s=time.time())
            try:
                reply = decode_embeddings(http.body, len(self._request.texts))
            except msgspec.DecodeError as exc:
                what = f"a body that holds no vectors ({exc})"
                raise undecodable(what, http.status, endpoint, request_id=request_id) from exc
        except BaseException as exc:  # noqa: BLE001  recorded, then raised
            raise attempts.failed(exc, ticket, target, request, started, until) from exc.__cause__
        self._vectors = reply.ordered()
        return attempts.succeeded(ticket, target, request_id, started, _as_reply(reply, endpoint.provider), http)


def _as_reply(reply: EmbeddingReply, provider: str) -> Reply:
    """What settling needs of a reply with vectors: its usage, which has no output."""
    usage: TokenCounts | None = None
    if reply.usage is not None:
        usage = openai_counts(reply.usage, gateway=False, streamed=False, provider=provider)
    return Reply(content="", finish_reason="stop", usage=usage, served_model=reply.model)


__all__ = ["Embedding"]

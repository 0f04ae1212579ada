"""Which attempts Helicone is told of because they did not pass it: a sink of ended calls; somebody else delivers."""

from __future__ import annotations

from typing import Protocol

from .._regions import is_helicone_host
from .._wire.dialects import Endpoint
from .._wire.headers import GatewayOptions
from .._wire.helicone_log import LoggedAttempt, status_of
from ..chat_request import EmbedRequest
from ..errors import Attempt
from .ticket import Exchange, RequestRecord


class Post(Protocol):
    """What delivers entries."""

    def put(self, entry: LoggedAttempt) -> None:
        """Takes one; never waits and never fails."""
        ...


def passes_by(endpoint: Endpoint) -> bool:
    """Whether calls of this endpoint go past Helicone, as far as its address tells."""
    if endpoint.dialect == "proxy":
        return not is_helicone_host(endpoint.hosts[0])
    return endpoint.dialect == "openai"


class HeliconeLogging:
    """Hands over what was kept of a call's attempts; whatever takes time is done by who delivers.

    A host of the caller's own whose replies carry `Helicone-Id` is a Helicone, and tells of them itself.
    """

    __slots__ = ("_omits_request", "_omits_response", "_post")

    def __init__(self, post: Post, options: GatewayOptions | None) -> None:
        self._post = post
        self._omits_request = options is not None and options.omit_request
        self._omits_response = options is not None and options.omit_response

    def __repr__(self) -> str:
        return f"HeliconeLogging({self._post!r})"

    def __call__(self, record: RequestRecord) -> None:
        """Looks at an ended call."""
        for attempt in record.attempts:
            exchange = record.exchanges.get(attempt.request_id)
            if exchange is not None and not exchange.passed_helicone:
                self._post.put(self._entry(record, attempt, exchange))

    def _entry(self, record: RequestRecord, attempt: Attempt, exchange: Exchange) -> LoggedAttempt:
        is_embedding = isinstance(record.request, EmbedRequest)
        has_begun = attempt.time_to_first_chunk_s is not None
        return LoggedAttempt(
            request_id=attempt.request_id,
            url=exchange.url.partition("?")[0],
            shape=exchange.endpoint.shape,
            model=exchange.endpoint.wire_model,
            attribution=record.attribution,
            request_body=exchange.body,
            status=status_of(
                error=attempt.error, http_status=attempt.http_status, is_cut_short=record.streamed and has_begun
            ),
            started_s=exchange.at_s,
            ended_s=exchange.at_s + attempt.duration_s,
            first_chunk_s=attempt.time_to_first_chunk_s,
            reply=exchange.reply,
            reply_body=b"" if is_embedding else exchange.reply_body,
            error=None if attempt.error is None else attempt.error_message or attempt.error,
            is_stream=record.streamed,
            is_embedding=is_embedding,
            omits_request=self._omits_request,
            omits_response=self._omits_response,
        )


__all__ = ["HeliconeLogging", "Post", "passes_by"]

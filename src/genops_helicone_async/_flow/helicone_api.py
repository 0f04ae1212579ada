"""What is said of a call after it has ended: ratings and scores, told to Helicone's REST API."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._arguments import check_positive
from .._helicone_settings import ApiTarget, api_target
from .._regions import is_helicone_host
from .._rules.retry import Failure, RetryPolicy, RetryQuota, Stop, decide
from .._values import HttpRequest
from .._wire.helicone_api import (
    api_error,
    checked_rating,
    checked_scores,
    feedback_request,
    is_request_id,
    score_request,
)
from ..config import Settings
from ..errors import ConfigurationError, HeliconeError
from ..models import EmbeddingResponse, HeliconeResponse, MultiProviderResponse
from .ports import Transport

if TYPE_CHECKING:
    from .pipeline import Pipeline

Rated = str | uuid.UUID | HeliconeResponse | EmbeddingResponse | MultiProviderResponse
"""A call: its response, or Helicone's id of it."""


class Afterwards:
    """Tells Helicone about calls that have ended, with repeats inside one deadline: telling it twice is telling it."""

    __slots__ = ("_pipeline", "_quota", "_random", "_timeout_s")

    def __init__(
        self,
        pipeline: Pipeline,
        quota: RetryQuota,
        random: Callable[[], float],
        timeout_s: float | None,
    ) -> None:
        if timeout_s is not None:
            check_positive("timeout_seconds", timeout_s)
        self._pipeline = pipeline
        self._quota = quota
        self._random = random
        self._timeout_s = timeout_s or pipeline.settings.timeout_s

    async def feedback(self, rated: Rated, rating: bool) -> None:
        """Rates a call."""
        good = checked_rating(rating)
        request_id, api = helicone_id(rated), self._api(rated)
        await self._tell(feedback_request(api.url, api.key.reveal(), request_id, good), request_id)

    async def score(self, rated: Rated, scores: Mapping[str, int | bool]) -> None:
        """Gives a call scores."""
        checked = checked_scores(scores)
        request_id, api = helicone_id(rated), self._api(rated)
        await self._tell(score_request(api.url, api.key.reveal(), request_id, checked), request_id)

    def _api(self, rated: Rated) -> ApiTarget:
        settings = self._pipeline.settings
        _refuse_unknown(settings, rated)
        return api_target(
            settings.services,
            settings.helicone_api_key,
            gateway_url=settings.gateway_url,
            dialect=settings.gateway_dialect,
        )

    async def _tell(self, request: HttpRequest, request_id: str) -> None:
        """Sends it until it is done.

        Raises:
            HeliconeError: it was refused, or the deadline came first.
        """
        clock = self._pipeline.clock
        deadline = clock() + self._timeout_s
        policy = RetryPolicy(attempts=self._pipeline.settings.retry_attempts)
        failures: list[Failure] = []
        while True:
            error = await _attempt(self._pipeline.transport, request, request_id, deadline)
            if error is None:
                return
            failures.append(Failure(candidate=0, error=error, at_s=clock()))
            step = decide(
                failures, 1, now_s=clock(), remaining_s=deadline - clock(), policy=policy,
                quota=self._quota, random=self._random,
            )  # fmt: skip
            if isinstance(step, Stop):
                raise error
            await asyncio.sleep(step.delay_s)
            request.sent = False


async def _attempt(
    transport: Transport, request: HttpRequest, request_id: str, deadline: float
) -> HeliconeError | None:
    """The error of one attempt, None where it was done; a connection that broke may be tried again, sent or not."""
    host = urlsplit(request.url).netloc
    try:
        reply = await transport.send(request, deadline)
    except ConfigurationError:
        raise
    except HeliconeError as exc:
        exc.request_id, exc.billed = request_id, "no"
        exc.retry_safe = exc.retry_safe or request.sent
        return exc
    return api_error(reply, host, request_id=request_id, now_s=time.time())


def helicone_id(rated: Rated) -> str:
    """Helicone's id of a call: that in the reply's `Helicone-Id`, else the one it was sent with.

    They are the same where the gateway took ours; a gateway of one's own in Rust, and a hit of Helicone's cache, have
    another.

    Raises:
        ConfigurationError: it is no UUID, so that Helicone cannot know it.
        TypeError: it is neither a response nor an id.
    """
    if isinstance(rated, MultiProviderResponse):
        rated = rated.primary_response
    if isinstance(rated, HeliconeResponse | EmbeddingResponse):
        told = rated.metadata.get("helicone_id")
        return told.lower() if told is not None and is_request_id(told) else rated.request_id
    if not isinstance(rated, str | uuid.UUID):
        raise TypeError(f"give a response or its request id, not {type(rated).__name__}")
    text = str(rated)
    if not is_request_id(text):
        raise ConfigurationError(
            f"the request id {text[:64]!r} is no UUID: give a response, or `response.request_id` of one"
        )
    return text.lower()


def _refuse_unknown(settings: Settings, rated: Rated) -> None:
    """Refuses a call that Helicone cannot know of, since it neither passed it nor was told to it."""
    if isinstance(rated, MultiProviderResponse):
        rated = rated.primary_response
    if not isinstance(rated, HeliconeResponse | EmbeddingResponse) or settings.services.log is not None:
        return
    facts = rated.metadata
    host = facts.get("host", "")
    if facts.get("dialect") != "proxy" or "helicone_id" in facts or is_helicone_host(host.rpartition(":")[0] or host):
        return
    raise ConfigurationError(
        f"the call went to {host}, which did not say that it passed Helicone, so Helicone knows nothing of it: have it "
        "told of such calls with helicone_log=HeliconeLog()"
    )


__all__ = ["Afterwards", "Rated", "helicone_id"]

"""Answers of calls as a cache keeps them, and what a caller gets when one is given again. Plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .._rules.cached_answers import Answer, is_worth_keeping
from .._values import Currency
from .._wire.schema import parse
from ..chat_request import ChatRequest
from ..errors import Attempt
from ..models import Candidate, HeliconeResponse, HeliconeUsage, RoutingDecision, StreamChunk
from .settle import metadata_of
from .ticket import Outcome, RequestRecord

How = Literal["hit", "joined"]
"""Whether the store had the answer, or an identical call was on its way."""
_WHY = {
    "hit": "answered from the cache: nobody was asked",
    "joined": "answered with an identical call that was on its way: nobody else was asked",
}


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to be given again; `chunks` are those of a stream, `saved_pusd` what it had cost in pico-dollars."""

    how: How
    response: HeliconeResponse
    saved_pusd: int
    chunks: tuple[StreamChunk, ...]


def answer_of(key: bytes, outcome: Outcome, chunks: Sequence[StreamChunk], now_s: float) -> Answer | None:
    """What is to be kept of a call's outcome; None where it is not the whole answer."""
    if not is_worth_keeping(outcome.reply):
        return None
    return Answer(
        key=key,
        kept_at_s=now_s,
        provider=outcome.target.endpoint.provider,
        model=outcome.target.endpoint.model,
        request_id=outcome.request_id,
        reply=outcome.reply,
        counts=outcome.counts,
        cost_pusd=outcome.charge.total_pusd,
        facts=metadata_of(outcome),
        body=outcome.body,
        chunks=tuple(chunks),
    )


def replay_of(
    answer: Answer,
    how: How,
    request: ChatRequest,
    *,
    request_id: str,
    store: str,
    age_s: float,
    duration_s: float,
    currency: Currency,
) -> Replay | None:
    """The answer as this call's response: it costs nothing, and its tokens are those it was made of.

    None where it does not fit the call's own `response_model`, whose class may have rules that no key knows.
    """
    reply, parsed = answer.reply, None
    if request.response_model is not None:
        try:
            parsed = parse(request.response_model, reply.content)
        except ValueError:
            return None
    told = {"cache": how, "cache_store": store, "cache_age_s": f"{age_s:.3f}", "original_request_id": answer.request_id}
    candidate = Candidate(provider=answer.provider, model=answer.model, reason=_WHY[how])
    response = HeliconeResponse(
        content=reply.content,
        provider=answer.provider,
        model=answer.model,
        usage=_usage_of(answer, duration_s, currency),
        request_id=request_id,
        session_id=request.session_id,
        finish_reason=reply.finish_reason,
        tool_calls=reply.tool_calls,
        parsed=parsed,
        reasoning=reply.reasoning,
        cached=True,
        routing=RoutingDecision(strategy="cache", candidates=(candidate,), selected=answer.provider, reason=_WHY[how]),
        metadata={**answer.facts, **told},
        raw_body=answer.body,
    )
    return Replay(how=how, response=response, saved_pusd=answer.cost_pusd, chunks=answer.chunks)


def is_replay(record: RequestRecord) -> bool:
    """Whether our own cache answered the call; where the gateway's did, there was an attempt."""
    return isinstance(record.response, HeliconeResponse) and record.response.cached and not record.attempts


def replayed_attempt(response: HeliconeResponse, duration_s: float) -> Attempt:
    """What telemetry is told in the place of an attempt: nobody was asked, so no tokens were used."""
    return Attempt(
        provider=response.provider,
        model=response.model,
        request_id=response.request_id,
        duration_s=duration_s,
        cost_source="cache",
        finish_reason=response.finish_reason,
        response_model=response.metadata.get("served_model"),
    )


def _usage_of(answer: Answer, duration_s: float, currency: Currency) -> HeliconeUsage:
    counts = answer.counts
    return HeliconeUsage(
        provider=answer.provider,
        model=answer.model,
        input_tokens=counts.input,
        output_tokens=counts.output,
        cached_input_tokens=counts.cached,
        cache_write_tokens=counts.cache_write,
        reasoning_tokens=counts.reasoning,
        request_time=duration_s,
        cost_source="computed",
        currency=currency.code,
        saved_cost=currency.of(answer.cost_pusd),
    )


__all__ = ["How", "Replay", "answer_of", "is_replay", "replay_of", "replayed_attempt"]

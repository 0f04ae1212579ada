"""The end of a call: what it cost, the response the caller gets, the record the sinks get. Plain functions.

Every call is settled exactly once, here: answered ones by `settle`, all others by `settle_failed`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from .._rules.prices import cost_pusd
from .._values import Currency, Reply, TokenCounts
from .._wire.schema import parse
from ..chat_request import ChatRequest
from ..errors import DeadlineExceededError, DecodeError, LedgerError
from ..models import (
    PUSD_PER_USD,
    CostSource,
    EmbeddingResponse,
    HeliconeResponse,
    HeliconeUsage,
    RoutingDecision,
)
from .estimates import Estimates
from .in_time import in_time
from .ticket import Charge, Outcome, RequestRecord, Target, Ticket

_METADATA = {
    "helicone-id": "helicone_id",
    "helicone-gateway-mode": "gateway_mode",
    "helicone-provider": "gateway_provider",
    "helicone-model": "gateway_model",
    "helicone-cache": "helicone_cache",
}
_FEE_UNIT = 1_000_000
_log = logging.getLogger("genops_helicone_async.ledger")


def charge_of(
    request: ChatRequest,
    target: Target,
    reply: Reply,
    headers: Mapping[str, str],
    *,
    fees: Mapping[str, float],
    estimates: Estimates,
) -> tuple[Charge, TokenCounts]:
    """What an answered attempt cost and the tokens it is counted with; both are estimates where none were reported."""
    counts = reply.usage
    source: CostSource = "computed"
    if counts is None:
        counts, source = estimates.counts_of(request, reply, target.endpoint.model), "estimated"
    if is_hit(headers):
        return Charge(), counts
    if reply.reported_cost_usd is not None and reply.reported_cost_usd >= 0:
        provider_pusd, source = round(reply.reported_cost_usd * PUSD_PER_USD), "reported"
    elif target.price is None:
        return Charge(source="unpriced"), counts
    else:
        provider_pusd = cost_pusd(target.price, counts)
    rate = fees.get(headers.get("helicone-gateway-mode", ""), 0.0) if fees else 0.0
    gateway_pusd = (provider_pusd * round(rate * _FEE_UNIT) + _FEE_UNIT // 2) // _FEE_UNIT if rate else 0
    return Charge(provider_pusd=provider_pusd, gateway_pusd=gateway_pusd, source=source), counts


def is_hit(headers: Mapping[str, str]) -> bool:
    """Whether the gateway answered from its cache, at no cost."""
    return headers.get("helicone-cache") == "HIT"


def usage_of(outcome: Outcome, currency: Currency) -> HeliconeUsage:
    """Tokens, time and money of an answered call, as the caller sees them."""
    charge, counts = outcome.charge, outcome.counts
    endpoint, price = outcome.target.endpoint, outcome.target.price
    provider_cost = currency.of(charge.provider_pusd)
    return HeliconeUsage(
        provider=endpoint.provider,
        model=endpoint.model,
        input_tokens=counts.input,
        output_tokens=counts.output,
        cached_input_tokens=counts.cached,
        cache_write_tokens=counts.cache_write,
        reasoning_tokens=counts.reasoning,
        request_time=outcome.duration_s,
        provider_cost=provider_cost,
        helicone_cost=currency.of(charge.gateway_pusd) if charge.gateway_pusd else 0.0,
        total_cost=currency.of(charge.total_pusd) if charge.gateway_pusd else provider_cost,
        currency=currency.code,
        cost_source=charge.source,
        price_source=price.source if price is not None else None,
        price_date=price.date if price is not None else None,
    )


def response_of(ticket: Ticket, outcome: Outcome, currency: Currency) -> HeliconeResponse:
    """The response a caller gets.

    Raises:
        DecodeError: the answer does not fit the `response_model`; it was paid for.
    """
    request, reply, usage, routing = ticket.request, outcome.reply, usage_of(outcome, currency), ticket.routing
    parsed = None
    if request.response_model is not None and not reply.partial:
        try:
            parsed = parse(request.response_model, reply.content)
        except ValueError as exc:
            raise DecodeError(
                f"the answer does not fit `response_model` {request.response_model.__name__}: {exc}",
                request_id=outcome.request_id,
                http_status=200,
                billed="yes",
                provider=usage.provider,
                model=usage.model,
            ) from exc
    return HeliconeResponse(
        content=reply.content,
        provider=usage.provider,
        model=usage.model,
        usage=usage,
        request_id=outcome.request_id,
        session_id=request.session_id,
        finish_reason=reply.finish_reason,
        tool_calls=reply.tool_calls,
        parsed=parsed,
        reasoning=reply.reasoning,
        cached=outcome.is_cached,
        routing=routing
        if routing is not None and routing.selected == usage.provider
        else decided(routing, usage.provider),
        attempts=tuple(ticket.attempts),
        metadata=metadata_of(outcome),
        raw_body=outcome.body,
    )


def decided(routing: RoutingDecision | None, provider: str) -> RoutingDecision:
    """The routing decision, with the provider that answered in the end."""
    if routing is None:
        return RoutingDecision(strategy="failover", candidates=(), selected=provider, reason="no choice was made")
    if routing.selected == provider:
        return routing
    return RoutingDecision(
        strategy=routing.strategy,
        candidates=routing.candidates,
        selected=provider,
        reason=f"{routing.selected} failed; {provider} answered",
    )


def metadata_of(outcome: Outcome) -> dict[str, str]:
    """The gateway's facts about a reply, as far as it told them."""
    endpoint, headers = outcome.target.endpoint, outcome.headers
    facts = {"dialect": endpoint.dialect, "host": endpoint.host}
    if outcome.reply.served_model is not None:
        facts["served_model"] = outcome.reply.served_model
    for header, name in _METADATA.items():
        value = headers.get(header)
        if value is not None:
            facts[name] = value
    return facts


def record_of(
    ticket: Ticket,
    now: float,
    *,
    cost_pusd: int = 0,
    saved_pusd: int = 0,
    response: HeliconeResponse | EmbeddingResponse | None = None,
    error: BaseException | None = None,
) -> RequestRecord:
    """The record of an ended call: its `response`, or its `error`."""
    return RequestRecord(
        request=ticket.request,
        attribution=ticket.attribution,
        routing=ticket.routing,
        attempts=tuple(ticket.attempts),
        rows=tuple(ticket.rows),
        duration_s=now - ticket.started,
        context=ticket.context,
        streamed=ticket.streamed,
        held_pusd=ticket.hold.held_pusd,
        hold_limited=ticket.hold.is_limited,
        cost_pusd=cost_pusd,
        failed_pusd=ticket.failed_pusd,
        saved_pusd=saved_pusd,
        response=response,
        error=error,
        refusals=tuple(ticket.refusals),
        meant=ticket.meant,
        reserved=ticket.reserved,
        alerts=ticket.hold.alerts,
        audit_id=ticket.audit_id,
        exchanges=ticket.exchanges,
    )


async def written(ticket: Ticket) -> None:
    """Waits until a durable ledger has the call on disk, so that an answer that was given is never unaccounted for.

    Cancelling gives up the waiting, not the writing, and so does the deadline. A store that fails keeps the rows and
    tries again; that it failed is logged, the answer is not lost over it.
    """
    durable = ticket.durable
    if durable is None:
        return
    ticket.durable = None
    try:
        await in_time(asyncio.shield(durable), ticket.deadline, "the ledger wrote")
    except (LedgerError, DeadlineExceededError) as exc:
        _log.error("the ledger does not have call %s yet: %s", ticket.rows[-1].request_id, exc.message)


__all__ = ["charge_of", "decided", "is_hit", "metadata_of", "record_of", "response_of", "usage_of", "written"]

"""The end of a call: what it cost, the response the caller gets, the record the sinks get. Plain functions.

Every call is settled exactly once, here: answered ones by `settle`, all others by `settle_failed`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from itertools import compress
from operator import attrgetter, is_not

from .._rules.prices import cost_pusd
from .._values import Currency, Reply, TokenCounts
from .._wire.schema import parse
from ..chat_request import ChatRequest
from ..errors import DeadlineExceededError, DecodeError, LedgerError
from ..models import (
    PUSD_PER_USD,
    CostSource,
    HeliconeResponse,
    HeliconeUsage,
    RoutingDecision,
)
from .estimates import Estimates
from .in_time import in_time
from .ticket import Charge, Outcome, Target, Ticket

_TOLD_BY = ("helicone-id", "helicone-gateway-mode", "helicone-provider", "helicone-model", "helicone-cache")
_TOLD = ("dialect", "host", "served_model", "helicone_id", "gateway_mode", "gateway_provider", "gateway_model",
         "helicone_cache")  # fmt: skip
"""What metadata may have: of the endpoint, of the reply, and of the headers above."""
_told_of = attrgetter("target.endpoint.dialect", "target.endpoint.host", "reply.served_model")
_NONES = (None,) * len(_TOLD)
_CACHE, _HIT, _MODE = "helicone-cache", "HIT", "helicone-gateway-mode"
_FEE_UNIT = 1_000_000
FREE = Charge()
_log = logging.getLogger("genops_helicone_async.ledger")


def charge_of(
    request: ChatRequest,
    target: Target,
    reply: Reply,
    headers: Mapping[str, str],
    fees: Mapping[str, float],
    estimates: Estimates,
) -> tuple[Charge, TokenCounts]:
    """What an answered attempt cost and the tokens it is counted with; both are estimates where none were reported.

    An answer of the gateway's cache costs nothing: its charge is `FREE`.
    """
    counts, price = reply.usage, target.price
    source: CostSource = "computed"
    if counts is None:
        counts, source = estimates.counts_of(request, reply, target.endpoint.model), "estimated"
    if headers.get(_CACHE) == _HIT:
        return FREE, counts
    if reply.reported_cost_usd is not None and reply.reported_cost_usd >= 0:
        provider_pusd, source = round(reply.reported_cost_usd * PUSD_PER_USD), "reported"
    elif price is None:
        return Charge(source="unpriced"), counts
    else:
        provider_pusd = cost_pusd(price, counts)
    rate = fees.get(headers.get(_MODE, ""))
    if not rate:
        return Charge(provider_pusd=provider_pusd, source=source), counts
    gateway_pusd = (provider_pusd * round(rate * _FEE_UNIT) + _FEE_UNIT // 2) // _FEE_UNIT
    return Charge(provider_pusd=provider_pusd, gateway_pusd=gateway_pusd, source=source), counts


def is_hit(headers: Mapping[str, str]) -> bool:
    """Whether the gateway answered from its cache, at no cost."""
    return headers.get(_CACHE) == _HIT


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
    provider, parsed = usage.provider, None
    if routing is None or routing.selected != provider:
        routing = decided(routing, provider)
    if request.response_model is not None and not reply.partial:
        try:
            parsed = parse(request.response_model, reply.content)
        except ValueError as exc:
            raise DecodeError(
                f"the answer does not fit `response_model` {request.response_model.__name__}: {exc}",
                request_id=outcome.request_id,
                http_status=200,
                billed="yes",
                provider=provider,
                model=usage.model,
            ) from exc
    return HeliconeResponse(
        content=reply.content,
        provider=provider,
        model=usage.model,
        usage=usage,
        request_id=outcome.request_id,
        session_id=request.session_id,
        finish_reason=reply.finish_reason,
        tool_calls=reply.tool_calls,
        parsed=parsed,
        reasoning=reply.reasoning,
        cached=outcome.is_cached,
        routing=routing,
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
    facts = [*_told_of(outcome), *map(outcome.headers.get, _TOLD_BY)]
    return dict(compress(zip(_TOLD, facts, strict=True), map(is_not, facts, _NONES)))


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


__all__ = ["FREE", "charge_of", "decided", "is_hit", "metadata_of", "response_of", "usage_of", "written"]

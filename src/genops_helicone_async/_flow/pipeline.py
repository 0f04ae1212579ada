"""The life of a request, in the order in which it is lived. Start reading here."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from .._rules.retry import RetryPolicy, RetryQuota
from .._values import Currency
from ..chat_request import ChatRequest
from ..config import Settings
from ..errors import ConfigurationError, HeliconeError
from ..models import HeliconeResponse
from .admit import Admission
from .attempt import Attempts
from .attribution import Attribution
from .audit import AuditTrail
from .caching import Caching
from .candidates import Candidates
from .estimates import Estimates
from .failover import Failover
from .helicone_log import passes_by
from .limit_ports import Limits
from .metering import NO_CUSTOM_METRICS, CustomMetrics
from .ports import Budget, NoBudget, Prices, Transport
from .replay import Replays
from .route import Router, RoutingBoard
from .settle import response_of, written
from .sinks import Sinks
from .stream import ChatStream
from .ticket import Outcome, Ticket, record_of
from .tracing import NoTracing, Tracing

_TURNS = 50
"""Of the event loop, in which calls whose connection was dropped end by themselves; others wait for a retry."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all event loops of one adapter share."""

    settings: Settings
    prices: Prices
    attribution: Attribution
    sinks: Sinks
    quota: RetryQuota
    new_id: Callable[[], str]
    random: Callable[[], float]
    estimates: Estimates
    routing: RoutingBoard
    currency: Currency = Currency()
    budget: Budget = NoBudget()
    tracing: Tracing | NoTracing = NoTracing()
    custom_metrics: CustomMetrics = NO_CUSTOM_METRICS
    audit: AuditTrail | None = None
    caching: Caching = msgspec.field(default_factory=Caching)


class Pipeline:
    """Runs calls on one event loop. `clock` is that loop's."""

    __slots__ = (
        "attempts",
        "attribution",
        "audit",
        "budget",
        "caching",
        "candidates",
        "clock",
        "currency",
        "custom_metrics",
        "estimates",
        "failover",
        "health",
        "in_flight",
        "limits",
        "replays",
        "router",
        "settings",
        "sinks",
        "streams",
        "tracing",
        "transport",
    )

    def __init__(self, shared: Shared, transport: Transport, limits: Limits, clock: Callable[[], float]) -> None:
        self.settings = shared.settings
        self.attribution = shared.attribution
        self.audit = shared.audit
        self.budget = shared.budget
        self.caching = shared.caching
        self.sinks = shared.sinks
        self.transport = transport
        self.limits = limits
        self.tracing = shared.tracing
        self.clock = clock
        self.in_flight: set[Admission] = set()
        self.streams: weakref.WeakSet[ChatStream] = weakref.WeakSet()
        self.candidates = Candidates(shared.settings, shared.prices)
        self.estimates = shared.estimates
        self.currency = shared.currency
        self.custom_metrics = shared.custom_metrics
        self.attempts = Attempts(
            transport,
            clock,
            shared.new_id,
            fees=shared.settings.gateway_fee_rates,
            estimates=shared.estimates,
            currency=shared.currency,
            traced=shared.tracing.is_on,
            kept=passes_by if shared.settings.services.log is not None else None,
        )
        self.replays = Replays(shared.caching, shared.sinks, clock, shared.new_id, shared.currency)
        self.health = shared.routing.health
        self.failover = Failover(
            RetryPolicy(attempts=shared.settings.retry_attempts),
            shared.quota,
            clock,
            shared.random,
            estimates=shared.estimates,
            currency=shared.currency,
            health=self.health,
            limits=limits,
        )
        self.router = Router(shared.settings, shared.routing, self.candidates, shared.estimates, clock, shared.random)

    def run(self, request: ChatRequest) -> Coroutine[Any, Any, HeliconeResponse]:
        """One call from admission to settlement, to be awaited."""
        return self.run_admission(Admission(self, request))

    async def run_admission(self, admission: Admission) -> HeliconeResponse:
        """The same, for who wants to know afterwards what became of the call: its ticket outlives it.

        Raises:
            HeliconeError: it failed; the error carries every attempt.
        """
        with admission:
            ticket = admission.ticket
            if not admission.is_whole:  # something has to be waited for: a price, a cache, a store
                await admission.complete()
                if admission.replay is not None:  # the cache had the answer, or an identical call in flight
                    return self.replays.settle(ticket, admission.replay)
            targets = self.router.route_nowait(ticket, admission.targets)
            if targets is None:  # a function of the caller's decides
                targets = await self.router.route(ticket, admission.targets)
            outcome = await self.failover.run(ticket, targets, self.attempts.ask)
            response = self.settle(ticket, outcome)
        if ticket.durable is not None:
            await written(ticket)
        return response

    def stream(self, request: ChatRequest) -> ChatStream:
        """One streamed call; it begins when the stream is entered."""
        return ChatStream(Admission(self, request, streamed=True), self)

    async def aclose(self) -> None:
        """Drops the connections, and books what is still on its way as far as it is known, before the ledger closes."""
        self.limits.close()
        self.replays.cancel(_closed())
        await self.transport.aclose()
        for stream in tuple(self.streams):
            stream.end(_closed())
        try:
            await self._last_calls()
        finally:
            await self.replays.aclose()

    async def _last_calls(self) -> None:
        """Lets calls end by themselves for a while; those that do not are ended."""
        for _ in range(_TURNS):
            if not self.in_flight:
                return
            await asyncio.sleep(0)
        for admission in tuple(self.in_flight):
            admission.close(_closed())

    def admit(self, request: ChatRequest) -> Admission:
        """The way in and out, as an `async with`."""
        return Admission(self, request)

    def is_short(self, provider: str) -> bool:
        """Whether a call to the provider would have to wait for its limits."""
        return self.limits.gate(provider).is_short()

    def settle(self, ticket: Ticket, outcome: Outcome) -> HeliconeResponse:
        """Books an answered call: money, response, record. No await, so nothing can tear it."""
        ticket.settled = True
        is_cached, charge = outcome.is_cached, outcome.charge
        ticket.durable = ticket.hold.settle(ticket.rows, failed=False, cached=is_cached)
        cost_pusd = charge.provider_pusd + charge.gateway_pusd
        try:
            response = response_of(ticket, outcome, self.currency)
        except BaseException as exc:
            if isinstance(exc, HeliconeError):
                exc.attempts = tuple(ticket.attempts)
            self.sinks.emit(record_of(ticket, self.clock(), cost_pusd=cost_pusd, error=exc))
            raise
        is_usual = not (is_cached or ticket.streamed or ticket.refusals or ticket.request.custom_metrics)
        is_plain = is_usual and len(ticket.attempts) == 1
        self.sinks.emit(record_of(ticket, self.clock(), cost_pusd=cost_pusd, response=response, is_plain=is_plain))
        if (lead := ticket.lead) is not None:
            ticket.lead = None
            lead.land(outcome)
        return response


def _closed() -> ConfigurationError:
    return ConfigurationError("the adapter was closed while the call was on its way: close it when all are done")


__all__ = ["Pipeline", "Shared"]

"""Puts an adapter's parts together: which edge serves which port."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

import msgspec

from ._edges.credentials import AuthorizedTransport, ClientCredentials, ServiceAccount, TokenKeeper
from ._edges.http import HttpTransport, clock_of
from ._edges.ids import RequestIds
from ._edges.ledger_memory import MemoryLedger
from ._edges.limits.board import LimitBoard
from ._edges.otel_metrics import OtelMetrics
from ._edges.otel_spans import SpanExport, program_name
from ._edges.price_book import PriceBook
from ._edges.price_table import PriceTable
from ._edges.second_prices import second_prices
from ._edges.shared_rates import SharedRates
from ._edges.token_counter import counter
from ._flow.attribution import Attribution
from ._flow.budgets import Budgets
from ._flow.call_spans import CallTelemetry
from ._flow.cost_debugging import CostDebugging
from ._flow.estimates import Estimates
from ._flow.metering import CustomMetrics, Gauges, Metering, Outlet
from ._flow.pipeline import Pipeline, Shared
from ._flow.ports import Ledger
from ._flow.route import RoutingBoard
from ._flow.sinks import Sinks
from ._flow.tally import Tally
from ._flow.tracing import Tracing
from ._rules.health import HealthBoard
from ._rules.retry import RetryQuota
from ._side_channels import SideChannels, permitted_options, side_channels
from ._values import Credential
from ._wire.headers import GatewayOptions
from .config import Settings, is_access_token


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter owns, whatever event loop it runs on."""

    shared: Shared
    ledger: Ledger
    budgets: Budgets
    tally: Tally
    cost_debugging: CostDebugging
    limits: LimitBoard
    shared_rates: SharedRates | None
    metrics: Outlet
    side: SideChannels
    keepers: Mapping[Credential, TokenKeeper]


def assemble(settings: Settings, gateway_options: GatewayOptions | None, ledger: Ledger | None = None) -> Parts:
    """The parts for these settings, on this ledger or that of `state_url`; nothing is opened before it is used."""
    sinks, tally = Sinks(), Tally(currency=settings.currency)
    sinks.add(tally)
    tracing = tracing_of(settings, sinks)
    prices, ledger = PriceBook(settings.prices, table=PriceTable().find), ledger or open_ledger(settings.state_url)
    budgets = Budgets(ledger, time.time, sinks.tell, settings.currency)
    side = side_channels(settings, sinks, budgets, RequestIds(), gateway_options)
    counted, health = counter(), HealthBoard()
    estimates = Estimates(counted, settings.gateway_fee_rates, counted.rough, counted.each)
    gauges = Gauges(budgets, health, settings.currency)
    metrics = OtelMetrics(settings.meter_provider, gauges, record_histograms=settings.record_histograms)
    sinks.add(Metering(metrics, custom_metrics := CustomMetrics(metrics)))
    shared = Shared(
        settings=settings,
        prices=prices,
        attribution=Attribution(settings.default_attributes, permitted_options(settings.compliance, gateway_options)),
        sinks=sinks,
        quota=RetryQuota(),
        new_id=side.new_id,
        random=random.Random().random,  # jitter, no secret
        estimates=estimates,
        routing=RoutingBoard(health=health),
        currency=settings.currency,
        budget=budgets,
        custom_metrics=custom_metrics,
        audit=side.trail,
        tracing=tracing,
    )
    rates = _shared_rates(settings.state_url)
    return Parts(
        shared=shared,
        ledger=ledger,
        budgets=budgets,
        tally=tally,
        cost_debugging=CostDebugging(prices, estimates, second_prices),
        limits=LimitBoard(rates),
        shared_rates=rates,
        metrics=metrics,
        side=side,
        keepers=_keepers(settings),
    )


def tracing_of(settings: Settings, sinks: Sinks) -> Tracing:
    """Where the spans of calls go."""
    outlet = SpanExport(settings.tracer_provider, settings.logger_provider)
    tracing = Tracing(outlet, CallTelemetry(settings.currency, settings.content_capture, program_name()))
    sinks.add(tracing)
    return tracing


def pipeline_on(loop: asyncio.AbstractEventLoop, parts: Parts) -> Pipeline:
    """A pipeline with a session, slots and limits of its own for one event loop."""
    settings = parts.shared.settings
    http = HttpTransport(
        max_response_bytes=settings.max_response_bytes, trust_env=settings.trust_env, by_session=settings.by_session
    )
    transport = AuthorizedTransport(http, parts.keepers) if parts.keepers else http
    clock = clock_of(loop)
    return Pipeline(parts.shared, transport, parts.limits.on(loop, settings.max_connections, clock), clock)


async def close(parts: Parts) -> None:
    """Closes what all event loops share: whatever fails, the others are closed."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(parts.metrics.aclose)
        stack.push_async_callback(parts.side.aclose)
        stack.push_async_callback(parts.ledger.aclose)
        if parts.shared_rates is not None:
            stack.push_async_callback(parts.shared_rates.aclose)
        stack.push_async_callback(parts.shared.caching.aclose)


def _keepers(settings: Settings) -> dict[Credential, TokenKeeper]:
    """Whose tokens change: the client's own by OAuth, and Google's where vertex has a service account's file."""
    keepers: dict[Credential, TokenKeeper] = {}
    if settings.oauth is not None:
        keepers["oauth2"] = TokenKeeper(ClientCredentials(settings.oauth))
    vertex = settings.provider_keys.get("vertex")
    if vertex is not None and not is_access_token(vertex):
        keepers["vertex"] = TokenKeeper(ServiceAccount(vertex))
    return keepers


def _shared_rates(state_url: str | None) -> SharedRates | None:
    """Where several machines share their budgets they share their limits, too."""
    if state_url is None or state_url.startswith("sqlite:"):
        return None
    return SharedRates(state_url)


def open_ledger(state_url: str | None) -> Ledger:
    """The ledger a `state_url` means.

    Raises:
        ConfigurationError: the URL is not valid, or its extra is not installed.
    """
    if state_url is None:
        return MemoryLedger()
    if state_url.startswith("sqlite:"):
        from ._edges.ledger_sqlite import SqliteLedger, path_of

        return SqliteLedger(path_of(state_url))
    from ._edges.ledger_redis import RedisLedger

    return RedisLedger(state_url)


__all__ = ["Parts", "assemble", "close", "open_ledger", "pipeline_on", "tracing_of"]

"""Providers' keys, prices, the store of budgets, and where telemetry goes: each asked for what it really does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from .._edges.reachable import is_reachable
from .._flow.pipeline import Pipeline
from .._flow.ports import Ledger
from .._providers import PROVIDERS
from .._rules.ledger import Scope
from .._rules.prices import Price
from .._wire.dialects import default_model, dialect_of
from ..config import Settings
from ..errors import ConfigurationError, HeliconeError
from ..models import ProviderCheck
from .results import ValidationCheck

OLD_PRICES_DAYS = 90
_SCOPE, _HELD_PUSD = Scope(name="setup-check", limit_pusd=10**15), 1_000_000
_OTLP = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PORTS = {"https": 443, "http": 80}


def title_of(provider: str) -> str:
    """A provider's name for people."""
    row = PROVIDERS.get(provider)
    return row.title if row is not None else provider


def provider_keys(settings: Settings, found: Mapping[str, ProviderCheck]) -> ValidationCheck:
    """Whether each configured provider can be called with its key."""
    name, title = "provider_keys", "Provider Keys"
    own = [provider for provider in found if dialect_of(settings, provider) == "proxy"]
    details = tuple(f"{title_of(provider)}: {check.detail}" for provider, check in found.items())
    if not own:
        told = f"Kept at the gateway ({', '.join(map(title_of, found))})"
        if all(check.status in ("ok", "unsupported") for check in found.values()):
            return ValidationCheck(name=name, title=title, status="ok", summary=told, details=details)
        return ValidationCheck(name=name, title=title, status="info", summary=f"{told}, not checked", details=details)
    good = [provider for provider in own if found[provider].status in ("ok", "unsupported")]
    told = f"{len(good)}/{len(own)} configured ({', '.join(map(title_of, good))})" if good else f"0/{len(own)} usable"
    if len(good) == len(own):
        return ValidationCheck(name=name, title=title, status="ok", summary=told, details=details)
    bad = [provider for provider in own if provider not in good]
    told += "".join(f"; {title_of(provider)}: {found[provider].detail}" for provider in bad)
    return ValidationCheck(
        name=name, title=title, status="failed", summary=told, details=details,
        remedy=f"Check the key or setting of {', '.join(map(title_of, bad))}",
    )  # fmt: skip


async def cost_tracking(pipeline: Pipeline, today: date) -> ValidationCheck:
    """Whether the default models have prices, and how old those are."""
    name, title, settings = "cost_tracking", "Cost Tracking", pipeline.settings
    if not settings.enable_cost_tracking:
        return ValidationCheck(
            name=name, title=title, status="warning", summary="Disabled",
            remedy="Leave enable_cost_tracking on: without it budgets cannot be enforced",
        )  # fmt: skip
    prices: dict[str, Price | None] = {}
    for provider in settings.candidates:
        if provider in PROVIDERS:
            model = default_model(settings, provider)
            with contextlib.suppress(ConfigurationError):  # told with the provider's key
                prices[f"{provider}/{model}"] = (await pipeline.candidates.target(provider, model)).price
    details = tuple(f"{label}: {_told(price)}" for label, price in prices.items())
    if missing := [label for label, price in prices.items() if price is None]:
        return ValidationCheck(
            name=name, title=title, status="warning", summary=f"Enabled, but without a price for {', '.join(missing)}",
            details=details, remedy=f"Give prices={{{missing[0]!r}: {{'input': …, 'output': …}}}}",
        )  # fmt: skip
    dates = [date.fromisoformat(price.date) for price in prices.values() if price is not None and price.date]
    age_days = (today - min(dates)).days if dates else 0
    if age_days > OLD_PRICES_DAYS:
        return ValidationCheck(
            name=name, title=title, status="warning", summary=f"Enabled, with prices {age_days} days old",
            details=details, remedy="Update the price list: pip install --upgrade genai-prices",
        )  # fmt: skip
    return ValidationCheck(name=name, title=title, status="ok", summary="Enabled and functioning", details=details)


def _told(price: Price | None) -> str:
    if price is None:
        return "no price"
    rates = price.tiers[0][1]
    good = f", good on {price.date}" if price.date else ""
    return f"${rates.input / 1e6:g} in, ${rates.output / 1e6:g} out per million tokens ({price.source}{good})"


async def state_store(settings: Settings, ledger: Ledger, limit_s: float) -> ValidationCheck:
    """Whether the store of budgets opens, takes a hold, gives it back and keeps it; nothing stays booked."""
    name, title, url = "state_store", "State Store", settings.state_url
    if url is None:
        return ValidationCheck(
            name=name, title=title, status="info", summary="In memory (budgets end with the process)",
            remedy="Set state_url (GENOPS_STATE_URL) to keep budgets: sqlite:///genops.db, or redis://host:6379/0",
        )  # fmt: skip
    kind, began = _kind(url), time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            refusal = await ledger.hold([_SCOPE], _HELD_PUSD, enforce=True)
            written = None if refusal is not None else ledger.settle([_SCOPE], _HELD_PUSD, [], lambda _: None)
            if written is not None:
                await written
            await ledger.refresh([_SCOPE])
    except (HeliconeError, TimeoutError) as exc:
        said = exc.message if isinstance(exc, HeliconeError) else f"no answer within {limit_s:g} s"
        remedy = f"Check state_url (GENOPS_STATE_URL) and the {kind} store behind it"
        return ValidationCheck(name=name, title=title, status="failed", summary=f"{kind}: {said}", remedy=remedy)
    took_s = time.monotonic() - began
    told = f"{kind}, written and durable"
    return ValidationCheck(name=name, title=title, status="ok", summary=told, latency_s=took_s)


def _kind(url: str) -> str:
    scheme = url.partition(":")[0]
    return "SQLite" if scheme == "sqlite" else "Valkey" if scheme.startswith("valkey") else "Redis"


async def telemetry(settings: Settings, environ: Mapping[str, str], limit_s: float) -> ValidationCheck:
    """Whether spans and metrics go anywhere, and whether the OTLP endpoint of the environment is there."""
    name, title = "telemetry", "Telemetry Export"
    tracer, meter = _providers(settings)
    endpoint = next((environ[variable] for variable in _OTLP if environ.get(variable)), None)
    parts = [word for word, is_there in (("spans", tracer), ("metrics", meter)) if is_there]
    if not parts:
        hint = "" if endpoint is None else f", though {endpoint} is set"
        return ValidationCheck(
            name=name, title=title, status="info" if endpoint is None else "warning",
            summary=f"No OpenTelemetry SDK configured{hint}",
            remedy="Configure OpenTelemetry's TracerProvider and MeterProvider to export spans and metrics",
        )  # fmt: skip
    told = f"OpenTelemetry SDK with {' and '.join(parts)}"
    if endpoint is None:
        return ValidationCheck(name=name, title=title, status="ok", summary=told)
    where = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    host, port = where.hostname or "", where.port or _PORTS.get(where.scheme, 4317)
    if await is_reachable(host, port, limit_s):
        return ValidationCheck(name=name, title=title, status="ok", summary=f"{told}; {host}:{port} reachable")
    return ValidationCheck(
        name=name, title=title, status="warning", summary=f"{told}, but {host}:{port} cannot be reached",
        remedy=f"Start the collector at {host}:{port}, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
    )  # fmt: skip


def _providers(settings: Settings) -> tuple[bool, bool]:
    """Whether spans and metrics have somewhere to go: a provider of the adapter's own, or the process's."""
    from opentelemetry import metrics, trace

    def is_real(given: Any, of_process: Any) -> bool:
        module = type(of_process).__module__  # the API's own stand-ins lead nowhere
        return given is not None or not module.startswith("opentelemetry.") or module.startswith("opentelemetry.sdk")

    tracer = is_real(settings.tracer_provider, trace.get_tracer_provider())
    return tracer, is_real(settings.meter_provider, metrics.get_meter_provider())


def today() -> date:
    """The date, in UTC."""
    return datetime.now(UTC).date()


__all__ = ["OLD_PRICES_DAYS", "cost_tracking", "provider_keys", "state_store", "telemetry", "title_of", "today"]

"""Asks everything at once and gives one result. Nothing here raises for what it finds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import anyio

from .._flow.checks import check_providers
from ..client import GenOpsHeliconeAsyncAdapter
from ..errors import HeliconeError
from ..models import ProviderCheck
from .checks import cost_tracking, provider_keys, state_store, telemetry, today
from .gateway import clock, connectivity, helicone_key, probe, self_hosted
from .performance import measure
from .recommendations import recommendations
from .results import PerformanceMeasurement, ValidationCheck, ValidationResult

CHECK_LIMIT_S = 10.0
"""Longest a check may take, unless the adapter's own timeout is shorter."""
_BILLED_LIMIT_S = 30.0
"""The same for a billed call."""
_TCP_LIMIT_S = 2.0


async def validate_setup_async(
    include_performance_tests: bool = False,
    *,
    helicone_api_key: str | None = None,
    provider_keys: Mapping[str, str] | None = None,
    announce: Callable[[str], object] | None = None,
    **settings: Any,
) -> ValidationResult:
    """The same on the running event loop; see `validate_setup`."""
    started_at, began = datetime.now(UTC), time.monotonic()
    try:
        adapter = GenOpsHeliconeAsyncAdapter(helicone_api_key, provider_keys, **settings)
    except HeliconeError as exc:
        check = ValidationCheck(name="configuration", title="Configuration", status="failed", summary=exc.message)
        return _result((check,), {}, (), "", started_at, began)
    try:
        checks, providers = await _checked(adapter)
        performance: tuple[PerformanceMeasurement, ...] = ()
        if include_performance_tests:
            limit_s = min(_BILLED_LIMIT_S, adapter.settings.timeout_s)
            asked = [name for name, check in providers.items() if check.status in ("ok", "unsupported")]
            performance = await measure(adapter, asked, limit_s, announce or _to_standard_error)
    finally:
        await _closed(adapter)
    return _result(checks, providers, performance, adapter.settings.gateway_url, started_at, began)


async def _checked(
    adapter: GenOpsHeliconeAsyncAdapter,
) -> tuple[tuple[ValidationCheck, ...], dict[str, ProviderCheck]]:
    """Every check; the gateway first and alone, for it is timed, and the price list last, for it keeps all busy."""
    pipeline, settings, ledger = adapter._pipeline(), adapter.settings, adapter._parts.ledger
    limit_s = min(CHECK_LIMIT_S, settings.timeout_s)
    answers: dict[str, Any] = {}

    async def ask(name: str, question: Awaitable[Any]) -> None:
        answers[name] = await question

    found = await probe(pipeline, limit_s)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "providers", check_providers(pipeline, limit_s))
        group.start_soon(ask, "store", state_store(settings, ledger, limit_s))
        group.start_soon(ask, "telemetry", telemetry(settings, os.environ, _TCP_LIMIT_S))
    costs = await cost_tracking(pipeline, today())
    providers: dict[str, ProviderCheck] = answers["providers"]
    checks = (
        helicone_key(settings, found),
        provider_keys(settings, providers),
        connectivity(found),
        costs,
        answers["store"],
        clock(found),
        answers["telemetry"],
        self_hosted(settings),
    )
    return checks, providers


async def _closed(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Closes it; a store that fails has been told of already."""
    try:
        await adapter.aclose()
    except HeliconeError:
        pass


def _result(
    checks: tuple[ValidationCheck, ...],
    providers: dict[str, ProviderCheck],
    performance: tuple[PerformanceMeasurement, ...],
    gateway_url: str,
    started_at: datetime,
    began: float,
) -> ValidationResult:
    failed = any(check.status == "failed" for check in checks) or not all(one.ok for one in performance)
    return ValidationResult(
        status="failed" if failed else "passed",
        checks=checks,
        providers=providers,
        performance=performance,
        recommendations=recommendations(checks, performance),
        gateway_url=gateway_url,
        started_at=started_at,
        duration_s=time.monotonic() - began,
    )


def _to_standard_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


__all__ = ["CHECK_LIMIT_S", "validate_setup_async"]

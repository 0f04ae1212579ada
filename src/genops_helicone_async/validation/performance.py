"""One small billed call to each provider: how long it takes, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from ..client import GenOpsHeliconeAsyncAdapter
from ..errors import HeliconeError
from .checks import title_of
from .results import PerformanceMeasurement

MESSAGE = "Reply with the word OK."
MAX_TOKENS = 16


async def measure(
    adapter: GenOpsHeliconeAsyncAdapter, providers: list[str], limit_s: float, announce: Callable[[str], object]
) -> tuple[PerformanceMeasurement, ...]:
    """Calls each provider once, all at the same time, and says so before anything is sent; raises nothing."""
    if not providers:
        return ()
    names = ", ".join(map(title_of, providers))
    announce(f"Performance test: one small billed call ({MAX_TOKENS} output tokens at most) to each of {names}.")
    measured: dict[str, PerformanceMeasurement] = {}

    async def call(provider: str) -> None:
        measured[provider] = await _measured(adapter, provider, limit_s)

    async with anyio.create_task_group() as group:
        for provider in providers:
            group.start_soon(call, provider)
    return tuple(measured[provider] for provider in providers)


async def _measured(adapter: GenOpsHeliconeAsyncAdapter, provider: str, limit_s: float) -> PerformanceMeasurement:
    title, code = title_of(provider), adapter.settings.currency.code
    try:
        response = await adapter.chat_async(
            MESSAGE, provider=provider, max_tokens=MAX_TOKENS, timeout_seconds=limit_s, feature="setup-validation"
        )
    except HeliconeError as exc:
        cost = sum(attempt.cost for attempt in exc.attempts)
        return PerformanceMeasurement(
            provider=provider, title=title, model=exc.model or "", ok=False, cost=cost, currency=code, error=exc.message
        )
    usage, attempts = response.usage, response.attempts
    return PerformanceMeasurement(
        provider=provider,
        title=title,
        model=response.model,
        ok=True,
        latency_s=attempts[-1].duration_s,
        cost=sum(attempt.cost for attempt in attempts),
        currency=code,
        output_tokens=usage.output_tokens,
        tokens_per_second=usage.tokens_per_second,
    )


__all__ = ["MAX_TOKENS", "MESSAGE", "measure"]

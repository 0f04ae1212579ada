"""The validation for synchronous code: waits for the one on an event loop, wherever it is called from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .results import ValidationResult
from .run import validate_setup_async


def validate_setup(
    include_performance_tests: bool = False,
    *,
    helicone_api_key: str | None = None,
    provider_keys: Mapping[str, str] | None = None,
    announce: Callable[[str], object] | None = None,
    **settings: Any,
) -> ValidationResult:
    """Whether calls would work with these settings: keys, gateway, prices, store, clock and telemetry are tried.

    Nothing is billed, unless `include_performance_tests` is set: then each provider gets one small billed call, which
    is said first, on standard error. Callable from a thread that runs an event loop, which it then blocks.

    Args:
        include_performance_tests: Whether to make the billed calls.
        helicone_api_key: As in `GenOpsHeliconeAdapter`; unset, from the environment, as everything else.
        provider_keys: The same.
        announce: Told in one line what will be billed, instead of standard error.
        **settings: The other settings of `GenOpsHeliconeAdapter`.

    Raises:
        TypeError: a setting that an adapter does not have.
    """

    async def run() -> ValidationResult:
        return await validate_setup_async(
            include_performance_tests,
            helicone_api_key=helicone_api_key,
            provider_keys=provider_keys,
            announce=announce,
            **settings,
        )

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1, "genops-validation") as thread:
        return thread.submit(asyncio.run, run()).result()


__all__ = ["validate_setup"]

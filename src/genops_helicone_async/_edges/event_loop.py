"""The event loop where the package itself starts one: asyncio's own, or uvloop where `GENOPS_EVENT_LOOP` says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import ConfigurationError

VARIABLE = "GENOPS_EVENT_LOOP"
Result = TypeVar("Result")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop of synchronous calls and of the command line.

    Raises:
        ConfigurationError: `GENOPS_EVENT_LOOP` names no loop, or one that is not installed.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted in ("", "asyncio"):
        return asyncio.new_event_loop()
    if wanted != "uvloop":
        raise ConfigurationError(f"{VARIABLE} is {wanted!r}: use 'asyncio' or 'uvloop'")
    try:
        import uvloop
    except ImportError as exc:
        why = f"{VARIABLE} is 'uvloop', which is not installed: pip install 'genops-helicone-async[uvloop]'"
        raise ConfigurationError(why) from exc
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run_on_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` on that loop."""
    try:
        runner = asyncio.Runner(loop_factory=new_event_loop).__enter__()
    except BaseException:
        main.close()
        raise
    with runner:
        return runner.run(main)


__all__ = ["VARIABLE", "new_event_loop", "run_on_loop"]

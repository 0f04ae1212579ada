"""Ctrl-C while an event loop runs: told to a function, and counted, instead of tearing the work apart."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, the first and every further SIGINT or SIGTERM calls `told` with its number, on the event loop.

    `is_terminated` is whether the last one was SIGTERM: then somebody else wants this process to end soon. Outside the
    main thread, where Python delivers no signals, it does nothing.
    """

    __slots__ = ("_before", "_loop", "_told", "count", "is_terminated")

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told
        self._before: dict[int, Any] = {}
        self.count = 0
        self.is_terminated = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        # Runs between two bytecodes of the main thread: only hands over.
        self._loop.call_soon_threadsafe(self._tell, number)

    def _tell(self, number: int) -> None:
        self.count += 1
        self.is_terminated = number == signal.SIGTERM
        self._told(self.count)


__all__ = ["Interrupts"]

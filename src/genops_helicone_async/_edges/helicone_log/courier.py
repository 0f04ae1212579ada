"""The face of the log: takes entries from any thread, says what became of them, and lets go of them at the end."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from ..._helicone_settings import LogTarget
from ..._rules.log_delivery import LogPolicy
from ..._wire.helicone_log import LoggedAttempt
from .engine import Engine, Sender


class HeliconeLogStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts: waiting to be told, told, dropped (said in the log of this process as well); deliveries that failed.

    `failing` tells why the latest delivery failed, until one succeeds.
    """

    waiting: int
    waiting_bytes: int
    logged: int
    dropped: int
    failed_deliveries: int
    failing: str | None = None


class LogCourier:
    """Takes attempts from any thread and posts them; its thread starts with the first.

    Args:
        target: Where they are told.
        new_sender: Makes what posts, on the courier's own event loop.
        random: From 0 up to 1, for the waits.
        clock: Seconds that never go back.
        policy: When to try again, and when to give up.
        timeout_s: How long an answer may take.
        flush_s: How long `aclose` and the end of the process go on delivering.
    """

    __slots__ = ("__weakref__", "_engine")

    def __init__(
        self,
        target: LogTarget,
        new_sender: Callable[[], Sender],
        *,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        policy: LogPolicy = LogPolicy(),  # noqa: B008  frozen
        timeout_s: float = 10.0,
        flush_s: float = 5.0,
    ) -> None:
        self._engine = Engine(target, new_sender, policy, clock, random, timeout_s=timeout_s, flush_s=flush_s)
        weakref.finalize(self, self._engine.stop).atexit = False

    def __repr__(self) -> str:
        told = self.statistics()
        text = f"LogCourier({self._engine.host}, {told.waiting} waiting, {told.logged} logged, {told.dropped} dropped"
        return f"{text}{', failing' if told.failing else ''})"

    def statistics(self) -> HeliconeLogStatistics:
        """What became of the attempts so far."""
        engine = self._engine
        return HeliconeLogStatistics(
            waiting=engine.waiting,
            waiting_bytes=engine.waiting_bytes,
            logged=engine.logged,
            dropped=engine.dropped,
            failed_deliveries=engine.failed,
            failing=engine.failing,
        )

    def put(self, entry: LoggedAttempt) -> None:
        """Takes an attempt to tell, from any thread; never waits and never fails."""
        self._engine.put(entry)

    async def aclose(self) -> None:
        """Goes on telling what is still waiting, for at most `flush_s`; the rest is dropped.

        Cancelling does not stop that. Safe to repeat.
        """
        done: Future[None] = Future()
        self._engine.stop(done)
        await asyncio.shield(asyncio.wrap_future(done))


__all__ = ["HeliconeLogStatistics", "LogCourier"]

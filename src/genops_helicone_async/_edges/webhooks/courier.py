"""Delivers alerts from a thread of its own, so that no call ever waits for a receiver, whatever loop it runs on."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import msgspec

from ..._rules.webhook_retry import DeliveryPolicy
from ..._wire.webhooks import Alert
from .engine import Engine
from .outbox import Outbox
from .receivers import Receiver, Sender


class WebhookStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts: waiting to be delivered, delivered, dropped (told in the log as well); attempts that failed.

    `failing` tells why the latest attempt failed, by channel, until one succeeds. `waiting` includes, where the outbox
    is a file, the alerts of other processes as of this one's last look.
    """

    waiting: int
    delivered: int
    dropped: int
    failed_attempts: int
    failing: Mapping[str, str]


class Courier:
    """Takes alerts from any thread and posts them; started by the first one, or by those a file has kept.

    Args:
        outbox: Where alerts wait.
        new_sender: Makes what posts, on the courier's own event loop.
        policy: When to try again, and when to give up.
        clock: Unix seconds.
        random: From 0 up to 1, for the waits.
        timeout_s: How long a receiver may take to answer.
        flush_s: How long `aclose` and the end of the process go on delivering.
    """

    __slots__ = ("__weakref__", "_engine")

    def __init__(
        self,
        outbox: Outbox,
        new_sender: Callable[[], Sender],
        *,
        random: Callable[[], float],
        clock: Callable[[], float] = time.time,
        policy: DeliveryPolicy = DeliveryPolicy(),  # noqa: B008  frozen
        timeout_s: float = 10.0,
        flush_s: float = 5.0,
    ) -> None:
        self._engine = Engine(outbox, new_sender, policy, clock, random, timeout_s=timeout_s, flush_s=flush_s)
        weakref.finalize(self, self._engine.stop).atexit = False

    def __repr__(self) -> str:
        told, receivers = self.statistics(), self._engine.receivers
        where = ", ".join(f"{channel} to {receiver.host}" for channel, receiver in receivers.items()) or "nobody"
        text = f"Courier({where}, {told.waiting} waiting, {told.delivered} delivered, {told.dropped} dropped"
        return f"{text}{', failing' if told.failing else ''})"

    def statistics(self) -> WebhookStatistics:
        """What became of the alerts so far."""
        engine = self._engine
        return WebhookStatistics(
            waiting=engine.waiting,
            delivered=engine.delivered,
            dropped=engine.dropped,
            failed_attempts=engine.failed_attempts,
            failing=dict(engine.failing),
        )

    def aim(self, receivers: Mapping[str, Receiver]) -> None:
        """Replaces the receivers by channel; what waits goes to the new ones."""
        self._engine.aim(receivers)

    def put(self, alert: Alert) -> None:
        """Takes an alert to deliver, from any thread; never waits and never fails."""
        self._engine.put(alert)

    async def aclose(self) -> None:
        """Tries once more what is still waiting, for at most `flush_s`; then it is dropped, or stays in the file.

        Cancelling does not stop that. Safe to repeat.
        """
        done: Future[None] = Future()
        self._engine.stop(done)
        await asyncio.shield(asyncio.wrap_future(done))


__all__ = ["Courier", "WebhookStatistics"]

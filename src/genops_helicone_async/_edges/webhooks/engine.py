"""The courier's thread: stores what comes in, posts what is due, one alert at a time for each receiver."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from ..._rules.webhook_retry import Delivered, DeliveryPolicy, GivenUp, after_attempt
from ..._values import HttpRequest
from ..._wire.retry_after import retry_after_s
from ..._wire.webhooks import Alert, headers_of
from ...errors import HeliconeError
from .endings import running
from .outbox import MemoryOutbox, Outbox, Waiting
from .receivers import Receiver, Sender

MOST_INCOMING = 10_000
LOOK_AGAIN_S = 30.0
"""How often an outbox that other processes share is looked into for what they have left."""
_SHORTEST_S = 0.02
_BODY_S = 1.0
"""How long the body of a reply is read, which nobody is interested in."""

_log = logging.getLogger("genops_helicone_async.webhooks")


class Engine:
    """Everything but the counters and the inbox belongs to the thread, which starts when there is something to do."""

    __slots__ = (
        *("_bell", "_clock", "_closers", "_flush_s", "_has_ended", "_inbox", "_is_stopping", "_lock", "_loop"),
        *("_new_sender", "_outbox", "_policy", "_random", "_stored", "_tasks", "_thread", "_timeout_s", "_told_drop"),
        *("_tried", "delivered", "dropped", "failed_attempts", "failing", "receivers"),
    )

    def __init__(
        self, outbox: Outbox, new_sender: Callable[[], Sender], policy: DeliveryPolicy, clock: Callable[[], float],
        random: Callable[[], float], *, timeout_s: float, flush_s: float,
    ) -> None:  # fmt: skip
        self._outbox = outbox
        self._new_sender = new_sender
        self._policy = policy
        self._clock = clock
        self._random = random
        self._timeout_s = timeout_s
        self._flush_s = flush_s
        self.receivers: Mapping[str, Receiver] = {}
        self.delivered = self.dropped = self.failed_attempts = self._stored = 0
        self.failing: dict[str, str] = {}
        self._inbox: deque[Alert] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Event
        self._is_stopping = self._has_ended = False
        self._closers: list[Future[None]] = []
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._tried: set[str] = set()
        self._told_drop = ""

    @property
    def waiting(self) -> int:
        """Alerts not delivered yet."""
        return len(self._inbox) + self._stored

    # From any thread

    def aim(self, receivers: Mapping[str, Receiver]) -> None:
        """Replaces the receivers; where the outbox is a file, what it has kept is delivered from now on."""
        self.receivers = dict(receivers)
        with self._lock:
            if receivers and (self._outbox.is_durable or self._thread is not None):
                self._wake()

    def put(self, alert: Alert) -> None:
        """Takes an alert, unless there are too many."""
        with self._lock:
            if not self._is_stopping and len(self._inbox) < MOST_INCOMING:
                self._inbox.append(alert)
                self._wake()
                return
        self._drop(1, "the adapter is closed" if self._is_stopping else "too many came at once")

    def stop(self, done: Future[None] | None = None) -> None:
        """Lets the thread deliver what it can and end; then `done` is told."""
        with self._lock:
            self._is_stopping = True
            if self._thread is not None and not self._has_ended:
                if done is not None:
                    self._closers.append(done)
                self._wake()
                return
            self._has_ended = True
        if done is not None:
            done.set_result(None)

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at the end of the process."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def disown(self) -> None:
        """In a forked child: the parent delivers what there is; what the child alerts of is the child's own."""
        self._lock = threading.Lock()
        self._inbox.clear()
        self._tasks, self._tried, self._closers = {}, set(), []
        self._thread = self._loop = None
        if self._outbox.is_durable:  # an SQLite connection must not cross a fork, and neither does its ledger
            self._is_stopping = self._has_ended = True
        else:
            self._outbox, self._stored = MemoryOutbox(), 0

    def _wake(self) -> None:
        """Starts the thread, or has it look; under the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="genops-webhooks", daemon=True)
            running.add(self)
            self._thread.start()
        elif self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._bell.set)

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if why != self._told_drop:
            self._told_drop = why
            _log.warning("%d alert(s) dropped, %d so far: %s", count, self.dropped, why)

    # On the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:  # noqa: BLE001  the root of the thread: alerts end, calls go on
            _log.exception("the thread that delivers alerts has ended")
        self._finish()

    async def _main(self) -> None:
        self._bell = asyncio.Event()
        sender = self._new_sender()
        with self._lock:
            self._loop = asyncio.get_running_loop()
        try:
            while not self._is_stopping:
                self._bell.clear()
                self._store()
                self._begin(sender, self._clock())
                await self._rest()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._flush(sender)
        finally:
            tasks = [task for _, task in self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sender.aclose()
            self._leave()
            self._finish()

    def _finish(self) -> None:
        """Tells whoever waits; twice is once."""
        with self._lock:
            self._has_ended = self._is_stopping = True
            self._loop = None
            closers, self._closers = self._closers, []
        running.discard(self)
        for closer in closers:
            closer.set_result(None)

    def _store(self) -> None:
        while self._inbox:
            if not self._outbox.add(self._inbox.popleft()):
                self._drop(1, "the outbox is full, its receiver has been away for too long")
        self._stored = len(self._outbox)

    def _begin(self, sender: Sender, due_by_s: float) -> None:
        """Begins a delivery to every receiver that has something due and is not being written to."""
        for channel, receiver in self.receivers.items():
            if channel in self._tasks:
                continue
            waiting = self._outbox.take(channel, self._clock(), due_by_s=due_by_s, besides=self._tried)
            if waiting is not None:
                task = asyncio.ensure_future(self._deliver(sender, channel, receiver, waiting))
                self._tasks[channel] = waiting.alert.id, task
                task.add_done_callback(partial(self._ended, channel))

    def _ended(self, channel: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(channel, None)
        self._bell.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("an alert to the %s webhook is given up", channel, exc_info=failure)

    async def _rest(self) -> None:
        """Until somebody rings, or something is due."""
        idle = [channel for channel in self.receivers if channel not in self._tasks]
        due_s = self._outbox.next_due_s(idle) if idle else None
        pause_s = math.inf if due_s is None else max(_SHORTEST_S, due_s - self._clock())
        if self._outbox.is_durable:
            pause_s = min(pause_s, LOOK_AGAIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(pause_s) else pause_s):
                await self._bell.wait()

    async def _flush(self, sender: Sender) -> None:
        """Tries everything once more, due or not."""
        self._tried = {alert_id for alert_id, _ in self._tasks.values()}
        while True:
            self._bell.clear()
            self._store()
            self._begin(sender, math.inf)
            self._tried |= {alert_id for alert_id, _ in self._tasks.values()}
            if not self._tasks:
                return
            await self._bell.wait()

    async def _deliver(self, sender: Sender, channel: str, receiver: Receiver, waiting: Waiting) -> None:
        alert, outbox = waiting.alert, self._outbox
        try:
            status, wish_s, why = await self._post(sender, receiver, alert)
        except asyncio.CancelledError:
            outbox.put_back(waiting)
            raise
        waiting.attempts += 1
        now_s = self._clock()
        step = after_attempt(
            self._policy, status=status, retry_after_s=wish_s, attempts=waiting.attempts,
            age_s=now_s - alert.created_s, random=self._random(),
        )  # fmt: skip
        if isinstance(step, Delivered):
            self.delivered += 1
            self.failing.pop(channel, None)
            self._told_drop = ""
            outbox.remove(alert.id)
        else:
            self._note_failure(channel, receiver, why)
            if isinstance(step, GivenUp):
                outbox.remove(alert.id)
                self._drop(1, f"the {channel} webhook at {receiver.host}: {step.reason}")
            else:
                waiting.due_s = now_s + step.delay_s
                outbox.put_back(waiting)
        self._stored = len(outbox)

    async def _post(self, sender: Sender, receiver: Receiver, alert: Alert) -> tuple[int | None, float | None, str]:
        """The status, how long the receiver asked to wait, and what to say of it."""
        headers = headers_of(alert, receiver.key, self._clock())
        request = HttpRequest(method="POST", url=receiver.url, headers=headers, body=alert.body)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeout_s
        try:
            reply = await sender.open(request, deadline)
        except HeliconeError as exc:
            return None, None, exc.message
        try:
            with contextlib.suppress(HeliconeError):  # the status says it all; a short body keeps the connection
                await reply.read_all(min(deadline, clock() + _BODY_S))
        finally:
            reply.close()
        return reply.status, retry_after_s(reply.headers, self._clock()), f"it answered {reply.status}"

    def _note_failure(self, channel: str, receiver: Receiver, why: str) -> None:
        self.failed_attempts += 1
        if channel not in self.failing:
            _log.warning("the %s webhook at %s failed, its alerts are kept: %s", channel, receiver.host, why)
        self.failing[channel] = why

    def _leave(self) -> None:
        """At the end: what is in memory is lost."""
        self._store()
        left = self._stored
        if left and not self._outbox.is_durable:
            self._stored = 0
            self._drop(left, "not delivered before the adapter was closed")
        elif left:
            _log.info("%d alert(s) stay in the outbox, for the next process", left)
        self._outbox.close()


__all__ = ["Engine"]

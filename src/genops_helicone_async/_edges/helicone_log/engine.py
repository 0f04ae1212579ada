"""The thread that posts log entries: a few at a time, in order of arrival, with a pause for all when one fails."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from ..._helicone_settings import LogTarget
from ..._rules.log_delivery import LARGEST_BYTES, Dropped, Later, Logged, LogPolicy, after_log_attempt
from ..._values import HttpReply, HttpRequest
from ..._wire.helicone_log import LoggedAttempt, log_body, log_error
from ..._wire.retry_after import retry_after_s
from ...errors import HeliconeError
from .endings import running

MOST_ENTRIES = 10_000
MOST_BYTES = 64 * 1024 * 1024
AT_ONCE = 8
_CLOSED = "the adapter is closed"

_log = logging.getLogger("genops_helicone_async.helicone_log")


class Sender(Protocol):
    """What posts; every failure is a `HeliconeError`, the deadline is on the event loop's clock."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


class Waiting:
    """An entry, and how often it was tried."""

    __slots__ = ("attempts", "entry", "size_bytes")

    def __init__(self, entry: LoggedAttempt, size_bytes: int) -> None:
        self.entry = entry
        self.size_bytes = size_bytes
        self.attempts = 0


class Engine:
    """Everything but the counters and the inbox belongs to the thread, which starts when there is something to do."""

    __slots__ = (
        *("_bell", "_clock", "_closers", "_flush_s", "_has_ended", "_inbox", "_is_stopping", "_later", "_lock"),
        *("_loop", "_new_sender", "_number", "_policy", "_quiet_until_s", "_random", "_target", "_tasks", "_thread"),
        *("_timeout_s", "_told_drops", "dropped", "failed", "failing", "logged", "waiting", "waiting_bytes"),
    )

    def __init__(
        self, target: LogTarget, new_sender: Callable[[], Sender], policy: LogPolicy, clock: Callable[[], float],
        random: Callable[[], float], *, timeout_s: float, flush_s: float,
    ) -> None:  # fmt: skip
        self._target = target
        self._new_sender = new_sender
        self._policy = policy
        self._clock = clock
        self._random = random
        self._timeout_s = timeout_s
        self._flush_s = flush_s
        self.waiting = self.waiting_bytes = self.logged = self.dropped = self.failed = 0
        self.failing: str | None = None
        self._inbox: deque[Waiting] = deque()
        self._later: list[tuple[float, int, Waiting]] = []
        self._number = 0
        self._quiet_until_s = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Event
        self._is_stopping = self._has_ended = False
        self._closers: list[Future[None]] = []
        self._told_drops: set[str] = set()

    @property
    def host(self) -> str:
        """Where entries go."""
        return self._target.host

    # From any thread

    def put(self, entry: LoggedAttempt) -> None:
        """Takes an entry, unless it is too large or there are too many."""
        size_bytes = entry.size_bytes
        with self._lock:
            why = self._refusal(size_bytes)
            if why is None:
                self.waiting += 1
                self.waiting_bytes += size_bytes
                self._inbox.append(Waiting(entry, size_bytes))
                self._wake()
                return
            self.dropped += 1
        self._tell_drop(why)

    def stop(self, done: Future[None] | None = None) -> None:
        """Lets the thread tell what it can and end; then `done` is told."""
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
        """In a forked child: the parent tells what there is."""
        self._lock = threading.Lock()
        self._inbox.clear()
        self._later.clear()
        self._thread = self._loop = None
        self.waiting = self.waiting_bytes = 0
        self._is_stopping = self._has_ended = True

    def _refusal(self, size_bytes: int) -> str | None:
        if self._is_stopping:
            return _CLOSED
        if size_bytes > LARGEST_BYTES + 1024:
            return "a call is larger than the 10 MB that Helicone's log takes"
        if self.waiting >= MOST_ENTRIES or self.waiting_bytes + size_bytes > MOST_BYTES:
            return "too many wait to be told"
        return None

    def _wake(self) -> None:
        """Starts the thread, or has it look; under the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="genops-helicone-log", daemon=True)
            running.add(self)
            self._thread.start()
        elif self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._bell.set)

    def _tell_drop(self, why: str) -> None:
        """Says once why calls are not told of; the rest is in the statistics."""
        if why not in self._told_drops and len(self._told_drops) < 100:
            self._told_drops.add(why)
            _log.warning("a call is not in Helicone's log, %d so far; said once: %s", self.dropped, why)

    # On the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:  # noqa: BLE001  the root of the thread: the log ends, calls go on
            _log.exception("the thread that tells Helicone of calls has ended")
        self._finish()

    async def _main(self) -> None:
        self._bell = asyncio.Event()
        sender = self._new_sender()
        with self._lock:
            self._loop = asyncio.get_running_loop()
        try:
            while not self._is_stopping:
                self._bell.clear()
                self._begin(sender, self._clock())
                await self._rest()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._flush(sender)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await sender.aclose()
            self._finish()

    def _finish(self) -> None:
        """Drops what is left, and tells whoever waits; twice is once."""
        with self._lock:
            self._has_ended = self._is_stopping = True
            self._loop = None
            closers, self._closers = self._closers, []
            left, self.waiting, self.waiting_bytes = self.waiting, 0, 0
            self.dropped += left
            self._inbox.clear()
            self._later.clear()
        running.discard(self)
        if left:
            self._tell_drop(f"{left} were not told before the adapter was closed")
        for closer in closers:
            closer.set_result(None)

    def _begin(self, sender: Sender, due_by_s: float) -> None:
        """Begins what is due, a few at a time."""
        while len(self._tasks) < AT_ONCE and self._quiet_until_s <= due_by_s:
            if self._later and self._later[0][0] <= due_by_s:
                _, _, waiting = heapq.heappop(self._later)
            elif self._inbox:
                waiting = self._inbox.popleft()
            else:
                return
            task = asyncio.ensure_future(self._deliver(sender, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._bell.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("a call cannot be told to Helicone", exc_info=failure)

    async def _rest(self) -> None:
        """Until somebody rings, or something is due."""
        due_s = self._later[0][0] if self._later else math.inf
        due_s = max(self._quiet_until_s, -math.inf if self._inbox else due_s)
        can_begin = len(self._tasks) < AT_ONCE and due_s < math.inf
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due_s - self._clock()) if can_begin else None):
                await self._bell.wait()

    async def _flush(self, sender: Sender) -> None:
        """Tries everything once more, due or not; what fails again is not waited for."""
        newest = self._number
        while True:
            self._bell.clear()
            self._later = [each for each in self._later if each[1] <= newest]
            self._begin(sender, math.inf)
            if not self._tasks:
                return
            await self._bell.wait()

    async def _deliver(self, sender: Sender, waiting: Waiting) -> None:
        try:
            step = await self._attempt(sender, waiting)
        except Exception:
            self._done(waiting, dropped="it cannot be written as JSON")
            raise
        if isinstance(step, Logged):
            self.logged += 1
            self.failing, self._quiet_until_s = None, -math.inf
            self._done(waiting)
        elif isinstance(step, Dropped):
            self._done(waiting, dropped=step.reason)
        else:
            self._number += 1
            due_s = self._clock() + step.delay_s
            self._quiet_until_s = max(self._quiet_until_s, due_s)
            heapq.heappush(self._later, (due_s, self._number, waiting))

    async def _attempt(self, sender: Sender, waiting: Waiting) -> Logged | Dropped | Later:
        """One delivery, and what to do after it."""
        key, body = self._target.key.reveal(), log_body(waiting.entry)
        if len(body) > LARGEST_BYTES:
            return Dropped("a call is larger than the 10 MB that Helicone's log takes")
        headers = {
            "Authorization": f"Bearer {key}", "Content-Type": "application/json",
            "User-Agent": "genops-helicone-async",
        }  # fmt: skip
        request = HttpRequest(method="POST", url=self._target.url, headers=headers, body=body)
        waiting.attempts += 1
        status, wish_s, error = None, None, None
        try:
            reply = await sender.send(request, asyncio.get_running_loop().time() + self._timeout_s)
        except HeliconeError as exc:
            error = exc.message
        else:
            status, error = reply.status, log_error(reply, key)
            wish_s = retry_after_s(reply.headers, time.time())
        if error is not None:
            self._note_failure(error)
        return after_log_attempt(
            self._policy, status=status, error=error, retry_after_s=wish_s, attempts=waiting.attempts,
            random=self._random(),
        )  # fmt: skip

    def _note_failure(self, why: str) -> None:
        self.failed += 1
        if self.failing is None:
            _log.warning("Helicone's log at %s failed, calls are kept and tried again: %s", self.host, why)
        self.failing = why

    def _done(self, waiting: Waiting, *, dropped: str | None = None) -> None:
        with self._lock:
            self.waiting -= 1
            self.waiting_bytes -= waiting.size_bytes
            self.dropped += dropped is not None
        if dropped is not None:
            self._tell_drop(dropped)


__all__ = ["AT_ONCE", "MOST_BYTES", "MOST_ENTRIES", "Engine", "Sender"]

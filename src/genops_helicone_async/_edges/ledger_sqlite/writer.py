"""The thread that owns a ledger's file: takes what was asked, many requests a transaction, and sees to the answers."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence

from ...errors import LedgerError
from .answers import Echo, answer
from .endings import running
from .kept import Kept, lost_rows
from .requests import Request, Settlement
from .store import Store

MAX_BATCH = 4_096
"""Requests of one transaction, so that another process gets its turn."""

TURN_S = 0.002
"""How long the writer waits for the calls that it has just let go, before it has them wait for the disk."""

Closer = asyncio.Future[str | None]
"""Told when the thread has ended: what is lost, or None."""

_log = logging.getLogger("genops_helicone_async")


class Writer:
    """Requests in, answers out; the thread starts with the first request and ends with `stop`.

    What was spent and cannot be written is kept, and tried again every `retry_s`; until then holds are refused.
    """

    __slots__ = (
        "_bell",
        "_closers",
        "_end",
        "_in_hand",
        "_is_asleep",
        "_is_stopping",
        "_kept",
        "_lock",
        "_lost",
        "_queue",
        "_retry_at_s",
        "_retry_s",
        "_thread",
        "_unsynced",
        "batches",
        "failure",
        "is_proven",
        "store",
    )

    def __init__(self, store: Store, *, retry_s: float) -> None:
        self.store = store
        self.batches = 0
        self.failure: str | None = None
        self.is_proven = False
        self._retry_s = retry_s
        self._retry_at_s = -math.inf
        self._queue: deque[Request] = deque()
        self._in_hand: list[Request] = []
        self._kept = Kept()
        self._unsynced: list[Settlement] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_asleep = True
        self._is_stopping = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end: str | None = None
        self._lost: str | None = None
        self._closers: list[Closer] = []

    @property
    def is_usable(self) -> bool:
        """Whether the file took what was last written."""
        return self.is_proven and self.failure is None and self._end is None

    def put(self, request: Request) -> None:
        """Queues a request, from any thread and also from a finaliser; never waits."""
        self._queue.append(request)
        if self._is_asleep:
            self._wake()

    def unwritten(self) -> list[Settlement]:
        """Settlements that are not in the file yet."""
        waiting = [*self._kept.requests, *self._in_hand, *self._queue.copy()]
        return [request for request in waiting if isinstance(request, Settlement)]

    def stop(self, closer: Closer | None = None) -> None:
        """Lets the thread write what is queued, give back what is held, and end; then `closer` is told."""
        with self._lock:
            if self._thread is None and self._end is None:
                self._end = f"the ledger {self.store.path} is closed"
            if self._end is None:
                self._closers += [closer] if closer is not None else []
                self._is_stopping = True
                self._bell.put(None)
                return
        if closer is not None:
            closer.set_result(self._lost)

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at the end of the process."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                lost = lost_rows(self.unwritten(), self.store.path) or "its holds expire with their lease"
                _log.error("the process ended before the ledger was done: %s", lost)

    def disown(self) -> None:
        """In a forked child, which has neither the thread nor a right to the connection."""
        self._end = f"the ledger {self.store.path} was opened before a fork: make a new adapter in the child process"
        self._queue, self._kept, self._in_hand = deque(), Kept(), []
        self._lock = threading.Lock()
        self._is_asleep = True

    def _wake(self) -> None:
        self._is_asleep = False
        if self._end is not None:
            self._is_asleep = True
            self._turn_away()
        elif self._thread is not None:
            self._bell.put(None)
        else:
            with self._lock:
                if self._thread is None and self._end is None:
                    self._thread = threading.Thread(target=self._run, name="genops-ledger", daemon=True)
                    running.add(self)
                    self._thread.start()

    def _run(self) -> None:
        end = f"the ledger {self.store.path} is closed"
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 the root of the thread: whoever waits must hear of its end
            end = self.failure = f"the thread of the ledger {self.store.path} ended: {error!r}"
            _log.exception("%s", end)
            self._refuse(self._in_hand, end)
            answer(self._unsynced, end, self.put)
        self._finish(end)

    def _work(self) -> None:
        while True:
            is_last = self._is_stopping  # read first: whatever was asked before is in the queue by now
            fresh = self._in_hand = self._take()
            if fresh or self._unsynced or self._pause_s() <= 0 or (is_last and self._kept.requests):
                self._serve(fresh, is_last)
            self._in_hand = []
            if self._queue or (self._unsynced and self.failure is None):
                continue
            if is_last:
                return
            self._sleep()

    def _take(self) -> list[Request]:
        take = self._queue.popleft
        return [take() for _ in range(min(len(self._queue), MAX_BATCH))]

    def _sleep(self) -> None:
        self._is_asleep = True
        if not self._queue and not self._is_stopping:
            pause_s = self._pause_s()
            try:
                self._bell.get(timeout=None if pause_s == math.inf else min(max(pause_s, 0.0), 3600.0))
            except queue.Empty:
                pass
        self._is_asleep = False

    def _pause_s(self) -> float:
        """Seconds until something has to be done that nobody asks for: to try again, or to renew the lease."""
        heartbeat_s = self.store.pause_s()
        if self.failure is None:
            return heartbeat_s
        has_something = self._kept.requests or self._unsynced or heartbeat_s < math.inf
        return self._retry_at_s - time.monotonic() if has_something else math.inf

    def _serve(self, fresh: list[Request], is_last: bool) -> None:
        if self.failure is not None and time.monotonic() < self._retry_at_s and not is_last:
            self._refuse(fresh, self.failure)
            return
        batch = self._kept.requests + fresh
        settlements = [request for request in batch if isinstance(request, Settlement)]
        has_rows = any(settlement.rows for settlement in settlements)
        goes_on = has_rows and not self._unsynced and len(settlements) < len(batch)
        try:
            self.store.write(batch, to_disk=(has_rows or bool(self._unsynced)) and not goes_on)
        except LedgerError as error:
            if self.failure is None:
                _log.error("%s; calls under a budget are refused until it can be written", error)
            self.failure = str(error)
            self._retry_at_s = time.monotonic() + self._retry_s
            self._refuse(fresh, self.failure)
            answer(self._unsynced, self.failure, self.put)
            return
        self._in_hand = []
        self._kept.clear()
        self.failure = None
        self.is_proven = True
        self.batches += 1
        if goes_on:
            self._unsynced = settlements
            self._let_go([request for request in batch if not isinstance(request, Settlement)])
        else:
            synced, self._unsynced = self._unsynced, []
            answer([*synced, *batch], None, self.put)

    def _let_go(self, requests: Sequence[Request]) -> None:
        """Answers what need not wait for the disk, and gives those calls a turn: what they settle waits with the rest.

        Of 256 calls in flight all are settled by each wait for the disk then, and not every other one.
        """
        echo: Echo = queue.SimpleQueue()
        loops = answer(requests, None, self.put, echo)
        give_up_at_s = time.monotonic() + TURN_S
        try:
            for _ in range(loops):
                echo.get(timeout=max(0.0, give_up_at_s - time.monotonic()))
        except queue.Empty:
            return  # a busy loop: the others are not kept waiting

    def _refuse(self, fresh: Sequence[Request], failure: str) -> None:
        """Nothing is granted; what was spent is kept."""
        self._kept.add(fresh)
        self._in_hand = []
        answer(fresh, failure, self.put)

    def _finish(self, end: str) -> None:
        if (lost := self._kept.lost(self.store.path)) is not None:
            self._lost = f"{lost}: {self.failure}"
            _log.error("%s", self._lost)
        try:
            self.store.close()
        except LedgerError as error:
            self._lost = self._lost or f"what was held could not be given back, it expires with its lease: {error}"
        with self._lock:
            self._end = end
            closers, self._closers = self._closers, []
        self._is_asleep = True
        self._turn_away()
        running.discard(self)
        for closer in closers:
            try:
                closer.get_loop().call_soon_threadsafe(_tell, closer, self._lost)
            except RuntimeError:  # its loop is closed, and nobody waits on it
                continue

    def _turn_away(self) -> None:
        """Answers what was asked after the end; from any thread."""
        late: list[Request] = []
        while True:
            try:
                late.append(self._queue.popleft())
            except IndexError:
                break
        if (lost := lost_rows(late, self.store.path)) is not None:
            _log.error("%s: %s", lost, self._end)
        answer(late, self._end, self.put)


def _tell(closer: Closer, lost: str | None) -> None:
    if not closer.done():
        closer.set_result(lost)


__all__ = ["MAX_BATCH", "Closer", "Writer"]

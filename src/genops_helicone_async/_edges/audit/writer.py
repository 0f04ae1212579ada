"""The thread that owns an audit log: adds what came in since it last looked, and tells whoever waits."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ..._compliance_settings import AuditOptions
from .file import AuditFile

MAX_BATCH = 4_096
MOST_KEPT = 10_000
"""Lines kept while the file takes none; what comes beyond is counted, and the log will say so."""
RETRY_S = 0.5
LINGER_S = 0.02
"""How long lines that nobody waits for are gathered: a write for each would cost every call 100 µs."""
INTERVAL_S = 1.0
EXIT_S = 5.0

_log = logging.getLogger("genops_helicone_async.audit")
_running: set[Writer] = set()


class Entry:
    """What to add, and who waits for it to be there."""

    __slots__ = ("done", "facts", "loop")

    def __init__(self, facts: Mapping[str, Any], done: asyncio.Future[str | None] | None = None) -> None:
        self.facts = facts
        self.done = done
        self.loop = done.get_loop() if done is not None else None


class Writer:
    """Entries in, lines out. Those that somebody waits for are refused where they cannot be added, others are kept."""

    __slots__ = (
        *("_bell", "_closers", "_file", "_is_asleep", "_is_stopping", "_kept", "_lock", "_options", "_queue"),
        *("_synced_at_s", "_thread", "failure", "failures", "lines", "lost", "lost_untold"),
    )

    def __init__(self, options: AuditOptions) -> None:
        self._options = options
        self._file = AuditFile(options.path, options.max_bytes)
        self._queue: deque[Entry] = deque()
        self._kept: deque[Entry] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_asleep = True
        self._is_stopping = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closers: list[Future[None]] = []
        self._synced_at_s = 0.0
        self.failure: str | None = None
        self.failures = self.lines = self.lost = self.lost_untold = 0

    @property
    def waiting(self) -> int:
        """Entries that are not in the file yet."""
        return len(self._queue) + len(self._kept)

    def put(self, entry: Entry) -> None:
        """Queues an entry, from any thread; never waits."""
        self._queue.append(entry)
        if self._is_asleep:
            self._wake()

    def stop(self, done: Future[None] | None = None) -> None:
        """Lets the thread add what is queued, and end; then `done` is told. What comes later starts it again."""
        with self._lock:
            if self._thread is not None:
                if done is not None:
                    self._closers.append(done)
                self._is_stopping = True
                self._bell.put(None)
                return
        if done is not None:
            done.set_result(None)

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at the end of the process."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def disown(self) -> None:
        """In a forked child: the parent writes what was queued."""
        self._lock = threading.Lock()
        self._bell = queue.SimpleQueue()
        self._queue.clear()
        self._kept.clear()
        self._thread, self._is_asleep, self._is_stopping = None, True, False

    def _wake(self) -> None:
        with self._lock:
            self._is_asleep = False
            if self._thread is not None:
                self._bell.put(None)
                return
            self._is_stopping = False
            self._thread = threading.Thread(target=self._run, name="genops-audit", daemon=True)
            _running.add(self)
            self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception:  # noqa: BLE001  the root of the thread: whoever waits must hear of its end
            _log.exception("the thread of the audit log %s has ended", self._options.path)
            self.failure = "its thread has ended"
            self._refuse([*self._queue])
        with self._lock:
            self._thread, self._is_asleep, closers, self._closers = None, True, self._closers, []
        _running.discard(self)
        for closer in closers:
            closer.set_result(None)
        if self._queue:  # came in between the last look and the end
            self._wake()

    def _work(self) -> None:
        while True:
            is_last = self._is_stopping
            if self._options.fsync != "always" and not is_last:
                with contextlib.suppress(queue.Empty):
                    self._bell.get(timeout=LINGER_S)
                is_last = self._is_stopping
            fresh = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            if fresh or self._kept:
                self._add(fresh)
            if self._queue:
                continue
            if is_last:
                self._give_up()
                return
            self._is_asleep = True
            if self._queue or self._is_stopping:
                self._is_asleep = False
                continue
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=RETRY_S if self._kept else None)
            self._is_asleep = False

    def _add(self, fresh: list[Entry]) -> None:
        entries = [*self._kept, *fresh]
        facts = [entry.facts for entry in entries]
        if self.lost_untold:
            facts.insert(0, {"time": _now(), "event": "lost", "count": self.lost_untold})
        try:
            self._file.append(facts, sync=self._is_sync_due())
        except OSError as exc:
            self._failed(exc, fresh)
            return
        self._kept.clear()
        self.lines += len(facts)
        self.lost_untold = 0
        if self.failure is not None:
            self.failure = None
            _log.warning("the audit log %s can be written again", self._options.path)
        self._answer(entries, None)

    def _failed(self, exc: OSError, fresh: list[Entry]) -> None:
        self.failures += 1
        why = exc.strerror or str(exc)
        if self.failure is None:
            _log.error("the audit log %s cannot be written: %s", self._options.path, why)
        self.failure = why
        self._refuse([entry for entry in fresh if entry.done is not None])
        for entry in fresh:
            if entry.done is None and len(self._kept) < MOST_KEPT:
                self._kept.append(entry)
            elif entry.done is None:
                self.lost += 1
                self.lost_untold += 1

    def _refuse(self, entries: list[Entry]) -> None:
        self._answer(entries, self.failure)

    def _answer(self, entries: list[Entry], failure: str | None) -> None:
        """Tells whoever waits, each event loop once."""
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[str | None]]] = {}
        for entry in entries:
            if entry.done is not None and entry.loop is not None:
                by_loop.setdefault(entry.loop, []).append(entry.done)
        for loop, waiting in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and whoever waited with it
                loop.call_soon_threadsafe(_tell, waiting, failure)

    def _is_sync_due(self) -> bool:
        if self._options.fsync != "interval":
            return self._options.fsync == "always"
        now_s = time.monotonic()
        if now_s - self._synced_at_s < INTERVAL_S and not self._is_stopping:
            return False
        self._synced_at_s = now_s
        return True

    def _give_up(self) -> None:
        if self._kept:
            self.lost += len(self._kept)
            _log.error("%d line(s) are missing in the audit log %s", len(self._kept), self._options.path)
            self._kept.clear()


def _now() -> float:
    return time.time()


def _tell(waiting: list[asyncio.Future[str | None]], failure: str | None) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(failure)


def _end_all() -> None:
    give_up_at_s = time.monotonic() + EXIT_S
    ending = list(_running)
    for each in ending:
        each.stop()
    for each in ending:
        each.join(max(0.0, give_up_at_s - time.monotonic()))


def _disown_all() -> None:
    for each in list(_running):
        each.disown()
    _running.clear()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)

__all__ = ["EXIT_S", "MOST_KEPT", "Entry", "Writer"]

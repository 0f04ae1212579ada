"""One event loop on a thread of its own, for callers without one."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

Result = TypeVar("Result")
_LONGEST_GOODBYE_S = 5.0


class LoopThread:
    """An event loop on a daemon thread: started when first needed, ended with the process, new after a fork."""

    __slots__ = ("_lock", "_loop", "_portal", "_thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._portal: BlockingPortal
        self._loop: asyncio.AbstractEventLoop
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def __repr__(self) -> str:
        return f"LoopThread({'running' if self.is_running else 'not running'})"

    @property
    def is_running(self) -> bool:
        """Whether the thread is there, in this process."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
        """Runs a coroutine function on the loop, in the caller's context, and gives its result.

        An exception in the waiting thread, such as that of Ctrl-C, cancels the coroutine.

        Raises:
            RuntimeError: called on the loop's own thread, which would wait for itself.
        """
        job = _Job()
        try:
            result: Result | _Exit = self._running_portal().start_task_soon(_spared, job, function, arguments).result()
        except BaseException:
            job.call_off()  # without effect where the exception is the coroutine's own
            raise
        if isinstance(result, _Exit):
            raise result.reason
        return result

    def begin(self, function: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Future[Result]:
        """Has the loop run a coroutine function, without waiting for it; its future can be cancelled."""
        self._running_portal()
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._loop)

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Has the loop call a function soon, in the order asked."""
        self._running_portal()
        self._loop.call_soon_threadsafe(function, *arguments)

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def finish(self, function: Callable[[], Awaitable[None]]) -> None:
        """Runs the end of something; as finalizers must, on any thread, and not at all where the loop has ended."""
        if not self.is_running:
            return
        if threading.current_thread() is self._thread:
            ending = asyncio.ensure_future(function())
            _endings.add(ending)
            ending.add_done_callback(_endings.discard)
        else:
            self.call(function)

    def _running_portal(self) -> BlockingPortal:
        if not self.is_running:
            with self._lock:
                if not self.is_running:
                    self._start()
        return self._portal

    def _start(self) -> None:
        ready: Future[BlockingPortal] = Future()

        async def main() -> None:
            async with BlockingPortal() as portal:
                self._loop = asyncio.get_running_loop()
                ready.set_result(portal)
                await portal.sleep_until_stopped()

        thread = threading.Thread(target=anyio.run, args=(main,), name="genops-helicone", daemon=True)
        thread.start()
        self._portal = ready.result()
        self._thread = thread
        atexit.register(self._end, thread)

    def _end(self, thread: threading.Thread) -> None:
        """At the end of the process: what still runs belongs to threads that nobody waits for."""
        if thread is self._thread and self.is_running:
            self._portal.start_task_soon(self._portal.stop, True)
            thread.join(_LONGEST_GOODBYE_S)

    def _forget(self) -> None:
        """In a forked child the thread is gone, and the lock may be held by one that is gone, too."""
        self._lock = threading.Lock()
        self._thread = None


class _Exit:
    """What ends a program, on its way from the loop's thread to the caller's."""

    __slots__ = ("reason",)

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason


class _Job:
    """What a waiting thread calls off with, even where it was interrupted before it knew that the job had begun."""

    __slots__ = ("_is_off", "_loop", "_task")

    def __init__(self) -> None:
        self._is_off = False
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        """On the loop's thread, before anything else."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if self._is_off and self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """On the loop's thread, after everything else."""
        self._task = None

    def call_off(self) -> None:
        """On any thread; one of the two sees what the other has set."""
        self._is_off = True
        task = self._task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all that ran on it
                self._loop.call_soon_threadsafe(task.cancel)


async def _spared(job: _Job, function: Callable[..., Awaitable[Result]], arguments: tuple[Any, ...]) -> Result | _Exit:
    """The function's result; where the caller's own code wants to exit, the loop that all share goes on."""
    job.begin()
    try:
        return await function(*arguments)
    except (SystemExit, KeyboardInterrupt) as exc:
        return _Exit(exc)
    finally:
        job.end()


_endings: set[asyncio.Future[None]] = set()

__all__ = ["LoopThread"]

"""One event loop on a thread of its own, for callers without one."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
_LONGEST_GOODBYE_S = 5.0


class LoopThread:
    """An event loop on a daemon thread: started when first needed, ended with the process, new after a fork."""

    __slots__ = ("_jobs", "_lock", "_loop", "_new_loop", "_stop", "_thread")

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self._new_loop = new_loop
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._jobs: set[_Job[Any]] = set()
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
            concurrent.futures.CancelledError: the loop ended meanwhile, with the process.
        """
        if self.is_here:
            raise RuntimeError("this is the event loop thread that would do it: it cannot wait for itself")
        loop, jobs = self._running(), self._jobs
        job = _Job(function, arguments, loop)
        jobs.add(job)
        try:
            loop.call_soon_threadsafe(job.begin)
            job.ended.acquire()
        except BaseException:
            job.call_off()
            raise
        finally:
            jobs.discard(job)
        return job.outcome()

    def begin(self, function: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Future[Result]:
        """Has the loop run a coroutine function, without waiting for it; its future can be cancelled."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._running())

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Has the loop call a function soon, in the order asked."""
        self._running().call_soon_threadsafe(function, *arguments)

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def finish(self, function: Callable[[], Awaitable[None]]) -> None:
        """Runs the end of something; as finalizers must, on any thread, and not at all where the loop has ended."""
        if not self.is_running:
            return
        if self.is_here:
            ending = asyncio.ensure_future(function())
            _endings.add(ending)
            ending.add_done_callback(_endings.discard)
        else:
            self.call(function)

    def _running(self) -> asyncio.AbstractEventLoop:
        if not self.is_running:
            with self._lock:
                if not self.is_running:
                    self._start()
        return self._loop

    def _start(self) -> None:
        ready: Future[None] = Future()
        jobs: set[_Job[Any]] = set()
        self._jobs = jobs

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            ready.set_result(None)
            await self._stop.wait()

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=self._new_loop) as runner:
                    runner.run(main())
            except BaseException as exc:
                if not ready.done():
                    ready.set_exception(exc)
                    return
                raise
            finally:
                for job in tuple(jobs):  # also those that came when nothing was begun any more
                    job.end()

        thread = threading.Thread(target=run, name="genops-helicone", daemon=True)
        thread.start()
        ready.result()
        self._thread = thread
        atexit.register(self._end, thread)

    def _end(self, thread: threading.Thread) -> None:
        """At the end of the process: what still runs belongs to threads that nobody waits for."""
        if thread is self._thread and self.is_running:
            self.post(self._stop.set)
            thread.join(_LONGEST_GOODBYE_S)

    def _forget(self) -> None:
        """In a forked child the thread is gone, and the lock may be held by one that is gone, too."""
        self._lock = threading.Lock()
        self._thread = None


class _Job(Generic[Result]):
    """What a thread waits for, and calls off even where it was interrupted before it knew that the job had begun."""

    __slots__ = ("_arguments", "_context", "_error", "_function", "_is_off", "_loop", "_result", "_task", "ended")

    def __init__(
        self, function: Callable[..., Awaitable[Result]], arguments: tuple[Any, ...], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._loop = loop
        self._context = contextvars.copy_context()
        self._is_off = False
        self._task: asyncio.Task[None] | None = None
        self._result: Result
        self._error: BaseException | None = concurrent.futures.CancelledError()  # until it is known better
        self.ended = threading.Lock()
        self.ended.acquire()

    def begin(self) -> None:
        """On the loop's thread."""
        if "sniffio" in sys.modules:  # anyio asks it where it is, and the caller's thread may run another library
            self._context.run(sys.modules["sniffio"].current_async_library_cvar.set, "asyncio")
        self._task = self._loop.create_task(self._run(), context=self._context)
        if self._is_off:
            self._task.cancel()

    def call_off(self) -> None:
        """On any thread; one of the two sees what the other has set."""
        self._is_off = True
        task = self._task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all that ran on it
                self._loop.call_soon_threadsafe(task.cancel)

    def outcome(self) -> Result:
        """The result, or the error is raised; once, for neither is kept."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # it is in a cycle with its traceback else

    async def _run(self) -> None:
        """Nothing gets out of here: where the caller's own code wants to exit, the loop that all share goes on."""
        try:
            self._result = await self._function(*self._arguments)
            self._error = None
        except asyncio.CancelledError:  # the root of a task: called off, or the loop ends
            pass
        except BaseException as exc:  # noqa: BLE001  the root of a task: the caller's, who waits for it
            self._error = exc
        finally:
            self._task = None
            self.end()

    def end(self) -> None:
        """Whoever waits goes on; once more is harmless."""
        with contextlib.suppress(RuntimeError):
            self.ended.release()


_endings: set[asyncio.Future[None]] = set()

__all__ = ["LoopThread"]

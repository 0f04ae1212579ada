"""The calls of a bulk run that are on their way: how many begin, which result is next, and how all of it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from ..chat_request import ChatRequest, make_request
from ..errors import HeliconeError
from ..models import BulkResult, HeliconeResponse
from .bulk_progress import Progress

Run = Callable[[ChatRequest], Awaitable[HeliconeResponse]]
Requests = Iterable[Any] | AsyncIterable[Any]
_WINDOW = 4
"""With `ordered`, requests begun and not yet given back: at most this many times `max_in_flight`."""


class Mailbox:
    """An iterator of requests that somebody else reads, in a thread of their own, and puts in one by one."""

    __slots__ = ("_failure", "_requests", "is_closed")

    def __init__(self) -> None:
        self._requests: deque[Any] = deque()
        self._failure: Exception | None = None
        self.is_closed = False

    def put(self, request: Any) -> None:
        """Adds a request."""
        self._requests.append(request)

    def close(self, failure: Exception | None = None) -> None:
        """Ends the requests, with what was raised instead of the next one."""
        self._failure, self.is_closed = failure, True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._requests:
            return self._requests.popleft()
        if self._failure is not None:
            raise self._failure
        raise StopIteration

    def __bool__(self) -> bool:
        return bool(self._requests) or self.is_closed

    def __len__(self) -> int:
        return len(self._requests)


class Window:
    """The calls of one `chat_many` that are running, or finished and not yet given back."""

    def __init__(
        self,
        requests: Requests,
        run: Run,
        defaults: Mapping[str, Any],
        limit: int,
        progress: Progress | None,
        *,
        ordered: bool,
    ) -> None:
        self._source: AsyncIterator[Any] | Iterator[Any]
        self._source = aiter(requests) if isinstance(requests, AsyncIterable) else iter(requests)
        self._reading: asyncio.Future[Any] | None = None
        self._run = run
        self._defaults = defaults
        self._limit = limit
        self._ordered = ordered
        self._progress = progress
        self._tasks: dict[asyncio.Task[BulkResult], tuple[int, Any]] = {}
        self._finished: deque[BulkResult] = deque()
        self._early: dict[int, BulkResult] = {}
        self._read = self._given = 0
        self._exhausted = self._is_cancelled = False
        self.untaken: tuple[BulkResult, ...] = ()
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"{self._read} read, {len(self._tasks)} in flight, {self._given} given"

    def fill(self) -> bool:
        """Starts calls until the limit, or until there is nothing to read; whether a mailbox ought to be filled."""
        while not self._exhausted and self._reading is None and self._has_room():
            if isinstance(self._source, AsyncIterator):
                self._reading = asyncio.ensure_future(anext(self._source))
                self._reading.add_done_callback(self._arrived)
                break
            if isinstance(self._source, Mailbox) and not self._source:
                return True
            try:
                item = next(self._source)
            except StopIteration:
                self._exhausted = True
            except Exception as exc:  # noqa: BLE001  the caller's own iterator failed: what is in flight is still given
                self._exhausted, self._failure = True, exc
            else:
                self._start(item)
        return False

    def room(self) -> int:
        """How many more requests a mailbox could use now, none while a result is ready. Callable from any thread.

        May be one too many while a call begins or ends: that request waits in the box.
        """
        source = self._source
        if self._exhausted or not isinstance(source, Mailbox) or source.is_closed:
            return 0
        if self._given in self._early if self._ordered else self._finished:
            return 0
        room = self._limit - len(self._tasks) - len(self._finished)
        return (min(room, self._limit * _WINDOW - self._read + self._given) if self._ordered else room) - len(source)

    def next_ready(self) -> BulkResult | None:
        """The next result to give, None where it is not there yet."""
        if self._ordered:
            result = self._early.pop(self._given, None)
        else:
            result = self._finished.popleft() if self._finished else None
        if result is not None:
            self._given += 1
        return result

    def is_over(self) -> bool:
        """Whether nothing more will come; raises what the caller's own iterator raised."""
        if self._tasks or self._reading is not None or not self._exhausted:
            return False
        if self._failure is not None:
            raise self._failure
        return True

    async def change(self, until_s: float | None = None) -> None:
        """Waits until a call has finished or a request has arrived, and no longer than `until_s`."""
        self._changed.clear()
        if until_s is None:
            await self._changed.wait()
            return
        timer = asyncio.get_running_loop().call_at(until_s, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def before_raising(self) -> list[BulkResult]:
        """Ends the rest; gives what may still be given, which without an order is all that was answered."""
        await self.cancel()
        if self._ordered:
            return []
        answered = [result for result in self.untaken if result.error is None]
        self.untaken = tuple(result for result in self.untaken if result.error is not None)
        return answered

    async def cancel(self) -> None:
        """Cancels what is in flight and waits until it has ended."""
        self._exhausted = self._is_cancelled = True
        pending: list[asyncio.Future[Any]] = [*self._tasks, *([self._reading] if self._reading else [])]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        self.untaken += (*self._finished, *(self._early[index] for index in sorted(self._early)))
        self._finished.clear()
        self._early.clear()

    def _has_room(self) -> bool:
        if len(self._tasks) + len(self._finished) >= self._limit:
            return False
        return not self._ordered or self._read - self._given < self._limit * _WINDOW

    def _arrived(self, reading: asyncio.Future[Any]) -> None:
        self._reading = None
        self._changed.set()
        failure = asyncio.CancelledError() if reading.cancelled() else reading.exception()
        if self._exhausted:  # cancelled while this request was on its way: nothing may start any more
            return
        if failure is None:
            self._start(reading.result())
        else:
            self._exhausted = True
            self._failure = None if isinstance(failure, StopAsyncIteration) else failure

    def _start(self, item: Any) -> None:
        task = asyncio.ensure_future(self._one(self._read, item))
        self._tasks[task] = self._read, item
        self._read += 1
        if self._progress is not None:
            self._progress.began()
        task.add_done_callback(self._ended)

    async def _one(self, index: int, item: Any) -> BulkResult:
        try:
            return BulkResult(index=index, request=item, response=await self._run(self._request(item)))
        except Exception as exc:  # noqa: BLE001  every row's error is a result of its own
            return BulkResult(index=index, request=item, error=exc)

    def _request(self, item: Any) -> ChatRequest:
        if isinstance(item, ChatRequest):
            return item
        if not isinstance(item, Mapping):
            return make_request(item, self._defaults)
        options = {**self._defaults, **item}
        messages = options.pop("messages", None)
        return make_request(options.pop("message", messages), options)

    def _ended(self, task: asyncio.Task[BulkResult]) -> None:
        index, item = self._tasks.pop(task)
        self._changed.set()
        if not task.cancelled():
            result = task.result()
        elif self._is_cancelled:
            return
        else:
            error = HeliconeError("the call was cancelled by somebody else than who takes the results")
            result = BulkResult(index=index, request=item, error=error)
        if self._progress is not None:
            self._progress.ended(result)
        if self._ordered:
            self._early[result.index] = result
        else:
            self._finished.append(result)


__all__ = ["Mailbox", "Requests", "Run", "Window"]

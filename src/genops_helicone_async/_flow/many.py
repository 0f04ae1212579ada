"""Many calls at once in bounded memory: requests are read only as fast as answers are taken."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, Final, Literal, Self, cast

from ..chat_request import ChatRequest, make_request
from ..errors import ConfigurationError
from ..models import BulkResult, HeliconeResponse

Run = Callable[[ChatRequest], Awaitable[HeliconeResponse]]
Requests = Iterable[Any] | AsyncIterable[Any]
OnError = Literal["yield", "raise"]
_WINDOW = 4
"""With `ordered`, requests begun and not yet given back: at most this many times `max_in_flight`."""


class Asking(enum.Enum):
    """The type of `MORE`."""

    MORE = enum.auto()


MORE: Final = Asking.MORE
"""What `ChatMany` gives instead of a result when its `Mailbox` is empty and it could use a request."""


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


class ChatMany:
    """An asynchronous iterator of `BulkResult`. At most `max_in_flight` calls run; untaken answers count as running.

    With `ordered` the results come in the order of the requests, else as they finish. `on_error="raise"` raises the
    first error where its result would have come, `"yield"` puts errors into the results. Ending early (`break`,
    `aclose()`, or leaving `async with`) cancels what is in flight.

    Raises:
        ConfigurationError: `max_in_flight` or `on_error` makes no sense, or a default is wrong.
        TypeError: `requests` is one message instead of an iterable, or a default is unknown.
    """

    def __init__(
        self,
        requests: Requests,
        run: Run,
        defaults: Mapping[str, Any],
        *,
        max_in_flight: int = 256,
        ordered: bool = False,
        on_error: OnError = "yield",
    ) -> None:
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ConfigurationError(f"`max_in_flight` is {max_in_flight!r}: give an integer of 1 or more")
        if on_error not in ("yield", "raise"):
            raise ConfigurationError(f"`on_error` is {on_error!r}: use 'yield' or 'raise'")
        if isinstance(requests, str | bytes | Mapping):
            raise TypeError("`requests` must be an iterable of messages, mappings or ChatRequests, not one of them")
        make_request("a check of the defaults", defaults)
        self._window = _Window(requests, run, defaults, max_in_flight, ordered=ordered)
        self._results = _results(self._window, raises=on_error == "raise")

    def __repr__(self) -> str:
        return f"ChatMany({self._window})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[BulkResult]:
        return self

    async def __anext__(self) -> BulkResult:
        return cast("BulkResult", await anext(self._results))  # `MORE` is only for who brought a mailbox

    async def aclose(self) -> None:
        """Cancels what is in flight and waits for it; the iteration is over, also for who waits in it."""
        await self._window.cancel()
        with contextlib.suppress(RuntimeError):  # another task waits in it, and has just been told that it is over
            await self._results.aclose()


async def _results(window: _Window, *, raises: bool) -> AsyncGenerator[BulkResult | Asking, None]:
    """The results, one by one. A generator, so that the loop ends it (and with it the calls) when it is dropped."""
    try:
        while True:
            could_use_more = window.fill()
            result = window.next_ready()
            if result is not None:
                if raises and result.error is not None:
                    raise result.error
                yield result
            elif could_use_more:
                yield MORE
            elif window.is_over():
                return
            else:
                await window.change()
    finally:
        await window.cancel()


class _Window:
    """The calls that are running or finished and not yet given back."""

    def __init__(self, requests: Requests, run: Run, defaults: Mapping[str, Any], limit: int, *, ordered: bool) -> None:
        self._source: AsyncIterator[Any] | Iterator[Any]
        self._source = aiter(requests) if isinstance(requests, AsyncIterable) else iter(requests)
        self._reading: asyncio.Future[Any] | None = None
        self._run = run
        self._defaults = defaults
        self._limit = limit
        self._ordered = ordered
        self._tasks: set[asyncio.Task[BulkResult]] = set()
        self._finished: deque[BulkResult] = deque()
        self._early: dict[int, BulkResult] = {}
        self._read = self._given = 0
        self._exhausted = False
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

    async def change(self) -> None:
        """Waits until a call has finished or a request has arrived."""
        self._changed.clear()
        await self._changed.wait()

    async def cancel(self) -> None:
        """Cancels what is in flight and waits until it has ended."""
        self._exhausted = True
        pending: list[asyncio.Future[Any]] = [*self._tasks, *([self._reading] if self._reading else [])]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        self._finished.clear()
        self._early.clear()

    def _has_room(self) -> bool:
        if len(self._tasks) + len(self._finished) >= self._limit:
            return False
        return not self._ordered or self._read - self._given < self._limit * _WINDOW

    def _arrived(self, reading: asyncio.Future[Any]) -> None:
        self._reading = None
        self._changed.set()
        if reading.cancelled():
            self._exhausted = True
            return
        failure = reading.exception()
        if self._exhausted:  # cancelled while this request was on its way: nothing may start any more
            return
        if failure is None:
            self._start(reading.result())
        else:
            self._exhausted = True
            self._failure = None if isinstance(failure, StopAsyncIteration) else failure

    def _start(self, item: Any) -> None:
        task = asyncio.ensure_future(self._one(self._read, item))
        self._read += 1
        self._tasks.add(task)
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
        self._tasks.discard(task)
        self._changed.set()
        if task.cancelled():
            return
        result = task.result()
        if self._ordered:
            self._early[result.index] = result
        else:
            self._finished.append(result)


__all__ = ["MORE", "Asking", "ChatMany", "Mailbox", "OnError", "Requests"]

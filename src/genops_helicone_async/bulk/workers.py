"""Tasks that take rows from one source and give what comes of them: as many as there is work for, up to a number.

A task answers row after row, so that a row costs no task of its own; and one other takes the rows, as many at a time as
there is room for, so that they need not take turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from .ports import Outcome
from .rows import Row


class Workers:
    """`work` makes an outcome of a row; what it raises ends everything. `is_ended` True takes no further row.

    At most `most` rows are taken whose outcome has not been given.
    """

    __slots__ = (
        "_done", "_failure", "_idle", "_is_ended", "_is_fed", "_most", "_out", "_room", "_rows", "_something", "_tasks",
        "_work",
    )  # fmt: skip

    def __init__(
        self, rows: AsyncIterator[Row], work: Callable[[Row], Awaitable[Outcome]], most: int,
        is_ended: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._rows = rows
        self._work = work
        self._most = most
        self._is_ended = is_ended
        self._is_fed = False
        self._idle: deque[asyncio.Future[Row | None]] = deque()
        self._done: deque[Outcome] = deque()
        self._something: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._out = 0
        self._begin(self._feed())

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """What comes of the rows, until they end.

        Raises:
            Exception: what the work, or taking a row, has raised.
        """
        done = self._done
        while True:
            while done:
                self._out -= 1
                _wake(self._room)
                yield done.popleft()
            if self._failure is not None:
                raise self._failure
            if not self._tasks:
                return
            self._something = asyncio.get_running_loop().create_future()
            await self._something

    async def aclose(self) -> None:
        """Ends what is under way, and waits until it has ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
            _wake(self._room)
        _wake(self._something)

    async def _feed(self) -> None:
        try:
            while True:
                while self._out >= self._most and self._failure is None:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                if self._is_ended() or self._failure is not None or (row := await anext(self._rows, None)) is None:
                    return
                self._out += 1
                self._give(row)
        finally:
            self._is_fed = True
            for idle in self._idle:
                if not idle.done():
                    idle.set_result(None)

    def _give(self, row: Row) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(row)
                return
        self._begin(self._answer_rows(row))

    async def _answer_rows(self, first: Row) -> None:
        row: Row | None = first
        while row is not None:
            self._done.append(await self._work(row))
            _wake(self._something)
            if self._is_fed:
                return
            idle: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            row = await idle


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


__all__ = ["Workers"]

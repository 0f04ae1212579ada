"""Tasks that take rows from one source and give what comes of them: as many as there is work for, up to a number.

A task answers row after row, so that a row costs no task of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from .ports import Outcome
from .rows import Row


class Workers:
    """`work` makes an outcome of a row; what it raises ends everything. `is_ended` True takes no further row.

    At most `most` rows are taken whose outcome has not been given.
    """

    __slots__ = (
        "_changed", "_done", "_failure", "_is_ended", "_is_taking", "_most", "_out", "_rows", "_tasks", "_waiting",
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
        self._is_taking = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._done: deque[Outcome] = deque()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._out = 0
        self._hire()

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """What comes of the rows, until they end.

        Raises:
            Exception: what the work, or taking a row, has raised.
        """
        while True:
            while self._done:
                self._out -= 1
                self._wake_one()
                yield self._done.popleft()
            if self._failure is not None:
                raise self._failure
            if not self._tasks:
                return
            self._changed.clear()
            await self._changed.wait()

    async def aclose(self) -> None:
        """Ends what is under way, and waits until it has ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _hire(self) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_rows())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
        self._changed.set()

    async def _answer_rows(self) -> None:
        while (row := await self._next()) is not None:
            self._done.append(await self._work(row))
            self._changed.set()

    async def _next(self) -> Row | None:
        # One at a time, and without asyncio's lock: that costs as much as the rest of the row.
        while self._is_taking or self._out >= self._most:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        row = None
        if not self._is_ended() and self._failure is None:
            self._is_taking = True
            try:
                row = await anext(self._rows, None)
            finally:
                self._is_taking = False
        if row is not None:
            self._out += 1
            if len(self._tasks) < min(self._most, self._out + 1):
                self._hire()
        self._wake_one()
        return row

    def _wake_one(self) -> None:
        while self._waiting and not self._is_taking and self._out < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


__all__ = ["Workers"]

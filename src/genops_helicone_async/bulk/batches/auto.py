"""Rows over live calls and batches: into batches while there is time to take them back, live from then on."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from ..._rules.batch_split import OpenBatch, SplitTerms, split
from ..ports import Executor, Outcome
from ..rows import Row
from .executor import BatchRows
from .results import unsent
from .sent_live import SentLive
from .settling import Note

_MEASURED_FROM = 20
"""Live answers from which on their own rate is believed."""
_MOST_LIVE = 4096
"""Rows that may wait for live calls before no more are read."""
_NOTED_AT_ONCE = 64
"""Rows that are noted in one go before they are sent live: so many more may be taken for sent after a kill."""
_CAUTION = 0.8
"""Of the measured rate: what is counted on."""


class SplitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When the job is to be done, in Unix seconds, and `rate`: rows a second that live calls are taken to answer.

    The rate holds until twenty have been answered live; then four fifths of what they were answered at.
    """

    finish_at_s: float = math.inf
    rate: float = 10.0
    terms: SplitTerms = SplitTerms()


class _Feed:
    """Rows for one of the two, as they are decided; `note` is awaited with them before they are given."""

    __slots__ = ("_arrived", "_is_closed", "_noted", "note", "rows")

    def __init__(self, note: Callable[[list[Row]], Awaitable[None]] | None = None) -> None:
        self.note = note
        self.rows: list[Row] = []
        self._noted = 0
        self._arrived = asyncio.Event()
        self._is_closed = False

    def put(self, row: Row) -> None:
        """Another one."""
        self.rows.append(row)
        self._arrived.set()

    def close(self) -> None:
        """No more will come."""
        self._is_closed = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Row]:
        while True:
            while self.rows:
                if self.note is not None:
                    if not self._noted:
                        some = self.rows[:_NOTED_AT_ONCE]
                        await self.note(some)
                        self._noted = len(some)
                    self._noted -= 1
                yield self.rows.pop(0)
            if self._is_closed:
                return
            self._arrived.clear()
            await self._arrived.wait()


class SplitRows:
    """An executor that sends each row in a batch or live, so that a deadline is met at least cost: see `split`.

    `batches` must give rows back to `take_back`. Rows that no batch API takes are sent live. `sent_live` notes what is.
    """

    __slots__ = (
        "_batch_feed", "_batches", "_busy_s", "_cancelled", "_clock", "_in_batches", "_is_left", "_is_read",
        "_live", "_live_done", "_live_feed", "_live_rows", "_live_since_s", "_note", "_options", "_out", "_room",
        "_sent_live",
    )  # fmt: skip

    def __init__(
        self, batches: BatchRows, live: Executor, options: SplitOptions, *, note: Note = lambda line: None,
        clock: Callable[[], float] = time.time, sent_live: SentLive | None = None,
    ) -> None:  # fmt: skip
        self._sent_live = sent_live
        self._batches = batches
        self._live = live
        self._options = options
        self._note = note
        self._clock = clock
        self._cancelled: set[int] = set()
        self._in_batches = self._live_rows = self._live_done = 0
        self._busy_s = self._live_since_s = 0.0
        self._is_read = self._is_left = False
        self._room = asyncio.Event()

    @asynccontextmanager
    async def outcomes(self, rows: AsyncIterator[Row]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """The outcome of every row; see `Executor`."""
        self._batch_feed, self._live_feed = _Feed(), _Feed(self._sent_live.add if self._sent_live is not None else None)
        self._out: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue(1000)
        self._batches.give_back_to(self.take_back)
        async with AsyncExitStack() as stack:
            batched = await stack.enter_async_context(self._batches.outcomes(aiter(self._batch_feed)))
            lively = await stack.enter_async_context(self._live.outcomes(aiter(self._live_feed)))
            main = asyncio.ensure_future(self._run(rows, batched, lively))
            try:
                yield self._outcomes()
            finally:
                main.cancel()
                await asyncio.wait({main})

    def leave(self) -> None:
        """Ends the run as soon as what is in flight live is answered; batches stay with their providers."""
        self._batches.leave()
        self._is_left = True
        self._room.set()
        self._close_when_done()

    def take_back(self, row: Row) -> bool:
        """A row that its batch gave back is sent live."""
        self._in_batches -= 1
        self._send_live(row)
        self._close_when_done()
        return True

    async def _outcomes(self) -> AsyncIterator[Outcome]:
        while (item := await self._out.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    async def _run(
        self, rows: AsyncIterator[Row], batched: AsyncIterator[Outcome], lively: AsyncIterator[Outcome]
    ) -> None:
        last: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(self._tick())
                pumps = [group.create_task(self._pump_batches(batched)), group.create_task(self._pump_live(lively))]
                await self._read(rows)
                await asyncio.wait(pumps)
                ticking.cancel()
        except BaseExceptionGroup as several:
            last = several.exceptions[0]
        await self._out.put(last)

    async def _read(self, rows: AsyncIterator[Row]) -> None:
        async for row in rows:
            if self._batches.has(row.line):
                self._in_batches += 1
                self._batch_feed.put(row)
            elif not await self._batches.takes(row) or self._decide(1):
                self._send_live(row)
                while self._live_rows >= _MOST_LIVE and not self._is_left:
                    self._room.clear()
                    await self._room.wait()
            else:
                self._in_batches += 1
                self._batch_feed.put(row)
        self._is_read = True
        self._batch_feed.close()
        self._close_when_done()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._options.terms.step_s)
            self._decide(0)

    def _decide(self, waiting: int) -> int:
        """How many of the waiting rows are to be sent live; batches that have to make room for them are cancelled."""
        running = [batch for batch in self._batches.running() if batch.number not in self._cancelled]
        done = self._batches.done_rows()
        leaving = sum(each.rows for each in self._batches.running() if each.number in self._cancelled)
        batches = [OpenBatch(number=each.number, rows=each.rows - done.get(each.number, 0)) for each in running]
        unsubmitted = self._in_batches - leaving - sum(each.rows for each in running)
        if unsubmitted > 0:  # they can be taken back only when they are submitted
            batches.append(OpenBatch(number=0, rows=unsubmitted))
        decided = split(
            self._options.finish_at_s - self._clock(), waiting=waiting, live=self._live_rows,
            cancelling=leaving, batches=batches, rate=self.rate(), terms=self._options.terms,
        )  # fmt: skip
        numbers = [number for number in decided.cancel if number]
        if numbers:
            rows = self._rows_of(numbers)
            self._note(f"the deadline is near: {len(numbers)} batches of {rows:,} rows are cancelled, to be sent live")
            self._cancelled.update(numbers)
            self._batches.cancel(*numbers)
        return decided.live

    def _rows_of(self, numbers: list[int]) -> int:
        return sum(batch.rows for batch in self._batches.running() if batch.number in numbers)

    def rate(self) -> float:
        """Rows a second that live calls are counted on for."""
        busy_s = self._busy_s + (self._clock() - self._live_since_s if self._live_rows else 0.0)
        if self._live_done < _MEASURED_FROM or busy_s <= 0:
            return self._options.rate
        return _CAUTION * self._live_done / busy_s

    def _send_live(self, row: Row) -> None:
        if not self._live_rows:
            self._live_since_s = self._clock()
        self._live_rows += 1
        self._live_feed.put(row)

    async def _pump_batches(self, outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            self._in_batches -= 1
            await self._out.put(outcome)
            self._close_when_done()

    async def _pump_live(self, outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            self._live_rows -= 1
            self._live_done += 1
            self._room.set()
            if not self._live_rows:
                self._busy_s += self._clock() - self._live_since_s
            await self._out.put(outcome)
        # Live calls take no more: they have met the money wall, or nothing is left. What they did not take is unsent.
        self._live_feed.note = None
        async for row in self._live_feed:
            self._live_rows -= 1
            await self._out.put(unsent(row, "live calls take no more rows"))

    def _close_when_done(self) -> None:
        if self._is_left or (self._is_read and not self._in_batches):
            self._live_feed.close()


__all__ = ["SplitOptions", "SplitRows"]

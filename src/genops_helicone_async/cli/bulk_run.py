"""The run of a bulk job: rows go in, outcomes come out, and every row read is accounted for however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from .. import BulkResult, ChatRequest, ConfigurationError, GenOpsHeliconeAsyncAdapter
from ..bulk.output_lines import interrupted_line, output_line
from ..bulk.rows import BadLine, Row
from ..bulk.tally import Tally
from .bulk_sink import JsonlSink
from .failures import WRONG_USAGE, CommandError, reason
from .interrupts import Interrupts
from .progress import NOTES_SHOWN, View

Items = AsyncIterator[Row | BadLine]


class Outlets(msgspec.Struct, kw_only=True):
    """Where a job's outcomes go. `bad` is written, and made, only if a bad line comes."""

    results: JsonlSink
    bad: JsonlSink | None
    view: View
    tally: Tally


class BulkRun:
    """Sends rows through an adapter. The first Ctrl-C ends the reading and lets what is in flight finish.

    The second drops that. `stop_reading` must end the items. `last_line` is the last line that was read, `dropped` how
    many rows were given up.
    """

    __slots__ = (
        "_adapter", "_failure", "_items", "_outlets", "_pending", "_read", "_stop_reading", "_work", "dropped",
        "is_interrupted", "last_line",
    )  # fmt: skip

    def __init__(
        self, adapter: GenOpsHeliconeAsyncAdapter, items: Items, stop_reading: Callable[[], None], outlets: Outlets
    ) -> None:
        self._adapter = adapter
        self._items = items
        self._stop_reading = stop_reading
        self._outlets = outlets
        self._pending: dict[int, Row] = {}
        self._read = 0
        self._failure: CommandError | None = None
        self.last_line = 0
        self.dropped = 0
        self.is_interrupted = False

    async def run(self, *, max_in_flight: int, ordered: bool) -> None:
        """Does all rows, or those that were read before it was interrupted; the sinks are closed afterwards.

        Raises:
            CommandError: the results cannot be written, or the command line names who cannot be asked.
            OSError: the input cannot be read.
        """
        outlets = self._outlets
        outlets.results.start(partial(self._not_written, outlets.results))
        outlets.view.start(outlets.tally)
        self._work = asyncio.ensure_future(self._all(max_in_flight, ordered))
        try:
            with Interrupts(self._interrupted):
                await asyncio.wait({self._work})
        finally:
            self._stop_reading()
            if not self._work.done():  # this very task was cancelled
                self._work.cancel()
                await asyncio.wait({self._work})
            self._give_up()
            outlets.view.stop()
            await self._close()
        if self._failure is not None:
            raise self._failure
        if not self._work.cancelled():
            self._work.result()

    async def _all(self, max_in_flight: int, ordered: bool) -> None:
        many = self._adapter.chat_many(self._requests(), max_in_flight=max_in_flight, ordered=ordered)
        async with many as results:
            async for result in results:
                self._take(result)
                await self._outlets.results.room()

    async def _requests(self) -> AsyncIterator[ChatRequest]:
        async for item in self._items:
            self.last_line = item.line
            if isinstance(item, BadLine):
                await self._skip(item)
                continue
            self._pending[self._read] = item
            self._read += 1
            yield item.request

    def _take(self, result: BulkResult) -> None:
        row = self._pending.pop(result.index)
        if isinstance(result.error, ConfigurationError) and row.is_default_target:
            self._outlets.results.abandon()
            raise CommandError(result.error.message, WRONG_USAGE) from result.error
        self._outlets.tally.add(result)
        self._outlets.results.put(output_line(row, result))
        self._outlets.view.took(result)

    async def _skip(self, bad: BadLine) -> None:
        outlets = self._outlets
        outlets.tally.skipped += 1
        if outlets.tally.skipped <= NOTES_SHOWN or outlets.bad is None:
            outlets.view.note(f"line {bad.line} skipped: {bad.reason}")
        elif outlets.tally.skipped == NOTES_SHOWN + 1:
            outlets.view.note("further bad lines are told in the errors file only")
        if outlets.bad is not None:
            if outlets.tally.skipped == 1:
                outlets.bad.start(partial(self._not_written, outlets.bad))
            outlets.bad.put(bad)
            await outlets.bad.room()

    def _interrupted(self, count: int) -> None:
        self.is_interrupted = True
        if count == 1:
            waiting = len(self._pending)
            self._outlets.view.note(f"stopping: {waiting} calls in flight are finished first; Ctrl-C again drops them")
            self._stop_reading()
        else:
            self._work.cancel()

    def _not_written(self, sink: JsonlSink, exc: OSError) -> None:
        if self._failure is None:
            where = "standard output" if sink.path is None else str(sink.path)
            self._failure = CommandError(f"cannot write {where}: {reason(exc)}; the {sink.rows:,} rows in it are whole")
        self._work.cancel()

    def _give_up(self) -> None:
        """Rows whose answer will not come are told, too."""
        if self._work.done() and not self._work.cancelled() and self._work.exception() is None:
            return
        self.dropped = len(self._pending)
        for row in self._pending.values():
            self._outlets.results.put(interrupted_line(row))
        self._outlets.tally.failed += self.dropped

    async def _close(self) -> None:
        for sink in (self._outlets.bad, self._outlets.results):
            if sink is not None:
                try:
                    await sink.close()
                except OSError as exc:
                    self._not_written(sink, exc)


__all__ = ["BulkRun", "Outlets"]

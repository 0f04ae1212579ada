"""What came of a batch's rows: results fetched, settled and handed out, each once; what nobody answered is given back.

A batch knows its rows from the journal alone, some at a time: however many there are, they are never all in memory.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from ..._edges.batches import BatchService
from ..._flow.ticket import Target
from ..._wire.batches import BatchView, RowResult
from ..._wire.failures import undecodable
from ...errors import HeliconeError
from ...models import BulkResult
from ..output_lines import output_line
from ..ports import Outcome
from ..rows import Row
from ..tally import attempts_of
from . import store
from .grouping import line_of, mark_of
from .state import RunState
from .store import Batch, KeptRow

ROWS_AT_ONCE = 200
_SHORT_READS = 3
"""How often results that end early, between two lines, are fetched again: their other rows would be sent once more."""


class BatchResults:
    """The rows of one batch on their way back."""

    __slots__ = ("_batch", "_service", "_state", "_target")

    def __init__(self, state: RunState, batch: Batch, target: Target, service: BatchService) -> None:
        self._state = state
        self._batch = batch
        self._target = target
        self._service = service

    async def collect(self, view: BatchView) -> None:
        """Hands out every row of the batch that this run owes as it begins; others may become due meanwhile."""
        state, batch = self._state, self._batch
        silent, short = set[int](), 0
        async for rows in self.kept():
            silent.update(row.line for row in rows if state.is_due(row.line, batch.number))

        async def fetch() -> None:
            nonlocal short
            found, told = dict[int, RowResult](), 0
            async with aclosing(self._service.results(view)) as results:
                async for result in results:
                    told += 1
                    line = line_of(state.job, batch.number, result.custom_id)
                    if line is not None and state.is_due(line, batch.number):
                        found[line] = result
                        silent.discard(line)
                    if len(found) >= ROWS_AT_ONCE:
                        await self._hand_out(found)
                        found.clear()
            await self._hand_out(found)
            if told < view.done and short < _SHORT_READS:
                short += 1
                raise undecodable(f"only {told:,} of {view.done:,} results", 200, self._target.endpoint, request_id="")

        await state.asking(fetch, f"fetching the results of batch {view.id}")
        why = f"batch {view.id} is {view.status} and tells nothing of the row"
        left = sorted(silent)
        for start in range(0, len(left), ROWS_AT_ONCE):
            some = left[start : start + ROWS_AT_ONCE]
            await self._hand_out({line: RowResult(custom_id="", unsent=why) for line in some})

    async def _hand_out(self, found: dict[int, RowResult]) -> None:
        """Settles some rows, forgets those that nobody answered or that were refused, and gives their outcomes."""
        state, batch = self._state, self._batch
        if not found:
            return
        kept = await state.journal.write(store.rows_at(list(found)))
        elapsed_s = max(0.0, time.time() - batch.began_s)
        mark = mark_of(state.job, batch.number)
        outcomes: list[tuple[Row, Outcome]] = []
        for line, result in found.items():
            row = kept[line].row()
            if result.unsent is None:
                settled = await state.asking(
                    lambda: state.desk.settle(row, self._target, result, mark, elapsed_s),  # noqa: B023
                    "booking what was answered",
                )
                outcomes.append((row, self._outcome(row, settled)))
            else:
                outcomes.append((row, unsent(row, result.unsent)))
            state.desk.free(batch.number, row)
        await self.give(outcomes)

    async def give(self, outcomes: Sequence[tuple[Row, Outcome]]) -> None:
        """Hands outcomes out, or gives rows back; those that were not answered are in no batch from now on."""
        state = self._state
        forgotten = [row.line for row, outcome in outcomes if outcome.kind != "answered"]
        if forgotten:
            await state.journal.write(store.release(forgotten))
        for row, outcome in outcomes:
            if outcome.kind == "unsent" and state.take_back is not None and state.take_back(row):
                state.over(row.line)
            else:
                await state.hand_out(outcome)

    def _outcome(self, row: Row, result: BulkResult) -> Outcome:
        line = output_line(row, result)
        price = self._target.price
        line["receipt"] |= {
            "via": "batch", "batch_id": self._batch.remote_id, "price_source": price.source if price else None,
        }  # fmt: skip
        error = result.error
        return Outcome(
            line=row.line, custom_id=row.custom_id, kind="answered" if error is None else "failed",
            data=msgspec.json.encode(line), attempts=tuple(attempts_of(result)),
            error=None if error is None else type(error).__name__, reason=None if error is None else str(error),
        )  # fmt: skip

    async def close(self, end: HeliconeError | str) -> bool:
        """Gives every row that is owed the same end, an error or why it was not sent; False where some are left.

        Rows are left where they have not been read: nobody waits for their outcome yet.
        """
        state, number = self._state, self._batch.number
        while True:
            is_empty = True
            async for rows in self.kept():
                due = [row.row() for row in rows if state.is_due(row.line, number)]
                is_empty = is_empty and len(due) == len(rows)
                for row in due:
                    state.desk.free(number, row)
                await self.give([(row, self._ended(row, end)) for row in due])
            if is_empty or not state.due[number]:  # reading may have gone on meanwhile
                return is_empty

    def _ended(self, row: Row, end: HeliconeError | str) -> Outcome:
        if isinstance(end, str):
            return unsent(row, end)
        return self.failed(row, end)

    def failed(self, row: Row, error: HeliconeError) -> Outcome:
        """The outcome of a row that was not answered."""
        return self._outcome(row, BulkResult(index=row.line, request=row.request, error=error))

    async def kept(self) -> AsyncIterator[list[KeptRow]]:
        """The rows of the batch that the journal keeps, some at a time."""
        after = 0
        while rows := await self._state.journal.write(store.rows_of(self._batch.number, after, ROWS_AT_ONCE)):
            after = rows[-1].line
            yield rows


def unsent(row: Row, why: str) -> Outcome:
    """The outcome of a row that was given back: nothing of it is billed."""
    return Outcome(line=row.line, custom_id=row.custom_id, kind="unsent", reason=why)


__all__ = ["BatchResults", "unsent"]

"""The life of one batch: submitted at most once, watched until it is over, its results handed out and settled."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from ..._edges.batches import BatchService
from ..._flow.ticket import Target
from ..._wire.batches import BatchView, Problem, RowResult
from ...errors import (
    AuthenticationError,
    ConfigurationError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
)
from ...models import BulkResult
from ..output_lines import output_line
from ..ports import Outcome
from ..rows import Row
from ..tally import attempts_of
from . import store
from .finding import find
from .grouping import encoded, line_of, mark_of
from .state import RunState, is_uncreated
from .store import Batch, KeptRow

_ROWS_AT_ONCE = 200
_FULL_QUEUES = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
"""What OpenAI calls it when too much is queued already: later there is room."""
_FOR_EVERYBODY = (AuthenticationError, InsufficientCreditsError, ConfigurationError)
"""Errors that the next batch would meet, too: the job ends, and what was not sent stays unsent."""


class BatchWatch:
    """Watches one batch. Where it turns out never to have begun, its rows go into another, which is watched then."""

    __slots__ = ("_batch", "_service", "_state", "_target")

    def __init__(self, state: RunState, batch: Batch, target: Target) -> None:
        self._state = state
        self._batch = batch
        self._target = target
        self._service: BatchService = state.service(target)

    async def run(self, lines: Sequence[bytes] | None = None, sent: Callable[[], None] | None = None) -> None:
        """From where the batch stands to its end.

        `lines` are its rows as they are sent, if they are at hand; `sent` is called when they are no longer needed.
        """
        while True:
            try:
                if self._batch.state == "prepared":
                    try:
                        await self._submit(lines if lines is not None else await self._lines())
                    finally:
                        lines = None
                        if sent is not None:
                            sent()
                            sent = None
                if self._batch.state == "submitting" and not await self._find():
                    await self._renew()
                    continue
            except _FOR_EVERYBODY:
                raise
            except HeliconeError as exc:
                await self._fail(exc)
                return
            if await self._follow():
                return

    async def _follow(self) -> bool:
        """Waits for the end and hands out what came of the rows; False where they are to be submitted once more."""
        try:
            view = await self._over()
            if view.phase == "refused":
                return await self._refused(view)
            while self._state.due[self._batch.number] > 0:
                await self._collect(view)
            await self._put(state="ended")
            self._state.desk.free_all(self._batch.number)
        except _FOR_EVERYBODY:
            raise
        except HeliconeError as exc:
            await self._fail(exc)
        return True

    async def _submit(self, lines: Sequence[bytes]) -> None:
        """Brings the rows to the provider and begins the batch. That it may have begun is written down before."""
        state, batch, service = self._state, self._batch, self._service
        mark = mark_of(state.job, batch.number)
        about = f"submitting a batch of {batch.rows:,} rows to {batch.provider}"
        file_id = await state.asking(lambda: service.upload(lines, mark), about)

        async def create() -> None:
            await self._put(state="submitting", began_s=time.time())
            try:
                view = await service.create(lines, mark, file_id)
            except HeliconeError as exc:
                if not is_uncreated(exc):
                    state.note(f"{about}: {exc.message}; looking whether it was begun")
                    return
                await self._put(state="prepared")
                raise
            await self._begun(view)

        await state.asking(create, about)

    async def _begun(self, view: BatchView) -> None:
        await self._put(state="running", remote_id=view.id)
        self._state.told(f"{self._batch.provider} has {self._batch.rows:,} rows as batch {view.id}")

    async def _find(self) -> bool:
        """Looks for a batch whose creation was not answered, until it is certain whether it is there."""
        state, batch = self._state, self._batch
        cleared: set[str] = set()
        pause_s = state.options.first_poll_s
        while True:
            others = {each.remote_id for each in state.batches.values() if each.remote_id is not None}
            verdict = await state.asking(
                lambda: find(self._service, batch, state.job, others, cleared),  # noqa: B023
                f"looking for a batch of {batch.rows:,} rows at {batch.provider}",
            )
            if isinstance(verdict, BatchView):
                await self._begun(verdict)
                return True
            if verdict == "absent" and time.time() >= batch.began_s + state.options.listing_s:
                return False
            await state.pause(pause_s)
            pause_s = min(pause_s * 1.5, state.options.poll_s)

    async def _over(self) -> BatchView:
        """Polls until the provider does nothing more, and this run has read all rows that it may owe."""
        state, batch, service = self._state, self._batch, self._service
        remote_id = batch.remote_id or ""
        pause_s, is_cancelled = state.options.first_poll_s, False
        while True:
            view = await state.asking(lambda: service.look(remote_id), f"asking for batch {remote_id}")
            state.done_rows[batch.number] = view.done
            if view.phase != "running" and (state.is_read or state.read_to >= batch.last_line):
                return view
            if view.phase == "running" and batch.number in state.cancelled and not is_cancelled:
                is_cancelled = await self._cancel(remote_id)
            await state.pause(pause_s if view.phase == "running" else state.options.first_poll_s)
            pause_s = min(pause_s * 1.5, state.options.poll_s)

    async def _cancel(self, remote_id: str) -> bool:
        try:
            await self._service.cancel(remote_id)
        except HeliconeError as exc:
            if exc.http_status is None or exc.http_status >= 500 or exc.http_status == 429:
                return False
            self._state.note(f"batch {remote_id} cannot be cancelled: {exc.message}")  # it is over, most likely
        return True

    async def _collect(self, view: BatchView) -> None:
        """Hands out every row of the batch that this run owes as it begins; others may become due meanwhile."""
        state, batch = self._state, self._batch
        silent: set[int] = set()
        async for rows in self._kept():
            silent.update(row.line for row in rows if state.is_due(row.line, batch.number))

        async def fetch() -> None:
            found: dict[int, RowResult] = {}
            async with aclosing(self._service.results(view)) as results:
                async for result in results:
                    line = line_of(state.job, batch.number, result.custom_id)
                    if line is not None and state.is_due(line, batch.number):
                        found[line] = result
                        silent.discard(line)
                    if len(found) >= _ROWS_AT_ONCE:
                        await self._hand_out(found)
                        found.clear()
            await self._hand_out(found)

        await state.asking(fetch, f"fetching the results of batch {view.id}")
        why = f"batch {view.id} is {view.status} and tells nothing of the row"
        left = sorted(silent)
        for start in range(0, len(left), _ROWS_AT_ONCE):
            some = left[start : start + _ROWS_AT_ONCE]
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
                settled = await state.desk.settle(row, self._target, result, mark, elapsed_s)
                outcomes.append((row, self._outcome(row, settled)))
            else:
                outcomes.append((row, unsent(row, result.unsent)))
            state.desk.free(batch.number, row)
        await self._give(outcomes)

    async def _give(self, outcomes: Sequence[tuple[Row, Outcome]]) -> None:
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

    async def _refused(self, view: BatchView) -> bool:
        """The provider looked at the rows and took none: those it complains of fail, the others go once more."""
        state, batch = self._state, self._batch
        if any(problem.code in _FULL_QUEUES for problem in view.problems):
            state.note(f"{batch.provider} has its queue full: the {batch.rows:,} rows are submitted again later")
            await state.pause(state.options.poll_s)
            await self._renew()
            return False
        bad = {problem.line: problem for problem in view.problems if problem.line is not None}
        if not bad:
            await self._fail(self._error(view.problems))
            return True
        position, failed = 0, []
        async for rows in self._kept():
            for row in rows:
                position += 1
                if position in bad:
                    failed.append((row.row(), self._error([bad[position]])))
        await self._give([
            (row, self._outcome(row, BulkResult(index=row.line, request=row.request, error=error)))
            for row, error in failed
        ])  # fmt: skip
        for given, _ in failed:
            state.desk.free(batch.number, given)
        if position == len(failed):
            await self._put(state="ended")
            return True
        await self._renew()
        return False

    def _error(self, problems: Sequence[Problem]) -> ProviderError:
        said = problems[0] if problems else Problem(code="failed", message="no reason was given")
        text = f"{self._batch.provider} refused the batch: {said.message or said.code}"
        return ProviderError(text, code=said.code, provider=self._batch.provider, model=self._batch.model)

    async def _fail(self, error: HeliconeError) -> None:
        """Every row that is owed fails with the error."""
        async for rows in self._kept():
            due = [row.row() for row in rows if self._state.is_due(row.line, self._batch.number)]
            for row in due:
                self._state.desk.free(self._batch.number, row)
            await self._give([
                (row, self._outcome(row, BulkResult(index=row.line, request=row.request, error=error))) for row in due
            ])  # fmt: skip
        await self._put(state="ended")
        self._state.desk.free_all(self._batch.number)

    async def _renew(self) -> None:
        """The rows go into a batch of another number: should the first turn up after all, it is not taken for it."""
        state, old = self._state, self._batch
        new = msgspec.structs.replace(
            old, number=state.next_number(), state="prepared", remote_id=None, began_s=0.0
        )  # fmt: skip
        state.batches[new.number] = new
        async for rows in self._kept():
            for row in rows:
                state.move(row.line, new.number)
        new.rows = await state.journal.write(store.renew(old, new))
        state.desk.move(old.number, new.number)
        old.state = "ended"
        self._batch = new

    async def _lines(self) -> list[bytes]:
        """The rows as they are sent, from what the journal keeps of them."""
        found: list[bytes] = []
        async for rows in self._kept():
            found += [encoded(row.row(), self._target, self._state.job, self._batch.number) for row in rows]
        return found

    async def _kept(self) -> AsyncIterator[list[KeptRow]]:
        """The rows of the batch that the journal keeps, some at a time."""
        after = 0
        while rows := await self._state.journal.write(store.rows_of(self._batch.number, after, _ROWS_AT_ONCE)):
            after = rows[-1].line
            yield rows

    async def _put(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._batch, name, value)
        await self._state.journal.write(store.put(self._batch))


def unsent(row: Row, why: str) -> Outcome:
    """The outcome of a row that was given back: nothing of it is billed."""
    return Outcome(line=row.line, custom_id=row.custom_id, kind="unsent", reason=why)


__all__ = ["BatchWatch", "KeptRow", "unsent"]

"""Answers the rows of a job through the providers' batch APIs: half the price, within a day, across interruptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from ..._flow.ticket import Target
from ...client import GenOpsHeliconeAsyncAdapter
from ...errors import BudgetExceededError, ConfigurationError, HeliconeError
from ...models import BulkResult
from ..output_lines import output_line
from ..ports import Outcome
from ..rows import Row
from . import store
from .grouping import SHAPES, Draft, batchable, encoded, no_batch_api
from .results import unsent
from .settling import Note
from .state import BatchOptions, RunState
from .store import Batch, Journal, Known
from .watching import BatchWatch

_UNSENT_BATCHES = 2
"""Batches that may be in memory on their way to a provider; while they are, no more rows are read."""


class BatchRows:
    """An executor that sends rows in batches.

    A batch and its rows are in the journal before anything of them is sent, so that a job that was killed at any moment
    goes on with the batches it has: none is submitted twice, none is forgotten. Leaving `outcomes` leaves batches
    running at the provider; running the job again fetches them. The rows' worst case at the prices of batches is held
    before they are sent; rows that a budget has no room for come back unsent.

    Args:
        adapter: Whose keys, prices, budgets and telemetry are used.
        journal: The job's journal.
        options: How batches are made and watched.
        note: Told what a user should know, in a line.
        told: Told of each batch that has begun; by default as `note`.
        take_back: Takes a row that its batch gave back (cancelled or expired), for somebody else to answer; where it
            says False, the row's outcome is `unsent`.
        known: What earlier runs have left, if it is read already.
    """

    __slots__ = ("_adapter", "_journal", "_known", "_note", "_options", "_reading", "_state", "_take_back", "_told")

    def __init__(
        self, adapter: GenOpsHeliconeAsyncAdapter, journal: Journal, options: BatchOptions | None = None, *,
        note: Note = lambda line: None, told: Note | None = None, take_back: Callable[[Row], bool] | None = None,
        known: Known | None = None,
    ) -> None:  # fmt: skip
        self._adapter = adapter
        self._journal = journal
        self._options = options or BatchOptions()
        self._note = note
        self._told = told or note
        self._take_back = take_back
        self._known = known
        self._state: RunState | None = None
        self._reading: _Reading | None = None

    @asynccontextmanager
    async def outcomes(self, rows: AsyncIterator[Row]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """The outcome of every row; see `Executor`. All rows are taken as they come: the journal holds them.

        Raises:
            ConfigurationError: the adapter's calls have to be recorded one by one before they are sent.
            HeliconeError: while iterating: a provider refuses the key or wants money, or a row that names nobody itself
                cannot be sent in a batch.
        """
        if self._adapter.settings.compliance.mode:
            raise ConfigurationError(
                "compliance_mode has every call recorded before it is sent, which a batch cannot: use --via live"
            )
        known = self._known
        if known is None:
            known = await self._journal.write(store.load)
        state = self._state = RunState(
            self._adapter, self._journal, self._options, known, self._note, self._take_back
        )  # fmt: skip
        state.told = self._told
        reading = self._reading = _Reading(state)
        main = asyncio.ensure_future(reading.run(rows))
        try:
            yield _outcomes(state)
        finally:
            main.cancel()
            await asyncio.wait({main})
            await state.aclose()

    @property
    def stopped(self) -> str | None:
        """Why rows were given back before they were sent; None where none were."""
        return self._state.stopped if self._state is not None else None

    def running(self) -> tuple[Batch, ...]:
        """The batches that the provider still works on, or may."""
        batches = self._state.batches.values() if self._state is not None else ()
        return tuple(batch for batch in batches if batch.state in ("submitting", "running"))

    def done_rows(self) -> dict[int, int]:
        """How many rows of each batch, by its number, the provider said were done; Anthropic tells only at the end."""
        return dict(self._state.done_rows) if self._state is not None else {}

    def has(self, line: int) -> bool:
        """Whether a batch of this job, of this run or an earlier one, has the line."""
        known = self._state or self._known
        return known is not None and line < len(known.number_of) and known.number_of[line] > 0

    async def takes(self, row: Row) -> bool:
        """Whether a batch API can be asked for the row; what else is wrong with it shows when it is sent."""
        assert self._state is not None
        try:
            return batchable(await self._state.desk.candidates.of(row.request)) is not None
        except HeliconeError:
            return False

    def give_back_to(self, take_back: Callable[[Row], bool]) -> None:
        """From the next run on, rows that their batch gave back go there."""
        self._take_back = take_back

    def leave(self) -> None:
        """Ends the run now: what is not submitted comes back unsent, what runs stays with the provider."""
        if self._reading is not None:
            self._reading.leave()

    def cancel(self, *numbers: int) -> None:
        """Has batches cancelled, all that run where none is named; what is done by then is fetched, and paid."""
        state = self._state
        if state is not None:
            state.cancelled.update(numbers or [batch.number for batch in self.running()])
            state.nudge()


async def _outcomes(state: RunState) -> AsyncIterator[Outcome]:
    while (item := await state.queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


class _Reading:
    """Takes the rows of one run: those that a batch has already are waited for, the others go into new batches."""

    __slots__ = ("_drafts", "_last_s", "_room", "_state", "_turn", "_work")

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._drafts: dict[tuple[str, str], Draft] = {}
        self._last_s = 0.0
        self._room = asyncio.Semaphore(_UNSENT_BATCHES)
        self._turn = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """All of it; how it ended is the last thing in the queue."""
        state, last = self._state, None
        work = self._work = asyncio.ensure_future(self._all(rows))
        try:
            await asyncio.wait({work})
        finally:
            work.cancel()
            await asyncio.wait({work})
        if not work.cancelled() and (error := work.exception()) is not None:
            last = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
        for draft in self._drafts.values():  # there are some only where the run was left
            for kept in draft.kept:
                row = kept.row()
                state.desk.free(draft.number, row)
                await state.queue.put(unsent(row, "the job was interrupted before the row was submitted"))
        await state.queue.put(last)

    def leave(self) -> None:
        """Ends it now."""
        if self._work is not None:
            self._work.cancel()

    async def _all(self, rows: AsyncIterator[Row]) -> None:
        async with asyncio.TaskGroup() as group:
            await self._read(rows, group)

    async def _read(self, rows: AsyncIterator[Row], group: asyncio.TaskGroup) -> None:
        clock = asyncio.get_running_loop().time
        idle = group.create_task(self._while_idle(group, clock))
        async for row in rows:
            async with self._turn:
                await self._read_one(row, group)
            self._last_s = clock()
        idle.cancel()
        await self._flush_all(group)

    async def _read_one(self, row: Row, group: asyncio.TaskGroup) -> None:
        state = self._state
        if not await self._expect(row, group):
            if state.options.cancels:
                await state.queue.put(unsent(row, "no new batch is begun while batches are being cancelled"))
            else:
                await self._take(row, group)
        state.read_to = max(state.read_to, row.line)

    async def _while_idle(self, group: asyncio.TaskGroup, clock: Callable[[], float]) -> None:
        """Submits what there is when no row has come for a while: more may come only when these are answered."""
        self._last_s = clock()
        linger_s = self._state.options.linger_s
        while True:
            await asyncio.sleep(max(0.0, self._last_s + linger_s - clock()) or linger_s)
            if clock() >= self._last_s + linger_s:
                await self._flush_all(group)

    async def _flush_all(self, group: asyncio.TaskGroup) -> None:
        async with self._turn:
            for key in tuple(self._drafts):
                await self._flush(key, group)
        self._state.is_read = True
        self._state.nudge()

    async def _expect(self, row: Row, group: asyncio.TaskGroup) -> bool:
        """Where a batch of an earlier run has the row, its money is set aside again, and its outcome waited for."""
        state, is_held = self._state, False
        while number := state.number_of[row.line] if row.line < len(state.number_of) else 0:
            batch = state.batches[number]
            target = await state.target(batch)
            if not is_held:
                await self._hold(number, row, target, enforce=False)
                is_held = True
            if state.number_of[row.line] == number:  # else its rows went into another one meanwhile
                break
        else:
            return False
        state.assign(row.line, number)
        if state.options.cancels:
            state.cancelled.add(number)
        if number not in state.watched:
            if batch.state == "ended":
                batch.state = "running"  # its results are fetched once more
            group.create_task(BatchWatch(state, batch, target).run())
        return True

    async def _hold(self, number: int, row: Row, target: Target, *, enforce: bool | None = None) -> None:
        """Sets a row's money aside; where the budgets' store is away, waits for it: nothing is sent without."""
        state = self._state
        await state.asking(lambda: state.desk.hold(number, row, target, enforce=enforce), "setting money aside")

    async def _take(self, row: Row, group: asyncio.TaskGroup) -> None:
        """Puts the row into the draft of its provider and model."""
        state = self._state
        try:
            targets = await state.desk.candidates.of(row.request)
            target = batchable(targets)
            if target is None:
                raise no_batch_api(targets)
            key = target.endpoint.provider, target.endpoint.model
            draft = self._drafts.get(key) or self._begin(key, target)
            line = encoded(row, target, state.job, draft.number)
        except ConfigurationError as exc:
            if row.is_default_target:
                raise
            await state.queue.put(_refused(row, exc))
            return
        except HeliconeError as exc:
            await state.queue.put(_refused(row, exc))
            return
        limits = SHAPES[target.endpoint.provider].limits
        if draft.size + len(line) > min(limits.bytes, state.options.most_bytes) and draft.lines:
            await self._flush(key, group)
            draft = self._begin(key, target)
            line = encoded(row, target, state.job, draft.number)
        try:
            await self._hold(draft.number, row, target, enforce=state.options.is_limited or None)
        except BudgetExceededError as exc:
            state.stopped = exc.message
            await state.queue.put(unsent(row, exc.message))
            return
        draft.add(row, line)
        if len(draft.lines) >= min(limits.rows, state.options.most_rows):
            await self._flush(key, group)

    def _begin(self, key: tuple[str, str], target: Target) -> Draft:
        """An empty draft with a number of its own."""
        state = self._state
        number = state.next_number()
        state.batches[number] = Batch(number=number, provider=key[0], model=key[1])
        draft = self._drafts[key] = Draft(number=number, target=target)
        return draft

    async def _flush(self, key: tuple[str, str], group: asyncio.TaskGroup) -> None:
        """Writes a draft into the journal, and then has it submitted."""
        state, draft = self._state, self._drafts[key]
        if not draft.lines:
            del state.batches[draft.number], self._drafts[key]
            return
        order = sorted(range(len(draft.kept)), key=lambda place: draft.kept[place].line)
        kept, lines = [draft.kept[place] for place in order], [draft.lines[place] for place in order]
        batch = state.batches[draft.number]
        batch.rows, batch.last_line = len(kept), kept[-1].line
        await self._room.acquire()
        await state.journal.write(store.add(batch, kept))
        del self._drafts[key]  # not before: where the run is left meanwhile, its rows have to come back
        for row in kept:
            state.assign(row.line, batch.number)
        watch = BatchWatch(state, batch, draft.target)
        group.create_task(watch.run(lines, self._room.release))


def _refused(row: Row, error: HeliconeError) -> Outcome:
    """The outcome of a row that cannot be sent in a batch."""
    result = BulkResult(index=row.line, request=row.request, error=error)
    return Outcome(
        line=row.line, custom_id=row.custom_id, kind="failed", data=msgspec.json.encode(output_line(row, result)),
        error=type(error).__name__, reason=error.message,
    )  # fmt: skip


__all__ = ["BatchRows"]

"""The workers of one job: each slot keeps one at work, replaces it when it is lost, and ends it with the job."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Final, Self

import msgspec

from ...bulk.output_lines import output_line
from ...bulk.ports import Outcome
from ...bulk.receipts import cost_pusd, in_doubt_pusd
from ...bulk.rows import Row
from ...chat_request import ChatRequest
from ...errors import HeliconeError
from ...models import BulkResult
from .hired import Lost
from .leases import MOST_LOSSES, LeaseBook
from .plan import WorkerPlan
from .slots import Hire, Slot, Worker, WorstCase
from .worker import Taken

SHARD_ROWS: Final = 64
"""Rows leased at a time."""

PLACE_S: Final = 30.0
"""How long a worker may wait for a place in the cluster until that is told."""

MOST_FRUITLESS: Final = 3
"""A slot whose workers are lost so often in a row without an outcome is given up."""


class WorkersLostError(HeliconeError):
    """No worker is left, and there are rows to be done."""


class Crew:
    """The outcomes of a job's rows, as an iterator; what it raises is what ends the job."""

    __slots__ = (
        "_changed", "_failure", "_hire", "_late", "_limit_pusd", "_note", "_numbers", "_ready", "_reason", "_rows",
        "_slots", "_tasks", "_workers", "_worst_case", "book", "lost", "stopped",
    )  # fmt: skip

    def __init__(
        self, plan: WorkerPlan, workers: int, rows: AsyncIterator[Row], hire: Hire, note: Callable[[str], None],
        worst_case: WorstCase | None = None,
    ) -> None:  # fmt: skip
        self._limit_pusd = plan.limit_pusd
        self._rows = rows
        self._hire = hire
        self._note = note
        self._worst_case = worst_case or _free
        self._slots = [Slot(n, plan.share(n, workers)) for n in range(workers)]
        self._numbers = itertools.count()
        self._ready: deque[tuple[Slot, Outcome]] = deque()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._late: set[asyncio.Task[None]] = set()
        self._workers: set[Worker] = set()
        self._failure: BaseException | None = None
        self._reason = ""
        self.book = LeaseBook()
        self.lost = 0
        self.stopped: str | None = None

    def start(self) -> None:
        """Begins to read rows and to hire workers."""
        work = [self._read(), *(self._keep(slot) for slot in self._slots)]
        self._tasks = [asyncio.ensure_future(self._guarded(each)) for each in work]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if all(task.done() for task in self._tasks[1:]):
                if self.book.is_over:  # and all that was spent is in the ledger: the workers have closed
                    raise StopAsyncIteration
                if self.stopped is None:
                    raise self._all_lost()
            self._changed.clear()
            await self._changed.wait()
        slot, outcome = self._ready.popleft()
        slot.unconsumed -= 1
        slot.stirred.set()
        return outcome

    async def charge(self, amount_pusd: int) -> None:
        """Takes so much off the job's limit, where most is left of it: rows that are sent again may have cost it."""
        slot = max(self._slots, key=lambda slot: slot.left_pusd)
        slot.spent_pusd += amount_pusd
        if slot.worker is not None:
            try:
                await slot.worker.charge(amount_pusd)
            except Lost:
                pass  # the next one there is told what is left

    async def end(self) -> None:
        """Has every worker end what is in flight, and waits until all are gone."""
        tasks = [*self._tasks, *self._late]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(worker.end() for worker in self._workers))
        self._workers.clear()

    def _all_lost(self) -> WorkersLostError:
        return WorkersLostError(
            f"every worker on Ray was lost {MOST_FRUITLESS} times in a row, the last because: {self._reason} "
            "Rows that have no outcome may have been sent"
        )

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as exc:  # noqa: BLE001  the root of a task: whoever takes outcomes is told
            self._failure = self._failure or exc
        finally:
            self._stir()

    async def _read(self) -> None:
        async for row in self._rows:
            self.book.add(row)
            self._stir()
            while self.book.free >= SHARD_ROWS and not self._is_stopped:
                self._changed.clear()
                await self._changed.wait()
            if self._is_stopped:
                break
        self.book.is_complete = True
        self._give_up_free()
        self._stir()

    @property
    def _is_stopped(self) -> bool:
        """Whether nobody takes rows any more."""
        return all(slot.is_stopped for slot in self._slots)

    def _give_up_free(self) -> None:
        """Gives rows back that nobody will take."""
        if self._is_stopped and self.stopped is not None:
            for row in self.book.empty():
                self._put(self._slots[0], _unsent(row, self.stopped))

    def _stir(self) -> None:
        self._changed.set()
        for slot in self._slots:
            slot.stirred.set()

    async def _keep(self, slot: Slot) -> None:
        """Keeps a worker in a slot until every row has its outcome, or workers do not live there."""
        fruitless = 0
        while fruitless < MOST_FRUITLESS and not (self.book.is_over or slot.is_stopped):
            worker = self._hire(next(self._numbers))
            self._workers.add(worker)
            try:
                if await self._opened(slot, worker):
                    slot.worker = worker
                    await self._work(slot, worker)
            except Lost as exc:
                slot.worker = None
                slot.spent_pusd += await self._worst_pusd(worker)
                self._lose(slot, worker, exc)
                fruitless = 0 if worker.answered else fruitless + 1
            else:
                await worker.end()
                self._workers.discard(worker)
        slot.is_stopped = True
        self._give_up_free()

    async def _opened(self, slot: Slot, worker: Worker) -> bool:
        """Waits until there is a place for a worker; False where every row has its outcome before there is."""
        opening = asyncio.ensure_future(worker.open(slot.plan()))
        opening.add_done_callback(lambda _: slot.stirred.set())
        is_told = False
        try:
            while not (opening.done() or self.book.is_over):
                slot.stirred.clear()
                try:
                    async with asyncio.timeout(None if is_told else PLACE_S):
                        await slot.stirred.wait()
                except TimeoutError:
                    is_told = True
                    self._note(f"worker {slot.number + 1} waits for a free CPU of Ray; others go on without it")
            if opening.done():
                opening.result()
            return opening.done()
        finally:
            opening.cancel()
            await asyncio.wait([opening])

    async def _worst_pusd(self, worker: Worker) -> int:
        """What the rows of a lost worker may have cost without anybody hearing of it."""
        if self._limit_pusd is None:
            return 0
        return sum([await self._worst_case(row.request) for row in self.book.rows_of(worker.number)])

    async def _work(self, slot: Slot, worker: Worker) -> None:
        """Gives rows and takes outcomes, both at the same time, until every row of the job has its outcome."""
        taking: asyncio.Task[Taken] | None = None
        try:
            while self._has_work(slot, worker):
                slot.stirred.clear()
                if taking is not None and taking.done():
                    taken, taking = taking.result(), None
                    self._hear(slot, worker, taken)
                if shard := self._shard_for(slot, worker):
                    await worker.give(shard)
                    self._changed.set()  # there is room to read
                    continue
                if taking is None and self.book.pending(worker.number):
                    taking = asyncio.ensure_future(worker.take())
                    taking.add_done_callback(lambda _: slot.stirred.set())
                if self._has_work(slot, worker):
                    await slot.stirred.wait()
        finally:
            if taking is not None:
                taking.cancel()

    def _has_work(self, slot: Slot, worker: Worker) -> bool:
        return self.book.pending(worker.number) > 0 or not (self.book.is_over or slot.is_stopped)

    def _shard_for(self, slot: Slot, worker: Worker) -> list[Row]:
        if slot.is_stopped:
            return []
        pending = self.book.pending(worker.number)
        room = slot.most - pending - slot.unconsumed
        if pending and room * 8 < slot.most:
            return []
        return self.book.lease(worker.number, max(0, min(room, SHARD_ROWS)))

    def _hear(self, slot: Slot, worker: Worker, taken: Taken) -> None:
        for text in taken.notes:
            self._note(f"worker {slot.number + 1}: {text}")
        unsent = [outcome for outcome in taken.outcomes if outcome.kind == "unsent"]
        if unsent or taken.stopped:
            slot.is_stopped = True
            self.stopped = taken.stopped or unsent[0].reason or "a worker gave rows back"
        self._deliver(slot, worker, [outcome for outcome in taken.outcomes if outcome.kind != "unsent"])
        for outcome in unsent:  # another worker may have room, or reach somebody
            self.book.give_back(worker.number, outcome)
        if slot.is_stopped:
            self._give_up_free()
            self._stir()

    def _deliver(self, slot: Slot, worker: Worker, outcomes: list[Outcome]) -> None:
        slot.spent_pusd += sum(cost_pusd(each.attempts) + in_doubt_pusd(each.attempts) for each in outcomes)
        for outcome in self.book.deliver(worker.number, outcomes):
            worker.answered += 1
            self._put(slot, outcome)

    def _put(self, slot: Slot, outcome: Outcome) -> None:
        slot.unconsumed += 1
        self._ready.append((slot, outcome))
        self._changed.set()
        if self.book.is_over:
            self._stir()

    def _lose(self, slot: Slot, worker: Worker, exc: Lost) -> None:
        self.lost += 1
        self._reason = str(exc)
        pending = self.book.pending(worker.number)
        self._note(
            f"worker {slot.number + 1} (process {worker.pid}) is lost: {self._reason} "
            f"Its {pending} rows without an answer are sent again, and may be billed twice"
        )
        for row in self.book.release(worker.number):
            self._put(slot, _given_up(row))
        burial = asyncio.ensure_future(self._bury(slot, worker))
        self._late.add(burial)
        burial.add_done_callback(self._late.discard)
        self._stir()

    async def _bury(self, slot: Slot, worker: Worker) -> None:
        """Sees to it that a lost worker is gone; what it had answered and not yet said counts.

        Rows that it gives back are with others already, who may have sent them.
        """
        await worker.end(is_lost=True)
        self._deliver(slot, worker, [outcome for outcome in await worker.late() if outcome.kind != "unsent"])
        self._workers.discard(worker)


async def _free(request: ChatRequest) -> int:
    return 0


def _unsent(row: Row, why: str) -> Outcome:
    return Outcome(line=row.line, custom_id=row.custom_id, kind="unsent", reason=why)


def _given_up(row: Row) -> Outcome:
    """The outcome of a row that no worker has survived."""
    error = HeliconeError(
        f"{MOST_LOSSES} workers on Ray were lost while they had this row; it may have been sent by each",
        billed="maybe",
        code="workers_lost",
    )
    line = output_line(row, BulkResult(index=0, request=row.request, error=error))
    return Outcome(
        line=row.line,
        custom_id=row.custom_id,
        kind="failed",
        data=msgspec.json.encode(line),
        error=type(error).__name__,
        reason=error.message,
    )


__all__ = ["MOST_FRUITLESS", "SHARD_ROWS", "Crew", "WorkersLostError"]

"""The life of one batch: submitted at most once, watched until it is over, its results handed out and settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..._edges.batches import BatchService
from ..._flow.ticket import Target
from ..._wire.batches import BatchView, Problem
from ...errors import (
    AuthenticationError,
    ConfigurationError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
)
from . import store
from .finding import find
from .grouping import encoded, mark_of
from .results import BatchResults
from .state import RunState, is_uncreated
from .store import Batch

_FULL_QUEUES = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
"""What OpenAI calls it when too much is queued already: later there is room."""
_FOR_EVERYBODY = (AuthenticationError, InsufficientCreditsError, ConfigurationError)
"""Errors that the next batch would meet, too: the job ends, and what was not sent stays unsent."""


class BatchWatch:
    """Watches one batch. Where it turns out never to have begun, its rows go into another, which is watched then."""

    __slots__ = ("_batch", "_results", "_service", "_state", "_target")

    def __init__(self, state: RunState, batch: Batch, target: Target) -> None:
        self._state = state
        self._target = target
        self._service: BatchService = state.service(target)
        self._watch(batch)

    def _watch(self, batch: Batch) -> None:
        self._batch = batch
        self._results = BatchResults(self._state, batch, self._target, self._service)
        self._state.watched.add(batch.number)  # or a row that is read now would have it watched a second time

    async def run(self, lines: Sequence[bytes] | None = None, sent: Callable[[], None] | None = None) -> None:
        """From where the batch stands to its end.

        `lines` are its rows as they are sent, if they are at hand; `sent` is called when they are no longer needed.
        """
        try:
            while not await self._one(lines, sent):
                lines = sent = None
        finally:
            self._state.watched.discard(self._batch.number)

    async def _one(self, lines: Sequence[bytes] | None, sent: Callable[[], None] | None) -> bool:
        """One batch; False where it never came to be, and its rows are in another one now."""
        try:
            if self._batch.state == "prepared":
                try:
                    await self._submit(lines if lines is not None else await self._lines())
                finally:
                    if sent is not None:
                        sent()
            if self._batch.state == "submitting" and not await self._find():
                return await self._again("was never begun")
            return await self._follow()
        except _FOR_EVERYBODY:
            raise
        except HeliconeError as exc:
            await self._end_all(exc)
            return True

    async def _follow(self) -> bool:
        """Waits for the end and hands out what came of the rows; False where they are to be submitted once more."""
        state, batch = self._state, self._batch
        view = await self._over()
        if view.phase == "refused":
            return await self._refused(view)
        while batch.state != "ended" or state.due[batch.number]:
            while state.due[batch.number]:
                await self._results.collect(view)
            await self._put(state="ended")  # meanwhile another row may have been read
        state.desk.free_all(batch.number)
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

    async def _refused(self, view: BatchView) -> bool:
        """The provider looked at the rows and took none: those it complains of fail, the others go once more."""
        state, batch = self._state, self._batch
        if any(problem.code in _FULL_QUEUES for problem in view.problems):
            state.note(f"{batch.provider} has its queue full: the {batch.rows:,} rows are submitted again later")
            await state.pause(state.options.poll_s)
            return await self._again("found no room")
        bad = {problem.line: problem for problem in view.problems if problem.line is not None}
        if not bad:
            await self._end_all(self._error(view.problems))
            return True
        position, failed = 0, []
        async for rows in self._results.kept():
            for kept in rows:
                position += 1
                if position in bad:
                    failed.append((kept.row(), self._error([bad[position]])))
        lines, results = [row.line for row, _ in failed], self._results
        # The others go first: were these forgotten before, a later run would count the complaints' lines without them.
        if is_over := position == len(failed):
            await state.journal.write(store.release(lines))
        else:
            await self._again("was refused", lines)
        wanted = [(row, error) for row, error in failed if not state.forget(row.line)]
        for row, _ in wanted:
            state.desk.free(self._batch.number, row)
        await results.give([(row, results.failed(row, error)) for row, error in wanted])
        if is_over:
            await self._put(state="ended")
        return is_over

    def _error(self, problems: Sequence[Problem]) -> ProviderError:
        said = problems[0] if problems else Problem(code="failed", message="no reason was given")
        text = f"{self._batch.provider} refused the batch: {said.message or said.code}"
        return ProviderError(text, code=said.code, provider=self._batch.provider, model=self._batch.model)

    async def _end_all(self, end: HeliconeError | str) -> None:
        """Every row that is owed ends like that, once all that may be owed have been read."""
        state, batch = self._state, self._batch
        while not state.is_read and state.read_to < batch.last_line:
            await state.pause(state.options.first_poll_s)
        if await self._results.close(end):
            await self._put(state="ended")
        state.desk.free_all(batch.number)

    async def _again(self, why: str, without: Sequence[int] = ()) -> bool:
        """Has the rows of a batch that never was submitted once more, but for some; True where nobody wants that.

        They go into a batch of another number: should the first turn up after all, it is not taken for it.
        """
        state, old = self._state, self._batch
        if old.number in state.cancelled and not without:
            await self._end_all(f"the batch {why}, and is to be cancelled")
            return True
        new = msgspec.structs.replace(
            old, number=state.next_number(), state="prepared", remote_id=None, began_s=0.0
        )  # fmt: skip
        state.batches[new.number] = new
        async for rows in self._results.kept():
            for row in rows:
                state.move(row.line, new.number)
        new.rows = await state.journal.write(store.renew(old, new, without))
        state.desk.move(old.number, new.number)
        old.state = "ended"
        if old.number in state.cancelled:
            state.cancelled.add(new.number)
        self._watch(new)
        state.watched.discard(old.number)
        return False

    async def _lines(self) -> list[bytes]:
        """The rows as they are sent, from what the journal keeps of them."""
        found: list[bytes] = []
        async for rows in self._results.kept():
            found += [encoded(row.row(), self._target, self._state.job, self._batch.number) for row in rows]
        return found

    async def _put(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._batch, name, value)
        await self._state.journal.write(store.put(self._batch))


__all__ = ["BatchWatch"]

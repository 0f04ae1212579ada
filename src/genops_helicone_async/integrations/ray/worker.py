"""A worker on Ray: an actor's class, one process with one event loop and one adapter. It does not import `ray`."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec

from ...bulk.ports import Outcome
from ...models import PUSD_PER_USD
from .plan import WorkerPlan

if TYPE_CHECKING:
    from ..._configuration_verbs import ConfigurationVerbs
    from ..._flow.tracking import CostTracker
    from ...bulk.live import LiveRows
    from ...bulk.rows import Row
    from ...client import GenOpsHeliconeAsyncAdapter

SIGN_OF_LIFE_S: Final = 2.0
"""How long `take` waits for an outcome; an empty answer says that the worker lives."""

LINGER_S: Final = 0.005
"""How long the first outcome waits for others to travel with."""

ENOUGH: Final = 64
"""Outcomes that wait for no others."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has to say. `stopped` is why it takes no more rows: those it has come back as unsent."""

    outcomes: list[Outcome]
    notes: list[str] = []
    stopped: str | None = None


class BulkWorker:
    """Answers the rows that it is given; outcomes are fetched as rows finish, in any order.

    Nothing is given to the constructor: Ray keeps its arguments, and a plan holds keys.
    """

    def __init__(self) -> None:
        self._rows: deque[Row] = deque()
        self._outcomes: list[Outcome] = []
        self._notes: list[str] = []
        self._stopped: str | None = None
        self._tracker: CostTracker | None = None
        self._given = asyncio.Event()
        self._done = asyncio.Event()
        self._enough = asyncio.Event()
        self._is_closing = False
        self._adapter: GenOpsHeliconeAsyncAdapter | None = None
        self._work: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return "BulkWorker"

    async def open(self, plan: WorkerPlan) -> int:
        """Makes the adapter and begins to answer; gives the process's id.

        Raises:
            ConfigurationError: a setting is wrong, or makes no sense on this machine.
        """
        adapter = self._adapter = adapter_of(plan)
        self._work = asyncio.get_running_loop().create_task(self._answer(adapter, plan))
        self._work.add_done_callback(lambda _: self._done.set())
        return os.getpid()

    async def give(self, rows: list[Row]) -> None:
        """Takes rows; they are sent as there is room."""
        self._rows.extend(rows)
        self._given.set()

    async def take(self) -> Taken:
        """What has come of rows, nothing after `SIGN_OF_LIFE_S` without news.

        Raises what ended the work, if that is what happened.
        """
        assert self._work is not None
        if not (self._outcomes or self._notes or self._work.done()):
            await _within(SIGN_OF_LIFE_S, self._done)
            if self._outcomes and len(self._outcomes) < ENOUGH:
                await _within(LINGER_S, self._enough)
        taken = Taken(outcomes=self._outcomes, notes=self._notes, stopped=self._stopped)
        self._outcomes, self._notes = [], []
        self._done.clear()
        self._enough.clear()
        if not taken.outcomes and self._work.done():
            self._work.result()
        return taken

    async def charge(self, amount_pusd: int) -> None:
        """Takes so much of its part of the job's limit away, for what was spent elsewhere."""
        if self._tracker is not None:
            self._tracker.hold(amount_pusd, enforce=False)

    async def close(self) -> None:
        """Ends what is in flight and closes the adapter: all that was spent is in the ledger when this returns."""
        self._is_closing = True
        self._given.set()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        if self._adapter is not None:
            await self._adapter.aclose()

    async def _answer(self, adapter: GenOpsHeliconeAsyncAdapter, plan: WorkerPlan) -> None:
        from ..._flow.tracking import CostTracker
        from ...bulk.live import LiveRows

        budget = None if plan.limit_pusd is None else plan.limit_pusd / PUSD_PER_USD
        live = LiveRows(
            adapter, max_in_flight=plan.max_in_flight, wait_s=plan.wait_for_gateway_s, note=self._note,
            is_limited=budget is not None,
        )  # fmt: skip
        rows = self._read()
        with CostTracker("bulk", budget=budget) as self._tracker:
            await self._answer_all(live, rows)
        # It takes no more: a budget is used up, or nobody was reached for too long. What it was given goes back.
        self._stopped = live.stopped
        async for row in rows:
            self._put(Outcome(line=row.line, custom_id=row.custom_id, kind="unsent", reason=live.stopped))

    async def _answer_all(self, live: LiveRows, rows: AsyncIterator[Row]) -> None:
        async with live.outcomes(rows) as outcomes:
            async for outcome in outcomes:
                self._put(outcome)

    def _put(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._done.set()
        if len(self._outcomes) >= ENOUGH:
            self._enough.set()

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._done.set()

    async def _read(self) -> AsyncIterator[Row]:
        while not self._is_closing:
            while self._rows:
                yield self._rows.popleft()
            self._given.clear()
            await self._given.wait()


def adapter_of(plan: WorkerPlan) -> GenOpsHeliconeAsyncAdapter:
    """The adapter that a plan describes, in a process of its own: the plan's variables become this process's.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from ...client import GenOpsHeliconeAsyncAdapter

    os.environ.update(plan.environ or {})
    adapter = GenOpsHeliconeAsyncAdapter(**plan.settings)
    configure(adapter, plan)
    return adapter


def configure(adapter: ConfigurationVerbs, plan: WorkerPlan) -> None:
    """Sets the budgets, limits and cache of a plan.

    Raises:
        ConfigurationError: one of them makes no sense.
    """
    if plan.budgets is not None:
        adapter.set_budget_limits(**plan.budgets)
    if plan.rate_limits is not None:
        adapter.configure_rate_limits(**plan.rate_limits)
    if plan.caching is not None:
        adapter.enable_caching(**plan.caching)


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


__all__ = ["ENOUGH", "LINGER_S", "SIGN_OF_LIFE_S", "BulkWorker", "Taken", "adapter_of", "configure"]

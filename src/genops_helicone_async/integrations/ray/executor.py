"""Rows answered by workers on Ray: leased in shards, taken back from workers that are lost, each answered once."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from ...bulk.ports import Outcome
from ...bulk.rows import Row
from ...errors import ConfigurationError
from .cluster import machines, require_ray
from .crew import SHARD_ROWS, Crew
from .hired import HiredWorker
from .plan import WorkerPlan
from .slots import WorstCase

LEASE_S: Final = 60.0
"""How long a worker may say nothing before its rows are given to others."""


_log = logging.getLogger("genops_helicone_async.ray")


class RayStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the workers and of the rows that were with lost ones.

    `released` rows were taken back and done again: each may be billed twice. `doubled` rows are known to be: a second
    outcome came, was dropped, and had cost something. The names are those of the first thousand.
    """

    workers: int
    lost_workers: int
    released: int
    doubled: int
    released_names: tuple[str, ...]
    doubled_names: tuple[str, ...]


class RayRows:
    """An `Executor` over Ray core actors, each with an adapter and an event loop of its own.

    This process must be connected to Ray. It alone reads rows and gets outcomes; a worker that is lost costs again, at
    most, what was in flight there, and is replaced. One that is lost thrice without a single outcome is not.

    Args:
        plan: What every worker is told.
        workers: How many; each takes one CPU of the cluster.
        lease_s: How long a worker may say nothing.
        worst_case: What a row may cost at most: so much of `plan.limit_pusd` is taken by each row of a lost worker.
        note: Told what a user should know: workers that are lost, a gateway that is away, a budget that is used up.

    Raises:
        ConfigurationError: Ray is not installed, or the sum of the workers would not keep to a limit.
    """

    __slots__ = ("_crew", "_lease_s", "_note", "_plan", "_workers", "_worst_case")

    def __init__(
        self, plan: WorkerPlan, *, workers: int, lease_s: float = LEASE_S, note: Callable[[str], None] | None = None,
        worst_case: WorstCase | None = None,
    ) -> None:  # fmt: skip
        require_ray()
        self._plan = plan.completed(os.environ)
        if workers < 1:
            raise ConfigurationError(f"`workers` is {workers}: give 1 or more")
        self._workers = min(workers, plan.most_workers())
        self._lease_s = lease_s
        self._note = note or _log.warning
        self._worst_case = worst_case
        self._crew: Crew | None = None

    def __repr__(self) -> str:
        return f"RayRows({self._workers} workers, {self._plan!r})"

    @property
    def window(self) -> int:
        """How many rows are out at once at most."""
        return SHARD_ROWS + max(self._plan.max_in_flight, self._workers)

    @property
    def stopped(self) -> str | None:
        """Why no more rows were taken, if that is what happened."""
        return self._crew.stopped if self._crew is not None else None

    @asynccontextmanager
    async def outcomes(self, rows: AsyncIterator[Row]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """The first outcome of every row, as rows finish; on leaving, the workers are told to end, and ended.

        Raises:
            ConfigurationError: a worker cannot work with the settings.
            WorkersLostError: no worker is left; rows without an outcome are in doubt.
        """
        if self._plan.is_for_this_machine_only() and machines() > 1:
            raise ConfigurationError(
                "`state_url` names this machine by a name that means another one on each machine of the cluster: "
                "give the address by which all of them reach it"
            )
        crew = self._crew = Crew(self._plan, self._workers, rows, self._hire, self._note, self._worst_case)
        try:
            crew.start()
            yield crew
        finally:
            await crew.end()

    async def charge(self, amount_pusd: int) -> None:
        """Takes so much off the plan's limit, while outcomes are taken."""
        if self._crew is not None and self._plan.limit_pusd is not None:
            await self._crew.charge(amount_pusd)

    def _hire(self, number: int) -> HiredWorker:
        return HiredWorker(number, self._lease_s)

    def statistics(self) -> RayStatistics:
        """Counts since `outcomes` was last entered."""
        crew = self._crew
        if crew is None:
            return RayStatistics(
                workers=self._workers, lost_workers=0, released=0, doubled=0, released_names=(), doubled_names=()
            )
        released, doubled = crew.book.released, crew.book.doubled
        return RayStatistics(
            workers=self._workers,
            lost_workers=crew.lost,
            released=released.count,
            doubled=doubled.count,
            released_names=tuple(released.first),
            doubled_names=tuple(doubled.first),
        )


__all__ = ["LEASE_S", "RayRows", "RayStatistics"]

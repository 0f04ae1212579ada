"""A worker's place in a crew: what may be there at once, what of the job's limit is left to it, and who works there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from ...bulk.ports import Outcome
from ...bulk.rows import Row
from ...chat_request import ChatRequest
from .plan import WorkerPlan
from .worker import Taken


class Worker(Protocol):
    """A worker, wherever it is; see `HiredWorker`. `number` is its own, `answered` counts outcomes that counted."""

    number: int
    answered: int
    pid: int | None

    async def open(self, plan: WorkerPlan) -> None:
        """Has it make its adapter."""

    async def give(self, rows: list[Row]) -> None:
        """Hands rows over."""

    async def take(self) -> Taken:
        """What has come of rows."""

    async def charge(self, amount_pusd: int) -> None:
        """Takes so much of its part of the job's limit away."""

    async def late(self) -> list[Outcome]:
        """What a silent worker had to say after all."""

    async def end(self, *, is_lost: bool = False) -> None:
        """Ends it, and returns when it is gone."""


Hire = Callable[[int], Worker]
"""A new worker with that number."""

WorstCase = Callable[[ChatRequest], Awaitable[int]]
"""The most that sending a row may cost, in pico-dollars."""


class Slot:
    """A worker's place. `unconsumed` outcomes are with the job, and count as its work still.

    It is stopped once its worker takes no more, or once there will be none. `spent_pusd` is what its workers spent of
    the job's limit, or may have.
    """

    __slots__ = ("_plan", "is_stopped", "most", "number", "spent_pusd", "stirred", "unconsumed", "worker")

    def __init__(self, number: int, plan: WorkerPlan) -> None:
        self._plan = plan
        self.number = number
        self.most = plan.max_in_flight  # no row waits at a worker: what is lost with it was in flight
        self.worker: Worker | None = None
        self.spent_pusd = 0
        self.unconsumed = 0
        self.is_stopped = False
        self.stirred = asyncio.Event()

    @property
    def left_pusd(self) -> int:
        """What is left of its part of the job's limit."""
        return max(0, (self._plan.limit_pusd or 0) - self.spent_pusd)

    def plan(self) -> WorkerPlan:
        """What a worker that begins now is told."""
        if self._plan.limit_pusd is None:
            return self._plan
        return msgspec.structs.replace(self._plan, limit_pusd=self.left_pusd)


__all__ = ["Hire", "Slot", "Worker", "WorstCase"]

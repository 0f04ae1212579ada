"""One worker as the driver sees it: its actor, and what Ray says when it is lost."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ...bulk.ports import Outcome
from ...bulk.rows import Row
from .cluster import require_ray
from .plan import WorkerPlan
from .worker import BulkWorker, Taken

END_S: Final = 10.0
"""How long a worker may take to close; then it is ended."""


class Lost(Exception):
    """The worker cannot be used any more; the message is the reason."""


class HiredWorker:
    """An actor, from its creation to its end. `number` is its own; `answered` counts its outcomes that counted."""

    __slots__ = ("_actor", "_lease_s", "_ray", "_taking", "answered", "number", "pid")

    def __init__(self, number: int, lease_s: float) -> None:
        self._ray = require_ray()
        # Ray's own restart would begin without a plan, and without the rows: the driver puts another in its place.
        options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._actor: Any = self._ray.remote(BulkWorker).options(**options).remote()
        self._lease_s = lease_s
        self._taking: asyncio.Future[Any] | None = None
        self.number = number
        self.answered = 0
        self.pid: int | None = None

    def __repr__(self) -> str:
        return f"HiredWorker({self.number}, pid={self.pid}, {self.answered} answered)"

    async def open(self, plan: WorkerPlan) -> None:
        """Has it make its adapter; waits for a place in the cluster as long as that takes.

        Raises:
            Lost: it is gone.
            ConfigurationError: it cannot work with these settings.
        """
        self.pid = await self._reply(self._actor.open.remote(plan))

    async def give(self, rows: list[Row]) -> None:
        """Hands rows over.

        Raises:
            Lost: it is gone; whether it has the rows is not known.
        """
        await self._in_time(asyncio.ensure_future(_awaited(self._actor.give.remote(rows))))

    async def take(self) -> Taken:
        """Outcomes as they finish; nothing as a sign of life.

        Raises:
            Lost: it is gone, or has been silent for too long.
        """
        self._taking = asyncio.ensure_future(_awaited(self._actor.take.remote()))
        taken: Taken = await self._in_time(self._taking)
        self._taking = None
        return taken

    async def charge(self, amount_pusd: int) -> None:
        """Takes so much of its part of the job's limit away.

        Raises:
            Lost: it is gone.
        """
        await self._in_time(asyncio.ensure_future(_awaited(self._actor.charge.remote(amount_pusd))))

    async def late(self) -> list[Outcome]:
        """What comes of the last question after all, of a worker that was silent; none where it is dead."""
        if self._taking is None:
            return []
        try:
            taken: Taken = await self._taking
        except self._ray.exceptions.RayError:
            return []
        return taken.outcomes

    async def end(self, *, is_lost: bool = False) -> None:
        """Has it close, unless it is lost, and ends its process; returns when it is gone. Safe to repeat."""
        if not is_lost:
            await self._patiently(self._actor.close.remote())
        self._ray.kill(self._actor, no_restart=True)
        await self._patiently(self._actor.__ray_ready__.remote())  # answered, with an error, once it is gone

    async def _patiently(self, reference: Any) -> None:
        try:
            async with asyncio.timeout(END_S):
                await reference
        except (TimeoutError, self._ray.exceptions.RayError):
            pass

    async def _in_time(self, future: asyncio.Future[Any]) -> Any:
        future.add_done_callback(_look_at)
        try:
            done, _ = await asyncio.wait([future], timeout=self._lease_s)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not done:
            raise Lost(f"it said nothing for {self._lease_s:g} s")
        return await self._reply(future)

    async def _reply(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return await reference
        except errors.RayTaskError as exc:
            raise exc.cause from exc
        except errors.RayError as exc:
            raise Lost(str(exc).strip().partition("\n")[0]) from exc


async def _awaited(reference: Any) -> Any:
    return await reference


def _look_at(future: asyncio.Future[Any]) -> None:
    """Marks the error of a question whose answer nobody waits for any more as seen."""
    if not future.cancelled():
        future.exception()


__all__ = ["END_S", "HiredWorker", "Lost"]

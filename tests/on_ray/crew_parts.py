"""Workers in the test's own process, for a crew: the same class that Ray makes an actor of, without Ray."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from genops_helicone_async import ChatRequest
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.rows import Row, RowReader
from genops_helicone_async.integrations.ray.crew import Crew
from genops_helicone_async.integrations.ray.hired import Lost
from genops_helicone_async.integrations.ray.plan import WorkerPlan
from genops_helicone_async.integrations.ray.worker import BulkWorker, Taken
from genops_helicone_async.testing import SandboxGateway

KEY = "sk-helicone-sandbox-onray01-onray02-onray03"

WORST_CASE_PUSD = 20_000_000
"""Above what a row of these costs."""


def row(number: int) -> Row:
    """A row that asks one provider."""
    reader = RowReader({"provider": "openai", "model": "gpt-4o-mini", "max_tokens": 20})
    read = reader.read(number, b'{"message": "Question %d", "custom_id": "row %d"}' % (number, number))
    assert isinstance(read, Row)
    return read


async def rows_up_to(last: int) -> AsyncIterator[Row]:
    """So many rows."""
    for number in range(1, last + 1):
        yield row(number)


def outcome(number: int, *, kind: Any = "answered", attempts: Any = ()) -> Outcome:
    """What came of a row."""
    return Outcome(line=number, custom_id=f"row {number}", kind=kind, attempts=attempts)


def plan_for(gateway: SandboxGateway, **rest: Any) -> WorkerPlan:
    """What the workers are told."""
    settings = {
        "helicone_api_key": KEY, "gateway_url": gateway.url, "timeout_seconds": 60.0, **rest.pop("settings", {}),
    }  # fmt: skip
    return WorkerPlan(settings=settings, environ={}, **{"max_in_flight": 8, **rest})


class LocalWorker:
    """One worker of a `LocalCrew`, lost once it has said `answers` outcomes.

    With fewer than none it is lost on `open`, or, at minus infinity, never gets a place. `said_late` is what it says
    after all when it is lost.
    """

    def __init__(self, number: int, answers: float) -> None:
        self.number = number
        self.answered = 0
        self.pid = None
        self.ended = asyncio.Event()
        self._answers = answers
        self._given = 0
        self._worker = BulkWorker()
        self.said_late: list[Outcome] = []

    async def open(self, plan: WorkerPlan) -> None:
        """Makes the adapter."""
        if self._answers == float("-inf"):
            await asyncio.Event().wait()
        if self._answers < 0:
            raise Lost("it could not be started.")
        await self._worker.open(plan)

    async def give(self, rows: list[Row]) -> None:
        """Hands rows over."""
        await self._worker.give(rows)

    async def take(self) -> Taken:
        """What has come of rows."""
        taken = await self._worker.take()
        self._given += len(taken.outcomes)
        if self._given > self._answers:
            raise Lost("it died.")
        return taken

    async def charge(self, amount_pusd: int) -> None:
        """Takes off its part of the limit."""
        await self._worker.charge(amount_pusd)

    async def late(self) -> list[Outcome]:
        """What it was told to say."""
        return self.said_late

    async def end(self, *, is_lost: bool = False) -> None:
        """Closes it, also when it is lost: it is in this process."""
        if not self.ended.is_set():
            self.ended.set()
            await self._worker.close()


class LocalCrew:
    """A crew of such workers; `answers` says of each, in the order of hiring, when it is lost."""

    def __init__(self, plan: WorkerPlan, last: int, *, workers: int = 2, answers: tuple[float, ...] = ()) -> None:
        self.hired: list[LocalWorker] = []
        self.notes: list[str] = []
        self._answers = answers
        self.crew = Crew(plan, workers, rows_up_to(last), self._hire, self.notes.append, _worst_case)

    def _hire(self, number: int) -> LocalWorker:
        answers = self._answers[number] if number < len(self._answers) else float("inf")
        self.hired.append(LocalWorker(number, answers))
        return self.hired[-1]

    async def all(self) -> list[Outcome]:
        """Every outcome; all workers are ended then."""
        self.crew.start()
        try:
            return [outcome async for outcome in self.crew]
        finally:
            await self.crew.end()
            assert all(worker.ended.is_set() for worker in self.hired)


async def _worst_case(request: ChatRequest) -> int:
    return WORST_CASE_PUSD

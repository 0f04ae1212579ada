"""The demo's run: the shipped batch, spread over three providers of a sandbox gateway, while the fault script plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from .. import GenOpsHeliconeAsyncAdapter
from ..bulk.job import BulkJob
from ..bulk.job_files import Opening, open_job
from ..bulk.journal import Journal
from ..bulk.live import LiveRows
from ..bulk.ports import Executor, Outcome
from ..bulk.recovery import Identity
from ..bulk.rows import Row, RowReader
from ..bulk.tally import Tally
from ..testing import SandboxGateway
from .demo_script import PROVIDERS, FaultScript
from .interrupts import Interrupts

MAX_IN_FLIGHT = 24
LATENCY_SCALE = 0.4
"""The sandbox's providers are a little faster than the real ones, so that the demo ends before one looks away."""


def shipped_batch() -> list[Row]:
    """The prompts that come with the package."""
    from importlib.resources import files

    reader = RowReader({})
    lines = files("genops_helicone_async").joinpath("demo", "prompts.jsonl").read_bytes().splitlines()
    return [row for number, line in enumerate(lines, 1) if isinstance(row := reader.read(number, line), Row)]


def spread(batch: list[Row], how_many: int) -> Iterator[Row]:
    """So many rows, from the beginning again where more are wanted than there are.

    Each names the three providers in an order that begins with another one from row to row, so that all get work.
    """
    for index in range(how_many):
        row = batch[index % len(batch)]
        first = index % len(PROVIDERS)
        request = msgspec.structs.replace(
            row.request,
            providers=PROVIDERS[first:] + PROVIDERS[:first],
            model=None,
            model_preferences={"openai": row.request.model} if row.request.model else None,
        )
        custom_id = row.custom_id if index < len(batch) else f"{row.custom_id}-{index // len(batch) + 1}"
        yield msgspec.structs.replace(row, line=index + 1, custom_id=custom_id, request=request)


class Stage:
    """One run of the demo: the sandbox, the faults, the job, and what came of it."""

    __slots__ = ("_is_ended", "gateway", "job", "script", "tally", "view", "wall_s")

    def __init__(self, gateway: SandboxGateway, total: int, view: Callable[[FaultScript, int], Any]) -> None:
        self.gateway = gateway
        self.tally = Tally()
        self.script = FaultScript(gateway, total)
        self.view = view(self.script, total)
        self._is_ended = False
        self.wall_s = 0.0

    async def run(self, rows: Iterator[Row], output: Path) -> None:
        """Sends the rows; the answers go to `output`."""
        gateway = self.gateway
        files = await asyncio.to_thread(open_job, output, Identity(), Opening(keeps_journal=False))
        journal = Journal(files, is_deduped=False)
        self.tally = journal.tally
        async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, provider_keys={}) as adapter:
            played = _Played(LiveRows(adapter, max_in_flight=MAX_IN_FLIGHT), self._happens)
            self.job = BulkJob(self._items(rows), self._end, played, journal, view=self.view, window=MAX_IN_FLIGHT)
            started = time.monotonic()
            with Interrupts(self.job.interrupt):
                await self.job.run()
            self.wall_s = time.monotonic() - started

    @property
    def is_equal(self) -> bool:
        """Whether the receipts add up to the sandbox's bill, to the pico-dollar."""
        return self.tally.cost_pusd == self.gateway.bill.total_pusd

    def _end(self) -> None:
        self._is_ended = True

    async def _items(self, rows: Iterator[Row]) -> AsyncIterator[Row]:
        for row in rows:
            if self._is_ended:
                return
            yield row

    def _happens(self, row: Row) -> None:
        """The script goes on with each row that is sent, not with those that are read ahead."""
        changed = self.script.advance(row.line - 1)
        if changed:
            self.view.happened(changed)


class _Played:
    """An executor that has a function see each row before another executor sends it."""

    __slots__ = ("_executor", "_seen")

    def __init__(self, executor: Executor, seen: Callable[[Row], None]) -> None:
        self._executor = executor
        self._seen = seen

    def outcomes(self, rows: AsyncIterator[Row]) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """As `Executor` has it."""
        return self._executor.outcomes(self._watched(rows))

    async def _watched(self, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
        async for row in rows:
            self._seen(row)
            yield row


__all__ = ["LATENCY_SCALE", "MAX_IN_FLIGHT", "PROVIDERS", "Stage", "shipped_batch", "spread"]

"""What tests of provider batches share: a journal, an adapter at the sandbox, rows, and a run to its end."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from genops_helicone_async import ChatRequest, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.bulk.batches import BatchOptions, BatchRows
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.testing import SandboxGateway

Result = TypeVar("Result")
FAST = BatchOptions(poll_s=0.02, first_poll_s=0.005, listing_s=0.0)


class FileJournal:
    """A journal that is nothing but its file: each change is a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._turn = asyncio.Lock()

    async def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Makes the change on a thread."""
        async with self._turn:
            return await asyncio.to_thread(self._within, change)

    def _within(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return change(self._connection)

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()


class Crash(Exception):
    """The process is gone."""


class CrashingJournal:
    """A journal whose process ends at its n-th change, counted from 1: before it is made, or right after."""

    def __init__(self, journal: FileJournal, at: int, *, after: bool) -> None:
        self._journal = journal
        self._at = at
        self._after = after
        self.changes = 0

    async def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Makes the change, if the process lives as long."""
        self.changes += 1
        if self.changes > self._at or (self.changes == self._at and not self._after):
            raise Crash
        result = await self._journal.write(change)
        if self.changes == self._at:
            raise Crash
        return result


def adapter_at(sandbox: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that reaches every provider through its own host of the sandbox."""
    return GenOpsHeliconeAsyncAdapter(
        sandbox.api_key, sandbox.provider_keys, provider_urls=sandbox.provider_urls, **settings
    )


def row(line: int, **options: Any) -> Row:
    """A row; by default for OpenAI's small model."""
    wanted = {"provider": "openai", "model": "gpt-4o-mini", "max_tokens": 20, **options}
    request = ChatRequest(message=f"Question {line}", **wanted)
    return Row(line=line, custom_id=f"kunde/{line} ü", request=request, is_default_target=False)


CLAUDE = {"provider": "anthropic", "model": "claude-3-haiku-20240307"}


async def each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """The rows, one by one."""
    for one in rows:
        await asyncio.sleep(0)
        yield one


async def outcomes_of(
    executor: BatchRows, rows: Iterable[Row], seen: Callable[[Outcome], Any] = lambda outcome: None
) -> list[Outcome]:
    """Every outcome, in the order in which they came."""
    found = []
    async with executor.outcomes(each(rows)) as outcomes:
        async for outcome in outcomes:
            found.append(outcome)
            seen(outcome)
    return found


def cost_pusd(outcomes: Iterable[Outcome]) -> int:
    """What the receipts come to, in pico-dollars."""
    return sum(round(attempt.cost * 10**12) for outcome in outcomes for attempt in outcome.attempts)

"""What one run of a job knows of its batches, shared by those who read rows and those who watch batches."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from ..._edges.batches import BatchService
from ..._edges.http import HttpTransport
from ..._flow.ticket import Target
from ...client import GenOpsHeliconeAsyncAdapter
from ...errors import (
    BudgetExceededError,
    ConfigurationError,
    DecodeError,
    HeliconeError,
    InsufficientCreditsError,
)
from ..ports import Outcome
from ..rows import Row
from .grouping import SHAPES
from .settling import Note, SettlingDesk
from .store import Batch, Journal, Known

_OUTCOMES_AHEAD = 1000
_MOST_UNREADABLE = 5
_FOR_GOOD = (BudgetExceededError, ConfigurationError, InsufficientCreditsError)
_ANY_SIZE = 1 << 50  # results are read line by line, however many there are
_Found = TypeVar("_Found")


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How batches are made and watched.

    `poll_s` is the longest between two looks at a batch, `first_poll_s` the first; in between it grows by half each
    time, ± a tenth. `listing_s` is how long a provider's list may lag behind. A batch has at most `most_rows` rows and
    `most_bytes` bytes, and never more than its provider takes: all of it is in memory while it is sent. `cancels`: no
    new row is sent, what runs is cancelled, and what was done by then is fetched. A batch that is not full is submitted
    when no row has come for `linger_s`. With `is_limited` budgets hold for rows, too, that say `enforce_budget: false`.
    """

    poll_s: float = 60.0
    first_poll_s: float = 5.0
    listing_s: float = 60.0
    linger_s: float = 5.0
    most_rows: int = 50_000
    most_bytes: int = 32 * 1024 * 1024
    cancels: bool = False
    is_limited: bool = False


class RunState:
    """One run's state. `number_of` has for each line the number of its batch, `wanted` whether its outcome is due.

    `watched` are the numbers of the batches that somebody watches.
    """

    __slots__ = (
        "_services", "_transport", "batches", "cancelled", "desk", "done_rows", "due", "is_read", "job", "journal",
        "note", "number_of", "options", "queue", "read_to", "stopped", "take_back", "told", "wake", "wanted", "watched",
    )  # fmt: skip

    def __init__(
        self, adapter: GenOpsHeliconeAsyncAdapter, journal: Journal, options: BatchOptions, known: Known, note: Note,
        take_back: Callable[[Row], bool] | None,
    ) -> None:  # fmt: skip
        self.journal = journal
        self.options = options
        self.note = self.told = note
        self.take_back = take_back
        self.job = known.job
        self.batches = known.batches
        self.number_of: array[int] = known.number_of
        self.wanted = bytearray(len(known.number_of))
        self.cancelled: set[int] = set()
        self.watched: set[int] = set()
        self.done_rows: dict[int, int] = {}
        self.desk = SettlingDesk(adapter)
        self.queue: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue(_OUTCOMES_AHEAD)
        self.due: Counter[int] = Counter()
        self.wake = asyncio.Event()
        self.is_read = False
        self.read_to = 0
        self.stopped: str | None = None
        settings = adapter.settings
        self._transport = HttpTransport(max_response_bytes=_ANY_SIZE, trust_env=settings.trust_env)
        self._services: dict[str, BatchService] = {}

    async def aclose(self) -> None:
        """Closes the connections, and frees what is set aside."""
        self.desk.close()
        await self._transport.aclose()

    def service(self, target: Target) -> BatchService:
        """The batch API behind a target."""
        endpoint = target.endpoint
        service = self._services.get(endpoint.provider)
        if service is None:
            service = BatchService(self._transport, endpoint, SHAPES[endpoint.provider])
            self._services[endpoint.provider] = service
        return service

    async def target(self, batch: Batch) -> Target:
        """Whom the rows of a batch ask, at the prices of batches."""
        return await self.desk.candidates.target(batch.provider, batch.model)

    def next_number(self) -> int:
        """A number that no batch of the job has had."""
        return max(self.batches, default=0) + 1

    def assign(self, line: int, number: int) -> None:
        """The line is in this batch now, and its outcome is due."""
        missing = line + 1 - len(self.number_of)
        if missing > 0:
            self.number_of.extend([0] * missing)
            self.wanted.extend(bytes(missing))
        self.number_of[line] = number
        self.due[number] += 1 - self.wanted[line]
        self.wanted[line] = 1

    def over(self, line: int) -> None:
        """The outcome of a line is no longer due."""
        if line < len(self.wanted) and self.wanted[line]:
            self.wanted[line] = 0
            self.due[self.number_of[line]] -= 1

    def move(self, line: int, number: int) -> None:
        """The line is in another batch now, whether its outcome is due or not."""
        if self.wanted[line]:
            self.due[self.number_of[line]] -= 1
            self.due[number] += 1
        self.number_of[line] = number

    def forget(self, line: int) -> bool:
        """The line is in no batch any more; False where its outcome is due, and has to be told first."""
        if self.wanted[line]:
            return False
        self.number_of[line] = 0
        return True

    def is_due(self, line: int, number: int) -> bool:
        """Whether this run still owes the outcome of a line, and the batch is the one that has it."""
        return line < len(self.wanted) and bool(self.wanted[line]) and self.number_of[line] == number

    async def hand_out(self, outcome: Outcome) -> None:
        """Gives an outcome to whoever takes them; waits while they are taken slowly."""
        self.over(outcome.line)
        await self.queue.put(outcome)

    def nudge(self) -> None:
        """Those who pause look again."""
        self.wake.set()
        self.wake.clear()

    async def pause(self, seconds: float) -> None:
        """Waits, ± a tenth, or until somebody wants a batch cancelled."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.9, 1.1)):
                await self.wake.wait()
        except TimeoutError:
            pass

    async def asking(self, ask: Callable[[], Awaitable[_Found]], about: str) -> _Found:
        """What a harmless request finds, repeated for as long as the trouble may pass.

        Raises:
            HeliconeError: the provider refuses it for good, or a budget does.
        """
        pause_s, is_told, unreadable = self.options.first_poll_s, False, 0
        while True:
            try:
                return await ask()
            except HeliconeError as exc:
                unreadable += isinstance(exc, DecodeError)
                if isinstance(exc, _FOR_GOOD) or is_final(exc):
                    raise
                if unreadable > _MOST_UNREADABLE:
                    raise
                if not is_told:
                    self.note(f"{about}: {exc.message}; trying again")
                is_told = True
                await asyncio.sleep(max(pause_s, min(exc.retry_after_s or 0.0, 600.0)))
            pause_s = min(pause_s * 1.5, self.options.poll_s)


def is_final(error: HeliconeError) -> bool:
    """Whether asking again would bring the same answer: the provider read the request, and refused it."""
    status = error.http_status
    return status is not None and 400 <= status < 500 and status not in (408, 409, 425, 429)


def is_uncreated(error: HeliconeError) -> bool:
    """Whether a failed creation has certainly begun no batch: it never went out, or was refused."""
    status = error.http_status
    if status is None:
        return error.billed == "no"
    return 400 <= status < 500 and status != 408


__all__ = ["BatchOptions", "RunState", "is_final", "is_uncreated"]

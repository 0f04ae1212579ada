"""Settlements on their way to the server: batches of them, the queue of batches, and the ids that were seen."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Final

from ..._rules.ledger import LedgerRow, Movement
from ...errors import LedgerError
from .pace import BATCH
from .slices import Group
from .waiting import Future, again, complete, running_loop

Booked = Callable[[tuple[Movement, ...]], None]

KNOWN_IDS: Final = 20_000
"""Request ids remembered at least; at most twice as many."""

_log = logging.getLogger("genops_helicone_async.ledger")

Entry = tuple[Group, Sequence[LedgerRow], int, Booked]
"""A settlement: where it counts, its rows, their sum, and whom to tell."""


class Batch:
    """Settlements of one event loop that are reported together. Awaiting it returns when the server has them.

    Raises, when awaited:
        LedgerError: the server could not be told; they stay queued and are tried again.
    """

    __slots__ = ("_error", "_hurry", "_is_reported", "_waiters", "entries", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None, hurry: Callable[[], None]) -> None:
        self.entries: list[Entry] = []
        self.loop = loop
        self._error: LedgerError | None = None
        self._is_reported = False
        self._hurry = hurry
        self._waiters: list[Future] = []

    def __repr__(self) -> str:
        state = "reported" if self._is_reported else "on its way" if self._error is None else "kept"
        return f"Batch({len(self.entries)} settlements, {state})"

    def __await__(self) -> Generator[object, None, None]:
        if not self._is_reported and self._error is None:
            future: Future = asyncio.get_running_loop().create_future()
            # First in the list, then a second look: `tell` sets the outcome before it reads the list.
            self._waiters.append(future)
            if not self._is_reported and self._error is None:
                self._hurry()
                yield from future
        if self._error is not None and not self._is_reported:
            raise again(self._error)

    def tell(self, error: LedgerError | None) -> None:
        """Says how the attempt to report it ended."""
        self._error = error
        self._is_reported = error is None
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            complete(future, None)

    def book(self, movements: Iterator[tuple[Movement, ...]]) -> None:
        """Tells whom it concerns what moved, on the loop that settled; where that is gone, on this one."""
        mine = itertools.islice(movements, len(self.entries))
        if self.loop is None or self.loop is running_loop() or self.loop.is_closed():
            self._call_booked(mine)
        else:
            self.loop.call_soon_threadsafe(self._call_booked, list(mine))

    def _call_booked(self, movements: Iterable[tuple[Movement, ...]]) -> None:
        for entry, moved in zip(self.entries, movements, strict=True):
            try:
                entry[3](moved)
            except Exception:  # noqa: BLE001  a caller's own code: the other settlements of the batch go on
                _log.exception("a callback of a settlement failed")


class Queue:
    """Batches that the server does not have yet, oldest first. `settlements` counts what is in them."""

    __slots__ = ("_batches", "_hurry", "_open", "settlements")

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._batches: deque[Batch] = deque()
        self._hurry = hurry
        self._open: Batch | None = None
        self.settlements = 0

    def add(self, entry: Entry) -> Batch:
        """Puts a settlement into the last batch, or into a new one where that is full, or another loop's."""
        batch, loop = self._open, running_loop()
        if batch is None or batch.loop is not loop or len(batch.entries) >= BATCH:
            batch = self._open = Batch(loop, self._hurry)
            self._batches.append(batch)
        batch.entries.append(entry)
        self.settlements += 1
        return batch

    def take(self) -> list[Batch]:
        """The oldest batches: one at least, and then no more than `BATCH` settlements."""
        batches: list[Batch] = []
        taken = 0
        while self._batches and (not batches or taken + len(self._batches[0].entries) <= BATCH):
            batches.append(self._batches.popleft())
            taken += len(batches[-1].entries)
        self.settlements -= taken
        if not self._batches:
            self._open = None
        return batches

    def put_back(self, batches: Sequence[Batch]) -> None:
        """Puts batches back in front; nothing is added to them any more."""
        self._batches.extendleft(reversed(batches))
        self.settlements += sum(len(batch.entries) for batch in batches)

    def entries(self) -> list[Entry]:
        """Every settlement, oldest first."""
        return [entry for batch in self._batches for entry in batch.entries]


class KnownIds:
    """The latest request ids, so that a repeat does not even count here until the server says so."""

    __slots__ = ("_latest", "_older")

    def __init__(self) -> None:
        self._latest: set[str] = set()
        self._older: set[str] = set()

    def are_new(self, rows: Sequence[LedgerRow]) -> bool:
        """Remembers the row's id where there is one row and it is new: the common case."""
        return len(rows) == 1 and self.add(rows[0].request_id)

    def add(self, request_id: str) -> bool:
        """Remembers an id; whether it is new."""
        if request_id in self._latest or request_id in self._older:
            return False
        if len(self._latest) >= KNOWN_IDS:
            self._latest, self._older = set(), self._latest
        self._latest.add(request_id)
        return True


__all__ = ["Batch", "Booked", "Entry", "KnownIds", "Queue"]

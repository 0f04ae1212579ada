"""Which rows are with which worker, which are free, and what is known of a row that was with two. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from ...bulk.ports import Outcome
from ...bulk.rows import Row

MOST_LOSSES: Final = 5
"""A row that was with so many workers when they were lost is given up: it may be what ends them."""

NAMES_KEPT: Final = 1_000
"""Rows named in the statistics at most; all are counted."""


class Names:
    """Rows of one kind: all are counted, the first ones named."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, custom_id: str) -> None:
        """Counts one."""
        self.count += 1
        if len(self.first) < NAMES_KEPT:
            self.first.append(custom_id)


class LeaseBook:
    """Rows from when they are read until their first outcome, which is the one that counts.

    Every worker has a number of its own; who takes a lost one's place has another. `released` are rows taken back from
    lost workers, which may have sent them: each may be billed twice. `doubled` had a second outcome that was billed.
    """

    __slots__ = ("_free", "_leased", "_losses", "_worker_of", "doubled", "is_complete", "released")

    def __init__(self) -> None:
        self._free: deque[Row] = deque()
        self._leased: dict[int, dict[int, Row]] = {}
        self._worker_of: dict[int, int | None] = {}
        self._losses: dict[int, int] = {}
        self.is_complete = False
        self.released = Names()
        self.doubled = Names()

    def __repr__(self) -> str:
        leased = {worker: len(rows) for worker, rows in self._leased.items()}
        return f"LeaseBook({self.free} free, leased {leased})"

    @property
    def free(self) -> int:
        """How many rows are read and with nobody."""
        return len(self._free)

    @property
    def is_over(self) -> bool:
        """Whether no row will come and every one has its outcome."""
        return self.is_complete and not self._worker_of

    def add(self, row: Row) -> None:
        """Takes a row that was read."""
        self._free.append(row)
        self._worker_of[row.line] = None

    def lease(self, worker: int, most: int) -> list[Row]:
        """Gives free rows to a worker, those of lost workers first."""
        rows = [self._free.popleft() for _ in range(min(most, len(self._free)))]
        leased = self._leased.setdefault(worker, {})
        for row in rows:
            leased[row.line] = row
            self._worker_of[row.line] = worker
        return rows

    def pending(self, worker: int) -> int:
        """How many rows are with a worker."""
        return len(self._leased.get(worker, ()))

    def rows_of(self, worker: int) -> list[Row]:
        """The rows that are with a worker."""
        return list(self._leased.get(worker, {}).values())

    def deliver(self, worker: int, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Those of a worker's outcomes that count; one for a row that has its outcome already is dropped."""
        return [outcome for outcome in outcomes if self._counts(worker, outcome)]

    def give_back(self, worker: int, outcome: Outcome) -> bool:
        """Frees a row that a worker did not send, for others; False where it is not with it any more."""
        row = self._leased.get(worker, {}).pop(outcome.line, None)
        if row is None:
            return False
        self._worker_of[row.line] = None
        self._free.appendleft(row)
        return True

    def empty(self) -> list[Row]:
        """Takes out all free rows: nobody will do them."""
        rows = list(self._free)
        self._free.clear()
        for row in rows:
            self._forget(row.line)
        return rows

    def release(self, worker: int) -> list[Row]:
        """Frees the rows of a lost worker; gives those that are given up, whose outcome is the caller's to say."""
        back, given_up = [], []
        for row in self._leased.pop(worker, {}).values():
            self.released.add(row.custom_id)
            losses = self._losses[row.line] = self._losses.get(row.line, 0) + 1
            if losses >= MOST_LOSSES:
                given_up.append(row)
                self._forget(row.line)
            else:
                self._worker_of[row.line] = None
                back.append(row)
        self._free.extendleft(reversed(back))
        return given_up

    def _counts(self, worker: int, outcome: Outcome) -> bool:
        line = outcome.line
        if line not in self._worker_of:
            if any(attempt.billed != "no" for attempt in outcome.attempts):
                self.doubled.add(outcome.custom_id)
            return False
        holder = self._worker_of[line]
        if holder is None:  # late, and nobody has it yet: it need not be done again
            self._free = deque(row for row in self._free if row.line != line)
        else:
            del self._leased[holder][line]
        self._forget(line)
        return True

    def _forget(self, line: int) -> None:
        del self._worker_of[line]
        self._losses.pop(line, None)


__all__ = ["MOST_LOSSES", "NAMES_KEPT", "LeaseBook", "Names"]

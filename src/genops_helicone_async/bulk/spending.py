"""The limit of a whole job's spending, over all its runs: what earlier ones spent, or may have, is spent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from sqlite3 import Connection

from .._flow.tracking import CostTracker
from ..chat_request import ChatRequest
from ..models import PUSD_PER_USD
from .journal import Journal
from .rows import Row


class JobSpending:
    """A tracker around a run's calls, whose budget is what the job's limit leaves; without a limit it only counts.

    `worst_case` tells the most that sending a request may cost, in pico-dollars: so much of the limit is taken by a row
    that is sent again, for nobody knows whether it was billed before.
    """

    __slots__ = ("_journal", "_limit_pusd", "_worst_case", "tracker")

    def __init__(
        self, journal: Journal, limit_pusd: int | None, worst_case: Callable[[ChatRequest], Awaitable[int]]
    ) -> None:
        self._journal = journal
        self._worst_case = worst_case
        self._limit_pusd = limit_pusd
        budget = None if limit_pusd is None else max(0, limit_pusd - self.spent_pusd) / PUSD_PER_USD
        self.tracker = CostTracker("bulk", budget=budget)

    @property
    def spent_pusd(self) -> int:
        """What all runs have spent so far, what is in doubt included."""
        tally = self._journal.tally
        return tally.cost_pusd + tally.in_doubt_pusd + self._journal.recovered.doubt_pusd

    @property
    def left_pusd(self) -> int | None:
        """What the job may still cost; None without a limit."""
        return None if self._limit_pusd is None else max(0, self._limit_pusd - self.spent_pusd)

    async def before_again(self, rows: list[Row]) -> None:
        """Counts what rows that are sent again may have cost before, safely, before they are sent."""
        amount_pusd = sum([await self._worst_case(row.request) for row in rows])
        await self._journal.write(partial(_add_doubt, amount_pusd))
        self._journal.recovered.doubt_pusd += amount_pusd
        self.tracker.hold(amount_pusd, enforce=False)


def _add_doubt(amount_pusd: int, connection: Connection) -> None:
    connection.execute("UPDATE job SET doubt_pusd = doubt_pusd + ?", (amount_pusd,))


__all__ = ["JobSpending"]

"""The limit of a whole job's spending, over all its runs: what earlier ones spent, or may have, is spent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from sqlite3 import Connection

import msgspec

from .._flow.tracking import CostTracker
from ..chat_request import ChatRequest
from ..models import PUSD_PER_USD
from .journal import Journal
from .journal_rows import State
from .rows import Row

_SCHEMA = "CREATE TABLE IF NOT EXISTS spending_lost (line INTEGER PRIMARY KEY, tries INTEGER NOT NULL)"
# Tries of a row, before the one that is under way, which may be billed: they are told with the row's outcome, and here
# until it has one.


class JobSpending:
    """A tracker around a run's calls, whose budget is what the job's limit leaves; without a limit it only counts.

    `worst_case` tells the most that one try of a request may cost, in pico-dollars: so much of the limit is taken by
    each try of a row that is sent again, for nobody knows whether it was billed before. Where these rows are known
    before anything is sent, they are expected: what they may have cost pays for nothing that comes before them.
    """

    __slots__ = ("_expected", "_journal", "_limit_pusd", "_worst_case", "tracker")

    def __init__(
        self, journal: Journal, limit_pusd: int | None, worst_case: Callable[[ChatRequest], Awaitable[int]]
    ) -> None:
        self._journal = journal
        self._worst_case = worst_case
        self._limit_pusd = limit_pusd
        self._expected: dict[int, int] = {}
        budget = None if limit_pusd is None else max(0, limit_pusd - self.spent_pusd) / PUSD_PER_USD
        self.tracker = CostTracker("bulk", budget=budget)

    @property
    def spent_pusd(self) -> int:
        """What all runs have spent so far, what is in doubt or expected to be included."""
        tally = self._journal.tally
        known_pusd = tally.cost_pusd + tally.in_doubt_pusd + self._journal.recovered.doubt_pusd
        return known_pusd + sum(self._expected.values())

    @property
    def left_pusd(self) -> int | None:
        """What the job may still cost; None without a limit."""
        return None if self._limit_pusd is None else max(0, self._limit_pusd - self.spent_pusd)

    async def before_repeat(self, row: Row) -> None:
        """Notes safely, before a row is tried once more, that the try before may be billed."""
        await self._journal.write(partial(_add_try, row.line))

    async def expect(self, rows: list[Row], tries: Mapping[int, int]) -> None:
        """Sets aside what rows may have cost that will be sent again, by line with the tries that were lost before."""
        for row in rows:
            amount_pusd = await self._worst_case(row.request) * (1 + tries.get(row.line, 0))
            self._expected[row.line] = amount_pusd
            self.tracker.hold(amount_pusd, enforce=False)

    async def before_again(
        self, rows: list[Row], also: Callable[[list[Row], Connection], None] = lambda rows, connection: None
    ) -> None:
        """Counts what rows that are sent again may have cost before, and names them, safely, before they are sent.

        `also` is done with it, so that neither is done without the other.
        """
        worst = {row.line: await self._worst_case(row.request) for row in rows}

        def change(connection: Connection) -> int:
            also(rows, connection)
            names = [(row.line, row.custom_id) for row in rows]
            connection.executemany("INSERT OR REPLACE INTO again VALUES (?, ?)", names)
            return _add_doubt(worst, connection)

        amount_pusd = await self._journal.write(change)
        self._journal.recovered.doubt_pusd += amount_pusd
        held_pusd = sum(self._expected.pop(row.line, 0) for row in rows)
        self.tracker.hold(amount_pusd - held_pusd, enforce=False)


def lost_tries(connection: Connection) -> dict[int, int]:
    """How many tries of each row in doubt were lost before the last; those of rows with an outcome are forgotten."""
    connection.execute(_SCHEMA)
    connection.execute(
        "DELETE FROM spending_lost WHERE line NOT IN (SELECT line FROM row WHERE state = ?)", (State.DOUBT,)
    )
    return dict(connection.execute("SELECT line, tries FROM spending_lost"))


def _add_try(line: int, connection: Connection) -> None:
    connection.execute(_SCHEMA)
    connection.execute(
        "INSERT INTO spending_lost VALUES (?, 1) ON CONFLICT (line) DO UPDATE SET tries = tries + 1", (line,)
    )


def _add_doubt(worst: dict[int, int], connection: Connection) -> int:
    """Adds what rows may have cost, by line, with the try under way when their run ended and those lost before it."""
    connection.execute(_SCHEMA)
    lines = msgspec.json.encode(list(worst)).decode()
    chosen = "line IN (SELECT value FROM json_each(?))"
    tries: dict[int, int] = dict(connection.execute(f"SELECT line, tries FROM spending_lost WHERE {chosen}", (lines,)))  # noqa: S608
    amount_pusd = sum(most * (1 + tries.get(line, 0)) for line, most in worst.items())
    connection.execute(f"DELETE FROM spending_lost WHERE {chosen}", (lines,))  # noqa: S608
    connection.execute("UPDATE job SET doubt_pusd = doubt_pusd + ?", (amount_pusd,))
    return amount_pusd


__all__ = ["JobSpending", "lost_tries"]

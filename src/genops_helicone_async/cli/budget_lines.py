"""Budgets as a ledger has them: each limit with what all processes spent and hold, in whole pico-dollars."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from .._assembly import open_ledger
from .._edges.ledger_memory import MemoryLedger
from .._flow.budget_limits import BudgetLimits, limits_of
from .._flow.budgets import Budgets
from .._rules.ledger import Account, Scope
from .._rules.report_totals import Breakdown, Line
from .._values import Currency
from ..models import BudgetStatus
from .failures import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from .._rules.ledger import LedgerRow

_PER_NAME = (("team", "teams"), ("project", "projects"), ("customer", "customers"))


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """One budget: what its status says, exactly. `limit_pusd` is None where spending is only counted."""

    status: BudgetStatus
    limit_pusd: int | None
    settled_pusd: int
    held_pusd: int

    @property
    def remaining_pusd(self) -> int | None:
        """What is left; below 0 where a provider billed more than was set aside."""
        return None if self.limit_pusd is None else self.limit_pusd - self.settled_pusd - self.held_pusd


class _Store(Protocol):
    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]: ...

    async def aclose(self) -> None: ...


class _Asked(MemoryLedger):
    """Remembers for which scopes it was asked: those that the flow itself would count in."""

    __slots__ = ("scopes",)

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        self.scopes = list(scopes)
        return super().accounts(scopes)


def limits_from(arguments: argparse.Namespace) -> BudgetLimits:
    """The limits that the options describe.

    Raises:
        CommandError: a name is given twice.
        ConfigurationError: the time zone is unknown.
    """
    named: dict[str, Mapping[str, float]] = {}
    for name, _ in _PER_NAME:
        pairs: list[tuple[str, float]] = getattr(arguments, name)
        if len(dict(pairs)) < len(pairs):
            raise CommandError(f"--{name} names one twice", WRONG_USAGE)
        named[name] = dict(pairs)
    return limits_of(
        Currency(), arguments.daily, arguments.monthly, named["team"], named["project"], named["customer"],
        timezone=arguments.timezone, alert_thresholds=(), enforce=True,
    )  # fmt: skip


def has_limit(limits: BudgetLimits) -> bool:
    """Whether there is any."""
    totals = limits.daily_pusd is not None or limits.monthly_pusd is not None
    return totals or any(getattr(limits, field) for _, field in _PER_NAME)


async def budget_lines(state_url: str, limits: BudgetLimits) -> list[BudgetLine]:
    """The budgets with what the ledger says of them now, over all processes.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    asked = _Asked()
    budgets = Budgets(asked, time.time, lambda event: None, Currency())
    budgets.configure(limits)
    statuses = budgets.status()
    store = cast(_Store, open_ledger(state_url))
    try:
        accounts = await store.refresh(asked.scopes)
    finally:
        await store.aclose()
    return [
        BudgetLine(
            status=status, limit_pusd=scope.limit_pusd, settled_pusd=account.settled_pusd, held_pusd=account.held_pusd
        )
        for status, scope, account in zip(statuses, asked.scopes, accounts, strict=True)
    ]


def as_status(line: BudgetLine) -> BudgetStatus:
    """The same in dollars."""
    dollars = Currency().of
    return msgspec.structs.replace(
        line.status, settled=dollars(line.settled_pusd), held=dollars(line.held_pusd),
        remaining=dollars(line.remaining_pusd or 0),
    )  # fmt: skip


class Spending:
    """What rows of the month sum up to, by the name a budget would have."""

    __slots__ = ("_day_s", "_names", "month_s")

    def __init__(self, now: datetime) -> None:
        today = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        self._day_s = today.timestamp()
        self.month_s = today.replace(day=1).timestamp()
        self._names = {name: Breakdown() for name in ("daily", "monthly", "team", "project", "customer")}

    def add(self, rows: Iterable[LedgerRow]) -> None:
        """Counts rows in."""
        for row in rows:
            if row.at_s >= self._day_s:
                self._names["daily"].of(()).add(row)
            self._names["monthly"].of(()).add(row)
            for name, who in (("team", row.team), ("project", row.project), ("customer", row.customer_id)):
                if who:
                    self._names[name].of((who,)).add(row)

    def of(self, budget: str) -> int:
        """Pico-dollars of a budget's name: `daily`, `monthly`, `team:research`."""
        name, _, who = budget.partition(":")
        return self._names[name].cost_of((who,) if who else ())

    def dearest(self, name: str, most: int) -> list[str]:
        """The names that most was spent for."""
        return [line.name[0] for line in self._names[name].lines(most) if line.name is not None]

    def rest(self, name: str, most: int) -> Line | None:
        """All further names together, where there are any."""
        last = self._names[name].lines(most)[-1:]
        return next((line for line in last if line.name is None), None)


__all__ = ["BudgetLine", "Spending", "as_status", "budget_lines", "has_limit", "limits_from"]

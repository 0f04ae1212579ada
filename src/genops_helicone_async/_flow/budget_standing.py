"""What a budget stands at, at one moment: for telemetry, which tells of it with every call that falls under it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from .._rules.ledger import Account, Scope


class BudgetStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A budget with a limit, in pico-dollars. `used_pusd` is what is spent and held; `enforced`: it refuses calls."""

    name: str
    limit_pusd: int
    used_pusd: int
    enforced: bool

    @property
    def left_pusd(self) -> int:
        """What is left; below zero where nobody enforces the limit."""
        return self.limit_pusd - self.used_pusd

    @property
    def period(self) -> str:
        """The window in which it is spent: budgets of teams, projects and customers are monthly."""
        return "day" if self.name == "daily" else "month"

    @property
    def is_exceeded(self) -> bool:
        """Whether calls go on although there is no room for them."""
        return not self.enforced and self.left_pusd < 0


def tightest(scopes: Sequence[Scope], accounts: Sequence[Account], *, enforced: bool) -> BudgetStanding | None:
    """The standing of the scope with the least left, of scopes that all have a limit; None where there is none."""
    found, least = None, math.inf
    for scope, account in zip(scopes, accounts, strict=True):
        limit, used = scope.limit_pusd or 0, account.settled_pusd + account.held_pusd
        if limit - used < least:
            found, least = (scope.name, limit, used), limit - used
    if found is None:
        return None
    name, limit, used = found
    return BudgetStanding(name=name, limit_pusd=limit, used_pusd=used, enforced=enforced)


__all__ = ["BudgetStanding", "tightest"]

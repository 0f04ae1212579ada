"""What a budget stands at, at one moment: for telemetry, which tells of it with every call that falls under it."""

from __future__ import annotations

import msgspec

from .._rules.ledger import Scope


class BudgetStanding(msgspec.Struct, frozen=True):
    """The scope with the least left, of those a call falls under that have a limit.

    `used_pusd` is what was spent and held in it, `enforced` whether its limit refuses calls.
    """

    scope: Scope
    used_pusd: int
    enforced: bool

    @property
    def name(self) -> str:
        """The scope's."""
        return self.scope.name

    @property
    def limit_pusd(self) -> int:
        """What may be spent in all."""
        return self.scope.limit_pusd or 0

    @property
    def left_pusd(self) -> int:
        """What is left; below zero where nobody enforces the limit."""
        return self.limit_pusd - self.used_pusd

    @property
    def period(self) -> str:
        """The window in which it is spent: budgets of teams, projects and customers are monthly."""
        return "day" if self.scope.name == "daily" else "month"

    @property
    def is_exceeded(self) -> bool:
        """Whether calls go on although there is no room for them."""
        return not self.enforced and self.left_pusd < 0


__all__ = ["BudgetStanding"]

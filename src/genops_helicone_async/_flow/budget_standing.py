"""What a budget stands at, at one moment: for telemetry, which tells of it with every call that falls under it."""

from __future__ import annotations

from collections.abc import Sequence

from .._rules.ledger import Account, Scope


class BudgetStanding:
    """The scope with the least left, of scopes that all have a limit; found when somebody asks, as few do.

    Args:
        scopes: One at least, each with a limit.
        accounts: Theirs, as they stood; nobody may change them.
        enforced: Whether the limits refuse calls.
    """

    __slots__ = ("_accounts", "_scopes", "_tightest", "enforced")

    def __init__(self, scopes: Sequence[Scope], accounts: Sequence[Account], *, enforced: bool) -> None:
        self._scopes = scopes
        self._accounts = accounts
        self._tightest: tuple[str, int, int] | None = None
        self.enforced = enforced

    def __repr__(self) -> str:
        return f"BudgetStanding({self.name}, {self.used_pusd} of {self.limit_pusd} pUSD)"

    @property
    def name(self) -> str:
        """The scope's."""
        return self._found()[0]

    @property
    def limit_pusd(self) -> int:
        """What may be spent in all."""
        return self._found()[1]

    @property
    def used_pusd(self) -> int:
        """What is spent and held."""
        return self._found()[2]

    @property
    def left_pusd(self) -> int:
        """What is left; below zero where nobody enforces the limit."""
        _, limit_pusd, used_pusd = self._found()
        return limit_pusd - used_pusd

    @property
    def period(self) -> str:
        """The window in which it is spent: budgets of teams, projects and customers are monthly."""
        return "day" if self.name == "daily" else "month"

    @property
    def is_exceeded(self) -> bool:
        """Whether calls go on although there is no room for them."""
        return not self.enforced and self.left_pusd < 0

    def _found(self) -> tuple[str, int, int]:
        if self._tightest is None:
            self._tightest = min(
                [
                    (scope.name, scope.limit_pusd or 0, account.settled_pusd + account.held_pusd)
                    for scope, account in zip(self._scopes, self._accounts, strict=True)
                ],
                key=_left,
            )
        return self._tightest


def _left(found: tuple[str, int, int]) -> int:
    return found[1] - found[2]


__all__ = ["BudgetStanding"]

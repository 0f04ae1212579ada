"""The accounts of one call's scopes, looked up once for all calls that share them.

The arithmetic is that of `_rules.accounts.Accounts`, to which the contract of all ledgers holds it; half of what a call
costs there is finding its accounts, and the calls of one customer all have the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._rules.ledger import Account, Movement, Refusal, Scope


class Standing:
    """Scopes, their keys and their accounts, side by side."""

    __slots__ = ("accounts", "keys", "scopes")

    def __init__(self, scopes: Sequence[Scope], keys: list[tuple[str, str]], accounts: list[Account]) -> None:
        self.scopes = scopes
        self.keys = keys
        self.accounts = accounts

    def hold(self, amount_pusd: int, enforce: bool) -> Refusal | None:
        """Sets the amount aside in every scope, or in none: then the first scope without room is named."""
        if enforce:
            for scope, account in zip(self.scopes, self.accounts, strict=True):
                limit = scope.limit_pusd
                if limit is not None and account.settled_pusd + account.held_pusd + amount_pusd > limit:
                    return Refusal(scope=scope, settled_pusd=account.settled_pusd, held_pusd=account.held_pusd)
        for account in self.accounts:
            account.held_pusd += amount_pusd
        return None

    def settle(self, held_pusd: int, cost_pusd: int) -> tuple[Movement, ...]:
        """Replaces a hold by what the call cost, in every scope; a cost of 0 releases it."""
        movements = []
        for scope, account in zip(self.scopes, self.accounts, strict=True):
            before = account.settled_pusd
            account.held_pusd -= held_pusd
            account.settled_pusd = after = before + cost_pusd
            movements.append(Movement(scope=scope, before_pusd=before, after_pusd=after))
        return tuple(movements)


__all__ = ["Standing"]

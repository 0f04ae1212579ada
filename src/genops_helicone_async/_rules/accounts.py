"""The arithmetic of budgets: hold, settle, release, over every scope that applies in one step. Integers only.

The invariant, under any interleaving: settled + held never exceeds the limit through a hold. Only a settlement above
its hold can push a scope beyond its limit, and it is reported as an overrun.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from typing import Final

import msgspec

from .ledger import Account, Movement, Refusal, Scope, tightest_of

MOST_COUNTED = 100_000
"""Accounts kept of scopes without a limit."""
_MOST_FOUND = 4096
_BOUNDLESS = 1 << 200
_IN_ROW = 8
"""After so many settlements over the same scopes, what comes next over them is added up beside their accounts."""
_copy = methodcaller("__copy__")  # msgspec's own, in C


class _Found(msgspec.Struct):
    """The accounts of some scopes, with what holding and settling ask of each scope; it keeps the scopes alive.

    Where steps are added up beside the accounts: `room_pusd` is the least that any scope has left, which stays that of
    `tightest`, `written_pusd` what it was when the accounts were right last; `spent_pusd` has been settled since, and
    nobody is to be told of it as long as it is less than `quiet_pusd`.
    """

    scopes: Sequence[Scope] | None
    accounts: list[Account]
    limits: list[tuple[Scope, int, Account]]
    telling: list[tuple[Account, int]]
    tightest: tuple[Scope, int] | None = None
    """With its limit."""
    room_pusd: int = 0
    written_pusd: int = 0
    spent_pusd: int = 0
    quiet_pusd: int = 0

    def begin(self) -> bool:
        """Begins to add up, where that is exact, there is room, and nobody is to be told of each step."""
        if len(set(map(id, self.accounts))) < len(self.accounts):
            return False  # one is there twice
        rooms = [limit - account.settled_pusd - account.held_pusd for _, limit, account in self.limits]
        if not rooms:
            return False
        self.room_pusd = self.written_pusd = least = min(rooms)
        self.tightest = self.limits[rooms.index(least)][:2]
        self.quiet_pusd = min([tells_from - account.settled_pusd for account, tells_from in self.telling], default=0)
        return self.room_pusd > 0 and self.quiet_pusd > 0

    def write(self) -> None:
        """Makes the accounts right."""
        spent = self.spent_pusd
        held = self.written_pusd - self.room_pusd - spent
        if held or spent:
            for account in self.accounts:
                account.held_pusd += held
                account.settled_pusd += spent
            self.written_pusd, self.quiet_pusd, self.spent_pusd = self.room_pusd, self.quiet_pusd - spent, 0


_NOBODY: Final = _Found(None, [], [], [])


class Accounts:
    """Accounts by scope. Every method is one step that nothing can come between.

    Scopes that are only counted may be of any number: beyond `most`, those that hold nothing are dropped.
    Most calls fall under the same scopes as the one before: their steps are added up, and written to the accounts
    before anybody looks at these, or changes them for other scopes.
    """

    __slots__ = ("_accounts", "_cap", "_found", "_in_row", "_last", "_limited", "_most", "_near")

    def __init__(self, most: int = MOST_COUNTED) -> None:
        self._most = self._cap = most
        self._accounts: dict[tuple[str, str], Account] = {}
        self._limited: set[tuple[str, str]] = set()
        self._found: dict[int, _Found] = {}
        self._near = self._last = _NOBODY
        self._in_row = 0

    def __repr__(self) -> str:
        return f"Accounts({len(self._accounts)})"

    def of(self, key: tuple[str, str]) -> Account:
        """The account of a scope, made when first asked for."""
        self._near.write()
        return self._account(key)

    def keys(self) -> list[tuple[str, str]]:
        """Every scope and window there is an account for."""
        return list(self._accounts)

    def forget(self, key: tuple[str, str]) -> None:
        """Drops an account, of a window that is over."""
        self._part()
        self._accounts.pop(key, None)
        self._found.clear()

    def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool = True) -> Refusal | None:
        """Sets the amount aside in every scope, or in none: then the first scope without room is named."""
        near = self._near
        if near.scopes is scopes:
            room = near.room_pusd - amount_pusd
            if room >= 0 or not enforce:
                near.room_pusd = room
                return None
        if near is not _NOBODY:
            self._part()
        found = self._found.get(id(scopes)) or self._of_all(scopes)
        if not enforce:
            for account in found.accounts:
                account.held_pusd += amount_pusd
            return None
        for scope, limit, account in found.limits:
            held = account.held_pusd + amount_pusd
            if account.settled_pusd + held > limit:
                return _refused(found, scope, amount_pusd)
            account.held_pusd = held
        return None

    def copies(self, scopes: Sequence[Scope]) -> list[Account]:
        """The accounts of the scopes as they stand."""
        self._near.write()
        found = self._found.get(id(scopes)) or self._of_all(scopes)
        return list(map(_copy, found.accounts))

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, of those with a limit, and what is spent and held in it; see `tightest_of`."""
        near = self._near
        if near.scopes is scopes and near.tightest is not None:
            scope, limit_pusd = near.tightest
            return scope, limit_pusd - near.room_pusd
        return tightest_of(scopes, self.copies)

    def settle(self, scopes: Sequence[Scope], held_pusd: int, cost_pusd: int) -> tuple[Movement, ...]:
        """Replaces a hold by what the call cost, in every scope; a cost of 0 releases it.

        The movements are those that concern somebody; see `Scope`.
        """
        near = self._near
        if near.scopes is scopes:
            spent = near.spent_pusd + cost_pusd
            if spent < near.quiet_pusd:
                near.spent_pusd = spent
                near.room_pusd += held_pusd - cost_pusd
                return ()
        if near is not _NOBODY:
            self._part()
        found, is_told = self._found.get(id(scopes)) or self._of_all(scopes), False
        for account, tells_from in found.telling:
            account.held_pusd -= held_pusd
            account.settled_pusd = after = account.settled_pusd + cost_pusd
            if after >= tells_from:
                is_told = True
        if found is self._last:
            self._again(found)
        else:
            self._last, self._in_row = found, 0
        return _movements(found, cost_pusd) if is_told else ()

    def _part(self) -> None:
        """Ends adding up beside the accounts."""
        self._near.write()
        self._near = self._last = _NOBODY
        self._in_row = 0

    def _again(self, found: _Found) -> None:
        """The same scopes have been settled once more: after some in a row, steps are added up beside the accounts.

        Scopes in a list, which may change, are found anew each time, and so never come in a row.
        """
        self._in_row += 1
        if self._in_row >= _IN_ROW:
            self._in_row = 0
            if found.begin():
                self._near = found

    def _account(self, key: tuple[str, str]) -> Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
        return account

    def _of_all(self, scopes: Sequence[Scope]) -> _Found:
        """Looks the scopes' accounts up; for a tuple that comes again and again that is done once."""
        self._limited.update(scope.key for scope in scopes if scope.limit_pusd is not None)
        if len(self._accounts) >= self._cap:
            self._drop_idle()
        accounts = [self._account(scope.key) for scope in scopes]
        limits = [
            (scope, _BOUNDLESS if scope.limit_pusd is None else scope.limit_pusd, account)
            for scope, account in zip(scopes, accounts, strict=True)
        ]
        telling = [(account, scope.tells_from_pusd) for scope, _, account in limits]
        found = _Found(scopes, accounts, limits, telling)
        if isinstance(scopes, tuple):  # which nobody can change, and whose id is its own as long as it is in here
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[id(scopes)] = found
        return found

    def _drop_idle(self) -> None:
        self._part()
        self._accounts = {
            key: account for key, account in self._accounts.items() if account.held_pusd or key in self._limited
        }
        self._found.clear()
        self._cap = max(self._most, 2 * len(self._accounts))


def _refused(found: _Found, without_room: Scope, amount_pusd: int) -> Refusal:
    """Takes back what was set aside in the scopes before the one that has no room."""
    for scope, _, account in found.limits:
        if scope is without_room:
            break
        account.held_pusd -= amount_pusd
    return Refusal(scope=scope, settled_pusd=account.settled_pusd, held_pusd=account.held_pusd)


def _movements(found: _Found, cost_pusd: int) -> tuple[Movement, ...]:
    return tuple(
        [
            Movement(scope=scope, before_pusd=account.settled_pusd - cost_pusd, after_pusd=account.settled_pusd)
            for scope, _, account in found.limits
            if account.settled_pusd >= scope.tells_from_pusd
        ]
    )


__all__ = ["MOST_COUNTED", "Accounts"]

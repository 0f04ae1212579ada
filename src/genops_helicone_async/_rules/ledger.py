"""The arithmetic of budgets: hold, settle, release, over every scope that applies in one step. Integers only.

The invariant, under any interleaving: settled + held never exceeds the limit through a hold. Only a settlement above
its hold can push a scope beyond its limit, and it is reported as an overrun.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from operator import methodcaller
from typing import Final

import msgspec


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """One budget a call falls under: `daily`, `monthly`, `team:research`, …, in one window.

    `limit_pusd` is None where spending is only counted. `window` is the calendar window's key, empty without one.
    A ledger may keep a settlement to itself that ends below `tells_from_pusd`: it concerns nobody.
    """

    name: str
    window: str = ""
    limit_pusd: int | None = None
    tells_from_pusd: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the account, whatever the limit is."""
        return self.name, self.window


class Account(msgspec.Struct):
    """What has been spent and what is set aside in one scope and window, in pico-dollars."""

    settled_pusd: int = 0
    held_pusd: int = 0


_copy = methodcaller("__copy__")  # msgspec's own, in C


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that had no room: the scope, and what was spent and held in it."""

    scope: Scope
    settled_pusd: int
    held_pusd: int


MOST_COUNTED = 100_000
"""Accounts kept of scopes without a limit."""
_MOST_FOUND = 4096


class Wait(enum.Enum):
    """The type of `WAIT`."""

    WAIT = "ask the store"


WAIT: Final = Wait.WAIT
"""A ledger's answer where it cannot decide without waiting for its store."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt's entry in the ledger, written once and never changed; `request_id` makes a repeat harmless.

    `at_s` is Unix seconds, money is pico-dollars, `cost_pusd` includes `gateway_pusd`. `status` is `ok`, or the
    class of the attempt's error. `cost_source` says what the figure is worth: see `HeliconeUsage`.
    """

    request_id: str
    at_s: float
    provider: str
    model: str
    status: str
    cost_pusd: int
    gateway_pusd: int = 0
    cost_source: str = "computed"
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: float = 0.0
    team: str = ""
    project: str = ""
    customer_id: str = ""
    environment: str = ""


def cost_of(rows: Sequence[LedgerRow]) -> int:
    """What the rows cost together."""
    return rows[0].cost_pusd if len(rows) == 1 else sum([row.cost_pusd for row in rows])


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What a settlement did to one scope: its settled pico-dollars before and after."""

    scope: Scope
    before_pusd: int
    after_pusd: int


_BOUNDLESS = 1 << 200


class _Found(msgspec.Struct, frozen=True):
    """The accounts of some scopes, with what holding and settling ask of each scope; it keeps the scopes alive."""

    scopes: Sequence[Scope]
    accounts: list[Account]
    limits: list[tuple[Scope, int, Account]]
    telling: list[tuple[Account, int]]


class Accounts:
    """Accounts by scope. Every method is one step that nothing can come between.

    Scopes that are only counted may be of any number: beyond `most`, those that hold nothing are dropped.
    """

    __slots__ = ("_accounts", "_cap", "_found", "_limited", "_most")

    def __init__(self, most: int = MOST_COUNTED) -> None:
        self._most = self._cap = most
        self._accounts: dict[tuple[str, str], Account] = {}
        self._limited: set[tuple[str, str]] = set()
        self._found: dict[int, _Found] = {}

    def __repr__(self) -> str:
        return f"Accounts({len(self._accounts)})"

    def of(self, key: tuple[str, str]) -> Account:
        """The account of a scope, made when first asked for."""
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
        return account

    def keys(self) -> list[tuple[str, str]]:
        """Every scope and window there is an account for."""
        return list(self._accounts)

    def forget(self, key: tuple[str, str]) -> None:
        """Drops an account, of a window that is over."""
        self._accounts.pop(key, None)
        self._found.clear()

    def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool = True) -> Refusal | None:
        """Sets the amount aside in every scope, or in none: then the first scope without room is named."""
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
        found = self._found.get(id(scopes)) or self._of_all(scopes)
        return list(map(_copy, found.accounts))

    def settle(self, scopes: Sequence[Scope], held_pusd: int, cost_pusd: int) -> tuple[Movement, ...]:
        """Replaces a hold by what the call cost, in every scope; a cost of 0 releases it.

        The movements are those that concern somebody; see `Scope`.
        """
        found, is_told = self._found.get(id(scopes)) or self._of_all(scopes), False
        for account, tells_from in found.telling:
            account.held_pusd -= held_pusd
            account.settled_pusd = after = account.settled_pusd + cost_pusd
            if after >= tells_from:
                is_told = True
        return _movements(found, cost_pusd) if is_told else ()

    def _of_all(self, scopes: Sequence[Scope]) -> _Found:
        """Looks the scopes' accounts up; for a tuple that comes again and again that is done once."""
        self._limited.update(scope.key for scope in scopes if scope.limit_pusd is not None)
        if len(self._accounts) >= self._cap:
            self._drop_idle()
        accounts = [self.of(scope.key) for scope in scopes]
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


def crossed(thresholds: Sequence[float], limit_pusd: int, before_pusd: int, after_pusd: int) -> tuple[float, ...]:
    """The shares of a limit that spending passed on its way from `before` to `after`."""
    return tuple(share for share in thresholds if before_pusd < share * limit_pusd <= after_pusd)


__all__ = [
    "MOST_COUNTED",
    "WAIT",
    "Account",
    "Accounts",
    "LedgerRow",
    "Movement",
    "Refusal",
    "Scope",
    "Wait",
    "cost_of",
    "crossed",
]

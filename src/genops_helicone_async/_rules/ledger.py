"""The arithmetic of budgets: hold, settle, release, over every scope that applies in one step. Integers only.

The invariant, under any interleaving: settled + held never exceeds the limit through a hold. Only a settlement above
its hold can push a scope beyond its limit, and it is reported as an overrun.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """One budget a call falls under: `daily`, `monthly`, `team:research`, …, in one window.

    `limit_pusd` is None where spending is only counted. `window` is the calendar window's key, empty without one.
    """

    name: str
    window: str = ""
    limit_pusd: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the account, whatever the limit is."""
        return self.name, self.window


class Account(msgspec.Struct, kw_only=True):
    """What has been spent and what is set aside in one scope and window, in pico-dollars."""

    settled_pusd: int = 0
    held_pusd: int = 0


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that had no room: the scope, and what was spent and held in it."""

    scope: Scope
    settled_pusd: int
    held_pusd: int


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


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What a settlement did to one scope: its settled pico-dollars before and after."""

    scope: Scope
    before_pusd: int
    after_pusd: int


class Accounts:
    """Accounts by scope. Every method is one step that nothing can come between."""

    __slots__ = ("_accounts",)

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}

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

    def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool = True) -> Refusal | None:
        """Sets the amount aside in every scope, or in none: then the first scope without room is named."""
        accounts = [self.of(scope.key) for scope in scopes]
        if enforce:
            for scope, account in zip(scopes, accounts, strict=True):
                limit = scope.limit_pusd
                if limit is not None and account.settled_pusd + account.held_pusd + amount_pusd > limit:
                    return Refusal(scope=scope, settled_pusd=account.settled_pusd, held_pusd=account.held_pusd)
        for account in accounts:
            account.held_pusd += amount_pusd
        return None

    def settle(self, scopes: Sequence[Scope], held_pusd: int, cost_pusd: int) -> tuple[Movement, ...]:
        """Replaces a hold by what the call cost, in every scope; a cost of 0 releases it."""
        movements = []
        for scope in scopes:
            account = self.of(scope.key)
            before = account.settled_pusd
            account.held_pusd -= held_pusd
            account.settled_pusd = before + cost_pusd
            movements.append(Movement(scope=scope, before_pusd=before, after_pusd=before + cost_pusd))
        return tuple(movements)


def crossed(thresholds: Sequence[float], limit_pusd: int, before_pusd: int, after_pusd: int) -> tuple[float, ...]:
    """The shares of a limit that spending passed on its way from `before` to `after`."""
    return tuple(share for share in thresholds if before_pusd < share * limit_pusd <= after_pusd)


__all__ = ["WAIT", "Account", "Accounts", "LedgerRow", "Movement", "Refusal", "Scope", "Wait", "crossed"]

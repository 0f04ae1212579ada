"""What ledgers are made of: the scopes a call falls under, their accounts, rows, refusals, movements. Integers only."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
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


_cost_pusd = attrgetter("cost_pusd")


def cost_of(rows: Iterable[LedgerRow]) -> int:
    """What the rows cost together."""
    return sum(map(_cost_pusd, rows))


def tightest_of(scopes: Sequence[Scope], look: Callable[[Sequence[Scope]], Sequence[Account]]) -> tuple[Scope, int]:
    """The scope with the least left, of those with a limit, and what is spent and held in it, as it looks.

    There is one at least that has a limit.
    """
    limited = [(scope, scope.limit_pusd) for scope in scopes if scope.limit_pusd is not None]
    used = [account.settled_pusd + account.held_pusd for account in look([scope for scope, _ in limited])]
    left = [limit_pusd - used_pusd for (_, limit_pusd), used_pusd in zip(limited, used, strict=True)]
    at = left.index(min(left))
    return limited[at][0], used[at]


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What a settlement did to one scope: its settled pico-dollars before and after."""

    scope: Scope
    before_pusd: int
    after_pusd: int


def crossed(thresholds: Sequence[float], limit_pusd: int, before_pusd: int, after_pusd: int) -> tuple[float, ...]:
    """The shares of a limit that spending passed on its way from `before` to `after`."""
    return tuple(share for share in thresholds if before_pusd < share * limit_pusd <= after_pusd)


__all__ = [
    "WAIT",
    "Account",
    "LedgerRow",
    "Movement",
    "Refusal",
    "Scope",
    "Wait",
    "cost_of",
    "crossed",
    "tightest_of",
]

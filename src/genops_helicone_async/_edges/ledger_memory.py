"""The ledger of one process: accounts and rows in memory, gone with it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import msgspec

from .._rules.accounts import Accounts
from .._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope, Wait, cost_of

KEPT_ROWS = 10_000
"""Rows kept for looking back and for knowing repeats: at 360 bytes each they are what a long bulk run would grow by.

The accounts and their sums stay exact beyond."""

_FORGETS_AT = KEPT_ROWS + KEPT_ROWS // 10


class LedgerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Rows booked so far and their sum in pico-dollars; rows still to be written to a durable store."""

    rows: int
    booked_pusd: int
    unwritten: int = 0


class MemoryLedger:
    """Every step is done when it returns. One per adapter; steps may come from several threads' event loops."""

    __slots__ = ("_accounts", "_forgotten", "_forgotten_pusd", "_known", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts = Accounts()
        self._known: dict[str, LedgerRow] = {}
        self._forgotten = 0
        self._forgotten_pusd = 0

    def __repr__(self) -> str:
        told = self.statistics()
        return f"MemoryLedger({told.rows} rows, ${told.booked_pusd / 1e12:.6f})"

    def statistics(self) -> LedgerStatistics:
        """Rows and their sum."""
        with self._lock:
            rows, booked_pusd = self._known.values(), self._forgotten_pusd
            return LedgerStatistics(rows=self._forgotten + len(rows), booked_pusd=booked_pusd + cost_of(rows))

    def rows(self) -> list[LedgerRow]:
        """The latest rows, oldest first, at most `KEPT_ROWS`."""
        with self._lock:
            return list(self._known.values())[-KEPT_ROWS:]

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Sets the amount aside in every scope, or says which has no room."""
        with self._lock:
            return self._accounts.hold(scopes, amount_pusd, enforce=enforce)

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """The same; it never has to wait."""
        with self._lock:
            return self._accounts.hold(scopes, amount_pusd, enforce=enforce)

    def settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> Awaitable[None] | None:
        """Replaces a hold by the rows' costs; rows already booked are left out."""
        with self._lock:
            known, cost_pusd = self._known, 0
            for row in rows:
                if row.request_id not in known:
                    known[row.request_id] = row
                    cost_pusd += row.cost_pusd
            if len(known) >= _FORGETS_AT:
                self._forget()
            movements = self._accounts.settle(scopes, held_pusd, cost_pusd)
        booked(movements)
        return None

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """Copies of the scopes' accounts."""
        with self._lock:
            return self._accounts.copies(scopes)

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, and what is spent and held in it."""
        with self._lock:
            return self._accounts.tightest(scopes)

    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]:
        """The same; there is no other process."""
        return self.accounts(scopes)

    async def aclose(self) -> None:
        """Nothing has to be written."""

    def _forget(self) -> None:
        """Keeps the latest rows only, in a new dictionary: one that lost its first entries is slow to find the next."""
        older = len(self._known) - KEPT_ROWS
        self._forgotten_pusd += cost_of(islice(self._known.values(), older))
        self._known = dict(islice(self._known.items(), older, None))
        self._forgotten += older


__all__ = ["KEPT_ROWS", "LedgerStatistics", "MemoryLedger"]

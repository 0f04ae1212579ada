"""One transaction on the ledger's file: holds and settlements in their order, over the totals of every process."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from ..._rules.accounts import Accounts
from ..._rules.ledger import Account, LedgerRow, Scope
from .known_rows import KnownRows
from .many_rows import ManyRows
from .requests import HoldRequest, Refresh, Request, Settlement
from .schema import COLUMNS, stored, text, unstored
from .standing import Standing

Key = tuple[str, str]

MAX_KNOWN_ACCOUNTS = 10_000
"""Accounts kept in memory; beyond it all are forgotten, and read again when they are needed."""

_RENEW_AT: Final = 2 / 3  # of a lease: with less than that left, it is renewed

_ENTRIES = (f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ", "")  # noqa: S608
_ACCOUNTS = (
    "INSERT INTO accounts (name, window, settled_pusd) VALUES ",
    " ON CONFLICT (name, window) DO UPDATE SET settled_pusd = excluded.settled_pusd",
)
_HOLDS = (
    "INSERT INTO holds (owner, name, window, held_pusd) VALUES ",
    " ON CONFLICT (owner, name, window) DO UPDATE SET held_pusd = excluded.held_pusd",
)
_LEASE = (
    "INSERT INTO owners (owner, expires_at_s) VALUES (?, ?) "
    "ON CONFLICT (owner) DO UPDATE SET expires_at_s = excluded.expires_at_s"
)
_SYNC = "UPDATE progress SET syncs = syncs + 1"
_LEASED = "SELECT 1 FROM owners WHERE owner = ?"
_OTHERS = (
    "SELECT holds.name, holds.window, holds.held_pusd, owners.expires_at_s FROM holds "
    "LEFT JOIN owners ON owners.owner = holds.owner WHERE holds.owner <> ?"
)

# What `sqlite3` says of a value that it cannot take as it is: too large an integer, a lone surrogate, a strange type.
_UNSTORABLE = (OverflowError, UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class Books:
    """One process's view of the file, kept between its transactions while nobody else writes.

    For the writer thread only, but for `seen`: what is settled and held in each scope after the last transaction.
    """

    __slots__ = (
        "_accounts",
        "_connection",
        "_is_full",
        "_known",
        "_lease_s",
        "_lease_until_s",
        "_many",
        "_others",
        "_others_until_s",
        "_own",
        "_owner",
        "_rows",
        "_standings",
        "_version",
        "booked_pusd",
        "booked_rows",
        "seen",
    )

    _accounts: Accounts
    _known: set[Key]
    _others: dict[Key, int]
    _others_until_s: float
    _standings: dict[int, Standing]
    _version: int

    def __init__(self, *, lease_s: float) -> None:
        self._owner = ""
        self._lease_s = lease_s
        self._lease_until_s = -math.inf
        self._own: dict[Key, int] = {}
        self.seen: dict[Key, tuple[int, int]] = {}
        self.booked_rows = 0
        self.booked_pusd = 0

    def use(self, connection: sqlite3.Connection) -> None:
        """Goes on with a newly opened connection."""
        # named when the file is opened: what was made before a fork must not be one owner in two processes
        self._owner = self._owner or f"{os.getpid()}-{os.urandom(6).hex()}"
        self._connection = connection
        self._rows = KnownRows(connection)
        self._many = ManyRows(connection)
        self._is_full = True
        self._forget()

    @property
    def heartbeat_at_s(self) -> float:
        """When the lease on what is held must be renewed, Unix seconds; infinity while nothing is held."""
        return self._lease_until_s - _RENEW_AT * self._lease_s if self._own else math.inf

    def write(self, requests: Sequence[Request], now_s: float, *, to_disk: bool) -> None:
        """Carries the requests out in their order, in one transaction, and notes the answers on them.

        With `to_disk` it returns when the disk has it, and all that was written before.

        Raises:
            sqlite3.Error: nothing was carried out; the books are as before.
        """
        if to_disk != self._is_full:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if to_disk else 'NORMAL'}")
            self._is_full = to_disk
        try:
            self._write(requests, now_s, _as_given)
        except _UNSTORABLE:
            self._write(requests, now_s, _storable)

    def give_back(self) -> None:
        """Ends every hold of this process."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("DELETE FROM holds WHERE owner = ?", (self._owner,))
            connection.execute("DELETE FROM owners WHERE owner = ?", (self._owner,))
            connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._own.clear()

    def _write(
        self, requests: Sequence[Request], now_s: float, values_of: Callable[[Sequence[LedgerRow]], list[Any]]
    ) -> None:
        only_reads = bool(requests) and not self._is_full and all(type(request) is Refresh for request in requests)
        rows = [row for request in requests if type(request) is Settlement for row in request.rows]
        self._connection.execute("BEGIN" if only_reads else "BEGIN IMMEDIATE")
        try:
            self._catch_up(now_s, may_purge=not only_reads)
            new = self._rows.new_among(rows) if rows else None
            booked = rows if new is None else new
            self._many.put(*_ENTRIES, len(COLUMNS), values_of(booked))
            touched, moved = self._carry_out(requests, None if new is None else {row.request_id for row in new})
            own, lease_until_s = (self._own, self._lease_until_s) if only_reads else self._record(touched, moved, now_s)
            if rows:
                self._rows.tidy()
            elif self._is_full:
                self._connection.execute(_SYNC)
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._own, self._lease_until_s = own, lease_until_s
        self.booked_rows += len(booked)
        self.booked_pusd += sum(row.cost_pusd for row in booked)
        self._publish(touched)

    def _catch_up(self, now_s: float, *, may_purge: bool) -> None:
        """Forgets what another process has changed since, and what has expired."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version and now_s < self._others_until_s and len(self._known) < MAX_KNOWN_ACCOUNTS:
            return
        self._forget()
        has_expired = False
        for name, window, held_pusd, expires_at_s in self._connection.execute(_OTHERS, (self._owner,)):
            if expires_at_s is None or expires_at_s <= now_s:
                has_expired = True
            else:
                self._others[name, window] = self._others.get((name, window), 0) + unstored(held_pusd)
                self._others_until_s = min(self._others_until_s, expires_at_s)
        if has_expired and may_purge:
            parameters = (self._owner, now_s)
            self._connection.execute("DELETE FROM owners WHERE owner <> ? AND expires_at_s <= ?", parameters)
            self._connection.execute(
                "DELETE FROM holds WHERE owner <> ? AND owner NOT IN (SELECT owner FROM owners)", parameters[:1]
            )
        if self._own and not self._connection.execute(_LEASED, (self._owner,)).fetchall():
            self._lease_until_s = -math.inf  # another purged what is held here: it is written in full again
        self._rows.catch_up()
        self._version = version

    def _carry_out(self, requests: Sequence[Request], new_ids: set[str] | None) -> tuple[set[Key], set[Key]]:
        """Moves the accounts; gives the scopes that were touched, and those in which something was spent."""
        touched: set[Standing] = set()
        moved: set[Standing] = set()
        standing: Standing | None = None
        for request in requests:
            # calls that share their scopes tend to follow one another
            if standing is None or request.scopes is not standing.scopes:
                standing = self._standings.get(id(request.scopes)) or self._stand(request.scopes)
                touched.add(standing)
            if type(request) is HoldRequest:
                future = request.future
                if future is not None and future.cancelled():
                    request.is_granted = False
                else:
                    request.refusal = refusal = standing.hold(request.amount_pusd, request.enforce)
                    request.is_granted = refusal is None
            elif type(request) is Settlement:
                cost_pusd = 0
                for row in request.rows:
                    if new_ids is None:
                        cost_pusd += row.cost_pusd
                    elif row.request_id in new_ids:
                        new_ids.discard(row.request_id)
                        cost_pusd += row.cost_pusd
                request.movements = standing.settle(request.held_pusd, cost_pusd)
                if cost_pusd:
                    moved.add(standing)
            elif type(request) is Refresh:
                request.accounts = [msgspec.structs.replace(account) for account in standing.accounts]
        return _keys(touched), _keys(moved)

    def _stand(self, scopes: Sequence[Scope]) -> Standing:
        """The scopes' accounts, read where they are not known; remembered for a tuple, which cannot change."""
        keys = [(text(scope.name), text(scope.window)) for scope in scopes]
        for key in keys:
            if key not in self._known:
                self._load_one(*key)
        standing = Standing(scopes, keys, [self._accounts.of(key) for key in keys])
        if isinstance(scopes, tuple):
            if len(self._standings) >= MAX_KNOWN_ACCOUNTS:
                self._standings.clear()
            self._standings[id(scopes)] = standing  # which keeps the tuple, and so its id, alive
        return standing

    def _load_one(self, name: str, window: str) -> None:
        found = self._connection.execute(
            "SELECT settled_pusd FROM accounts WHERE name = ? AND window = ?", (name, window)
        ).fetchone()
        account = self._accounts.of((name, window))
        account.settled_pusd = unstored(found[0]) if found else 0
        account.held_pusd = self._own.get((name, window), 0) + self._others.get((name, window), 0)
        self._known.add((name, window))

    def _record(self, touched: Iterable[Key], moved: Iterable[Key], now_s: float) -> tuple[dict[Key, int], float]:
        """Writes the totals that changed; gives what this process holds now, and until when."""
        settled = [(*key, stored(self._accounts.of(key).settled_pusd)) for key in moved]
        self._many.put(*_ACCOUNTS, 3, list(chain.from_iterable(settled)))
        changed = {}
        for key in touched:
            held_pusd = self._accounts.of(key).held_pusd - self._others.get(key, 0)
            if held_pusd != self._own.get(key, 0):
                changed[key] = held_pusd
        own = {key: held_pusd for key, held_pusd in (self._own | changed).items() if held_pusd}
        has_lapsed = now_s >= self._lease_until_s  # then others may have purged what is held: written in full
        self._record_holds(changed | own if has_lapsed else changed)
        if own and self._lease_until_s - now_s < _RENEW_AT * self._lease_s:
            self._connection.execute(_LEASE, (self._owner, now_s + self._lease_s))
            return own, now_s + self._lease_s
        return own, self._lease_until_s

    def _record_holds(self, held: dict[Key, int]) -> None:
        rows = [(self._owner, *key, stored(held_pusd)) for key, held_pusd in held.items()]
        self._many.put(*_HOLDS, 4, list(chain.from_iterable(rows)))
        if 0 in held.values():
            self._connection.execute("DELETE FROM holds WHERE owner = ? AND held_pusd = 0", (self._owner,))

    def _publish(self, touched: Iterable[Key]) -> None:
        if len(self.seen) > MAX_KNOWN_ACCOUNTS:
            self.seen = {}
        for key in touched:
            account: Account = self._accounts.of(key)
            self.seen[key] = (account.settled_pusd, account.held_pusd)

    def _undo(self) -> None:
        self._forget()
        self._rows.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _forget(self) -> None:
        self._accounts = Accounts()
        self._known = set()
        self._standings = {}
        self._others = {}
        self._others_until_s = math.inf
        self._version = -1


def _keys(standings: Iterable[Standing]) -> set[Key]:
    return {key for standing in standings for key in standing.keys}


def _as_given(rows: Sequence[LedgerRow]) -> list[Any]:
    return list(chain.from_iterable(map(msgspec.structs.astuple, rows)))


def _storable(rows: Sequence[LedgerRow]) -> list[Any]:
    return [stored(value) for value in _as_given(rows)]


__all__ = ["MAX_KNOWN_ACCOUNTS", "Books", "Key"]

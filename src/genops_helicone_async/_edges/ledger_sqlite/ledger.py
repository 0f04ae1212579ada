"""The durable ledger as the flow sees it: what can be answered at once, and what waits for the writer thread."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ..._rules.ledger import WAIT, Account, LedgerRow, Movement, Refusal, Scope, Wait, tightest_of
from ...errors import LedgerError
from .location import path_of
from .reader import read_rows
from .requests import HoldRequest, Loop, Refresh, Settlement
from .schema import text
from .store import Store
from .writer import Writer

STALE_S = 1.0
"""Age beyond which `accounts` has what it knows of other processes' spending looked up again."""


class SqliteLedgerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Rows this process booked and their sum in pico-dollars; rows still to be written; transactions so far.

    `failure` is why the file takes nothing at the moment, None while it does.
    """

    rows: int
    booked_pusd: int
    unwritten: int = 0
    transactions: int = 0
    failure: str | None = None


class SqliteLedger:
    """Accounts and rows in a file, for any number of tasks, event loops and processes of one machine.

    The file is opened by the first call, in a thread of the ledger's own, which also does all the writing. Whatever
    cannot be written is kept and tried again, and holds are refused meanwhile. An abandoned ledger writes what it has
    and ends its thread; so does the end of the process, within five seconds.

    Args:
        location: The file's path, or the `state_url` that names it. The file is created, for its owner only, where
            there is none; its folder must exist, and not be on a network drive: SQLite's log is in part memory that
            the processes share.
        lease_s: How long holds outlive a process that crashed.
        busy_s: How long to wait for another program's lock.
        retry_s: How long after a failure to try again.
        clock: Unix seconds, for the leases.
    """

    __slots__ = ("__weakref__", "_asked_at_s", "_busy_s", "_loop", "_path", "_writer")

    def __init__(
        self,
        location: str | Path,
        *,
        lease_s: float = 60.0,
        busy_s: float = 5.0,
        retry_s: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        is_url = isinstance(location, str) and location.startswith("sqlite:")
        self._path = (path_of(str(location)) if is_url else Path(location)).absolute()
        self._busy_s = busy_s
        self._writer = Writer(Store(self._path, lease_s=lease_s, busy_s=busy_s, clock=clock), retry_s=retry_s)
        self._asked_at_s = -STALE_S
        self._loop: Loop | None = None
        weakref.finalize(self, self._writer.stop).atexit = False

    def __repr__(self) -> str:
        told = self.statistics()
        text = f"SqliteLedger({str(self._path)!r}, {told.rows} rows, ${told.booked_pusd / 1e12:.6f}"
        if told.unwritten:
            text += f", {told.unwritten} unwritten"
        return f"{text}{', failing' if told.failure else ''})"

    def statistics(self) -> SqliteLedgerStatistics:
        """What this process has booked, and what is still to be written."""
        writer, books = self._writer, self._writer.store.books
        return SqliteLedgerStatistics(
            rows=books.booked_rows,
            booked_pusd=books.booked_pusd,
            unwritten=sum(len(settlement.rows) for settlement in writer.unwritten()),
            transactions=writer.batches,
            failure=writer.failure,
        )

    def rows(self, since_s: float | None = None, until_s: float | None = None) -> Iterator[LedgerRow]:
        """The durable rows of every process from `since_s` up to and without `until_s` (Unix seconds), by time.

        Reads on a connection of its own, beside whoever writes; blocks, so not for an event loop's thread.

        Raises:
            LedgerError: at the first row, where there is no ledger, or it cannot be read.
        """
        return read_rows(self._path, since_s, until_s, busy_s=self._busy_s)

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Grants where no limit is to be enforced; else only the file knows what other processes spent: `WAIT`."""
        if enforce:
            for scope in scopes:
                if scope.limit_pusd is not None:
                    return WAIT
        if not self._writer.is_usable:
            return WAIT
        if scopes:
            self._writer.put(HoldRequest(scopes, amount_pusd, False, None, None))
        return None

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """Sets the amount aside in every scope, or says which has no room, over the totals of every process.

        Cancelling leaves nothing held.

        Raises:
            LedgerError: the file cannot be used; nothing is held.
        """
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Refusal | None] = loop.create_future()
        request = HoldRequest(scopes, amount_pusd, enforce, future, loop)
        self._writer.put(request)
        try:
            return await future
        except BaseException:
            if request.is_unseen:
                self._writer.put(request.release())
            raise

    def settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> Awaitable[None] | None:
        """Replaces a hold by the rows' costs, exactly once; gives what to await to know them on the disk.

        `booked` is called on the running event loop; outside of one, as in a finaliser, on the loop of the last hold.
        Awaiting raises `LedgerError` where the rows could not be written yet.
        """
        try:
            loop: Loop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = self._loop
        settlement = Settlement(scopes, held_pusd, tuple(rows), booked, loop)
        self._writer.put(settlement)
        return settlement

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """What is spent and held in each scope after this process's latest transaction, as zero where not known yet.

        Older than a second, it is looked up again in the background; `refresh` waits for that.
        """
        seen = self._writer.store.books.seen
        known = [seen.get((text(scope.name), text(scope.window))) for scope in scopes]
        now_s = time.monotonic()
        if None in known or now_s - self._asked_at_s >= STALE_S:
            self._asked_at_s = now_s
            self._writer.put(Refresh(scopes, None))
        return [
            Account() if account is None else Account(settled_pusd=account[0], held_pusd=account[1])
            for account in known
        ]

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, and what is spent and held in it, as far as is known."""
        return tightest_of(scopes, self.accounts)

    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]:
        """What is spent and held in each scope now, by every process.

        Raises:
            LedgerError: the file cannot be used.
        """
        future: asyncio.Future[list[Account]] = asyncio.get_running_loop().create_future()
        self._writer.put(Refresh(scopes, future))
        return await future

    async def aclose(self) -> None:
        """Writes what is still to be written, gives back what is held, and closes the file.

        Cancelling does not stop that. What is settled afterwards is not written, and says so when awaited.

        Raises:
            LedgerError: something could not be written: how many rows, worth how many dollars.
        """
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._writer.stop(future)
        lost = await future
        if lost is not None:
            raise LedgerError(lost)


__all__ = ["STALE_S", "SqliteLedger", "SqliteLedgerStatistics"]

"""A durable ledger for callers on any thread: what its store has to be asked is asked on the loop thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

from .._edges.loop_thread import LoopThread
from .._flow.ports import Durable, Ledger
from .._rules.ledger import WAIT, Account, LedgerRow, Movement, Refusal, Scope, Wait
from ..errors import LedgerError

_LONGEST_WAIT_S = 5.0


class LoopLedger:
    """A ledger whose steps all happen on the loop thread, in the order in which they were called.

    Rows are booked there soon after the call has ended: another client's answer does not wait for a disk of ours. At
    the end of the process, and at `uninstrument()`, all of them are written first.
    """

    __slots__ = ("_ledger", "_pending", "_thread")

    def __init__(self, ledger: Ledger, thread: LoopThread) -> None:
        self._ledger = ledger
        self._thread = thread
        self._pending: set[Future[None]] = set()

    def __repr__(self) -> str:
        return f"LoopLedger(over {self._ledger!r}, {len(self._pending)} settlements on their way)"

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Decides only on the loop thread; elsewhere it is to be waited for."""
        if not self._thread.is_here:
            return WAIT
        return self._ledger.hold_nowait(scopes, amount_pusd, enforce=enforce)

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """Asks the store; to be awaited on the loop thread."""
        return await self._ledger.hold(scopes, amount_pusd, enforce=enforce)

    def settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> Durable:
        """Has it settled soon; there is nothing to wait for."""
        future: Future[None] = self._thread.begin(self._settle, scopes, held_pusd, tuple(rows), booked)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return None

    async def _settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> None:
        durable = self._ledger.settle(scopes, held_pusd, rows, booked)
        if durable is not None:
            with contextlib.suppress(LedgerError):  # the store has said so, keeps the rows and tries again
                await durable

    def flush(self) -> None:
        """Waits, some seconds at most, until what has been settled so far is written."""
        wait(tuple(self._pending), timeout=_LONGEST_WAIT_S)

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """What is spent and held in each scope, as far as this process knows."""
        return self._ledger.accounts(scopes)

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, and what is spent and held in it."""
        return self._ledger.tightest(scopes)

    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]:
        """The same with what other processes have spent; to be awaited on the loop thread."""
        return await self._ledger.refresh(scopes)

    async def aclose(self) -> None:
        """Writes what is still to be written."""
        await self._ledger.aclose()


__all__ = ["LoopLedger"]

"""What is asked of the writer thread, how it answers, and what becomes of an answer that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ..._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope
from ...errors import LedgerError

Loop = asyncio.AbstractEventLoop


class HoldRequest:
    """A hold to be granted or refused. Without a future it was granted already, and only has to be written down."""

    __slots__ = ("amount_pusd", "enforce", "future", "is_granted", "loop", "refusal", "scopes")

    def __init__(
        self,
        scopes: Sequence[Scope],
        amount_pusd: int,
        enforce: bool,
        future: asyncio.Future[Refusal | None] | None,
        loop: Loop | None,
    ) -> None:
        self.scopes = scopes
        self.amount_pusd = amount_pusd
        self.enforce = enforce
        self.future = future
        self.loop = loop
        self.refusal: Refusal | None = None
        self.is_granted = False

    @property
    def is_unseen(self) -> bool:
        """Whether the hold was granted and its task was cancelled before it could see that."""
        future = self.future
        return (
            future is not None
            and future.done()
            and not future.cancelled()
            and future.exception() is None
            and future.result() is None
        )

    def deliver(self, error: str | None) -> bool:
        """Answers, on the waiter's loop; False where the hold was granted and nobody is there to take it."""
        future = self.future
        if future is None:
            return True
        if future.done():
            return not self.is_granted
        if error is not None:
            future.set_exception(LedgerError(error))
        else:
            future.set_result(self.refusal)
        return True

    def release(self) -> Settlement:
        """What gives the hold back."""
        return Settlement(self.scopes, self.amount_pusd, (), _ignore, None)


class Settlement:
    """A settlement on its way into the file; awaiting it, on the loop it was made on, returns when it is durable."""

    __slots__ = (
        "_error",
        "_is_durable",
        "_more_waiters",
        "_waiter",
        "booked",
        "held_pusd",
        "loop",
        "movements",
        "rows",
        "scopes",
    )

    def __init__(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
        loop: Loop | None,
    ) -> None:
        self.scopes = scopes
        self.held_pusd = held_pusd
        self.rows = rows
        self.booked = booked
        self.loop = loop
        self.movements: tuple[Movement, ...] = ()
        self._is_durable = False
        self._error: str | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._more_waiters: tuple[asyncio.Future[None], ...] = ()

    def __repr__(self) -> str:
        state = "durable" if self._is_durable else self._error or "on its way"
        return f"Settlement({len(self.rows)} rows, {state})"

    def __await__(self) -> Generator[Any, None, None]:
        if not self._is_durable and self._error is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiter is None:
                self._waiter = waiter
            else:
                self._more_waiters += (waiter,)
            yield from waiter
        if not self._is_durable:
            raise LedgerError(f"what was spent is not in the file: {self._error}")

    def deliver(self, error: str | None) -> bool:
        """Tells whoever waits, on the loop; a failed settlement is delivered again when it could be written."""
        self._error = error
        self._is_durable = error is None
        if self._waiter is not None:
            for waiter in (self._waiter, *self._more_waiters):
                if not waiter.done():
                    waiter.set_result(None)
            self._waiter, self._more_waiters = None, ()
        if error is None:
            self.booked(self.movements)
        return True


class Refresh:
    """A wish to know what is spent and held in some scopes, of every process; nobody need wait for it."""

    __slots__ = ("accounts", "future", "loop", "scopes")

    def __init__(self, scopes: Sequence[Scope], future: asyncio.Future[list[Account]] | None) -> None:
        self.scopes = scopes
        self.future = future
        self.loop: Loop | None = None if future is None else future.get_loop()
        self.accounts: list[Account] = []

    def deliver(self, error: str | None) -> bool:
        """Answers, on the waiter's loop."""
        if self.future is not None and not self.future.done():
            if error is not None:
                self.future.set_exception(LedgerError(error))
            else:
                self.future.set_result(self.accounts)
        return True


def _ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told of a release that nobody asked for."""


Request = HoldRequest | Settlement | Refresh

__all__ = ["HoldRequest", "Refresh", "Request", "Settlement"]

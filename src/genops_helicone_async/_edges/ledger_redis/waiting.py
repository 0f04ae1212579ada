"""Who waits for the server: settlements on their way, holds that found too little slack, questions about accounts.

Each belongs to the event loop it was made on, and is told there, whichever loop carried the exchange.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from typing import Final

from ..._rules.ledger import LedgerRow, Movement, Refusal, Scope
from ...errors import LedgerError
from .slices import Slice

Booked = Callable[[tuple[Movement, ...]], None]
Future = asyncio.Future[Refusal | None]

KNOWN_IDS: Final = 20_000
"""Request ids remembered at least; at most twice as many."""

_log = logging.getLogger("genops_helicone_async.ledger")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of the calling thread, None outside of one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def again(error: LedgerError) -> LedgerError:
    """The same error for one more waiter: a raised exception belongs to the one who catches it."""
    copy = LedgerError(error.message, retry_safe=error.retry_safe)
    copy.__cause__ = error.__cause__
    return copy


def complete(future: Future, result: Refusal | LedgerError | None) -> None:
    """Sets a future from any thread; one whose loop or whose waiter is gone is left alone."""

    def set_it() -> None:
        if future.done():
            return
        if isinstance(result, LedgerError):
            future.set_exception(again(result))
        else:
            future.set_result(result)

    loop = future.get_loop()
    if loop is running_loop():
        set_it()
    elif not loop.is_closed():
        loop.call_soon_threadsafe(set_it)


class Settlement:
    """One `settle` on its way to the server. Awaiting it returns when the server has it, in any number of tasks.

    Raises, when awaited:
        LedgerError: the server could not be told; it stays queued and is tried again.
    """

    __slots__ = (
        "_booked",
        "_error",
        "_hurry",
        "_loop",
        "_waiters",
        "cost_pusd",
        "is_reported",
        "rows",
        "scopes",
        "slices",
    )

    def __init__(self, scopes: Sequence[Scope], booked: Booked, hurry: Callable[[], None]) -> None:
        self.scopes = scopes
        self.slices: tuple[Slice, ...] = ()
        self.rows: Sequence[LedgerRow] = ()
        self.cost_pusd = 0
        self._booked = booked
        self._loop = running_loop()
        self._error: LedgerError | None = None
        self.is_reported = False
        self._hurry = hurry
        self._waiters: list[Future] = []

    def __await__(self) -> Generator[object, None, None]:
        if not self.is_reported and self._error is None:
            future: Future = asyncio.get_running_loop().create_future()
            # First in the list, then a second look: `tell` sets the outcome before it reads the list.
            self._waiters.append(future)
            if not self.is_reported and self._error is None:
                self._hurry()
                yield from future
        if self._error is not None and not self.is_reported:
            raise again(self._error)

    def tell(self, error: LedgerError | None) -> None:
        """Says how the attempt to report it ended."""
        self._error = error
        self.is_reported = error is None
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            complete(future, None)

    def book(self, movements: tuple[Movement, ...]) -> None:
        """Calls `booked` on the loop that settled; where that is gone, here."""
        if self._loop is None or self._loop is running_loop() or self._loop.is_closed():
            self._call_booked(movements)
        else:
            self._loop.call_soon_threadsafe(self._call_booked, movements)

    def _call_booked(self, movements: tuple[Movement, ...]) -> None:
        try:
            self._booked(movements)
        except Exception:  # noqa: BLE001  a caller's own code: the other settlements of the batch go on
            _log.exception("a callback of a settlement failed")


class Want:
    """A hold that has to be asked for. `slices` are all it counts in, `limited` those that need room.

    Where only other processes' unused slack is in the way, it is tried again until `patient_until_s`.
    """

    __slots__ = ("amount_pusd", "future", "is_granted", "is_over", "limited", "patient_until_s", "retry_s", "slices")

    def __init__(
        self, slices: tuple[Slice, ...], limited: list[tuple[Scope, Slice]], amount_pusd: int, patient_until_s: float
    ) -> None:
        self.slices = slices
        self.limited = limited
        self.amount_pusd = amount_pusd
        self.patient_until_s = patient_until_s
        self.retry_s = 0.0
        self.is_granted = False
        self.is_over = False
        self.future: Future = asyncio.get_running_loop().create_future()


class Peek:
    """A question for the server's figures of some accounts; nobody need wait for the answer."""

    __slots__ = ("future", "slices")

    def __init__(self, slices: tuple[Slice, ...], future: Future | None) -> None:
        self.slices = slices
        self.future = future


class KnownIds:
    """The latest request ids, so that a repeat does not even count here until the server says so."""

    __slots__ = ("_latest", "_older")

    def __init__(self) -> None:
        self._latest: set[str] = set()
        self._older: set[str] = set()

    def add(self, request_id: str) -> bool:
        """Remembers an id; whether it is new."""
        if request_id in self._latest or request_id in self._older:
            return False
        if len(self._latest) >= KNOWN_IDS:
            self._latest, self._older = set(), self._latest
        self._latest.add(request_id)
        return True


__all__ = ["Booked", "Future", "KnownIds", "Peek", "Settlement", "Want", "again", "complete", "running_loop"]

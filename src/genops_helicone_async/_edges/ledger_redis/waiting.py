"""Who waits for the server: holds that found too little slack, and questions about accounts.

Each belongs to the event loop it was made on, and is told there, whichever loop carried the exchange.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from ..._rules.ledger import Refusal
from ...errors import LedgerError
from .pace import AT_ONCE
from .slices import SCAN_S, Group, Slice

Future = asyncio.Future[Refusal | None]


PATIENCE_S: Final = 3 * SCAN_S
"""How long a hold waits for slack that others give back: they do so within two scans."""

RETRY_S: Final = 0.025
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of the calling thread, None outside of one.

    Remembered by thread: before Python 3.12 `get_running_loop` makes a system call every time.
    """
    thread = threading.get_ident()
    loop = _loops.get(thread)
    if loop is not None and loop.is_running():
        return loop
    try:
        loop = _loops[thread] = asyncio.get_running_loop()
    except RuntimeError:
        _loops.pop(thread, None)
        return None
    for other in [other for other, left in tuple(_loops.items()) if left.is_closed()]:
        _loops.pop(other, None)
    return loop


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


class Want:
    """A hold that has to be asked for. `group` is where it counts, `limited` what needs room.

    Where only other processes' unused slack is in the way, it is tried again until `patient_until_s`.
    """

    __slots__ = ("amount_pusd", "future", "group", "is_granted", "is_over", "limited", "patient_until_s", "retry_s")

    def __init__(self, group: Group, amount_pusd: int, now_s: float, *, enforce: bool) -> None:
        self.group = group
        pairs = zip(group.scopes, group.slices, strict=True)
        self.limited = [(scope, part) for scope, part in pairs if enforce and scope.limit_pusd is not None]
        self.amount_pusd = amount_pusd
        self.patient_until_s = now_s + PATIENCE_S
        self.retry_s = AT_ONCE
        self.is_granted = False
        self.is_over = False
        self.future: Future = asyncio.get_running_loop().create_future()

    def fits(self) -> bool:
        """Whether the slack of every limited slice is enough, one taken after the other."""
        return bool(self.limited) and all(part.slack_pusd >= max(1, self.amount_pusd) for _, part in self.limited)

    def grant(self) -> bool:
        """Holds the amount; False where it was given up."""
        if self.is_over:
            return False
        self.is_granted = self.is_over = True
        self.group.hold(self.amount_pusd)
        return True


class Peek:
    """A question for the server's figures of some accounts; nobody need wait for the answer."""

    __slots__ = ("future", "slices")

    def __init__(self, slices: tuple[Slice, ...], future: Future | None) -> None:
        self.slices = slices
        self.future = future


def futures(wants: list[Want], peeks: list[Peek]) -> list[Future]:
    """What is waited on."""
    return [want.future for want in wants] + [peek.future for peek in peeks if peek.future is not None]


__all__ = ["RETRY_S", "Future", "Peek", "Want", "again", "complete", "futures", "running_loop"]

"""When nobody can be reached: rows wait, one of them asks now and then, and all go on once it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..errors import HeliconeError, LedgerError
from .unsent import UnsentError

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_GATEWAY_AWAY = frozenset({502, 503, 521, 522, 523})
_UNREACHED = frozenset({"GatewayError", "DeadlineExceededError"})


class Outage:
    """Whether rows may be sent. `wait_s` is how long an outage is waited out; then rows are given back.

    It is told once when it begins and once when it is over. Time is the monotonic clock's.
    """

    __slots__ = (
        "_asking", "_clock", "_is_given_up", "_note", "_pause_s", "_since", "_wait_s", "_why",
    )  # fmt: skip

    def __init__(self, wait_s: float, note: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._wait_s = wait_s
        self._note = note
        self._clock = clock
        self._asking = asyncio.Lock()
        self._since: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._is_given_up = False
        self._why = ""

    @property
    def is_given_up(self) -> bool:
        """Whether it lasted longer than anybody wanted to wait."""
        return self._is_given_up

    @property
    def is_open(self) -> bool:
        """Whether there is an outage now."""
        return self._since is not None

    async def enter(self) -> bool:
        """Returns when a row may be sent; True if it is the one that finds out whether the outage is over.

        Raises:
            UnsentError: it has lasted too long.
        """
        if self._since is None:
            return False
        await self._asking.acquire()
        try:
            if self._since is None:
                self._asking.release()
                return False
            left_s = self._since + self._wait_s - self._clock()
            if left_s <= 0 or self._is_given_up:
                self._is_given_up = True
                raise UnsentError(f"{self._why}, and was waited for for {self._wait_s:g} s")
            await asyncio.sleep(min(self._pause_s, left_s))
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        except BaseException:
            self._asking.release()
            raise
        return True

    def leave(self, *, was_asking: bool) -> None:
        """The row's call has ended."""
        if was_asking:
            self._asking.release()

    def reached(self) -> None:
        """Somebody has answered, be it with an error."""
        if self._since is not None:
            self._note(f"reached again after {self._clock() - self._since:.0f} s: going on")
            self._since = None
            self._pause_s = _FIRST_PAUSE_S

    def begin(self, why: str) -> None:
        """Nobody can be reached; told the first time."""
        if self._since is not None or self._is_given_up:
            return
        self._why = why
        self._since = self._clock()
        if self._wait_s > 0:
            self._note(f"{why}: waiting up to {self._wait_s:g} s for it, no row fails meanwhile")


def is_unreached(error: HeliconeError) -> bool:
    """Whether all a call met were closed doors: nobody answered, but for a gateway that says that it is away itself.

    A store of budgets that cannot be asked closes the door, too: nothing is sent unaccounted.
    """
    if isinstance(error, LedgerError):
        return error.billed == "no" and not error.attempts
    found = error.attempts
    return (
        bool(found)
        and any(attempt.billed == "no" for attempt in found)
        and all(
            attempt.error in _UNREACHED
            and (attempt.http_status in _GATEWAY_AWAY or attempt.http_status is None)
            and (attempt.billed == "no" or attempt.error == "GatewayError")
            for attempt in found
        )
    )


def is_lost(error: HeliconeError) -> bool:
    """Whether the connection broke after a call was sent: its answer, perhaps billed, will not come."""
    found = error.attempts
    return (
        bool(found)
        and found[-1].error == "GatewayError"
        and found[-1].billed == "maybe"
        and (found[-1].http_status is None)
    )


__all__ = ["Outage", "is_lost", "is_unreached"]

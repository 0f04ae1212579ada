"""Identical calls in flight: one of them asks, the others wait for its answer, and never for its failure.

Every change is made in a plain `def`, so cancelling anybody tears nothing: who waits leaves, and when the one that
asks is gone another asks in its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum

from .._rules.cached_answers import Answer
from .in_time import in_time

MOST_FAILURES = 2
"""Callers that fail one after the other; then all who still wait ask for themselves, at once."""


class Turn(Enum):
    """What a waiting call is told to do where there is no answer for it: ask for all, or for itself alone."""

    LEAD = "lead"
    ALONE = "alone"


class Flight:
    """One key's call in flight. `landed` is its answer, until a store that takes its time has it, too."""

    __slots__ = ("_failures", "_flights", "_key", "_waiters", "landed")

    def __init__(self, flights: dict[bytes, Flight], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._waiters: deque[asyncio.Future[Answer | Turn]] = deque()
        self._failures = 0
        self.landed: Answer | None = None
        flights[key] = self

    def __repr__(self) -> str:
        return f"Flight({self._key.hex()[:8]}, {len(self._waiters)} waiting, landed={self.landed is not None})"

    async def join(self, deadline: float) -> Answer | Turn:
        """Waits for the answer, or for a turn to ask.

        Raises:
            DeadlineExceededError: neither came in time.
        """
        future: asyncio.Future[Answer | Turn] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            return await in_time(future, deadline, "an identical call was on its way")
        except BaseException:
            if future.done() and not future.cancelled():
                if future.exception() is None and future.result() is Turn.LEAD:
                    self.hand_over()
            elif future in self._waiters:
                self._waiters.remove(future)
            raise

    def land(self, answer: Answer) -> None:
        """The answer is there: everybody gets it."""
        self.landed = answer
        self._tell_all(answer)

    def release(self) -> None:
        """There is an answer, and it is for who asked only: everybody asks for itself."""
        self.end()
        self._tell_all(Turn.ALONE)

    def failed(self) -> None:
        """Who asked has failed: another tries, until too many have."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self.release()
        else:
            self.hand_over()

    def hand_over(self) -> None:
        """Who asked is gone: the first that still waits asks; where nobody does, the flight is over."""
        while self._waiters:
            future = self._waiters.popleft()
            if not future.done():
                future.set_result(Turn.LEAD)
                return
        self.end()

    def end(self) -> None:
        """Nobody joins any more."""
        if self._flights.get(self._key) is self:
            del self._flights[self._key]

    def cancel(self, error: Exception) -> None:
        """Everybody gets the error: the adapter is being closed."""
        self.end()
        waiters, self._waiters = self._waiters, deque()
        for future in waiters:
            if not future.done():
                future.set_exception(error)

    def _tell_all(self, told: Answer | Turn) -> None:
        waiters, self._waiters = self._waiters, deque()
        for future in waiters:
            if not future.done():
                future.set_result(told)


__all__ = ["MOST_FAILURES", "Flight", "Turn"]

"""Deadlines of many waits on one event loop, with a single timer of the loop for all of them.

A timer of the loop for each request, and `asyncio.timeout` around it, cost several times what this does: nearly every
wait is over long before its deadline, so all that is kept of it is an entry in a heap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count, filterfalse
from operator import attrgetter
from typing import Any

import msgspec

_FEW = 64
_is_over = attrgetter("over")


class Wait(msgspec.Struct, order=True):
    """What a deadline may end: a future, which gets a `TimeoutError`, or all that a task does, by cancelling it.

    Of a task `end` says whether that is what happened; `cancelling` is how often it had been cancelled when it began to
    wait. A wait with neither is only told that it is `due`: nobody is waiting just now.
    """

    deadline: float
    number: int
    answer: asyncio.Future[Any] | None = None
    task: asyncio.Task[object] | None = None
    cancelling: int = 0
    due: bool = False
    over: bool = False

    def begin(self) -> None:
        """The running task waits from here on."""
        task = self.task = asyncio.current_task()
        if task is not None:
            self.cancelling = task.cancelling()

    def end(self) -> bool:
        """The task waits no more; whether the deadline, and nothing else, has cancelled it."""
        task, self.task = self.task, None
        return self.due and task is not None and task.uncancel() <= self.cancelling

    def fire(self) -> None:
        """The deadline has come."""
        self.due = True
        if self.task is not None:
            self.task.cancel()
        elif self.answer is not None and not self.answer.done():
            self.answer.set_exception(TimeoutError())


class Deadlines:
    """The waits of one event loop."""

    __slots__ = ("_alarm", "_alarm_at", "_heap", "_loop", "_most", "_numbers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Wait] = []
        self._most = _FEW
        self._numbers = count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float, answer: asyncio.Future[Any] | None = None) -> Wait:
        """A wait that is due at `deadline` on the loop's clock: for the future, or for who is to `begin` it.

        It is given back by `drop`; one for a future alone is `over` as soon as that is set and the future let go.
        """
        wait = Wait(deadline, next(self._numbers), answer)
        heap = self._heap
        heappush(heap, wait)
        if deadline < self._alarm_at:
            self._arm(deadline)
        if len(heap) > self._most:  # most of them are over: their deadlines are far away
            heap[:] = filterfalse(_is_over, heap)
            heapify(heap)
            self._most = _FEW + 2 * len(heap)
        return wait

    def drop(self, wait: Wait) -> None:
        """The wait is over; a second time is without effect."""
        if wait.due:
            wait.end()
        wait.task = wait.answer = None
        wait.over = True

    def _arm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        heap, now = self._heap, self._loop.time()
        self._alarm, self._alarm_at = None, float("inf")
        while heap and (heap[0].over or heap[0].deadline <= now):
            wait = heappop(heap)
            if not wait.over:
                wait.fire()
        if heap:
            self._arm(heap[0].deadline)


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's clock; asyncio's own loops tell the system's by a method in between, which costs as much again."""
    return time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time


__all__ = ["Deadlines", "Wait", "clock_of"]

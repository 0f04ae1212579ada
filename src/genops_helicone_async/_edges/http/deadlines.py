"""Deadlines of many waits on one event loop, with a single timer of the loop for all of them.

A timer of the loop for each request, and `asyncio.timeout` around it, cost several times what this does: nearly every
wait is over long before its deadline, so all that is kept of it is an entry in a heap.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count, filterfalse
from operator import attrgetter

import msgspec

_FEW = 64
_is_over = attrgetter("over")


class Wait(msgspec.Struct, order=True):
    """What a task does that a deadline may end, by cancelling the task; `end` says whether that is what happened.

    A wait without a task is only told that it is `due`: nobody is waiting just now. `cancelling` is how often the task
    had been cancelled when it began to wait.
    """

    deadline: float
    number: int
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

    def add(self, deadline: float, task: asyncio.Task[object] | None = None) -> Wait:
        """A wait that is due at `deadline` on the loop's clock, already begun by `task`; it is given back by `drop`."""
        wait = Wait(deadline, next(self._numbers), task, 0 if task is None else task.cancelling())
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
        wait.task = None
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


__all__ = ["Deadlines", "Wait"]

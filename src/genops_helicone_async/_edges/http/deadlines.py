"""Deadlines of many waits on one event loop, with a single timer of the loop for all of them.

A timer of the loop for each request, and `asyncio.timeout` around it, cost several times what this does: nearly every
wait is over long before its deadline, so all that is kept of it is an entry in a heap.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count

_FEW = 64


class Wait:
    """What a task does that a deadline may end, by cancelling the task; `end` says whether that is what happened.

    A wait without a task is only told that it is `due`: nobody is waiting just now.
    """

    __slots__ = ("_cancelling", "_task", "due", "over")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.due = False
        self.over = False

    def begin(self) -> None:
        """The running task waits from here on."""
        task = self._task = asyncio.current_task()
        if task is not None:
            self._cancelling = task.cancelling()

    def end(self) -> bool:
        """The task waits no more; whether the deadline, and nothing else, has cancelled it."""
        task, self._task = self._task, None
        return self.due and task is not None and task.uncancel() <= self._cancelling

    def fire(self) -> None:
        """The deadline has come."""
        self.due = True
        if self._task is not None:
            self._task.cancel()


class Deadlines:
    """The waits of one event loop."""

    __slots__ = ("_alarm", "_alarm_at", "_heap", "_live", "_loop", "_numbers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Wait]] = []
        self._numbers = count()
        self._live = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float) -> Wait:
        """A wait that is due at `deadline` on the loop's clock; it is given back by `drop`."""
        wait = Wait()
        heap = self._heap
        heappush(heap, (deadline, next(self._numbers), wait))
        self._live += 1
        if deadline < self._alarm_at:
            self._arm(deadline)
        if len(heap) > _FEW + 2 * self._live:  # most of them are over: their deadlines are far away
            heap[:] = [entry for entry in heap if not entry[2].over]
            heapify(heap)
        return wait

    def drop(self, wait: Wait) -> None:
        """The wait is over; a second time is without effect."""
        if not wait.over:
            wait.over = True
            self._live -= 1

    def _arm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        heap, now = self._heap, self._loop.time()
        self._alarm, self._alarm_at = None, float("inf")
        while heap and (heap[0][2].over or heap[0][0] <= now):
            wait = heappop(heap)[2]
            if not wait.over:
                wait.fire()
        if heap:
            self._arm(heap[0][0])


__all__ = ["Deadlines", "Wait"]

"""Processes that reserve moments of one rate, in a simulation: each has a real `SharedRate`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import redis
from simulated_world import Simulation, Store, shares_of

from genops_helicone_async._edges.limits.shared import SharedRate


@dataclass
class Rate:
    """A rate, and the moments that were used of it, by the server's clock."""

    capacity: float
    per_s: float
    used_s: list[float] = field(default_factory=list)

    def overshoot(self) -> float:
        """By how many permits one bucket of this capacity and rate is ever below empty."""
        level, before_s, worst = self.capacity, 0.0, 0.0
        for moment_s in sorted(self.used_s):
            level = min(self.capacity, level + (moment_s - before_s) * self.per_s) - 1.0
            before_s, worst = moment_s, max(worst, -level)
        return worst


class _Asked:
    """A reservation on its way: what drives the coroutine sends the answer in."""

    def __init__(self, amount: float, capacity: float, rate_per_s: float) -> None:
        self.amount = amount
        self.capacity = capacity
        self.rate_per_s = rate_per_s

    def __await__(self) -> Generator[_Asked, float, float]:
        return (yield self)


class _Port:
    """The shared rates' store as a `SharedRate` sees it."""

    async def reserve(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> float:
        return await _Asked(amount, capacity, rate_per_s)

    def return_later(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> None:
        raise AssertionError("nothing is given back here")


class Sender:
    """A process whose calls stand in a queue for moments of a shared rate."""

    def __init__(self, simulation: Simulation, store: Store, key: str, rate: Rate, per_s: float) -> None:
        self._simulation = simulation
        self._store = store
        self._key = key
        self._rate = rate
        self._per_s = per_s
        self._shared = SharedRate(_Port(), "calls", rate.capacity, rate.per_s, lambda: simulation.now_s)
        self._queue: deque[float] = deque()
        self._is_serving = False
        self._late_s = 0.0
        self._next_call()

    def _next_call(self) -> None:
        self._simulation.after(self._simulation.chance.expovariate(self._per_s), self._call)

    def _call(self) -> None:
        self._next_call()
        self._queue.append(self._simulation.now_s)
        if not self._is_serving:
            self._serve()

    def _serve(self) -> None:
        """As the gate does: the first in the queue takes what is here, or asks for a slice and waits for it."""
        while self._queue and self._shared.has(1.0):
            self._shared.take(1.0)
            self._queue.popleft()
            # The answer travelled: by the server's clock, whose order of moments is what is kept, it is earlier.
            self._rate.used_s.append(self._simulation.now_s - self._late_s)
        self._is_serving = bool(self._queue)
        if self._queue:
            self._step(self._shared.reserve(1.0), None)

    def _step(self, asking: Coroutine[Any, Any, float], answer: float | None) -> None:
        try:
            asked = asking.send(answer)
        except StopIteration as done:
            self._simulation.after(done.value, self._serve)
            return
        self._simulation.after(self._simulation.way_s(), lambda: self._arrive(asking, asked))

    def _arrive(self, asking: Coroutine[Any, Any, float], asked: _Asked) -> None:
        wait_s = self._store.share(self._key, asked.amount, asked.capacity, asked.rate_per_s)
        back_s = self._simulation.way_s()

        def hear() -> None:
            self._late_s = back_s
            self._step(asking, wait_s)

        self._simulation.after(back_s, hear)


def simulate_rate(client: redis.Redis, processes: int, *, seconds: float, per_s: float) -> dict[str, Any]:
    """Processes that want twice what a rate allows."""
    simulation = Simulation(processes)
    store = Store(client, simulation)
    key = f"{{rate-{processes}-{time.monotonic_ns()}}}:calls"
    rate = Rate(capacity=per_s / 2, per_s=per_s / 2)
    for share in shares_of(processes, per_s):
        Sender(simulation, store, key, rate, share)
    simulation.run(seconds)
    return {
        "processes": processes,
        "overshoot": max(0.0, round(rate.overshoot(), 6)),
        "used": len(rate.used_s) / (rate.capacity + rate.per_s * seconds),
        "ops_per_s": store.operations / seconds,
        "ops_per_call": store.operations / max(1, len(rate.used_s)),
        "operation_us": store.operation_us(),
        "busy": store.operations / seconds * store.operation_us() / 1e6,
        "calls": len(rate.used_s),
    }

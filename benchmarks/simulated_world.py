"""A made-up world for real decisions: a clock, a network, and a real Valkey that runs the real scripts by it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import msgspec
import redis

from genops_helicone_async._edges.ledger_redis.script import EXCHANGE
from genops_helicone_async._edges.shared_rates.script import SHARE

START_S = 1_795_000_000.0
SERVERS_OWN_TIME = "local time = redis.call('TIME')"
MONEY_SCRIPT = EXCHANGE.replace(SERVERS_OWN_TIME, "local time = {ARGV[2], ARGV[3]}")
RATE_SCRIPT = "local now = tonumber(ARGV[2])\n" + SHARE
KEPT_MS = 3_600_000


class Simulation:
    """What happens when: moments are seconds of the simulation's clock."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self.chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Has something happen later."""
        heapq.heappush(self._events, (self.now_s + seconds, next(self._numbers), what))

    def run(self, until_s: float) -> None:
        """Lets happen what happens until then."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, what = heapq.heappop(self._events)
            what()
        self.now_s = until_s

    def way_s(self) -> float:
        """How long a message takes."""
        return 0.02 if self.chance.random() < 0.01 else self.chance.uniform(0.000_25, 0.001)


class Store:
    """A real server that runs the real scripts at the simulation's time."""

    def __init__(self, client: redis.Redis, simulation: Simulation) -> None:
        self._client = client
        self._simulation = simulation
        self.operations = 0
        self._shas = {script: client.script_load(script) for script in (MONEY_SCRIPT, RATE_SCRIPT)}
        client.config_resetstat()

    def exchange(self, key: str, ask: bytes) -> bytes:
        """One exchange of the shared ledger."""
        self.operations += 1
        whole_s, rest = divmod(round((START_S + self._simulation.now_s) * 1e6), 1_000_000)
        answer: bytes = self._client.evalsha(self._shas[MONEY_SCRIPT], 1, key, ask, whole_s, rest)
        return answer

    def share(self, key: str, amount: float, capacity: float, rate_per_s: float) -> float:
        """One reservation of a shared rate; seconds to wait."""
        self.operations += 1
        body = msgspec.msgpack.encode(([(1, amount, capacity, rate_per_s / 1e6, False)], [None]))
        now_us = round((START_S + self._simulation.now_s) * 1e6)
        waits, _ = msgspec.msgpack.decode(self._client.evalsha(self._shas[RATE_SCRIPT], 1, key, body, now_us))
        # The real clock, which ends idle keys, stands still beside the made-up one.
        self._client.pexpire(key, KEPT_MS)
        return float(waits[0]) / 1e6

    def operation_us(self) -> float:
        """The server's own time for a script, the mean of all so far."""
        told = self._client.info("commandstats").get("cmdstat_evalsha", {"usec_per_call": 0.0})
        return float(told["usec_per_call"])


def shares_of(processes: int, per_s: float) -> list[float]:
    """Calls a second of each process: a tenth of them makes half of all."""
    busy = max(1, processes // 10)
    if processes == busy:
        return [per_s / processes] * processes
    return [per_s / 2 / busy] * busy + [per_s / 2 / (processes - busy)] * (processes - busy)

"""Processes that lease money, in a simulation: each has a real `Book` of the shared ledger."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import redis
from simulated_world import START_S, Simulation, Store, shares_of

from genops_helicone_async._edges.ledger_redis import FLUSH_S, LEASE_S
from genops_helicone_async._edges.ledger_redis.book import Book
from genops_helicone_async._edges.ledger_redis.exchange import Exchange, Identity
from genops_helicone_async._edges.ledger_redis.messages import decode_answer
from genops_helicone_async._edges.ledger_redis.waiting import Want
from genops_helicone_async._rules.ledger import LedgerRow, Movement, Scope


def lease_end_s(heard_s: float) -> float:
    """When the server, which counts whole milliseconds, takes a lease for over; a moment earlier, to be safe."""
    return math.floor((START_S + heard_s) * 1000) / 1000 + LEASE_S - START_S - 2e-6


@dataclass
class Money:
    """A limit, and what is true of it whatever anybody believes.

    `lost_pusd` was held or spent by processes that crashed, without the server hearing what came of it.
    """

    limit_pusd: int
    spent_pusd: int = 0
    held_pusd: int = 0
    highest_pusd: int = 0
    lost_pusd: int = 0
    granted: int = 0
    refused: int = 0
    crashes: int = 0

    def move(self, spent_pusd: int, held_pusd: int) -> None:
        """Something was spent or is held."""
        self.spent_pusd += spent_pusd
        self.held_pusd += held_pusd
        self.highest_pusd = max(self.highest_pusd, self.spent_pusd + self.held_pusd)


class Life:
    """One process from its start to its crash: what it holds, spent unheard, and when the server last heard of it."""

    __slots__ = ("heard_s", "held_pusd", "is_over", "unheard_pusd")

    def __init__(self) -> None:
        self.held_pusd = self.unheard_pusd = 0
        self.heard_s = 0.0
        self.is_over = False


class Spender:
    """A process that makes calls under a budget: the real book, and a courier made of events."""

    def __init__(
        self, simulation: Simulation, store: Store, key: str, money: Money, per_s: float, until_s: float
    ) -> None:
        self._simulation = simulation
        self._store = store
        self._key = key
        self._money = money
        self._per_s = per_s
        self._until_s = until_s
        self._scopes = (Scope(name="daily", window="2026-11-23", limit_pusd=money.limit_pusd),)
        self._start()
        self._next_call()

    def _start(self) -> None:
        chance = self._simulation.chance
        self._name = f"{chance.getrandbits(64):016x}"
        identity = Identity(process=self._name, seed=f"{chance.getrandbits(64):016x}", lease_s=LEASE_S)
        self._book = Book(identity, FLUSH_S, self._hurry)
        self._looks = 0
        self._is_talking = False
        self._wants: list[tuple[Want, int, int]] = []
        self._life = Life()

    def _hurry(self) -> None:
        self._book.hurry(self._simulation.now_s)

    def _next_call(self) -> None:
        self._simulation.after(self._simulation.chance.expovariate(self._per_s), self._call)

    def _call(self) -> None:
        if self._simulation.now_s > self._until_s:
            return
        self._next_call()
        chance = self._simulation.chance
        amount_pusd = chance.randrange(1_000_000_000, 3_000_000_000)
        cost_pusd = int(amount_pusd * chance.uniform(0.2, 1.0))
        now_s = self._simulation.now_s
        if self._book.take(self._scopes, amount_pusd, enforce=True, now_s=now_s):
            self._granted(amount_pusd, cost_pusd)
        else:
            want = self._book.want(self._scopes, amount_pusd, enforce=True, now_s=now_s)
            self._wants.append((want, amount_pusd, cost_pusd))
            self._look()

    def _granted(self, amount_pusd: int, cost_pusd: int) -> None:
        self._money.granted += 1
        self._money.move(0, amount_pusd)
        life = self._life
        life.held_pusd += amount_pusd
        self._simulation.after(
            self._simulation.chance.lognormvariate(-0.7, 0.6), lambda: self._ended(life, amount_pusd, cost_pusd)
        )

    def _ended(self, life: Life, amount_pusd: int, cost_pusd: int) -> None:
        if life.is_over:
            return  # it ended with its process
        self._money.move(cost_pusd, -amount_pusd)
        life.held_pusd -= amount_pusd
        life.unheard_pusd += cost_pusd
        now_s = self._simulation.now_s
        row = LedgerRow(
            request_id=f"{self._simulation.chance.getrandbits(96):024x}", at_s=START_S + now_s, provider="openai",
            model="gpt-4o-mini", status="ok", cost_pusd=cost_pusd,
        )  # fmt: skip
        self._book.settle(self._scopes, amount_pusd, (row,), _ignore, now_s)
        self._book.hurry(now_s)  # as the flow does: it waits for each settlement
        self._look()

    def _look(self) -> None:
        """Exchanges now or when it is due; as the courier's task does between two bells."""
        if self._is_talking:
            return
        due_s = self._book.due_s(self._simulation.now_s)
        if due_s is None:
            return
        self._looks += 1
        number, life = self._looks, self._life
        self._simulation.after(due_s, lambda: self._talk(life, number))

    def _talk(self, life: Life, number: int) -> None:
        if life.is_over or number != self._looks or self._is_talking:
            return
        exchange = self._book.begin(self._simulation.now_s)
        if exchange is None:
            self._look()
            return
        self._is_talking = True
        told_pusd = sum(entry[2] for entry in exchange.entries())
        self._simulation.after(self._simulation.way_s(), lambda: self._arrive(life, exchange, told_pusd))

    def _arrive(self, life: Life, exchange: Exchange, told_pusd: int) -> None:
        answer = self._store.exchange(self._key, exchange.encode())  # the last words of a crashed one arrive, too
        life.unheard_pusd -= told_pusd
        life.heard_s = self._simulation.now_s
        self._simulation.after(self._simulation.way_s(), lambda: self._hear(life, exchange, answer))

    def _hear(self, life: Life, exchange: Exchange, answer: bytes) -> None:
        if life.is_over:
            return
        self._is_talking = False
        self._book.finish(exchange, decode_answer(answer), self._simulation.now_s)
        waiting, self._wants = self._wants, []
        for want, amount_pusd, cost_pusd in waiting:
            if not want.future.done():
                self._wants.append((want, amount_pusd, cost_pusd))
            elif want.future.result() is None:
                self._granted(amount_pusd, cost_pusd)
            else:
                self._money.refused += 1
        self._look()

    def crash(self) -> None:
        """Everything in here is gone; another process begins in its place.

        What it held counts until its lease ends. What it had spent without the server hearing of it is lost to the
        ledger then: others may spend it again, and nobody but the provider knows.
        """
        life, self._money.crashes = self._life, self._money.crashes + 1
        life.is_over = True
        self._forget(life)
        self._start()

    def _forget(self, life: Life) -> None:
        """The lease ends some time after the server has last heard of the process."""
        left_s = lease_end_s(life.heard_s) - self._simulation.now_s
        if left_s > 0:
            self._simulation.after(left_s, lambda: self._forget(life))
            return
        self._money.move(-life.unheard_pusd, -life.held_pusd)
        self._money.lost_pusd += life.unheard_pusd + life.held_pusd


def _ignore(_: tuple[Movement, ...]) -> None:
    pass


def simulate_money(
    client: redis.Redis, processes: int, *, seconds: float, per_s: float, crashes: int
) -> dict[str, Any]:
    """Processes that spend a limit together until it is used up."""
    simulation = Simulation(processes)
    store = Store(client, simulation)
    key = f"genops:{{money-{processes}-{time.monotonic_ns()}}}"
    mean_pusd = int(2_000_000_000 * 0.6)
    money = Money(limit_pusd=int(seconds * per_s * mean_pusd * 2 / 3))
    spenders = [Spender(simulation, store, key, money, share, seconds) for share in shares_of(processes, per_s)]
    for _ in range(min(crashes, processes)):
        spender = simulation.chance.choice(spenders)
        simulation.after(simulation.chance.uniform(0.1, 0.4) * seconds, spender.crash)
    simulation.run(seconds * 0.5)
    busy_operations, busy_s = store.operations, seconds * 0.5
    simulation.run(seconds + LEASE_S)
    settled = client.hget(f"{key}:account:daily|2026-11-23", "settled")
    return {
        "processes": processes,
        "overshoot": max(0, money.highest_pusd - money.limit_pusd),
        "used": money.spent_pusd / money.limit_pusd,
        "books_agree": int(settled or 0) == money.spent_pusd,
        "ops_per_s": busy_operations / busy_s,
        "ops_per_call": store.operations / max(1, money.granted),
        "operation_us": store.operation_us(),
        "busy": busy_operations / busy_s * store.operation_us() / 1e6,
        "calls": money.granted,
        "refused": money.refused,
        "crashes": money.crashes,
        "lost_in_crashes": money.lost_pusd / money.limit_pusd,
    }

"""This process's side of the shared ledger: its slices, and who waits for the next exchange. No I/O, no await.

Every method is one step under one lock, so several threads' event loops may use it. At most one exchange is on its way
at a time: `begin` draws it up, and `finish` or `fail` ends it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from ..._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope
from ...errors import LedgerError
from .exchange import Exchange, Identity
from .messages import Answer
from .pace import BATCH, Pace
from .slices import SCAN_S, Slice, Slices
from .waiting import Future, KnownIds, Peek, Settlement, Want, complete

KEPT_UNREPORTED: Final = 100_000
"""Settlements kept for a server that is away; beyond, holds fail: what was spent is never dropped."""

PATIENCE_S: Final = 3 * SCAN_S
RETRY_WANT_S: Final = 0.025
TAKEOVER_S: Final = 15.0

_log = logging.getLogger("genops_helicone_async.ledger")


class Book:
    """Slices, the queue of settlements, and waiting holds of one process.

    Args:
        identity: The process's name on the server and the length of its lease.
        flush_s: How long a settlement may wait for company; one that somebody waits for does not.
    """

    def __init__(self, identity: Identity, flush_s: float) -> None:
        self.identity = identity
        self.rows = self.booked_pusd = self.exchanges = self.failures = self.losses = 0
        self._lock = threading.Lock()
        self._pace = Pace(flush_s)
        self._slices = Slices()
        self._queue: deque[Settlement] = deque()
        self._ids = KnownIds()
        self._wants: list[Want] = []
        self._peeks: list[Peek] = []
        self._in_flight: Exchange | None = None
        self._is_adrift = False

    # what callers do

    def take(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool, now_s: float) -> bool:
        """Holds the amount in every scope out of slack, or not at all."""
        with self._lock:
            if len(self._queue) >= KEPT_UNREPORTED:
                return False
            return self._slices.take(scopes, amount_pusd, enforce=enforce, now_s=now_s)

    def want(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool, now_s: float) -> Want:
        """Queues a hold for the next exchange."""
        with self._lock:
            slices = tuple(self._slices.of(scope) for scope in scopes)
            pairs = zip(scopes, slices, strict=True)
            limited = [(scope, part) for scope, part in pairs if enforce and scope.limit_pusd is not None]
            for _, part in limited:
                part.taken_pusd += amount_pusd
                part.calls += 1
            want = Want(slices, limited, amount_pusd, now_s + PATIENCE_S)
            self._wants.append(want)
            return want

    def withdraw(self, want: Want) -> None:
        """Gives up a hold, also one that was granted a moment ago."""
        with self._lock:
            if want.is_granted:
                for part in want.slices:
                    part.held_pusd -= want.amount_pusd
            want.is_granted, want.is_over = False, True

    def settle(self, settlement: Settlement, held_pusd: int, rows: Sequence[LedgerRow], now_s: float) -> bool:
        """Frees a hold and queues the settlement; True where the queue has to be looked at anew.

        One without rows, over accounts that nothing is leased in, is done at once.
        """
        with self._lock:
            slices = settlement.slices = tuple(self._slices.of(scope) for scope in settlement.scopes)
            settlement.rows = new = [row for row in rows if self._ids.add(row.request_id)]
            settlement.cost_pusd = cost_pusd = sum(row.cost_pusd for row in new)
            for part in slices:
                part.held_pusd -= held_pusd
                part.unreported_pusd += cost_pusd
            if rows or not self._slices.active.isdisjoint(slices):
                if not self._queue:
                    self._pace.queued(now_s)
                self._queue.append(settlement)
                return len(self._queue) in (1, BATCH)
            known = self._slices.accounts(settlement.scopes)
        settlement.tell(None)
        settlement.book(
            tuple(
                Movement(scope=scope, before_pusd=account.settled_pusd, after_pusd=account.settled_pusd)
                for scope, account in zip(settlement.scopes, known, strict=True)
            )
        )
        return False

    def peek(self, scopes: Sequence[Scope]) -> Future:
        """Queues a question for the server's figures."""
        with self._lock:
            future: Future = asyncio.get_running_loop().create_future()
            self._peeks.append(Peek(tuple(self._slices.of(scope) for scope in scopes), future))
            return future

    def hurry(self, now_s: float) -> None:
        """Somebody waits for what is queued; where many do, a moment more brings them together."""
        self._pace.hurry(now_s)

    def accounts(self, scopes: Sequence[Scope], now_s: float) -> tuple[list[Account], bool]:
        """What is known of the accounts, and whether the server should be asked: a question is queued then."""
        with self._lock:
            stale = self._slices.stale(scopes, now_s)
            if stale:
                self._peeks.append(Peek(stale, None))
            return self._slices.accounts(scopes), bool(stale)

    def unreported(self) -> tuple[int, int]:
        """Settlements that the server does not have yet, and their cost."""
        with self._lock:
            waiting = [*(self._in_flight.batch if self._in_flight else ()), *self._queue]
            return len(waiting), sum(settlement.cost_pusd for settlement in waiting)

    def leased_pusd(self) -> int:
        """What is leased now, over all scopes."""
        with self._lock:
            return sum(part.lease_pusd for part in self._slices.active)

    @property
    def is_open(self) -> bool:
        """Whether anything is left to report or to give back."""
        return self._in_flight is not None or bool(self._queue) or self.leased_pusd() > 0

    # what the courier does

    def due_s(self, now_s: float) -> float | None:
        """Seconds until the next exchange should begin, None where nothing is to be said."""
        with self._lock:
            if self._in_flight is not None:
                return max(0.0, self._in_flight.started_s + TAKEOVER_S - now_s)
            wanted = [want.retry_s for want in self._wants]
            wanted += [0.0 for peek in self._peeks if peek.future is not None]
            return self._pace.due_s(
                now_s,
                wanted,
                queued=len(self._queue),
                has_leases=bool(self._slices.active),
                has_more=self._is_adrift or bool(self._peeks),
            )

    def begin(self, now_s: float, *, is_leaving: bool = False) -> Exchange | None:
        """Draws up the next exchange; None while another one is on its way."""
        with self._lock:
            if self._in_flight is not None:
                if now_s < self._in_flight.started_s + TAKEOVER_S:
                    return None
                self._put_back(self._in_flight)
            self._is_adrift = self._is_adrift or now_s >= self._slices.lapses_s
            concerned = self._concerned(now_s, is_leaving=is_leaving)
            wants = [want for want in self._wants if not want.is_over]
            if not (self._queue or wants or self._peeks or concerned or is_leaving or self._pace.must_renew(now_s)):
                self._wants, self._is_adrift = [], False
                self._pace.relax()
                return None
            exchange = self._in_flight = Exchange(
                [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))],
                wants,
                self._peeks,
                concerned,
                now_s=now_s,
                is_adrift=self._is_adrift,
                is_leaving=is_leaving,
            )
            self._pace.began(now_s, len(exchange.batch))
            self._wants, self._peeks = [], []
            exchange.sign(self.identity)
            return exchange

    def _concerned(self, now_s: float, *, is_leaving: bool) -> list[Slice]:
        """Slices to speak of though no settlement and no hold names them."""
        moved = []
        if self._pace.must_scan(now_s):
            moved = self._slices.end_period(now_s)
        return list(self._slices.active) if is_leaving or self._is_adrift else moved

    def finish(self, exchange: Exchange, answer: Answer, now_s: float) -> None:
        """Takes over what the server did."""
        if answer.status != "ok":
            self._repeat(exchange, answer, now_s)
            return
        with self._lock:
            if exchange is not self._in_flight:
                return
            self._in_flight = None
            self.identity.born = answer.born
            self.exchanges += 1
            self._pace.succeeded(exchange.started_s, self.identity.lease_s)
            costs = exchange.absorb(answer, now_s)
            self._slices.lapses_s = exchange.started_s + 0.9 * self.identity.lease_s
            self._is_adrift = not answer.known and self._slices.forfeit(exchange.slices)
            verdicts = [self._judge(exchange, number, answer, now_s) for number in range(len(exchange.wants))]
            for part in exchange.slices:
                self._slices.sort(part)
            self.rows += sum(len(settlement.rows) for settlement in exchange.batch) - len(answer.repeats)
            self.booked_pusd += sum(costs)
            if self._slices.are_many:
                self._slices.prune(self._named())
        for settlement, moved in zip(exchange.batch, exchange.movements(answer, costs), strict=True):
            settlement.tell(None)
            settlement.book(moved)
        for want, is_known, refusal in verdicts:
            if is_known:
                complete(want.future, refusal)
        for peek in exchange.peeks:
            if peek.future is not None:
                complete(peek.future, None)

    def turn_away(self, error: LedgerError) -> None:
        """Fails every hold and question that waits."""
        with self._lock:
            wants, peeks, self._wants, self._peeks = self._wants, self._peeks, [], []
            for want in wants:
                want.is_over = True
        for future in _futures(wants, peeks):
            complete(future, error)

    def fail(self, exchange: Exchange, error: LedgerError, now_s: float) -> int:
        """Keeps the settlements for the next try; whoever waits is told. Gives the failures in a row."""
        with self._lock:
            if exchange is not self._in_flight:
                return 0
            wants, peeks = exchange.wants, exchange.peeks
            exchange.wants, exchange.peeks = [], []
            for want in wants:
                want.is_over = True
            self._put_back(exchange)
            in_a_row = self._pace.failed_at(now_s)
            self.failures += 1
        for settlement in exchange.batch:
            settlement.tell(error)
        for future in _futures(wants, peeks):
            complete(future, error)
        return in_a_row

    def _repeat(self, exchange: Exchange, answer: Answer, now_s: float) -> None:
        """Draws the exchange up anew: the server did nothing, because it had heard a later one or lost its data."""
        with self._lock:
            if exchange is not self._in_flight:
                return
            self._put_back(exchange)
            self._is_adrift = True
            self._pace.hurry(now_s)
            if answer.status != "lost":
                return
            self.losses += 1
            self.identity.born = answer.born
            self._slices.outlive()
        _log.error(
            "the shared ledger's server has lost its data: this process told it what it knew to be spent, "
            "the rows written so far are gone there"
        )

    def _put_back(self, exchange: Exchange) -> None:
        self._in_flight = None
        self._queue.extendleft(reversed(exchange.batch))
        self._wants = [*exchange.wants, *self._wants]
        self._peeks = [*exchange.peeks, *self._peeks]

    def _judge(
        self, exchange: Exchange, number: int, answer: Answer, now_s: float
    ) -> tuple[Want, bool, Refusal | None]:
        """What became of a hold, and whether that is the last word; where it is not, it is queued again."""
        want, refusal = exchange.wants[number], exchange.refusal(number, answer)
        if refusal is None:
            for _, part in want.limited:
                part.lease_pusd += want.amount_pusd
            if not want.is_over:
                want.is_granted = want.is_over = True
                for part in want.slices:
                    part.held_pusd += want.amount_pusd
        elif not want.is_over and not answer.verdicts[number].firm and now_s < want.patient_until_s:
            want.retry_s = now_s + RETRY_WANT_S
            self._wants.append(want)
            return want, False, None
        want.is_over = True
        return want, True, refusal

    def _named(self) -> set[Slice]:
        """Slices that a settlement or a waiting hold still speaks of."""
        waiting: list[Settlement | Want | Peek] = [*self._queue, *self._wants, *self._peeks]
        return set(itertools.chain.from_iterable(each.slices for each in waiting))


def _futures(wants: list[Want], peeks: list[Peek]) -> list[Future]:
    return [want.future for want in wants] + [peek.future for peek in peeks if peek.future is not None]


__all__ = ["KEPT_UNREPORTED", "Book"]

"""This process's side of the shared ledger: its slices, and who waits for the next exchange. No I/O, no await.

Every method is one step under one lock, so several threads' event loops may use it. There is at most one exchange at a
time: `begin` draws it up, or gives it out again where it was not answered, and `finish` ends it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

from ..._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope
from ...errors import LedgerError
from .batches import Batch, Booked, KnownIds, Queue
from .exchange import Exchange, Identity
from .messages import Answer
from .pace import AT_ONCE, BATCH, COMPANY, Pace
from .slices import Slice, Slices
from .waiting import RETRY_S, Future, Peek, Want, complete, futures

KEPT_UNREPORTED: Final = 100_000
"""Settlements kept for a server that is away; beyond, holds fail: what was spent is never dropped."""

_LOOK_AGAIN: Final = (1, COMPANY, BATCH)
TAKEOVER_S: Final = 15.0

_log = logging.getLogger("genops_helicone_async.ledger")


class Book:
    """Slices, the queue of settlements, and waiting holds of one process.

    Args:
        identity: The process's name on the server and the length of its lease.
        flush_s: How long a settlement may wait for company; one that somebody waits for does not.
        ring_soon: Called where somebody waits for a settlement.
    """

    def __init__(self, identity: Identity, flush_s: float, ring_soon: Callable[[], None]) -> None:
        self.identity = identity
        self.rows = self.booked_pusd = self.exchanges = self.failures = self.losses = 0
        self._lock = threading.Lock()
        self._pace = Pace(flush_s)
        self._slices = Slices()
        self._queue = Queue(ring_soon)
        self._ids = KnownIds()
        self._wants: list[Want] = []
        self._peeks: list[Peek] = []
        self._exchange: Exchange | None = None
        self._carried_until_s = -math.inf
        self._is_adrift = False

    # what callers do

    def take(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool, now_s: float) -> bool:
        """Holds the amount in every scope out of slack, or not at all."""
        with self._lock:
            if self._queue.settlements >= KEPT_UNREPORTED:
                return False
            return self._slices.take(scopes, amount_pusd, enforce=enforce, now_s=now_s)

    def want(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool, now_s: float) -> Want:
        """Queues a hold for the next exchange."""
        with self._lock:
            want = Want(self._slices.group(scopes), amount_pusd, now_s, enforce=enforce)
            for _, part in want.limited:
                part.taken_pusd += amount_pusd
                part.calls += 1
            self._wants.append(want)
            return want

    def withdraw(self, want: Want) -> None:
        """Gives up a hold, also one that was granted a moment ago."""
        with self._lock:
            if want.is_granted:
                want.group.hold(-want.amount_pusd)
            want.is_granted, want.is_over = False, True

    def settle(
        self, scopes: Sequence[Scope], held_pusd: int, rows: Sequence[LedgerRow], booked: Booked, now_s: float
    ) -> tuple[Batch | None, bool]:
        """Frees a hold and queues what is to be reported; and whether the queue has to be looked at anew.

        None where there is nothing to report: no rows, and nothing leased in the accounts.
        """
        with self._lock:
            group = self._slices.group(scopes)
            new = rows if self._ids.are_new(rows) else [row for row in rows if self._ids.add(row.request_id)]
            cost_pusd = sum([row.cost_pusd for row in new])
            for part in group.slices:
                part.held_pusd -= held_pusd
                part.unreported_pusd += cost_pusd
                part.slack_pusd += held_pusd - cost_pusd
            if rows or not self._slices.active.isdisjoint(group.slices):
                batch = self._queue.add((group, new, cost_pusd, booked))
                if self._queue.settlements == 1:
                    self._pace.queued(now_s)
                return batch, self._queue.settlements in _LOOK_AGAIN
            known = self._slices.accounts(scopes)
        booked(
            tuple(
                Movement(scope=scope, before_pusd=account.settled_pusd, after_pusd=account.settled_pusd)
                for scope, account in zip(scopes, known, strict=True)
            )
        )
        return None, False

    def peek(self, scopes: Sequence[Scope]) -> Future:
        """Queues a question for the server's figures."""
        with self._lock:
            future: Future = asyncio.get_running_loop().create_future()
            self._peeks.append(Peek(self._slices.group(scopes).slices, future))
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
            entries = [*(self._exchange.entries() if self._exchange else ()), *self._queue.entries()]
            return len(entries), sum(entry[2] for entry in entries)

    def leased_pusd(self) -> int:
        """What is leased now, over all scopes."""
        with self._lock:
            return sum(part.lease_pusd for part in self._slices.active)

    @property
    def is_open(self) -> bool:
        """Whether anything is left to report or to give back."""
        return self._exchange is not None or self._queue.settlements > 0 or self.leased_pusd() > 0

    # what the courier does

    def due_s(self, now_s: float) -> float | None:
        """Seconds until the next exchange should begin, None where nothing is to be said."""
        with self._lock:
            if self._exchange is not None and now_s < self._carried_until_s:
                return self._carried_until_s - now_s
            wanted = [want.retry_s for want in self._wants]
            wanted += [AT_ONCE for peek in self._peeks if peek.future is not None]
            return self._pace.due_s(
                now_s,
                wanted,
                queued=self._queue.settlements,
                has_leases=bool(self._slices.active),
                has_more=self._is_adrift or bool(self._peeks) or self._exchange is not None,
            )

    def begin(self, now_s: float, *, is_leaving: bool = False) -> Exchange | None:
        """Draws up the next exchange; None while it is on its way already, and where nothing is to be said.

        One that leaves is always drawn up, and waits for nobody. One that was not answered comes first.
        """
        with self._lock:
            if self._exchange is not None:
                if now_s < self._carried_until_s and not is_leaving:
                    return None
                self._carried_until_s = now_s + TAKEOVER_S
                self._pace.relax()
                return self._exchange
            self._is_adrift = self._is_adrift or now_s >= self._slices.lapses_s
            concerned = self._concerned(now_s, is_leaving=is_leaving)
            wants = [want for want in self._wants if not want.is_over]
            has_news = self._queue.settlements or wants or self._peeks or concerned
            if not (has_news or is_leaving or self._pace.must_renew(now_s)):
                self._wants, self._is_adrift = [], False
                self._pace.relax()
                return None
            self._carried_until_s = now_s + TAKEOVER_S
            exchange = self._exchange = Exchange(
                self._queue.take(),
                wants,
                self._peeks,
                concerned,
                now_s=now_s,
                is_adrift=self._is_adrift,
                is_leaving=is_leaving,
            )
            self._pace.began(now_s, sum(len(batch.entries) for batch in exchange.batches))
            self._wants, self._peeks = [], []
            exchange.sign(self.identity)
            return exchange

    def _concerned(self, now_s: float, *, is_leaving: bool) -> list[Slice]:
        """Slices to speak of though no settlement and no hold names them."""
        moved = self._slices.end_period(now_s) if self._pace.must_scan(now_s) else []
        return list(self._slices.active) if is_leaving or self._is_adrift else moved

    def finish(self, exchange: Exchange, answer: Answer, now_s: float) -> None:
        """Takes over what the server did."""
        if answer.status != "ok":
            self._repeat(exchange, answer, now_s)
            return
        with self._lock:
            if exchange is not self._exchange:
                return
            costs = exchange.absorb(answer, now_s)
            self._exchange = None
            self.identity.born = answer.born
            self.exchanges += 1
            self._pace.succeeded(exchange.started_s, self.identity.lease_s)
            self._slices.lapses_s = exchange.started_s + 0.9 * self.identity.lease_s
            self._is_adrift = not answer.known and self._slices.forfeit(exchange.slices)
            verdicts = [self._judge(exchange, number, answer, now_s) for number in range(len(exchange.wants))]
            served = self._serve()
            for part in exchange.slices:
                self._slices.sort(part)
            self.rows += sum(len(entry[1]) for entry in exchange.entries()) - len(answer.repeats)
            self.booked_pusd += sum(costs)
            if self._slices.are_many:
                groups = [entry[0].slices for entry in self._queue.entries()]
                groups += [want.group.slices for want in self._wants] + [peek.slices for peek in self._peeks]
                self._slices.prune(set(itertools.chain.from_iterable(groups)))
        movements = exchange.movements(answer, costs)
        for batch in exchange.batches:
            # In this order: whoever awaited the settlement may end its loop as soon as it is told.
            batch.book(movements)
            batch.tell(None)
        for want, is_known, refusal in verdicts:
            if is_known:
                complete(want.future, refusal)
        for want in served:
            complete(want.future, None)
        for future in futures([], exchange.peeks):
            complete(future, None)

    def turn_away(self, error: LedgerError) -> None:
        """Fails every hold and question that waits."""
        with self._lock:
            wants, peeks, self._wants, self._peeks = self._wants, self._peeks, [], []
            for want in wants:
                want.is_over = True
        for future in futures(wants, peeks):
            complete(future, error)

    def fail(self, exchange: Exchange, error: LedgerError, now_s: float) -> int:
        """Keeps the exchange for the next try; whoever waits is told. Gives the failures in a row."""
        with self._lock:
            if exchange is not self._exchange:
                return 0
            self._carried_until_s = -math.inf
            wants, peeks, self._wants, self._peeks = self._wants, self._peeks, [], []
            for want in (*exchange.wants, *wants):
                want.is_over = True
            in_a_row = self._pace.failed_at(now_s)
            self.failures += 1
        for batch in exchange.batches:
            batch.tell(error)
        for future in futures([*exchange.wants, *wants], [*exchange.peeks, *peeks]):
            complete(future, error)
        return in_a_row

    def abandon(self, exchange: Exchange) -> None:
        """Leaves it to another loop's courier: this one's loop ends."""
        with self._lock:
            if exchange is self._exchange:
                self._carried_until_s = -math.inf

    def _repeat(self, exchange: Exchange, answer: Answer, now_s: float) -> None:
        """Has it drawn up anew: the server did nothing, because it had heard a later one or lost its data."""
        with self._lock:
            if exchange is not self._exchange:
                return
            self._exchange = None
            self._queue.put_back(exchange.batches)
            self._wants = [*exchange.wants, *self._wants]
            self._peeks = [*exchange.peeks, *self._peeks]
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

    def _judge(
        self, exchange: Exchange, number: int, answer: Answer, now_s: float
    ) -> tuple[Want, bool, Refusal | None]:
        """What became of a hold, and whether that is the last word; where it is not, it is queued again."""
        want, refusal = exchange.wants[number], exchange.refusal(number, answer)
        if refusal is None:
            for _, part in want.limited:
                part.slack_pusd += want.amount_pusd
            want.grant()
        elif not want.is_over and not answer.verdicts[number].firm and now_s < want.patient_until_s:
            want.retry_s = now_s + RETRY_S
            self._wants.append(want)
            return want, False, None
        want.is_over = True
        return want, True, refusal

    def _serve(self) -> list[Want]:
        """Grants what came in while the exchange was under way out of the slack that it brought."""
        served = [want for want in self._wants if want.fits() and want.grant()]
        self._wants = [want for want in self._wants if not want.is_over]
        return served


__all__ = ["KEPT_UNREPORTED", "Book"]

"""Sums over ended calls: what they cost, by whom and for whom. Integers inside, dollars outside."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

import msgspec

from .._rules.ledger import LedgerRow
from .._rules.put_off import grouped, taken
from .._values import Currency
from ..models import HeliconeResponse
from .ticket import RequestRecord

_MOST_KEYS = 10_000
_MOST_PUT_OFF = 256
_names_of = attrgetter("provider", "model", "team")
_cost_pusd_of, _gateway_pusd_of = attrgetter("cost_pusd"), attrgetter("gateway_pusd")
_input_tokens_of, _output_tokens_of = attrgetter("input_tokens"), attrgetter("output_tokens")
OVERFLOW = "(other)"
"""Where spending is counted once a breakdown has 10,000 names."""


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's calls came to so far. Money is dollars, `duration_s` counts from the session's start.

    `total_cost` includes `gateway_fees`, and what failed attempts are estimated to have cost. `request_count` counts
    ended calls, `error_count` those of them that failed. `cache_hits` were answered by a cache, and `saved_cost` is
    what the answers from our own had cost when they were asked for.
    """

    session_id: str
    total_cost: float
    cost_by_provider: dict[str, float]
    cost_by_model: dict[str, float]
    cost_by_team: dict[str, float]
    gateway_fees: float
    request_count: int
    error_count: int
    cache_hits: int
    input_tokens: int
    output_tokens: int
    duration_s: float
    saved_cost: float = 0.0


class Tally:
    """Adds up rows, those of many calls in one go, at the latest when somebody asks. Safe from several threads."""

    __slots__ = (
        "_by_model", "_by_provider", "_by_team", "_currency", "_errors", "_fees_pusd", "_hits", "_input_tokens",
        "_lock", "_output_tokens", "_put_off", "_requests", "_saved_pusd", "_started", "_total_pusd", "session_id",
    )  # fmt: skip

    def __init__(self, session_id: str = "", currency: Currency | None = None) -> None:
        self.session_id = session_id
        self._total_pusd = 0
        self._put_off: deque[LedgerRow] = deque()
        self._currency = currency or Currency()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._by_provider: dict[str, int] = {}
        self._by_model: dict[str, int] = {}
        self._by_team: dict[str, int] = {}
        self._requests = self._errors = self._hits = 0
        self._saved_pusd = self._fees_pusd = self._input_tokens = self._output_tokens = 0

    def __call__(self, record: RequestRecord) -> None:
        """Counts the call that a record is of, as a sink; a plain one before anybody reads, without the lock."""
        if record.is_plain:
            put_off = self._put_off
            put_off.append(record.rows[0])
            if len(put_off) >= _MOST_PUT_OFF:
                with self._lock:
                    self._catch_up()
            return
        response = record.response
        cached = isinstance(response, HeliconeResponse) and response.cached
        self.add(record.rows, failed=record.error is not None, cached=cached, saved_pusd=record.saved_pusd)

    def add(self, rows: Sequence[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> None:
        """Counts one ended call with the rows of its attempts."""
        with self._lock:
            self._requests += 1
            self._errors += failed
            self._hits += cached
            self._saved_pusd += saved_pusd
            self._add_up(rows)

    def later(self, row: LedgerRow) -> None:
        """Counts an answered call of one attempt, in the same way as a plain one."""
        put_off = self._put_off
        put_off.append(row)
        if len(put_off) >= _MOST_PUT_OFF:
            with self._lock:
                self._catch_up()

    def _catch_up(self) -> None:
        """Adds up what was put off, the row of an answered call each; the caller holds the lock."""
        rows = taken(self._put_off)
        self._requests += len(rows)
        self._add_up(rows)

    def _add_up(self, rows: Sequence[LedgerRow]) -> None:
        """Adds rows to all sums; the caller holds the lock."""
        for (provider, model, team), group in grouped(rows, map(_names_of, rows)).items():
            cost_pusd = sum(map(_cost_pusd_of, group))
            self._total_pusd += cost_pusd
            self._fees_pusd += sum(map(_gateway_pusd_of, group))
            self._input_tokens += sum(map(_input_tokens_of, group))
            self._output_tokens += sum(map(_output_tokens_of, group))
            _count(self._by_provider, provider, cost_pusd)
            _count(self._by_model, model, cost_pusd)
            if team:
                _count(self._by_team, team, cost_pusd)

    def summary(self) -> SessionSummary:
        """The sums so far."""
        with self._lock:
            self._catch_up()
            return SessionSummary(
                session_id=self.session_id,
                total_cost=self._currency.of(self._total_pusd),
                cost_by_provider=self._money(self._by_provider),
                cost_by_model=self._money(self._by_model),
                cost_by_team=self._money(self._by_team),
                gateway_fees=self._currency.of(self._fees_pusd),
                request_count=self._requests,
                error_count=self._errors,
                cache_hits=self._hits,
                input_tokens=self._input_tokens,
                output_tokens=self._output_tokens,
                duration_s=time.monotonic() - self._started,
                saved_cost=self._currency.of(self._saved_pusd),
            )

    def _money(self, sums: dict[str, int]) -> dict[str, float]:
        return {name: self._currency.of(pusd) for name, pusd in sums.items()}


def _count(sums: dict[str, int], name: str, pusd: int) -> None:
    known = sums.get(name)
    if known is not None:
        sums[name] = known + pusd
    elif len(sums) < _MOST_KEYS:
        sums[name] = pusd
    else:
        sums[OVERFLOW] = sums.get(OVERFLOW, 0) + pusd


__all__ = ["OVERFLOW", "SessionSummary", "Tally"]

"""Sums over ended calls: what they cost, by whom and for whom. Integers inside, dollars outside."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from .._rules.ledger import LedgerRow
from .._values import Currency

_MOST_KEYS = 10_000
_MOST_PUT_OFF = 256
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
        self._put_off: deque[tuple[Sequence[LedgerRow], bool, bool, int]] = deque()
        self._currency = currency or Currency()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._by_provider: dict[str, int] = {}
        self._by_model: dict[str, int] = {}
        self._by_team: dict[str, int] = {}
        self._requests = self._errors = self._hits = 0
        self._saved_pusd = self._fees_pusd = self._input_tokens = self._output_tokens = 0

    def add(self, rows: Sequence[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> None:
        """Counts one ended call with the rows of its attempts."""
        put_off = self._put_off
        put_off.append((rows, failed, cached, saved_pusd))
        if len(put_off) >= _MOST_PUT_OFF:
            with self._lock:
                self._catch_up()

    def _catch_up(self) -> None:
        """Adds up what was put off; the caller holds the lock."""
        put_off = self._put_off
        while put_off:
            rows, failed, cached, saved_pusd = put_off.popleft()
            self._requests += 1
            self._errors += failed
            self._hits += cached
            self._saved_pusd += saved_pusd
            for row in rows:
                cost_pusd = row.cost_pusd
                self._total_pusd += cost_pusd
                self._fees_pusd += row.gateway_pusd
                self._input_tokens += row.input_tokens
                self._output_tokens += row.output_tokens
                _count(self._by_provider, row.provider, cost_pusd)
                _count(self._by_model, row.model, cost_pusd)
                if row.team:
                    _count(self._by_team, row.team, cost_pusd)

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

"""Sums over ended calls: what they cost, by whom and for whom. Integers inside, dollars outside."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from .._rules.ledger import LedgerRow
from .._values import Currency

_MOST_KEYS = 10_000
OVERFLOW = "(other)"
"""Where spending is counted once a breakdown has 10,000 names."""


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's calls came to so far. Money is dollars, `duration_s` counts from the session's start.

    `total_cost` includes `gateway_fees`, and what failed attempts are estimated to have cost. `request_count` counts
    ended calls, `error_count` those of them that failed.
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


class Tally:
    """Adds up rows. Safe from several threads."""

    __slots__ = ("_by_model", "_by_provider", "_by_team", "_counts", "_currency", "_lock", "_started", "session_id")

    def __init__(self, session_id: str = "", currency: Currency | None = None) -> None:
        self.session_id = session_id
        self._currency = currency or Currency()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._by_provider: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()
        self._by_team: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, rows: Sequence[LedgerRow], *, failed: bool, cached: bool) -> None:
        """Counts one ended call with the rows of its attempts."""
        with self._lock:
            counts = self._counts
            counts["requests"] += 1
            counts["errors"] += failed
            counts["hits"] += cached
            for row in rows:
                counts["cost"] += row.cost_pusd
                counts["fees"] += row.gateway_pusd
                counts["input"] += row.input_tokens
                counts["output"] += row.output_tokens
                _count(self._by_provider, row.provider, row.cost_pusd)
                _count(self._by_model, row.model, row.cost_pusd)
                if row.team:
                    _count(self._by_team, row.team, row.cost_pusd)

    @property
    def total_pusd(self) -> int:
        """The exact sum in pico-dollars."""
        return self._counts["cost"]

    def summary(self) -> SessionSummary:
        """The sums so far."""
        with self._lock:
            counts = self._counts
            return SessionSummary(
                session_id=self.session_id,
                total_cost=self._currency.of(counts["cost"]),
                cost_by_provider=self._money(self._by_provider),
                cost_by_model=self._money(self._by_model),
                cost_by_team=self._money(self._by_team),
                gateway_fees=self._currency.of(counts["fees"]),
                request_count=counts["requests"],
                error_count=counts["errors"],
                cache_hits=counts["hits"],
                input_tokens=counts["input"],
                output_tokens=counts["output"],
                duration_s=time.monotonic() - self._started,
            )

    def _money(self, counter: Counter[str]) -> dict[str, float]:
        return {name: self._currency.of(pusd) for name, pusd in counter.items()}


def _count(counter: Counter[str], name: str, pusd: int) -> None:
    if name not in counter and len(counter) >= _MOST_KEYS:
        name = OVERFLOW
    counter[name] += pusd


__all__ = ["OVERFLOW", "SessionSummary", "Tally"]

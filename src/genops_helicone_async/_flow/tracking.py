"""Cost trackers: every call made inside a `with` block counts, in tasks started there too."""

from __future__ import annotations

import math
import threading
from contextvars import ContextVar
from typing import Self

from .._rules.accounts import Accounts
from .._rules.ledger import LedgerRow, Refusal, Scope, cost_of
from ..errors import ConfigurationError
from ..models import PUSD_PER_USD
from .tally import SessionSummary, Tally

_active: ContextVar[tuple[CostTracker, ...]] = ContextVar("genops_helicone_trackers", default=())


class CostTracker:
    """Adds up the calls begun in its `with` or `async with` block, those of tasks started inside included.

    Trackers nest: an inner call counts in all around it. Concurrent blocks do not mix. With a `budget` in dollars,
    calls that could exceed it are refused before anything is sent. `has_limit` says whether it has one.

    One tracker may stand around several blocks, also at once. A thread has no part in the block that it was started
    in (`asyncio.to_thread` has): let it enter the same tracker.
    """

    __slots__ = ("_accounts", "_lock", "_scopes", "_tally", "has_limit")

    def __init__(self, session_id: str | None = None, *, budget: float | None = None) -> None:
        limit: int | None = None
        if budget is not None:
            if isinstance(budget, bool) or not isinstance(budget, int | float):
                raise TypeError(f"`budget` must be a number of dollars, not {type(budget).__name__}")
            if not (math.isfinite(budget) and budget >= 0):
                raise ConfigurationError(f"`budget` is {budget!r}: give a finite number of dollars, 0 or more")
            limit = round(budget * PUSD_PER_USD)
        if session_id is not None and (not isinstance(session_id, str) or not session_id):
            raise ConfigurationError("`session_id` must be a non-empty text, or left out")
        self._tally = Tally(session_id or "")
        self._scopes = (Scope(name=f"session:{session_id or 'unnamed'}", limit_pusd=limit),)
        self._accounts = Accounts()
        self._lock = threading.Lock()
        self.has_limit = limit is not None

    def __repr__(self) -> str:
        summary = self._tally.summary()
        return f"CostTracker({summary.session_id!r}, {summary.request_count} calls, ${summary.total_cost:.6f})"

    def __enter__(self) -> Self:
        _active.set((*_active.get(), self))
        return self

    def __exit__(self, *exc: object) -> None:
        # Not by a token: a generator's block may end in another context than it began in, and blocks may overlap.
        around = _active.get()
        if self in around:
            innermost = len(around) - 1 - around[::-1].index(self)
            _active.set(around[:innermost] + around[innermost + 1 :])

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def get_session_summary(self) -> SessionSummary:
        """What the block's calls came to so far; calls still on their way are not in it."""
        return self._tally.summary()

    def hold(self, amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """Sets an amount of the tracker's own budget aside."""
        with self._lock:
            return self._accounts.hold(self._scopes, amount_pusd, enforce=enforce)

    def settle(self, held_pusd: int, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> None:
        """Replaces the hold by what the call cost, and counts the call."""
        cost_pusd = cost_of(rows)
        with self._lock:
            self._accounts.settle(self._scopes, held_pusd, cost_pusd)
        if len(rows) == 1 and not (failed or cached or saved_pusd):
            self._tally.later(rows[0])
        else:
            self._tally.add(rows, failed=failed, cached=cached, saved_pusd=saved_pusd)

    def release(self, held_pusd: int) -> None:
        """Gives a hold back without a call."""
        with self._lock:
            self._accounts.settle(self._scopes, held_pusd, 0)


trackers_around = _active.get
"""The trackers around the running code, outermost first; one may be there more than once."""


def active_trackers() -> tuple[CostTracker, ...]:
    """The trackers around the running code, outermost first, each once."""
    return tuple(dict.fromkeys(_active.get()))


def multi_provider_cost_tracking(session_id: str | None = None, *, budget: float | None = None) -> CostTracker:
    """A tracker of what the calls in a block cost.

    `with multi_provider_cost_tracking(…) as tracker: …` counts every call begun inside, of every adapter,
    synchronous or not; so does `async with`. Blocks nest, and concurrent ones do not mix.

    Raises:
        ConfigurationError: `session_id` or `budget` makes no sense.
    """
    return CostTracker(session_id, budget=budget)


__all__ = ["CostTracker", "active_trackers", "multi_provider_cost_tracking", "trackers_around"]

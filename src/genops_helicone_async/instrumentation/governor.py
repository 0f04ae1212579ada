"""What governs the calls of other clients: the parts of an adapter, without a transport of its own."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._assembly import Parts, assemble, close, open_ledger
from .._edges.limits import Limits
from .._edges.loop_thread import LoopThread
from .._edges.price_book import PriceBook
from .._flow.attempt import Attempts
from .._flow.limit_ports import Gate
from .._flow.ticket import Ticket
from ..config import Settings
from ..errors import RateLimitExceededError
from .asked import asked_of
from .foreign_call import ForeignCall
from .loop_ledger import LoopLedger
from .places import Place

_thread = LoopThread()
"""Where whatever has to wait does so: prices, budgets in a durable ledger, limits."""


class Governor:
    """Makes a `ForeignCall` of each request to Helicone; safe from any thread and any event loop."""

    __slots__ = ("_durable", "_limits", "attempts", "book", "clock", "enforces", "parts")

    def __init__(self, settings: Settings, *, enforces: bool) -> None:
        self._durable: LoopLedger | None = None
        if settings.state_url is not None:
            self._durable = LoopLedger(open_ledger(settings.state_url), _thread)
        self.parts: Parts = assemble(settings, None, self._durable)
        self.enforces = enforces
        self.clock = time.monotonic
        self._limits: Limits | None = None
        shared = self.parts.shared
        assert isinstance(shared.prices, PriceBook)
        self.book = shared.prices
        self.attempts = Attempts(
            _NoTransport(), self.clock, shared.new_id, fees=settings.gateway_fee_rates, estimates=shared.estimates,
            currency=shared.currency, traced=shared.tracing.is_on,
        )  # fmt: skip
        if self._durable is not None:
            _thread.call(_nothing)  # its thread ends with the process, and what is registered later ends before it
            atexit.register(self._durable.flush)

    @property
    def decides_at_once(self) -> bool:
        """Whether budgets are decided in the caller's thread."""
        return self._durable is None

    def begin(self, place: Place, headers: Mapping[str, str], body: bytes) -> ForeignCall | None:
        """The call that this request makes; None where it makes none that is understood."""
        asked = asked_of(place, body, headers)
        return None if asked is None else ForeignCall(self, asked)

    def limits(self, provider: str) -> bool:
        """Whether calls to the provider have to wait for their turn."""
        if not self.enforces:
            return False
        plan = self.parts.limits.plan.of(provider)
        configured = (plan.requests_per_minute, plan.tokens_per_minute, plan.max_concurrency)
        return any(limit is not None for limit in configured)

    def gate(self, provider: str) -> Gate:
        """The provider's gate; to be asked for on the loop thread."""
        if self._limits is None:
            most = self.parts.shared.settings.max_connections
            self._limits = self.parts.limits.on(asyncio.get_running_loop(), most)
        return self._limits.gate(provider)

    def post(self, step: Callable[..., Any], *arguments: Any) -> None:
        """Has the loop thread do something soon, in the order asked."""
        _thread.post(step, *arguments)

    @staticmethod
    def end_turn(ticket: Ticket, error: BaseException | None) -> None:
        """On the loop thread: gives back what a call holds of its provider's limits, and tells them how it went."""
        turn = ticket.turn
        if turn is None:
            return
        if isinstance(error, RateLimitExceededError) and error.limited_by == "provider":
            turn.gate.refused(turn.model, ticket.started, error.retry_after_s)
        elif error is None:
            turn.gate.accepted()
        ticket.end_turn()

    def close(self) -> None:
        """Has everything written and exported that was counted; some seconds at most."""
        if self._durable is not None:
            self._durable.flush()
            atexit.unregister(self._durable.flush)
        _thread.call(self._aclose)

    async def _aclose(self) -> None:
        if self._limits is not None:
            self._limits.close()
        await close(self.parts)


class _NoTransport:
    """The transport of attempts that other clients make."""

    __slots__ = ()

    async def send(self, request: object, deadline: float) -> Any:
        """Nothing is sent here."""
        raise NotImplementedError

    async def open(self, request: object, deadline: float) -> Any:
        """Nothing is sent here."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """There is nothing to close."""


async def _nothing() -> None:
    pass


def loop_thread() -> LoopThread:
    """The thread on which calls wait."""
    return _thread


__all__ = ["Governor", "loop_thread"]

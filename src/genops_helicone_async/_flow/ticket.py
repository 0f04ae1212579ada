"""What is known about one call while it lives: made at admission, filled by each step, read at settling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from .._rules.ledger import LedgerRow
from .._rules.prices import Price
from .._values import Reply, TokenCounts
from .._wire.dialects import Endpoint
from ..chat_request import ChatRequest
from ..errors import Attempt, HeliconeError
from ..models import BudgetAlert, CostSource, EmbeddingResponse, HeliconeResponse, RoutingDecision
from .budget_standing import BudgetStanding
from .limit_ports import Gate
from .ports import NO_HOLD, Durable, Hold

if TYPE_CHECKING:
    from .replay import Lead


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A place a call may go to, with what it costs there; `price` is None where no price is known."""

    endpoint: Endpoint
    price: Price | None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt cost, in pico-dollars: the provider's part and the gateway's fee."""

    provider_pusd: int = 0
    gateway_pusd: int = 0
    source: CostSource = "computed"

    @property
    def total_pusd(self) -> int:
        """Both parts together."""
        return self.provider_pusd + self.gateway_pusd


class Reserved(msgspec.Struct, frozen=True):
    """What was set aside for one attempt, in pico-dollars; in tokens where no price is known.

    `budget` is what the tightest budget stood at then, where telemetry asks for it.
    """

    pusd: int = 0
    tokens: int | None = None
    budget: BudgetStanding | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A target that our own limits kept the call from: it waited there in vain; seconds since the call began.

    `after` is how many attempts the call had made before.
    """

    target: Target
    error: HeliconeError
    began_s: float
    ended_s: float
    after: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A successful attempt: who answered, what it said and cost, and how long it took in seconds."""

    target: Target
    request_id: str
    reply: Reply
    headers: Mapping[str, str]
    body: bytes
    duration_s: float
    charge: Charge
    counts: TokenCounts
    is_cached: bool = False
    """Whether the gateway answered from its cache."""


class Turn(msgspec.Struct):
    """An attempt's place among those under way: the gate it went through, and the tokens reserved for it there.

    `used` is how many of them it took, None until it has been written down: then it never went out.
    """

    gate: Gate
    model: str
    tokens: float
    used: float | None = None


class Exchange(msgspec.Struct, kw_only=True):
    """What one attempt sent, since `at_s` (Unix seconds), and what came back: kept only where somebody asked for it.

    `passed_helicone`: the reply says so. `reply_body` is empty for a stream.
    """

    endpoint: Endpoint
    url: str
    body: bytes
    at_s: float
    reply: Reply | None = None
    reply_body: bytes = b""
    passed_helicone: bool = False


class Ticket(msgspec.Struct, kw_only=True):
    """One call that has begun. Times are seconds on the loop's clock; `failed_pusd` what failed attempts may cost.

    `meant` is the first candidate, `turn` that of the attempt under way, `lead` what the call does for others that ask
    the same.
    """

    request: ChatRequest
    attribution: Mapping[str, str]
    headers: Mapping[str, str]
    started: float
    deadline: float
    hold: Hold = NO_HOLD
    context: Context = msgspec.field(default_factory=copy_context)
    reserved: dict[str, Reserved] = msgspec.field(default_factory=dict)
    refusals: list[Refused] = msgspec.field(default_factory=list)
    meant: Endpoint | None = None
    streamed: bool = False
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    rows: list[LedgerRow] = msgspec.field(default_factory=list)
    exchanges: dict[str, Exchange] = msgspec.field(default_factory=dict)
    durable: Durable = None
    turn: Turn | None = None
    routing: RoutingDecision | None = None
    failed_pusd: int = 0
    retried: bool = False
    settled: bool = False
    lead: Lead | None = None
    audit_id: str = ""

    def heard(self, headers: Mapping[str, str]) -> None:
        """A reply has come: its headers may tell limits of the provider's own."""
        if self.turn is not None:
            self.turn.gate.heard(self.turn.model, headers)

    def came_back(
        self, request_id: str, reply: Reply, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Keeps an attempt's reply, or what there is of it, beside its request where that was kept."""
        exchange = self.exchanges.get(request_id)
        if exchange is not None:
            exchange.reply, exchange.reply_body = reply, body
            exchange.passed_helicone = headers is not None and "helicone-id" in headers

    def refused(self, target: Target, error: HeliconeError, began: float, now: float) -> None:
        """Notes that the target's limits had no turn for the call; both times are the loop's clock."""
        began_s, ended_s = began - self.started, now - self.started
        self.refusals.append(
            Refused(target=target, error=error, began_s=began_s, ended_s=ended_s, after=len(self.attempts))
        )

    def end_turn(self) -> None:
        """Gives back what the attempt under way holds of its provider's limits; without effect where none is."""
        turn = self.turn
        if turn is not None:
            self.turn, used = None, turn.used
            turn.gate.leave(turn.model, turn.tokens, used or 0.0, unsent=used is None)


class RequestRecord(msgspec.Struct, frozen=True):
    """The one record every sink gets when a call has ended, well or not. Money is in pico-dollars.

    `cost_pusd` is what the answer cost, `failed_pusd` what failed attempts may have cost on top (estimated),
    `saved_pusd` what an answer from our own cache had cost when it was asked for; such a call has no attempts.
    `error` is None on success; a cancelled call has its `asyncio.CancelledError` there. `context` is the caller's
    when the call began, `held_pusd` the most that its budgets set aside for it at once, `hold_limited` whether any of
    them has a limit. `exchanges` has, by request id, what was kept of attempts. What comes before `duration_s` is
    taken from the ticket, in one go: see `record_of`.
    """

    request: ChatRequest
    attribution: Mapping[str, str]
    routing: RoutingDecision | None = None
    attempts: Sequence[Attempt] = ()
    rows: Sequence[LedgerRow] = ()
    refusals: Sequence[Refused] = ()
    context: Context = msgspec.field(default_factory=Context)
    streamed: bool = False
    held_pusd: int = 0
    hold_limited: bool = False
    failed_pusd: int = 0
    meant: Endpoint | None = None
    reserved: Mapping[str, Reserved] = {}
    alerts: tuple[BudgetAlert, ...] = ()
    audit_id: str = ""
    exchanges: Mapping[str, Exchange] = {}
    duration_s: float = 0.0
    cost_pusd: int = 0
    saved_pusd: int = 0
    response: HeliconeResponse | EmbeddingResponse | None = None
    error: BaseException | None = None
    is_plain: bool = False
    """Whether it is known to be as nearly all are: a chat, one attempt, a whole answer of a provider's, no more."""


_ELSEWHERE = {"held_pusd": "hold.held_pusd", "hold_limited": "hold.is_limited", "alerts": "hold.alerts"}
_FIELDS = RequestRecord.__struct_fields__
_of_ticket = attrgetter(*(_ELSEWHERE.get(name, name) for name in _FIELDS[: _FIELDS.index("duration_s")]))


def record_of(
    ticket: Ticket,
    now: float,
    *,
    cost_pusd: int = 0,
    saved_pusd: int = 0,
    response: HeliconeResponse | EmbeddingResponse | None = None,
    error: BaseException | None = None,
    is_plain: bool = False,
) -> RequestRecord:
    """The record of a call that ended at `now`, on the loop's clock: its `response`, or its `error`."""
    duration_s = now - ticket.started
    ended = (duration_s, cost_pusd, saved_pusd, response, error, is_plain)
    return RequestRecord(*(*_of_ticket(ticket), *ended))


__all__ = [
    "Charge", "Exchange", "Outcome", "Refused", "RequestRecord", "Reserved", "Target", "Ticket", "Turn", "record_of",
]  # fmt: skip

"""What the flow needs of the world, as Protocols; `_edges/` has the real things, `testing/` stand-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from .._rules.cached_answers import Found, StoreStatistics
from .._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope, Wait
from .._rules.prices import Price
from .._values import HttpReply, HttpRequest
from ..models import BudgetAlert
from .budget_standing import BudgetStanding


class BodyStream(Protocol):
    """A reply whose body is still arriving."""

    status: int
    headers: Mapping[str, str]

    async def read(self, deadline: float) -> bytes:
        """The next bytes, empty at the end."""
        ...

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        ...

    def close(self) -> None:
        """Ends the reply; before the body's end it drops the connection."""
        ...


class Transport(Protocol):
    """Sends requests; every failure is a `HeliconeError`, deadlines are on the event loop's clock."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply."""
        ...

    async def open(self, request: HttpRequest, deadline: float) -> BodyStream:
        """Sends the request and returns when the reply's head is here."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


class Prices(Protocol):
    """Prices by provider and model."""

    @property
    def edition(self) -> object:
        """Another object since any answer of `lookup` has changed, but for prices that have expired."""
        ...

    def lookup(self, provider: str, model: str, now_s: float) -> Any:
        """The `Price`, None if there is none, or a sentinel that is neither where it was not looked for yet."""
        ...

    async def resolve(self, provider: str, model: str) -> Price | None:
        """Looks a price up without blocking the loop."""
        ...


Durable = Awaitable[None] | None
"""What to await to be sure that a settlement is on disk; None where there is nothing to wait for."""


class Hold(Protocol):
    """Money set aside for one call, over every budget that applies. It is ended by `settle`, once."""

    @property
    def is_limited(self) -> bool:
        """Whether any budget with a limit applies, so that the worst case has to be known."""
        ...

    @property
    def is_enforced(self) -> bool:
        """Whether the call is refused where a budget has no room for it."""
        ...

    @property
    def held_pusd(self) -> int:
        """The most that was set aside."""
        ...

    def raise_nowait(self, total_pusd: int) -> bool:
        """As `raise_to`, where that can be decided at once; False where it cannot: then nothing has changed."""
        ...

    async def raise_to(self, total_pusd: int) -> None:
        """Sets aside what is missing to this total; raises `BudgetExceededError` where a budget has no room for it."""
        ...

    def left_pusd(self) -> int | None:
        """What the tightest budget has left besides this hold, as far as this process knows; None without a limit."""
        ...

    def standing(self) -> BudgetStanding | None:
        """What the tightest budget stands at, this hold counted, as far as this process knows; None without a limit."""
        ...

    @property
    def alerts(self) -> tuple[BudgetAlert, ...]:
        """Thresholds that settling this call has passed; a durable store tells of them later, and not here."""
        ...

    def lower_by(self, amount_pusd: int) -> Durable:
        """Frees a part of what is held, without a call."""
        ...

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> Durable:
        """Books what the attempts cost and frees the rest; a second end is without effect.

        `saved_pusd` is what an answer from our own cache had cost when it was asked for.
        """
        ...


class Budget(Protocol):
    """The wall: gives each call its hold."""

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> Hold:
        """The hold of one call, with nothing held yet; `enforce` None takes the budgets' own setting."""
        ...


class Ledger(Protocol):
    """Accounts and rows of what was spent; in memory, in a file, or shared by many machines.

    One process's steps take effect in the order in which they are called. Money is in pico-dollars.
    """

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Sets the amount aside in every scope or in none; `WAIT` where the store has to be asked: then use `hold`."""
        ...

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """The same, asking the store. Cancelling leaves nothing held.

        Raises:
            LedgerError: the store cannot be used; nothing is held.
        """
        ...

    def settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> Awaitable[None] | None:
        """Replaces a hold by the rows' costs, exactly once; rows known by their `request_id` are not booked again.

        Never fails and never waits: what a store cannot take now is kept and tried again. `booked` is called on the
        event loop when it is done. Gives None where it is done at once, else what to await to be sure that it is
        durable; that raises `LedgerError` where it is not.
        """
        ...

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """What is spent and held in each scope, as far as this process knows without waiting."""
        ...

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, of those with a limit, one at least, and what is spent and held in it."""
        ...

    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]:
        """What is spent and held in each scope now, by every process; raises `LedgerError` where that is not known."""
        ...

    async def aclose(self) -> None:
        """Writes what is still to be written and gives back what is held; raises `LedgerError` where it cannot."""
        ...


class AnswerStore(Protocol):
    """Bytes by key, each for a time; where there is no room the least recently used go first."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    def get_nowait(self, key: bytes) -> Found:
        """The bytes kept under the key, None where there are none; `LATER` where that takes a wait: then use `get`."""
        ...

    async def get(self, key: bytes) -> bytes | None:
        """The same, waiting; raises `AnswersUnavailable` where the store cannot be used."""
        ...

    def put_nowait(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """Keeps the bytes; False where that takes a wait: then use `put`, nothing has changed."""
        ...

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """The same, waiting; raises `AnswersUnavailable` where the store cannot be used."""
        ...

    async def prepare(self) -> None:
        """What takes long and is done once a process, such as importing a library."""
        ...

    def statistics(self) -> StoreStatistics:
        """What it holds."""
        ...

    def close_nowait(self) -> None:
        """Has it closed, without waiting; from any thread."""
        ...

    async def aclose(self) -> None:
        """Closes it; it opens again where it is used again."""
        ...


class _NoHold:
    __slots__ = ()
    is_limited = False
    is_enforced = False
    held_pusd = 0
    alerts = ()

    def raise_nowait(self, total_pusd: int) -> bool:
        """There is no limit."""
        return True

    async def raise_to(self, total_pusd: int) -> None:
        """There is no limit."""

    def left_pusd(self) -> int | None:
        """There is no limit."""

    def standing(self) -> BudgetStanding | None:
        """There is no limit."""

    def lower_by(self, amount_pusd: int) -> Durable:
        """There is nothing held."""

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> Durable:
        """Nobody keeps books."""


NO_HOLD: Hold = _NoHold()
"""The hold of a call that has not been given one."""


class NoBudget:
    """The budget of a pipeline that has none: every call is granted."""

    __slots__ = ()

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> Hold:
        """Grants without looking."""
        return NO_HOLD


__all__ = [
    "NO_HOLD",
    "AnswerStore",
    "BodyStream",
    "Budget",
    "Durable",
    "Hold",
    "Ledger",
    "NoBudget",
    "Prices",
    "Transport",
]

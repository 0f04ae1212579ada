"""The money of batch rows: set aside before a batch is submitted, settled row by row as results come, exactly once.

A result goes through the steps of a live call (admission, decoding, ledger, telemetry), with a transport that has the
provider's answer already and the provider's prices for batches. What differs: the row is not routed, not retried, not
limited, and its id follows from its place, so that a ledger that has booked it knows it again.
"""

from __future__ import annotations

import asyncio
import uuid
from array import array
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
import msgspec

from ..._edges.limits.board import LimitBoard
from ..._edges.price_book import PriceBook
from ..._flow.admit import Admission
from ..._flow.caching import Caching
from ..._flow.candidates import Candidates
from ..._flow.pipeline import Pipeline
from ..._flow.ports import BodyStream, Hold
from ..._flow.settle import written
from ..._flow.ticket import Target, Ticket
from ..._rules.prices import Price
from ..._values import HttpReply, HttpRequest
from ..._wire.batches import RowResult
from ...chat_request import ChatRequest
from ...client import GenOpsHeliconeAsyncAdapter
from ...errors import HeliconeError, LedgerError
from ...models import BulkResult, HeliconeResponse, RoutingDecision
from ..rows import Row

_Key = tuple[int, bool | None, tuple[str | None, ...]]
_LONG_S = 1e7
_NAMESPACE = uuid.UUID("8d6e3c1e-3c1b-4b54-9b0e-5f2f5b0a9a51")


class BatchPrices:
    """The price book's prices for batches, in the shape the flow asks for prices."""

    __slots__ = ("_book",)

    def __init__(self, book: PriceBook) -> None:
        self._book = book

    @property
    def edition(self) -> object:
        """The book's."""
        return self._book.edition

    def lookup(self, provider: str, model: str, now_s: float) -> Price | None:
        """The price; at once for what was resolved before."""
        return self._book.batch_price_now(provider, model)

    async def resolve(self, provider: str, model: str) -> Price | None:
        """The price, looked up off the event loop."""
        return await anyio.to_thread.run_sync(self._book.batch_price_now, provider, model)


class _Answered:
    """A transport that has the answer already; asking it takes as long as the batch took."""

    __slots__ = ("elapsed_s", "offset_s", "result")

    def __init__(self) -> None:
        self.result = RowResult(custom_id="")
        self.elapsed_s = self.offset_s = 0.0

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """The row's answer."""
        request.sent = True
        self.offset_s = self.elapsed_s
        return HttpReply(status=self.result.status, headers={}, body=self.result.body)

    async def open(self, request: HttpRequest, deadline: float) -> BodyStream:
        """No row of a batch is streamed."""
        raise NotImplementedError("rows of a batch have whole answers")

    async def aclose(self) -> None:
        """There is nothing open."""


class SettlingDesk:
    """Holds and settles the rows of batches, on the adapter's own ledger, prices and telemetry."""

    __slots__ = ("_answered", "_holds", "_pipeline", "_request_id", "_turn", "_worst")

    def __init__(self, adapter: GenOpsHeliconeAsyncAdapter) -> None:
        parts, self._answered, self._request_id = adapter._parts, _Answered(), ""
        self._turn = asyncio.Lock()
        loop = asyncio.get_running_loop()
        book = parts.shared.prices
        assert isinstance(book, PriceBook)
        shared = msgspec.structs.replace(
            parts.shared, prices=BatchPrices(book), new_id=lambda: self._request_id, caching=Caching()
        )
        limits = LimitBoard().on(loop, 1)
        self._pipeline = Pipeline(shared, self._answered, limits, lambda: loop.time() + self._answered.offset_s)
        self._holds: dict[_Key, Hold] = {}
        self._worst = array("q")

    @property
    def candidates(self) -> Candidates:
        """Who could answer a row, at batch prices."""
        return self._pipeline.candidates

    async def hold(self, number: int, row: Row, target: Target, *, enforce: bool | None = None) -> None:
        """Sets the row's worst case aside, in the hold of its batch.

        Raises:
            BudgetExceededError: a budget has no room for it.
        """
        key, merged = self._key(number, row)
        hold = self._holds.get(key)
        if hold is None:
            wanted = row.request.enforce_budget if enforce is None else enforce
            hold = self._holds[key] = self._pipeline.budget.open(merged, enforce=wanted)
        if not hold.is_limited:
            return
        worst = self._pipeline.estimates.worst_case_pusd(row.request, target) or 0
        await hold.raise_to(hold.held_pusd + worst)
        self._worst.extend([0] * (row.line + 1 - len(self._worst)))
        self._worst[row.line] = worst

    def _key(self, number: int, row: Row) -> tuple[_Key, Mapping[str, str]]:
        """Rows of a batch that fall under the same budgets share a hold."""
        merged, _ = self._pipeline.attribution.of(row.request)
        names = (merged.get("team"), merged.get("project"), merged.get("customer_id"))
        return (number, row.request.enforce_budget, names), merged

    def move(self, old: int, new: int) -> None:
        """The rows of one batch are now those of another."""
        for key in [key for key in self._holds if key[0] == old]:
            self._holds[new, key[1], key[2]] = self._holds.pop(key)

    def free(self, number: int, row: Row) -> None:
        """Frees what is set aside for a row: it is settled, or will not be sent."""
        worst = self._worst[row.line] if row.line < len(self._worst) else 0
        if worst:
            self._worst[row.line] = 0
            if (hold := self._holds.get(self._key(number, row)[0])) is not None:
                hold.lower_by(worst)

    def free_all(self, number: int) -> None:
        """Frees what is still set aside for a batch that is over."""
        for key in [key for key in self._holds if key[0] == number]:
            hold = self._holds.pop(key)
            hold.lower_by(hold.held_pusd)

    def close(self) -> None:
        """Frees all that is set aside: what still runs is set aside again by the run that waits for it."""
        for number in {key[0] for key in self._holds}:
            self.free_all(number)

    async def settle(self, row: Row, target: Target, result: RowResult, mark: str, elapsed_s: float) -> BulkResult:
        """Books a row that was answered or refused; the same row is booked once, however often it is settled.

        Raises:
            LedgerError: its budget's store cannot be asked; nothing is booked.
        """
        request = pinned(row.request, target.endpoint.provider, target.endpoint.model)
        try:
            async with self._turn:  # where a store is asked, rows of another batch would find this one's answer
                ticket, response = await self._booked(row, request, target, result, mark, elapsed_s)
            await written(ticket)
        except HeliconeError as exc:
            if isinstance(exc, LedgerError) and not exc.attempts:
                raise
            return BulkResult(index=row.line, request=row.request, error=exc)
        return BulkResult(index=row.line, request=row.request, response=response)

    async def _booked(
        self, row: Row, request: ChatRequest, target: Target, result: RowResult, mark: str, elapsed_s: float
    ) -> tuple[Ticket, HeliconeResponse]:  # fmt: skip
        answered, pipeline = self._answered, self._pipeline
        answered.result, answered.elapsed_s, answered.offset_s = result, elapsed_s, 0.0
        self._request_id = str(uuid.uuid5(_NAMESPACE, f"{mark}/{row.line}"))
        async with Admission(pipeline, request) as admission:
            ticket = admission.ticket
            ticket.routing = RoutingDecision(
                strategy="batch", candidates=(), selected=target.endpoint.provider,
                reason="a row of a provider's batch",
            )  # fmt: skip
            outcome = await pipeline.attempts.ask(ticket, admission.targets[0], ticket.deadline)
            return ticket, pipeline.settle(ticket, outcome)


def pinned(request: ChatRequest, provider: str, model: str) -> ChatRequest:
    """The request to this provider and model alone, without a limit: its money is spent, and to be booked."""
    return msgspec.structs.replace(
        request, provider=provider, model=model, providers=None, model_preferences=None, provider_preferences=None,
        routing_strategy=None, fallback_strategy=None, cache=None, max_cost=None, enforce_budget=False,
        timeout_seconds=_LONG_S, prices=_halved(request.prices),
    )  # fmt: skip


def _halved(prices: Mapping[Any, Any] | None) -> Mapping[Any, Any] | None:
    """The call's own prices, which are those of a live call, at half."""
    if not prices:
        return None
    return {key: {name: dollars / 2 for name, dollars in each.items()} for key, each in prices.items()}


Note = Callable[[str], None]
"""Tells the user a line."""

__all__ = ["BatchPrices", "Note", "SettlingDesk", "pinned"]

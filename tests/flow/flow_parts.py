"""What the tests of the flow are built from: a pipeline on any transport, a budget and a sink that remember."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from genops_helicone_async import HeliconeResponse
from genops_helicone_async._assembly import tracing_of
from genops_helicone_async._edges.ids import RequestIds
from genops_helicone_async._edges.limits import Limits, Slots
from genops_helicone_async._edges.price_book import UNRESOLVED, PriceBook
from genops_helicone_async._flow.attribution import Attribution
from genops_helicone_async._flow.estimates import Estimates
from genops_helicone_async._flow.pipeline import Pipeline, Shared
from genops_helicone_async._flow.ports import Durable, Transport
from genops_helicone_async._flow.route import RoutingBoard
from genops_helicone_async._flow.sinks import Sinks
from genops_helicone_async._flow.stream import ChatStream
from genops_helicone_async._flow.ticket import RequestRecord
from genops_helicone_async._rules.health import HealthBoard
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.prices import Price
from genops_helicone_async._rules.rate_limits import LimitPlan
from genops_helicone_async._rules.retry import RetryQuota
from genops_helicone_async._rules.tokens import heuristic_tokens
from genops_helicone_async.chat_request import make_request
from genops_helicone_async.config import GivenSettings, resolve
from genops_helicone_async.errors import Attempt
from genops_helicone_async.models import PUSD_PER_USD

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
PRICES = {
    "openai/gpt-4o-mini": {"input": 1.0, "output": 2.0},
    "groq/llama-3.1-8b-instant": {"input": 0.1, "output": 0.3},
    "mistral/mistral-small-latest": {"input": 0.5, "output": 0.7},
}
"""Dollars per million tokens, so that a token costs a round number of pico-dollars."""
PROVIDERS = ("openai", "groq", "mistral")


class Hold:
    """Money set aside; remembers every settling, to show that there is exactly one. Each await takes a turn."""

    is_limited = True
    is_enforced = False
    alerts = ()

    def standing(self) -> None:
        """No ledger stands behind it."""

    def __init__(self, delay_s: float = 0.0, write_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.write_s = write_s
        self.held_pusd = 0
        self.settled: list[int] = []

    def raise_nowait(self, total_pusd: int) -> bool:
        """Nothing is decided at once."""
        return False

    async def raise_to(self, total_pusd: int) -> None:
        """Notes the most that was asked for."""
        await asyncio.sleep(self.delay_s)
        self.held_pusd = max(self.held_pusd, total_pusd)

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> Durable:
        """Notes the cost; it is on disk `write_s` later."""
        self.settled.append(sum(row.cost_pusd for row in rows))
        if asyncio._get_running_loop() is None:
            return None
        on_disk = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.write_s, _set, on_disk)
        return on_disk


def _set(on_disk: asyncio.Future[None]) -> None:
    if not on_disk.done():
        on_disk.set_result(None)


class RecordingBudget:
    """A budget that grants everything and remembers its holds. Granting takes `delay_s`, writing down `write_s`."""

    def __init__(self) -> None:
        self.holds: list[Hold] = []
        self.delay_s = 0.0
        self.write_s = 0.0

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> Hold:
        """A new hold."""
        self.holds.append(Hold(self.delay_s, self.write_s))
        return self.holds[-1]


class AwaitedPrices:
    """Prices that are never there at once: each look-up waits a turn of the loop."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self.edition = object()

    def lookup(self, provider: str, model: str, now_s: float) -> object:
        """Never there yet."""
        return UNRESOLVED

    async def resolve(self, provider: str, model: str) -> Price | None:
        """There after a turn."""
        await asyncio.sleep(0)
        return self._book.resolve_now(provider, model)


class Rig:
    """A pipeline with everything that can be seen of it: records, holds, slots, quota."""

    def __init__(
        self, transport: Transport, *, random: float = 0.0, awaited_prices: bool = False, **given: Any
    ) -> None:
        settings = {
            "helicone_api_key": KEY,
            "provider_urls": {name: f"http://127.0.0.1:9/{name}/v1" for name in PROVIDERS},
            "provider_keys": {name: f"{name}-key" for name in PROVIDERS},
            "prices": PRICES,
            **given,
        }
        self.settings = resolve(GivenSettings(**settings), {}, 1024)
        self.records: list[RequestRecord] = []
        self.budget = RecordingBudget()
        self.quota = RetryQuota()
        sinks = Sinks()
        sinks.add(self.records.append)
        tracing = tracing_of(self.settings, sinks)
        book = PriceBook(self.settings.prices)
        shared = Shared(
            settings=self.settings,
            prices=AwaitedPrices(book) if awaited_prices else book,
            attribution=Attribution(self.settings.default_attributes),
            sinks=sinks,
            routing=RoutingBoard(health=HealthBoard()),
            quota=self.quota,
            new_id=RequestIds(),
            random=lambda: random,
            budget=self.budget,
            tracing=tracing,
            estimates=Estimates(lambda _, text: heuristic_tokens(text), self.settings.gateway_fee_rates),
        )
        self.slots = Slots(self.settings.max_connections)
        clock = asyncio.get_running_loop().time
        self.limits = Limits(LimitPlan(), self.slots, clock)
        self.pipeline = Pipeline(shared, transport, self.limits, clock)

    async def chat(self, message: Any = "Hi", **options: Any) -> HeliconeResponse:
        """One call."""
        return await self.pipeline.run(make_request(message, options))

    def stream(self, message: Any = "Hi", **options: Any) -> ChatStream:
        """One streamed call."""
        return self.pipeline.stream(make_request(message, options))

    def assert_settled(self, *, calls: int = 1) -> None:
        """No slot is taken, every hold was settled once to what its attempts cost, and each call has one record."""
        told = self.slots.statistics()
        assert (told.taken, told.waiting) == (0, 0)
        assert [len(hold.settled) for hold in self.budget.holds] == [1] * len(self.budget.holds)
        assert len(self.records) == calls
        spent = sum(cost_pusd(record.attempts) for record in self.records)
        assert sum(hold.settled[0] for hold in self.budget.holds) == spent
        assert [cost_pusd(record.attempts) for record in self.records] == [
            record.cost_pusd + record.failed_pusd for record in self.records
        ]


def cost_pusd(attempts: tuple[Attempt, ...]) -> int:
    """The attempts' costs in pico-dollars, added as integers."""
    return sum(round(attempt.cost * PUSD_PER_USD) for attempt in attempts)


def price_of(provider: str) -> Price:
    """The price the rig uses for a provider's model."""
    for given, value in PRICES.items():
        name, _, model = given.partition("/")
        if name == provider:
            found = PriceBook({given: value}).resolve_now(provider, model)
            assert found is not None
            return found
    raise LookupError(provider)


def body_of(request: Any) -> dict[str, Any]:
    """The JSON a request carries."""
    return msgspec.json.decode(request.body, type=dict[str, Any])

"""The sandbox's own bill: what every reply would have cost, added up independently of any client."""

from collections import Counter, deque
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from ._simulated.prices import PUSD_PER_USD, PriceBook, Usage, gateway_fee_pusd


class BillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One billed reply. `input_tokens` includes cached and cache-written tokens, `output_tokens` the thinking."""

    request_id: str
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_pusd: int
    gateway_fee_pusd: int
    kind: str
    """`chat`, `stream`, `embedding`, or `batch` for a row of a batch, whose `request_id` is the batch's id and the
    row's `custom_id`."""
    completed: bool
    """False where the reply never reached its end: the client left, or a fault cut it."""


class Bill:
    """Adds up rows; totals are exact integers of pico-dollars and survive the cap on rows kept."""

    __slots__ = ("_book", "_fees_pusd", "_keep_rows", "_models", "_providers", "_requests", "_rows")

    def __init__(self, book: PriceBook, *, keep_rows: bool = True, max_rows: int = 1_000_000) -> None:
        self._book = book
        self._keep_rows = keep_rows
        self._rows: deque[BillRow] = deque(maxlen=max_rows)
        self._providers: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._fees_pusd = 0
        self._requests = 0

    def charge(
        self,
        usage: Usage,
        *,
        request_id: str,
        provider: str,
        model: str,
        kind: str,
        completed: bool,
        on_credits: bool,
    ) -> BillRow:
        """Price one reply and add it; `on_credits` adds the fee of Helicone's credits."""
        price = self._book.batch_cost_pusd if kind == "batch" else self._book.cost_pusd
        cost = price(provider, model, usage)
        fee = gateway_fee_pusd(cost) if on_credits else 0
        row = BillRow(
            request_id=request_id,
            provider=provider,
            model=model,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_pusd=cost,
            gateway_fee_pusd=fee,
            kind=kind,
            completed=completed,
        )
        self._requests += 1
        self._providers[provider] += cost + fee
        self._models[model] += cost + fee
        self._fees_pusd += fee
        if self._keep_rows:
            self._rows.append(row)
        return row

    @property
    def rows(self) -> tuple[BillRow, ...]:
        """The rows in the order they were billed; empty with `keep_bill_rows=False`."""
        return tuple(self._rows)

    @property
    def total_pusd(self) -> int:
        """Everything: what the providers charged and the gateway's fees."""
        return self._providers.total()

    @property
    def gateway_fee_pusd(self) -> int:
        """The part of the total that is the fee on replies paid from Helicone's credits."""
        return self._fees_pusd

    @property
    def cost_pusd(self) -> int:
        """The part of the total that the providers charged."""
        return self.total_pusd - self._fees_pusd

    @property
    def total_usd(self) -> float:
        """`total_pusd` in dollars."""
        return self.total_pusd / PUSD_PER_USD

    @property
    def by_provider(self) -> dict[str, int]:
        """Pico-dollars by provider; they add up to the total."""
        return dict(self._providers)

    @property
    def by_model(self) -> dict[str, int]:
        """Pico-dollars by the provider's model id; they add up to the total."""
        return dict(self._models)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._providers.clear()
        self._models.clear()
        self._fees_pusd = 0
        self._requests = 0

    def __len__(self) -> int:
        return self._requests

    def __iter__(self) -> Iterator[BillRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"<Bill {self._requests} replies, ${Decimal(self.total_pusd).scaleb(-12):f}>"

"""The price book: list prices out of `genai-prices`, resolved once per provider and model, and the user's own."""

from __future__ import annotations

import asyncio
import enum
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .._rules.model_names import PRICE_LISTS, spellings
from .._rules.prices import OverrideKey, Price, Steps, compile_tiers, halved, parse_override
from .._rules.unlisted_prices import UNLISTED_PRICES

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, PriceCalculation

_log = logging.getLogger("genops_helicone_async.prices")

_IN_BATCH = {"processing": "batch"}
MAX_KNOWN = 10_000
"""Provider and model pairs remembered; beyond, all are forgotten and resolved again when asked for."""

# Field of `Rates` → key of a genai-prices ModelPrice, and what turns its dollars into ours (per million tokens, or
# per request). Every other key there prices what a chat's usage does not count: searches, pages, seconds of audio.
_KEYS: dict[str, tuple[str, int]] = {
    "input": ("input_mtok", 1),
    "output": ("output_mtok", 1),
    "cache_read": ("cache_read_mtok", 1),
    "cache_write": ("cache_write_mtok", 1),
    "cache_write_1h": ("cache_write_1h_mtok", 1),
    "reasoning": ("output_reasoning_mtok", 1),
    "request": ("requests_kcount", 1000),
}


class Unresolved(enum.Enum):
    """The type of `UNRESOLVED`."""

    UNRESOLVED = enum.auto()


UNRESOLVED: Final = Unresolved.UNRESOLVED
"""`lookup` has no answer, or none that still holds: ask `resolve`."""


class PriceBookStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a price book: pairs it has a price for, pairs it found none for, overrides, look-ups it had to do."""

    priced: int
    unpriced: int
    overrides: int
    resolutions: int


class PriceBook:
    """Prices by provider and model. The user's overrides come first; the rest is resolved once, off the event loop.

    One book serves any number of event loops and threads; what each finds the others know.

    Args:
        overrides: The user's `prices=`; see `parse_override` for keys and values.
        clock: Unix seconds, for prices that begin on a day or change with the hour.
        table: What `genai-prices` would answer for a provider and model at a moment, where that is known without it.

    Raises:
        ConfigurationError: an override is wrong.
        TypeError: `overrides` or one of its prices is no mapping.
    """

    __slots__ = ("_batch", "_clock", "_in_flight", "_known", "_overrides", "_resolutions", "_table", "edition")

    def __init__(
        self,
        overrides: Mapping[Any, Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        table: Callable[[str, str, float], Price | None] | None = None,
    ) -> None:
        if not isinstance(overrides or {}, Mapping):
            raise TypeError(f"`prices` must be a mapping, not {type(overrides).__name__}")
        self._overrides: dict[OverrideKey, Price] = {}
        for given, value in (overrides or {}).items():
            keys, price = parse_override(given, value)
            self._overrides.update(dict.fromkeys(keys, price))
        self._clock = clock
        self._table = table
        self._known: dict[tuple[str, str], Price | None] = {}
        self._batch: dict[tuple[str, str], Price | None] = {}
        self._in_flight: dict[tuple[int, str, str], asyncio.Event] = {}
        self._resolutions = 0
        self.edition = object()

    def lookup(self, provider: str, model: str, now_s: float) -> Price | Unresolved | None:
        """The price at this moment (Unix seconds), None for a model without one, or `UNRESOLVED`."""
        price = self._known.get((provider, model), UNRESOLVED)
        if price is UNRESOLVED:
            return self._overridden(provider, model) or UNRESOLVED
        if price is not None and price.valid_until_s is not None and now_s >= price.valid_until_s:
            return UNRESOLVED
        return price

    async def resolve(self, provider: str, model: str) -> Price | None:
        """The price now, None where no list has one. An event loop's calls for one pair share one look-up in a thread.

        When cancelled, the look-up goes on for whoever asks next.
        """
        key = (threading.get_ident(), provider, model)  # an event of another thread's loop would not wake this one
        while (price := self.lookup(provider, model, self._clock())) is UNRESOLVED:
            if (started := self._in_flight.get(key)) is not None:
                await started.wait()
                continue
            started = self._in_flight[key] = asyncio.Event()
            try:
                return await asyncio.get_running_loop().run_in_executor(None, self.resolve_now, provider, model)
            finally:
                del self._in_flight[key]
                started.set()
        return price

    def resolve_now(self, provider: str, model: str) -> Price | None:
        """What `resolve` finds, in this thread; the first price that the table lacks imports `genai-prices`, 160 ms."""
        price = self._overridden(provider, model)
        if price is None:
            now_s = self._clock()
            price = self._table(provider, model, now_s) if self._table is not None else None
            price = price or _listed(provider, model, now_s)
            if price is None and (provider, model) not in self._known:
                _log.warning("no price is known for %s/%s: its cost counts as unpriced", provider, model)
            self._remember(provider, model, price)
            self._resolutions += 1
        return price

    def batch_price_now(self, provider: str, model: str) -> Price | None:
        """What a row of the provider's batch API costs, None for a model without a price; looks it up in this thread.

        From the list's own rates for batches where it has them, else half the price of a call, which is what OpenAI
        and Anthropic publish; `source` says which. An override is halved, too.
        """
        known = self._batch.get((provider, model), UNRESOLVED)
        now_s = self._clock()
        if known is UNRESOLVED or (known is not None and now_s >= (known.valid_until_s or math.inf)):
            known = None if self._overridden(provider, model) else _listed(provider, model, now_s, in_batch=True)
            if known is None and (price := self.resolve_now(provider, model)) is not None:
                known = halved(price)
            if len(self._batch) >= MAX_KNOWN:
                self._batch.clear()
            self._batch[provider, model] = known
            self.edition = object()
        return known

    def statistics(self) -> PriceBookStatistics:
        """How many pairs are known."""
        priced = sum(price is not None for price in self._known.values())
        return PriceBookStatistics(
            priced=priced,
            unpriced=len(self._known) - priced,
            overrides=len(set(map(id, self._overrides.values()))),
            resolutions=self._resolutions,
        )

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"PriceBook({counts.priced} priced, {counts.unpriced} unpriced, {counts.overrides} overrides)"

    def _overridden(self, provider: str, model: str) -> Price | None:
        if not self._overrides:
            return None
        for key in ((provider, model), f"{provider}/{model}", model):
            if (price := self._overrides.get(key)) is not None:
                price = msgspec.structs.replace(price, provider=provider, model=model)
                self._remember(provider, model, price)
                return price
        return None

    def _remember(self, provider: str, model: str, price: Price | None) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[provider, model] = price
        self.edition = object()  # after what has changed


def _listed(provider: str, model: str, now_s: float, *, in_batch: bool = False) -> Price | None:
    """The list price: from the provider's lists in genai-prices under any spelling, else from our own few rows.

    `in_batch`: the list's own price for batches, None where it has none.
    """
    names = spellings(provider, model)
    now = datetime.fromtimestamp(now_s, UTC)
    for price_list in PRICE_LISTS.get(provider, (provider,)):
        for name in names:
            if (found := _find(price_list, name, now)) is None:
                continue
            if not in_batch:
                return _compile(provider, model, found, now)
            batched = _find(price_list, name, now, _IN_BATCH)
            if batched is None or batched.model_price == found.model_price:
                return None
            price, until_s = _compile(provider, model, batched, now), _valid_until_s(found.model, now, in_batch=True)
            return msgspec.structs.replace(price, source=f"{price.source}, batch", valid_until_s=until_s)
    if in_batch:
        return None
    for name in names:
        if row := UNLISTED_PRICES.get((provider, name.lower())):
            tiers = compile_tiers({"input": [(0, row.input)], "output": [(0, row.output)]})
            return Price(provider=provider, model=model, tiers=tiers, source=row.source, date=row.date)
    return None


def _find(
    price_list: str, name: str, now: datetime, context: Mapping[str, str] | None = None
) -> PriceCalculation | None:
    from genai_prices import Usage, calc_price

    try:
        found = calc_price(Usage(), name, provider_id=price_list, genai_request_timestamp=now, price_context=context)
    except LookupError:
        return None
    # A provider id is also matched loosely there ("my-anthropic-proxy"): whose prices those are is not known.
    if found.provider.id != price_list:
        return None
    has_token_price = found.model_price.input_mtok is not None or found.model_price.output_mtok is not None
    return found if has_token_price or found.model.id.endswith(":free") else None


def _compile(provider: str, model: str, found: PriceCalculation, now: datetime) -> Price:
    import genai_prices

    tiers = compile_tiers(_steps(found.model_price))
    source = f"genai-prices {genai_prices.__version__}"
    if found.provider.id != PRICE_LISTS.get(provider, (provider,))[0]:
        source += f" ({found.provider.id})"
    updated = found.auto_update_timestamp
    return Price(
        provider=provider,
        model=model,
        tiers=tiers,
        source=source if updated is None else f"{source}, updated",
        date=_latest_change(now.date()) if updated is None else updated.date().isoformat(),
        valid_until_s=_valid_until_s(found.model, now),
        writes_cache="gpt-" in found.model.id and any(rates.cache_write > rates.input for _, rates in tiers),
    )


def _steps(prices: ModelPrice) -> dict[str, Steps]:
    """A list's prices in our terms. Its tiers begin above a number of tokens, ours at a number."""
    from genai_prices.types import TieredPrices

    steps: dict[str, Steps] = {}
    for field, (key, per) in _KEYS.items():
        price = getattr(prices, key)
        if isinstance(price, TieredPrices):
            steps[field] = [(0, price.base / per), *((tier.start + 1, tier.price / per) for tier in price.tiers)]
        elif isinstance(price, Decimal):
            steps[field] = [(0, price / per)]
    return steps


def _valid_until_s(model: ModelInfo, now: datetime, *, in_batch: bool = False) -> float | None:
    """When the next of a model's dated or time-of-day prices begins or ends, in Unix seconds."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint

    conditional = [] if isinstance(model.prices, ModelPrice) else model.prices
    changes: list[datetime] = []
    variants = (model.price_variants or ()) if in_batch else ()
    for constraint in (each.constraint for each in (*conditional, *variants)):
        if isinstance(constraint, StartDateConstraint):
            changes.append(datetime.combine(constraint.start_date, datetime.min.time(), UTC))
        elif isinstance(constraint, TimeOfDateConstraint):
            for moment in (constraint.start_time, constraint.end_time):
                today = datetime.combine(now.date(), moment if moment.tzinfo else moment.replace(tzinfo=UTC))
                changes += [today + timedelta(days=days) for days in (-1, 0, 1, 2)]
    return min((change.timestamp() for change in changes if change > now), default=None)


@functools.lru_cache(maxsize=1)
def _latest_change(today: date) -> str | None:
    """ISO date of the latest price change, up to today, that the data knows of: it is no older than that."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import ModelPrice, StartDateConstraint

    dated = (
        conditional.constraint.start_date
        for provider in get_snapshot().providers
        for model in provider.models
        if not isinstance(model.prices, ModelPrice)
        for conditional in model.prices
        if isinstance(conditional.constraint, StartDateConstraint)
    )
    latest = max((day for day in dated if day <= today), default=None)
    return None if latest is None else latest.isoformat()


__all__ = ["UNRESOLVED", "PriceBook", "PriceBookStatistics", "Unresolved"]

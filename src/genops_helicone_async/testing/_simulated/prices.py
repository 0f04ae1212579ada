"""What a reply costs: list prices from genai-prices or the user's own, in exact integers of pico-dollars."""

import time
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeAlias

import msgspec

from .catalogue import PROVIDERS, canonical_name

PUSD_PER_USD = 10**12
PUSD_PER_CENT = 10**10
GATEWAY_FEE_PERCENT = 3

PriceOverride: TypeAlias = "Sequence[float | str | Decimal] | Mapping[str, float | str | Decimal]"
"""Dollars per million tokens: `(input, output[, cached[, cache_write]])` or a mapping with those names."""

# Names people use that genai-prices does not resolve for that provider.
_ALIASES: dict[tuple[str, str], tuple[str, str]] = {
    ("groq", "mixtral-8x7b"): ("groq", "mixtral-8x7b-32768"),
    ("groq", "llama-3-70b"): ("groq", "llama3-70b-8192"),
    ("groq", "llama-3-8b"): ("groq", "llama3-8b-8192"),
    ("groq", "gpt-oss-120b"): ("groq", "openai/gpt-oss-120b"),
    ("groq", "kimi-k2-0905"): ("groq", "moonshotai/kimi-k2-instruct-0905"),
    ("together", "mixtral-8x7b"): ("together", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
    ("together", "llama-3.3-70b"): ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ("openrouter", "mixtral-8x7b"): ("openrouter", "mistralai/mixtral-8x7b-instruct"),
    ("anthropic", "claude-4.6-sonnet"): ("anthropic", "claude-sonnet-4-6"),
    ("anthropic", "claude-4.6-opus"): ("anthropic", "claude-opus-4-6"),
    ("deepseek", "deepseek-v3"): ("deepseek", "deepseek-chat"),
    ("anthropic", "claude-4.5-sonnet"): ("anthropic", "claude-sonnet-4-5"),
    ("cerebras", "llama-3.3-70b-instruct"): ("cerebras", "llama-3.3-70b"),
    ("mistral", "mistral-small"): ("mistral", "mistral-small-latest"),
    ("openrouter", "gpt-4o-mini"): ("openrouter", "openai/gpt-4o-mini"),
    ("helicone", "pa/gt-4p-m"): ("openai", "gpt-4o-mini"),
}
# Dollars per million tokens of models that genai-prices does not list for that provider, from the provider's page.
_LISTED_BY_HAND: dict[tuple[str, str], PriceOverride] = {
    ("fireworks", "accounts/fireworks/models/llama-v3p3-70b-instruct"): ("0.9", "0.9"),
    ("fireworks", "llama-3.3-70b-instruct"): ("0.9", "0.9"),
    ("together", "BAAI/bge-base-en-v1.5"): ("0.008", "0"),
}
# Some list prices change with the time of day; none changes within a quarter of an hour.
_PRICE_PERIOD_S = 900
_IN_BATCH = {"processing": "batch"}
_MAX_MEMORY = 50_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of one reply; `input_tokens` holds all that went in, cached and cache-written included."""

    input_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """The part of `output_tokens` that was thinking."""

    @property
    def fresh_tokens(self) -> int:
        """Input that was neither read from a prompt cache nor written to one."""
        return self.input_tokens - self.cached_tokens - self.cache_write_tokens


class PriceBook:
    """Prices of every (provider, model) the sandbox is asked for."""

    __slots__ = ("_known", "_memory", "_overrides", "inexact_count")

    def __init__(self, overrides: Mapping[tuple[str, str], PriceOverride] | None = None) -> None:
        self._overrides = {
            (canonical_name(provider), model): _four_prices(price)
            for (provider, model), price in {**_LISTED_BY_HAND, **(overrides or {})}.items()
        }
        self._known: dict[tuple[str, str], bool] = {}
        self._memory: dict[tuple[str, str, int, int, int, int, int], int] = {}
        self.inexact_count = 0
        """Costs that were no whole number of pico-dollars and were rounded half to even."""

    def knows(self, provider: str, model: str) -> bool:
        """Whether there is a price, own or listed."""
        key = (provider, model)
        if key not in self._known:
            self._known[key] = key in self._overrides or self._list_price(key, Usage(input_tokens=1)) is not None
        return self._known[key]

    def cost_pusd(self, provider: str, model: str, usage: Usage) -> int:
        """The cost in pico-dollars; 0 where there is no price."""
        period = int(time.time()) // _PRICE_PERIOD_S
        key = (
            *(provider, model, period),
            *(usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens),
        )
        cost = self._memory.get(key)
        if cost is None:
            if len(self._memory) >= _MAX_MEMORY:
                self._memory.clear()
            cost = self._memory[key] = self._to_pusd(self.cost_usd(provider, model, usage))
        return cost

    def cost_usd(self, provider: str, model: str, usage: Usage) -> Decimal:
        """The cost in dollars, exact; 0 where there is no price."""
        if own := self._overrides.get((provider, model)):
            tokens = (
                *(usage.fresh_tokens, usage.output_tokens),
                *(usage.cached_tokens, usage.cache_write_tokens),
            )
            return sum((price * count for price, count in zip(own, tokens, strict=True)), Decimal(0)) / 10**6
        return self._list_price((provider, model), usage) or Decimal(0)

    def batch_cost_pusd(self, provider: str, model: str, usage: Usage) -> int:
        """The cost of a row of a batch in pico-dollars: at the list's price for batches where it has one, else half."""
        if (provider, model) not in self._overrides:
            batched = self._list_price((provider, model), usage, _IN_BATCH)
            if batched is not None:
                return self._to_pusd(batched)
        return self._to_pusd(self.cost_usd(provider, model, usage) / 2)

    def base_rates_usd(self, provider: str, model: str) -> tuple[Decimal, Decimal]:
        """Dollars per input and per output token in the lowest tier, without any price per request."""
        nothing, one_in, one_out = (
            self.cost_usd(provider, model, usage)
            for usage in (
                Usage(input_tokens=0),
                Usage(input_tokens=1),
                Usage(input_tokens=0, output_tokens=1),
            )
        )
        return one_in - nothing, one_out - nothing

    def _list_price(
        self, key: tuple[str, str], usage: Usage, context: Mapping[str, str] | None = None
    ) -> Decimal | None:
        from genai_prices import Usage as ListedUsage
        from genai_prices import calc_price

        provider, model = _ALIASES.get(key, key)
        if provider not in PROVIDERS:
            return None
        if provider == "vertex":
            model = model.removeprefix("google/")
        tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        if usage.cached_tokens:
            tokens["cache_read_tokens"] = usage.cached_tokens
        if usage.cache_write_tokens:
            tokens["cache_write_tokens"] = usage.cache_write_tokens
        try:
            price_id = PROVIDERS[provider].price_id
            found = calc_price(ListedUsage(**tokens), model, provider_id=price_id, price_context=context)
            if context is not None:
                plain = calc_price(ListedUsage(**tokens), model, provider_id=price_id)
                return None if plain.model_price == found.model_price else found.total_price
        except LookupError:
            return None
        return found.total_price

    def _to_pusd(self, usd: Decimal) -> int:
        exact = usd * PUSD_PER_USD
        whole = exact.to_integral_value(ROUND_HALF_EVEN)
        self.inexact_count += whole != exact
        return int(whole)


def gateway_fee_pusd(cost_pusd: int) -> int:
    """The 3 % that buying Helicone's credits costs, rounded half to even."""
    return int((Decimal(cost_pusd * GATEWAY_FEE_PERCENT) / 100).to_integral_value(ROUND_HALF_EVEN))


def _four_prices(price: PriceOverride) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    if isinstance(price, Mapping):
        unknown = price.keys() - {"input", "output", "cached", "cache_write"}
        if unknown or "input" not in price:
            raise ValueError(f"a price needs 'input', 'output' and may have 'cached', 'cache_write': {price!r}")
        given = [price["input"], price.get("output", 0)]
        given += [price.get("cached", price["input"]), price.get("cache_write", price["input"])]
    else:
        given = list(price)
        if not 1 <= len(given) <= 4:
            raise ValueError(f"a price is (input, output[, cached[, cache_write]]): {price!r}")
        given = [*given, 0][:2] + [*given[2:], *given[:1] * 2][:2]
    first, second, third, fourth = (Decimal(str(one)) for one in given)
    return first, second, third, fourth

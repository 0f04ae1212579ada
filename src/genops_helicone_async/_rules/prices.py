"""What a call costs and what it can cost at most: rates in whole pico-dollars per token, and the arithmetic on them.

A list price in dollars per million tokens times 1,000,000 is pico-dollars per token, so every list price with up to
six decimals is exact and all sums are integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from operator import attrgetter

import msgspec
from msgspec.structs import force_setattr

from .._providers import canonical
from .._values import TokenCounts
from ..errors import ConfigurationError
from ..models import PUSD_PER_USD

PUSD_PER_TOKEN_AT_1_USD_PER_MTOK = PUSD_PER_USD // 1_000_000
OVERRIDE = "override"
"""The `source` of a price the user gave."""

Steps = Sequence[tuple[int, Decimal]]
"""A price that depends on the request's input tokens: (from this many on, dollars), ascending from 0."""

_priced_apart = attrgetter("cached", "cache_write", "reasoning")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Pico-dollars per token of each kind, and per request.

    `cache_write` is the short-lived cache (5 minutes at Anthropic), `cache_write_1h` the hour-long one.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    request: int = 0


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider charges for one model.

    Attributes:
        provider: Our name of the provider.
        model: The model's name as the call has it.
        tiers: (from this many input tokens on, rates), ascending, the first from 0. The whole request moves to the
            higher rates, as all providers with tiers bill it.
        source: Where the price comes from, such as `genai-prices 0.2.3` or `override`.
        date: ISO date the price data is known to be good for, None for an override.
        valid_until_s: Unix seconds when another price may apply, None where none is scheduled.
        writes_cache: Whether the provider writes prompts to its cache unasked and charges more for it (OpenAI from
            GPT-5.6 on), so that any prompt may cost `cache_write` per token.
        flat: The rates, where they are the same for any number of tokens; worked out, since every call asks for it.
    """

    provider: str
    model: str
    tiers: tuple[tuple[int, Rates], ...]
    source: str
    date: str | None
    valid_until_s: float | None = None
    writes_cache: bool = False
    flat: Rates | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "flat", self.tiers[0][1] if len(self.tiers) == 1 else None)


def rates_for(price: Price, input_tokens: int) -> Rates:
    """The rates that apply to a whole request with this many input tokens."""
    rates = price.tiers[0][1]
    for threshold, higher in price.tiers:
        if input_tokens < threshold:
            break
        rates = higher
    return rates


def cost_pusd(price: Price, counts: TokenCounts) -> int:
    """The exact cost in pico-dollars of the tokens that were used."""
    rates = price.flat or rates_for(price, counts.input)
    cost = rates.request + counts.input * rates.input + counts.output * rates.output
    if any(_priced_apart(counts)):
        cost += counts.cached * (rates.cache_read - rates.input)
        cost += counts.reasoning * (rates.reasoning - rates.output)
        if counts.cache_write:
            cost += counts.cache_write * (rates.cache_write - rates.input)
            cost += counts.cache_write_1h * (rates.cache_write_1h - rates.cache_write)
    return cost


def worst_case_pusd(
    price: Price, input_tokens: int, output_tokens: int, *, may_write_cache: bool = False, for_an_hour: bool = False
) -> int:
    """The most that up to this many tokens can cost, in pico-dollars.

    `may_write_cache`: the prompt may be written to a short-lived cache, as the AI Gateway has Anthropic do unasked;
    `for_an_hour`: to the hour-long one.
    """
    rates = price.flat or rates_for(price, input_tokens)
    per_input = max(rates.input, rates.cache_read)
    if may_write_cache or price.writes_cache:
        per_input = max(per_input, rates.cache_write)
    if for_an_hour:
        per_input = max(per_input, rates.cache_write_1h)
    return rates.request + input_tokens * per_input + output_tokens * max(rates.output, rates.reasoning)


def halved(price: Price) -> Price:
    """The price of the same tokens in a batch, where a provider sells those at half price and no list says more."""
    tiers = tuple(
        (threshold, Rates(**{name: _half(getattr(rates, name)) for name in Rates.__struct_fields__}))
        for threshold, rates in price.tiers
    )
    return msgspec.structs.replace(price, tiers=tiers, source=f"{price.source}, half for batches")


def _half(pusd: int) -> int:
    """Half to even, as every fraction of a pico-dollar is rounded here; no list price has an odd number of them."""
    return (pusd + (pusd >> 1 & 1)) >> 1


def compile_tiers(steps: Mapping[str, Steps]) -> tuple[tuple[int, Rates], ...]:
    """Tiers of whole pico-dollars from dollar prices by the names of `Rates`.

    Dollars are per million tokens (`request`: per request). What has no price of its own costs what it would cost
    without the distinction: cache reads and writes as input, hour-long writes as short-lived ones, reasoning as
    output. A fraction of a pico-dollar per token is rounded half to even.
    """
    thresholds = sorted({start for schedule in steps.values() for start, _ in schedule} | {0})
    return tuple((threshold, _rates_at(steps, threshold)) for threshold in thresholds)


def _rates_at(steps: Mapping[str, Steps], threshold: int) -> Rates:
    def rate(name: str, fallback: int, scale: int = PUSD_PER_TOKEN_AT_1_USD_PER_MTOK) -> int:
        reached = [dollars for start, dollars in steps.get(name, ()) if start <= threshold]
        return int((reached[-1] * scale).to_integral_value(ROUND_HALF_EVEN)) if reached else fallback

    per_input, per_output = rate("input", 0), rate("output", 0)
    per_write = rate("cache_write", per_input)
    return Rates(
        input=per_input,
        output=per_output,
        cache_read=rate("cache_read", per_input),
        cache_write=per_write,
        cache_write_1h=rate("cache_write_1h", per_write),
        reasoning=rate("reasoning", per_output),
        request=rate("request", 0, PUSD_PER_USD),
    )


OverrideKey = tuple[str, str] | str
"""`(provider, model)`, or a text that is compared with `provider/model` and with the model's name alone."""

_OVERRIDE_FIELDS = {
    "input": "input",
    "output": "output",
    "cached_input": "cache_read",
    "cache_write": "cache_write",
    "cache_write_1h": "cache_write_1h",
    "reasoning": "reasoning",
    "request": "request",
}
_REQUIRED_FIELDS = ("input", "output")
_LEAST_DOLLARS, _MOST_DOLLARS = Decimal("0.000001"), Decimal(1_000_000)  # a pico-dollar and a dollar per token


def parse_override(key: object, value: object) -> tuple[tuple[OverrideKey, ...], Price]:
    """One entry of `prices=`, checked: the keys it is filed under (the provider as given and canonical), and the price.

    Keys: `("openai", "gpt-x")`, `"openai/gpt-x"`, or `"gpt-x"` at any provider. Values: dollars per million tokens
    as `input`, `output` and, where they differ, `cached_input`, `cache_write`, `cache_write_1h`, `reasoning`; and
    `request`, dollars per request. The price names no provider and no model yet: a text may fit several.

    Raises:
        ConfigurationError: the key or a field is wrong; the message names both.
        TypeError: the price is no mapping.
    """
    name = f"prices[{key!r}]"
    keys = _override_keys(name, key)
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping with 'input' and 'output', not {type(value).__name__}")
    if unknown := [field for field in value if field not in _OVERRIDE_FIELDS]:
        known = ", ".join(_OVERRIDE_FIELDS)
        raise ConfigurationError(f"`{name}` has the unknown field {unknown[0]!r}: known are {known}")
    for field in _REQUIRED_FIELDS:
        if field not in value:
            raise ConfigurationError(f"`{name}` lacks {field!r}: give dollars per million {field} tokens")
    dollars = {_OVERRIDE_FIELDS[field]: _dollars(f"{name}[{field!r}]", amount) for field, amount in value.items()}
    tiers = compile_tiers({field: ((0, amount),) for field, amount in dollars.items()})
    return keys, Price(provider="", model="", tiers=tiers, source=OVERRIDE, date=None)


def _override_keys(name: str, key: object) -> tuple[OverrideKey, ...]:
    match key:
        case str() if key.strip():
            provider, slash, model = key.partition("/")
            return (key, f"{canonical(provider)}/{model}") if slash else (key,)
        case (str() as provider, str() as model) if isinstance(key, tuple) and provider.strip() and model.strip():
            return ((canonical(provider), model),)
    raise ConfigurationError(f"`{name}`: a price's key is 'provider/model', (provider, model) or a model's name")


def _dollars(name: str, amount: object) -> Decimal:
    if isinstance(amount, bool) or not isinstance(amount, int | float | Decimal):
        raise ConfigurationError(f"`{name}` is {amount!r}: give a number of dollars")
    dollars = Decimal(str(amount)) if isinstance(amount, float) else Decimal(amount)
    if not dollars.is_finite() or not (dollars == 0 or _LEAST_DOLLARS <= dollars <= _MOST_DOLLARS):
        raise ConfigurationError(
            f"`{name}` is {amount!r}: give dollars, 0 or between {_LEAST_DOLLARS} and {_MOST_DOLLARS:,}"
        )
    return dollars


__all__ = [
    "OVERRIDE",
    "OverrideKey",
    "Price",
    "Rates",
    "compile_tiers",
    "cost_pusd",
    "halved",
    "parse_override",
    "rates_for",
    "worst_case_pusd",
]

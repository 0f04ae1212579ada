"""Where the same work costs less: one message at several providers, a month's usage at other models.

Both functions are offline estimates at the list prices of this moment: no call is made, no key is needed. The first
one in a process reads the price lists and the tokenizer, about half a second; inside an event loop, run it with
`asyncio.to_thread`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ._arguments import check_label, check_message
from ._edges.listed_models import listed_models
from ._edges.price_book import PriceBook
from ._edges.token_counter import counter
from ._providers import PROVIDERS, canonical
from ._rules.cost_analysis import DailyUsage, cheapest_of, monthly_cost_pusd, parse_usage, tokenizer_ratio
from ._rules.cost_subjects import answer_tokens, models_by_provider, targets_of, unknown_model, unknown_provider
from ._rules.prices import Price, cost_pusd
from ._rules.tokens import estimate_input_tokens, image_tokens_for
from ._values import TokenCounts
from .chat_request import Message
from .models import PUSD_PER_USD


class CostComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What one message would cost at several providers, in dollars; every mapping is in the order given.

    Attributes:
        cheapest_provider: Where it costs least, the first of several equals.
        max_savings: The dearest minus the cheapest.
        cost_by_provider: Dollars by provider; nothing is assumed to come from, or to be written to, a cache.
        models: The model priced at each provider.
        input_tokens: Tokens of the message as each model's tokenizer is thought to count them.
        output_tokens: Tokens of the answer that were assumed.
        price_sources: Where each price comes from, such as `genai-prices 0.2.3` or `override`.
        price_dates: ISO date each price is known to be good for, None for an override.
        price_valid_until: When another price applies, None where none is scheduled.
        estimated: Always True: the bill comes from the tokens that a provider counts.
    """

    cheapest_provider: str
    max_savings: float
    cost_by_provider: dict[str, float]
    models: dict[str, str]
    input_tokens: dict[str, int]
    output_tokens: dict[str, int]
    price_sources: dict[str, str]
    price_dates: dict[str, str | None]
    price_valid_until: dict[str, datetime | None]
    estimated: bool = True


class MigrationOption(msgspec.Struct, frozen=True, kw_only=True):
    """A month at another model, in dollars.

    Attributes:
        provider: Whose model it is.
        model: The model.
        monthly_cost: Dollars in 30 days.
        savings: The current monthly cost minus this one: negative where it would cost more.
        savings_share: `savings` as a part of the current monthly cost (0.4 = 40 % less), None where that is 0.
        input_tokens: Average tokens in of one request, as they were priced.
        output_tokens: Average tokens out of one request, as they were priced.
        token_ratio: About how many tokens this model's tokenizer makes of a text that is one of the current model's.
        price_source: Where the price comes from.
        price_date: ISO date the price is known to be good for, None for an override.
        price_valid_until: When another price applies, None where none is scheduled.
    """

    provider: str
    model: str
    monthly_cost: float
    savings: float
    savings_share: float | None
    input_tokens: float
    output_tokens: float
    token_ratio: float
    price_source: str
    price_date: str | None
    price_valid_until: datetime | None = None


class MigrationAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What moving would save, in dollars a month of 30 days.

    Attributes:
        current_monthly_cost: Dollars in 30 days where you are.
        current: The same, with all its facts: an option that saves nothing.
        projected_savings: What the best option saves: negative where every one of them would cost more.
        options: One for each target, in the order given.
        recommended: The cheapest option, None where staying costs no more.
        estimated: Always True.
    """

    current_monthly_cost: float
    current: MigrationOption
    projected_savings: float
    options: tuple[MigrationOption, ...]
    recommended: MigrationOption | None
    estimated: bool = True


def compare_provider_costs(
    message: Message,
    providers: Sequence[str],
    model_preferences: Mapping[str, str] | None = None,
    *,
    max_tokens: int | None = None,
    expected_output_tokens: int | None = None,
    prices: Mapping[Any, Any] | None = None,
) -> CostComparison:
    """What one message would cost at each of several providers: an offline estimate, no call is made.

    The message's tokens are counted for each model (exactly for OpenAI's with the extra `tokens`). The answer is
    taken to have `expected_output_tokens`, else `max_tokens`, else 1,000, at every provider alike.

    Args:
        message: A text or a list of OpenAI-style messages, as `chat` takes it.
        providers: At least one, each once; results have the directory's spelling of their names.
        model_preferences: Provider → model; a provider not named here has its documented default model priced.
        max_tokens: The longest answer you would allow.
        expected_output_tokens: The answer you expect; at most `max_tokens`.
        prices: Your own prices, as the adapter's `prices=` takes them: dollars per million tokens.

    Raises:
        ConfigurationError: a provider or model is unknown or has no price, or a value is out of range.
        TypeError: a value has the wrong type.
    """
    check_message(message)
    models = models_by_provider(providers, model_preferences)
    output_tokens = answer_tokens(max_tokens, expected_output_tokens)
    book = PriceBook(prices)
    found = {
        provider: _price_of(book, provider, model, ("providers", f"model_preferences[{provider!r}]"))
        for provider, model in models.items()
    }
    input_tokens = {provider: _count(message, model) for provider, model in models.items()}
    costs = [
        cost_pusd(price, TokenCounts(input=input_tokens[provider], output=output_tokens))
        for provider, price in found.items()
    ]
    return CostComparison(
        cheapest_provider=list(models)[cheapest_of(costs)],
        max_savings=_dollars(max(costs) - min(costs)),
        cost_by_provider=dict(zip(models, map(_dollars, costs), strict=True)),
        models=models,
        input_tokens=input_tokens,
        output_tokens=dict.fromkeys(models, output_tokens),
        price_sources={provider: price.source for provider, price in found.items()},
        price_dates={provider: price.date for provider, price in found.items()},
        price_valid_until={provider: _valid_until(price) for provider, price in found.items()},
    )


def estimate_migration_costs(
    current_provider: str,
    current_model: str,
    target_providers: Sequence[str],
    target_models: Sequence[str],
    historical_usage: Mapping[str, float],
    *,
    same_text: bool = False,
    prices: Mapping[Any, Any] | None = None,
) -> MigrationAnalysis:
    """What 30 days of the same usage would cost at other models: an offline estimate, no call is made.

    `historical_usage` has `requests_per_day`, and the tokens of an average request: `avg_tokens`, of which three
    quarters are taken to go in and one to come out (the blend in which model prices are commonly stated), or
    `avg_input_tokens` and `avg_output_tokens`. The arithmetic is exact; a price with tiers is that of the average
    request.

    Args:
        current_provider: Where the usage is now.
        current_model: The model it is at.
        target_providers: Where it could go: one for each of `target_models`; a provider may be there with several.
        target_models: The models it could go to.
        historical_usage: Numbers by name, see above.
        same_text: Whether to count in that tokenizers differ: the same text is about 1.15 times as many tokens at
            Claude 4.6 as at GPT. Without it the same number of tokens is priced everywhere.
        prices: Your own prices, as the adapter's `prices=` takes them: dollars per million tokens.

    Raises:
        ConfigurationError: a provider or model is unknown or has no price, the two lists do not match, or the usage
            lacks something or is out of range.
        TypeError: a value has the wrong type.
    """
    targets = targets_of(target_providers, target_models)
    check_label("current_provider", current_provider)
    check_label("current_model", current_model)
    usage = parse_usage("historical_usage", historical_usage)
    book = PriceBook(prices)
    current = _price_of(book, canonical(current_provider), current_model, ("current_provider", "current_model"))
    found = [
        _price_of(book, provider, model, (f"target_providers[{index}]", f"target_models[{index}]"))
        for index, (provider, model) in enumerate(targets)
    ]
    month = _Month(current, usage, same_text=same_text)
    costs = [month.cost_pusd(price) for price in found]
    options = tuple(map(month.option, found))
    best = cheapest_of(costs)
    return MigrationAnalysis(
        current_monthly_cost=_dollars(month.current_pusd),
        current=month.option(month.current),
        projected_savings=options[best].savings,
        options=options,
        recommended=options[best] if costs[best] < month.current_pusd else None,
    )


class _Month:
    """A month's usage, priced at the current model and at others."""

    __slots__ = ("_same_text", "_usage", "current", "current_pusd")

    def __init__(self, current: Price, usage: DailyUsage, *, same_text: bool) -> None:
        self._usage = usage
        self._same_text = same_text
        self.current = current
        self.current_pusd = monthly_cost_pusd(current, usage)

    def cost_pusd(self, price: Price) -> int:
        return monthly_cost_pusd(price, self._usage_at(price))

    def _usage_at(self, price: Price) -> DailyUsage:
        return self._usage.times(tokenizer_ratio(self.current.model, price.model)) if self._same_text else self._usage

    def option(self, price: Price) -> MigrationOption:
        usage = self._usage_at(price)
        cost = self.cost_pusd(price)
        savings = self.current_pusd - cost
        return MigrationOption(
            provider=price.provider,
            model=price.model,
            monthly_cost=_dollars(cost),
            savings=_dollars(savings),
            savings_share=savings / self.current_pusd if self.current_pusd else None,
            input_tokens=float(usage.input_tokens),
            output_tokens=float(usage.output_tokens),
            token_ratio=float(tokenizer_ratio(self.current.model, price.model)),
            price_source=price.source,
            price_date=price.date,
            price_valid_until=_valid_until(price),
        )


def _count(message: Message, model: str) -> int:
    count = counter()
    messages = [{"role": "user", "content": message}] if isinstance(message, str) else message
    return estimate_input_tokens(
        messages, count=lambda text: count(model, text), tokens_per_image=image_tokens_for(model)
    )


def _price_of(book: PriceBook, provider: str, model: str, arguments: tuple[str, str]) -> Price:
    """The price of a model; `arguments` name the provider and the model in the error where there is none."""
    price = book.resolve_now(provider, model)
    if price is None:
        listed = listed_models(provider)
        if not listed and provider not in PROVIDERS:
            raise unknown_provider(arguments[0], provider)
        raise unknown_model(arguments[1], provider, model, listed)
    return price


def _valid_until(price: Price) -> datetime | None:
    return None if price.valid_until_s is None else datetime.fromtimestamp(price.valid_until_s, UTC)


def _dollars(amount_pusd: int) -> float:
    return amount_pusd / PUSD_PER_USD


__all__ = [
    "CostComparison",
    "MigrationAnalysis",
    "MigrationOption",
    "compare_provider_costs",
    "estimate_migration_costs",
]

"""Which models the price lists of `genai-prices` name: for suggestions, where a model asked for is not among them."""

from __future__ import annotations

from .._rules.model_names import PRICE_LISTS
from .._rules.unlisted_prices import UNLISTED_PRICES


def listed_models(provider: str) -> tuple[str, ...]:
    """The names under which a provider's lists have prices, best list first; () for a provider without a list."""
    from genai_prices.data_snapshot import get_snapshot

    lists = PRICE_LISTS.get(provider, (provider,))
    models = {listed.id: listed.models for listed in get_snapshot().providers if listed.id in lists}
    names = dict.fromkeys(model.id for price_list in lists for model in models.get(price_list, ()))
    names.update(dict.fromkeys(model for name, model in UNLISTED_PRICES if name == provider))
    return tuple(names)


__all__ = ["listed_models"]

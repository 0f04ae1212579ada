"""Which models the price lists of `genai-prices` name: for lists, and for suggestions where a model has no price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._rules.model_names import PRICE_LISTS
from .._rules.unlisted_prices import UNLISTED_PRICES

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

_PREFIXES = ("", "accounts/fireworks/models/")
"""What stands before a list's own short name in the name a call has."""


def listed_models(provider: str) -> tuple[str, ...]:
    """The names that find a price on a provider's lists, best list first; () for a provider without a list."""
    from genai_prices.data_snapshot import get_snapshot

    lists = PRICE_LISTS.get(provider, (provider,))
    models = {listed.id: listed.models for listed in get_snapshot().providers if listed.id in lists}
    names = [_name_of(model) for price_list in lists for model in models.get(price_list, ())]
    names += [model for name, model in UNLISTED_PRICES if name == provider]
    return tuple(dict.fromkeys(filter(None, names)))


def _name_of(model: ModelInfo) -> str | None:
    """A name that the list itself takes for this model: not every entry's own id is one."""
    return next((prefix + model.id for prefix in _PREFIXES if model.is_match(prefix + model.id)), None)


__all__ = ["listed_models"]

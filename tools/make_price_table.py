"""Writes the price table that the package ships: what its price book answers for the installed `genai-prices`.

    python tools/make_price_table.py

Run it after raising genai-prices, after changing how prices are looked up or compiled, and before a release; a test
compares every row with the price book where the installed lists are those of the table.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import genai_prices
import msgspec
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, StartDateConstraint

from genops_helicone_async._edges.listed_models import listed_models
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._edges.price_table import TABLE, Row, Table, digest_of_installed
from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async._rules.model_names import PRICE_LISTS, spellings

_SOURCE = f"genai-prices {genai_prices.__version__}"


def main() -> None:
    """Writes the table beside its reader."""
    logging.disable(logging.WARNING)  # names that have no price are left out
    now_s = time.time()
    rows = {name: dict(sorted(_rows(name, now_s))) for name in sorted(PROVIDERS)}
    digest = digest_of_installed()
    assert digest is not None
    table = Table(
        digest=digest,
        source=_SOURCE,
        change_dates=tuple(sorted({day.isoformat() for day in _change_dates()})),
        rows={name: msgspec.Raw(msgspec.json.encode(models)) for name, models in rows.items() if models},
    )
    # a line per provider: a new release of the lists shows which of them changed
    TABLE.write_bytes(msgspec.json.encode(table).replace(b'},"', b'},\n"') + b"\n")
    print(f"{sum(map(len, rows.values()))} prices, {TABLE.stat().st_size // 1024} kB, for {_SOURCE} ({digest})")


def _rows(provider: str, now_s: float) -> Iterator[tuple[str, Row]]:
    """The prices of a provider, by every name in the lists; those that change with the hour are left out."""
    book, lists = PriceBook(clock=lambda: now_s), PRICE_LISTS.get(provider, (provider,))
    for model in _names(provider):
        price = book.resolve_now(provider, model)
        changes = _changes_s(provider, model)
        if price is None or not price.source.startswith(_SOURCE) or changes is None:
            continue
        since_s = max((change for change in changes if change <= now_s), default=0.0)
        until_s = min((change for change in changes if change > now_s), default=None)
        if price.valid_until_s != until_s:
            continue  # another spelling's price changes earlier
        tiers = tuple((start, msgspec.structs.astuple(rates)) for start, rates in price.tiers)
        price_list = next((name for name in lists[1:] if price.source.endswith(f" ({name})")), "")
        yield model, Row(tiers, price_list, price.writes_cache, since_s, until_s)


def _names(provider: str) -> set[str]:
    known = PROVIDERS[provider]
    names = {*listed_models(provider), known.default_model, known.gateway_model or known.default_model}
    for listed in get_snapshot().providers:
        if listed.id in PRICE_LISTS.get(provider, (provider,)):
            names.update(name for model in listed.models for name in _texts(model.match))
    return names


def _texts(clause: Any) -> Iterator[str]:
    """The names, and beginnings of names, that a list itself compares with."""
    for field in ("equals", "starts_with"):
        if hasattr(clause, field):
            yield getattr(clause, field)
    for field in ("or_", "and_"):
        for part in getattr(clause, field, ()):
            yield from _texts(part)


def _changes_s(provider: str, model: str) -> list[float] | None:
    """When any of the prices that are looked at for a model begins; None where one depends on the hour."""
    changes: list[float] = []
    for price_list in PRICE_LISTS.get(provider, (provider,)):
        for name in spellings(provider, model):
            try:
                _, found = get_snapshot().find_provider_model(name, None, price_list, None)
            except LookupError:
                continue
            for conditional in () if isinstance(found.prices, ModelPrice) else found.prices:
                if isinstance(conditional.constraint, StartDateConstraint):
                    day = datetime.combine(conditional.constraint.start_date, datetime.min.time(), UTC)
                    changes.append(day.timestamp())
                elif conditional.constraint is not None:
                    return None
    return changes


def _change_dates() -> Iterator[date]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            for conditional in () if isinstance(model.prices, ModelPrice) else model.prices:
                if isinstance(conditional.constraint, StartDateConstraint):
                    yield conditional.constraint.start_date


if __name__ == "__main__":
    main()

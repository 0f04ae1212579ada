"""`prices`: the prices that calls are charged at, with where they come from and how long they hold."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .cost_options import failing_as_a_command, moment, no_price, no_provider, origins, show
from .failures import FAILED, WRONG_USAGE, CommandError
from .options import add_json_option
from .tables import Table

if TYPE_CHECKING:
    from .._edges.price_book import PriceBook
    from .._rules.prices import Price

_PUSD_DIGITS_PER_MTOK = 6
_PUSD_DIGITS = 12
_ALWAYS = {
    "input": "input >",
    "output": "output >",
    "cache_read": "cache read >",
    "cache_write": "write 5 min >",
    "cache_write_1h": "write 1 h >",
}
"""Field of `Rates` → its column."""


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "prices",
        help="what models cost",
        description="Shows the prices that calls are charged at: of one model at every provider that lists it, of all "
        "models of a provider, or of each provider's default model. Prices that you give the adapter "
        "yourself (prices=…) win over these.",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model, also as PROVIDER/MODEL or MODEL/PROVIDER")
    parser.add_argument("--provider", metavar="P", help="at this provider only")
    add_json_option(parser, "the prices")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Looks prices up; 0 once they are printed, 1 if there is none."""
    from .._edges.price_book import PriceBook

    if arguments.model is not None and not arguments.model.strip():
        raise CommandError("MODEL is empty: leave it out or name one", WRONG_USAGE)
    with failing_as_a_command():
        found = _prices(PriceBook(), arguments.model, arguments.provider)
    if arguments.json:
        import msgspec

        told = {"unit": "dollars per million tokens", "prices": [_facts(price) for price in found]}
        print(msgspec.json.encode(told).decode())
    else:
        _print(found)
    return 0


def _prices(book: PriceBook, model: str | None, provider: str | None) -> list[Price]:
    """What was asked for; never empty.

    Raises:
        CommandError: the provider is unknown, or nothing has a price.
    """
    from .._edges.listed_models import listed_models
    from .._providers import PROVIDERS, canonical

    if provider is None:
        if model is None:
            return _known(book, [(name, row.default_model) for name, row in PROVIDERS.items()])
        return _anywhere(book, model)
    name = canonical(provider)
    if name not in PROVIDERS and not listed_models(name):
        raise no_provider(provider)
    if found := _known(book, [(name, each) for each in ([model] if model else sorted(listed_models(name)))]):
        return found
    raise no_price(name, model or "any model")


def _known(book: PriceBook, pairs: list[tuple[str, str]]) -> list[Price]:
    return [price for name, model in pairs if (price := book.resolve_now(name, model)) is not None]


def _anywhere(book: PriceBook, model: str) -> list[Price]:
    """The price at the provider that the name itself tells, else at every provider that lists the model."""
    from .._edges.listed_models import listed_models
    from .._providers import PROVIDERS, canonical, maker_of
    from .._rules.cost_subjects import nearest_names

    first, _, rest = model.partition("/")
    front, _, last = model.rpartition("/")
    named = [(canonical(name), bare) for name, bare in ((first, rest), (last, front)) if bare]
    for name, bare in named:
        if name in PROVIDERS and (found := _known(book, [(name, bare)])):
            return found
    maker = maker_of(model)
    # Google's list has what Vertex resells, too, which Gemini's own API does not have.
    sellers = [name for name in PROVIDERS if name != "gemini" or maker in (None, "gemini")]
    if found := _known(book, [(name, model) for name in sellers]):
        return found
    for name, bare in named:
        if name in PROVIDERS:
            raise no_price(name, bare)
    sellers_of = {listed: name for name in reversed(PROVIDERS) for listed in listed_models(name)}
    near = [f"{sellers_of[listed]}/{listed}" for listed in nearest_names(model, sellers_of)]
    hint = f"did you mean {' or '.join(near)}?" if near else "`prices --provider P` lists those of a provider."
    raise CommandError(f"no price is known for {model!r} at any provider: {hint}", FAILED)


def _print(found: list[Price]) -> None:
    tiers = [(price, tokens, rates) for price in found for tokens, rates in price.tiers]
    columns = {"provider": [price.provider for price, _, _ in tiers], "model": [price.model for price, _, _ in tiers]}
    if len(tiers) > len(found):
        columns["from tokens in >"] = [f"{tokens:,}" for _, tokens, _ in tiers]
    for field, title in _ALWAYS.items():
        columns[title] = _dollars([getattr(rates, field) for _, _, rates in tiers])
    if any(rates.reasoning != rates.output for _, _, rates in tiers):
        columns["reasoning >"] = _dollars([rates.reasoning for _, _, rates in tiers])
    if any(rates.request for _, _, rates in tiers):
        columns["1,000 requests >"] = _dollars([rates.request * 1000 for _, _, rates in tiers], _PUSD_DIGITS)
    if any(price.valid_until_s is not None for price in found):
        columns["holds until"] = [_until(price) for price, _, _ in tiers]
    sources = {(price.source, price.date) for price in found}
    if len(sources) > 1:
        columns["source"] = [price.source for price, _, _ in tiers]
        columns["good on"] = [price.date or "" for price, _, _ in tiers]
    rows = list(zip(*columns.values(), strict=True))
    show(Table(title="Dollars per million tokens", columns=tuple(columns), rows=rows))
    if len(sources) == 1:
        print(origins(list(sources)))


def _dollars(amounts_pusd: list[int], digits: int = _PUSD_DIGITS_PER_MTOK) -> list[str]:
    """A column of exact amounts: two digits after the point, or as many as one of them needs."""
    dollars = [Decimal(amount).scaleb(-digits) for amount in amounts_pusd]
    needed = max(2, *(-int(amount.normalize().as_tuple().exponent) for amount in dollars))
    return [f"{amount:,.{needed}f}" for amount in dollars]


def _until(price: Price) -> str:
    return "" if price.valid_until_s is None else moment(datetime.fromtimestamp(price.valid_until_s, UTC))


def _facts(price: Price) -> dict[str, Any]:
    until = None if price.valid_until_s is None else datetime.fromtimestamp(price.valid_until_s, UTC)
    return {
        "provider": price.provider,
        "model": price.model,
        "tiers": [
            {
                "from_input_tokens": tokens,
                "input": rates.input / 10**_PUSD_DIGITS_PER_MTOK,
                "output": rates.output / 10**_PUSD_DIGITS_PER_MTOK,
                "cache_read": rates.cache_read / 10**_PUSD_DIGITS_PER_MTOK,
                "cache_write_5m": rates.cache_write / 10**_PUSD_DIGITS_PER_MTOK,
                "cache_write_1h": rates.cache_write_1h / 10**_PUSD_DIGITS_PER_MTOK,
                "reasoning": rates.reasoning / 10**_PUSD_DIGITS_PER_MTOK,
                "per_request": rates.request / 10**_PUSD_DIGITS,
            }
            for tokens, rates in price.tiers
        ],
        "source": price.source,
        "date": price.date,
        "valid_until": until,
    }


__all__ = ["add_to", "run"]

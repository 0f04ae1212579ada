"""`compare`: what one message would cost at several providers. Offline: nothing is sent."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..bulk.receipts import pico
from .cost_options import add_price_option, failing_as_a_command, moment, origins, show
from .failures import WRONG_USAGE, CommandError
from .money import digits_of, exact_usd
from .options import add_json_option
from .tables import Table

if TYPE_CHECKING:
    from ..cost_intelligence import CostComparison


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "compare",
        help="what a message would cost at several providers",
        description="Estimates what a message would cost at several providers, at list prices. Nothing is sent.",
    )
    parser.add_argument("message", metavar="MESSAGE", help="the text whose cost is asked for")
    parser.add_argument(
        "--providers", metavar="P,P,…", type=_names,
        help="where (default: those of --models, else openai, anthropic and groq)",
    )  # fmt: skip
    parser.add_argument(
        "--models", metavar="P=M,P=M,…", action="extend", default=[], type=_models,
        help="which models (default: each provider's own default)",
    )  # fmt: skip
    parser.add_argument(
        "--output-tokens", metavar="N", type=int, help="tokens of the answer you expect (default 1,000)"
    )
    add_price_option(parser)
    add_json_option(parser, "the comparison")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compares; 0 once the table is printed."""
    from .._providers import DEFAULT_PROVIDERS
    from ..cost_intelligence import compare_provider_costs

    models = dict(arguments.models)
    if len(models) < len(arguments.models):
        raise CommandError("--models names a provider twice", WRONG_USAGE)
    with failing_as_a_command():
        comparison = compare_provider_costs(
            arguments.message,
            arguments.providers or list(models) or DEFAULT_PROVIDERS,
            models,
            expected_output_tokens=arguments.output_tokens,
            prices=dict(arguments.price),
        )
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(comparison).decode())
    else:
        _print(comparison)
    return 0


def _print(comparison: CostComparison) -> None:
    costs = {name: pico(dollars) for name, dollars in comparison.cost_by_provider.items()}
    digits = digits_of(costs.values())
    least = costs[comparison.cheapest_provider]
    rows = [
        (
            name,
            comparison.models[name],
            f"{comparison.input_tokens[name]:,}",
            f"{comparison.output_tokens[name]:,}",
            exact_usd(cost, digits),
            f"{cost / least:,.1f} ×" if least else "",
        )
        for name, cost in sorted(costs.items(), key=lambda item: item[1])
    ]
    columns = ("provider", "model", "tokens in >", "tokens out >", "cost >", "times the cheapest >")
    show(Table(title="What this message would cost (an estimate; nothing was sent)", columns=columns, rows=rows))
    if len(rows) > 1:
        saved = exact_usd(pico(comparison.max_savings), digits)
        print(f"Cheapest: {comparison.cheapest_provider}, {saved} a message less than the dearest.")
    print(origins([(comparison.price_sources[name], comparison.price_dates[name]) for name in costs]))
    for name, until in comparison.price_valid_until.items():
        if until is not None:
            print(f"The price of {name}'s {comparison.models[name]} holds until {moment(until)}.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _models(text: str) -> list[tuple[str, str]]:
    pairs = [part.strip().partition("=") for part in text.split(",")]
    if not all(name and model for name, _, model in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROVIDER=MODEL,PROVIDER=MODEL,…")
    return [(name, model) for name, _, model in pairs]


__all__ = ["add_to", "run"]

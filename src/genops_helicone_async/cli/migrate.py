"""`migrate`: what a month of the same usage would cost at other models. Offline: nothing is sent."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..bulk.receipts import pico
from .cost_options import add_price_option, failing_as_a_command, moment, money, origins, show, target
from .money import digits_of
from .options import add_json_option
from .tables import Table

if TYPE_CHECKING:
    from ..cost_intelligence import MigrationAnalysis, MigrationOption


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "migrate",
        help="what a month's usage would cost at other models",
        description="Estimates what 30 days of the same usage would cost at other models, at list prices.",
    )
    parser.add_argument("--from", dest="current", metavar="P/M", required=True, type=target, help="where you are")
    parser.add_argument(
        "--to", dest="targets", metavar="P/M", required=True, action="append", type=target,
        help="where you could go; repeatable",
    )  # fmt: skip
    parser.add_argument("--requests-per-day", metavar="N", type=float, required=True, help="requests a day")
    parser.add_argument(
        "--avg-tokens", metavar="N", type=float, help="tokens of an average request: three in for one out"
    )
    parser.add_argument("--avg-input-tokens", metavar="N", type=float, help="instead, if you know: the tokens in …")
    parser.add_argument("--avg-output-tokens", metavar="N", type=float, help="… and the tokens out")
    parser.add_argument(
        "--same-text", action="store_true", help="count in that tokenizers make more tokens of a text, or fewer"
    )
    add_price_option(parser)
    add_json_option(parser, "the analysis")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Analyses; 0 once the table is printed, whatever it recommends."""
    from ..cost_intelligence import estimate_migration_costs

    names = ("requests_per_day", "avg_tokens", "avg_input_tokens", "avg_output_tokens")
    usage = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    (provider, model), targets = arguments.current, arguments.targets
    with failing_as_a_command():
        analysis = estimate_migration_costs(
            provider,
            model,
            [name for name, _ in targets],
            [name for _, name in targets],
            usage,
            same_text=arguments.same_text,
            prices=dict(arguments.price),
        )
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(analysis).decode())
    else:
        _print(analysis, arguments.requests_per_day)
        _print_notes(analysis, same_text=arguments.same_text)
    return 0


def _print(analysis: MigrationAnalysis, requests_per_day: float) -> None:
    digits = _digits_of(analysis)
    rows = [_row(analysis.current, digits, "today")]
    rows += [_row(option, digits) for option in sorted(analysis.options, key=lambda option: option.monthly_cost)]
    columns = ("provider", "model", "tokens in >", "tokens out >", "30 days >", "savings >", "share >")
    requests = f"{requests_per_day:,.10g} request{'' if requests_per_day == 1 else 's'}"
    show(Table(title=f"What 30 days would cost at {requests} a day (an estimate)", columns=columns, rows=rows))
    print(_advice(analysis, digits))


def _advice(analysis: MigrationAnalysis, digits: int) -> str:
    best = analysis.recommended
    if best is not None:
        return f"Best: {best.provider}/{best.model} saves {money(best.savings, digits)} a month."
    if analysis.projected_savings == 0:
        return "Stay: none of these costs less."
    return f"Stay: the cheapest of these would cost {money(-analysis.projected_savings, digits)} a month more."


def _row(option: MigrationOption, digits: int, savings: str | None = None) -> tuple[str, ...]:
    return (
        option.provider,
        option.model,
        f"{option.input_tokens:,.10g}",
        f"{option.output_tokens:,.10g}",
        money(option.monthly_cost, digits),
        savings or money(option.savings, digits),
        "" if savings or option.savings_share is None else f"{option.savings_share:.1%}",
    )


def _digits_of(analysis: MigrationAnalysis) -> int:
    """Cents, or all digits where the least of the amounts is below a dollar."""
    amounts = [analysis.current_monthly_cost, *(option.monthly_cost for option in analysis.options)]
    return 2 if min(filter(None, amounts), default=1) >= 1 else digits_of([pico(amount) for amount in amounts])


def _print_notes(analysis: MigrationAnalysis, *, same_text: bool) -> None:
    every = (analysis.current, *analysis.options)
    ratios = [
        f"{option.token_ratio:.2f} times at {option.model}" for option in analysis.options if option.token_ratio != 1
    ]
    if ratios and not same_text:
        print(f"The same text has more or fewer tokens, about {', '.join(ratios)}: --same-text counts that in.")
    print(origins([(option.price_source, option.price_date) for option in every]))
    for option in dict.fromkeys(every):
        if option.price_valid_until is not None:
            print(f"The price of {option.provider}/{option.model} holds until {moment(option.price_valid_until)}.")


__all__ = ["add_to", "run"]

"""What the cost commands share: prices given on the command line, their failures, and tables that fit the screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from .failures import FAILED, WRONG_USAGE, CommandError
from .tables import Table, plain, print_table

if TYPE_CHECKING:
    from ..errors import ConfigurationError


def add_price_option(parser: argparse.ArgumentParser) -> None:
    """Prices of one's own, as the adapter has them in `prices=`."""
    parser.add_argument(
        "--price", metavar="P/M=IN,OUT", action="append", default=[], type=_own_price,
        help="your own price of PROVIDER/MODEL, in dollars per million tokens in and out; repeatable",
    )  # fmt: skip


def target(text: str) -> tuple[str, str]:
    """An option's PROVIDER/MODEL; the model's own name may hold slashes."""
    provider, slash, model = text.partition("/")
    if not (provider and slash and model):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROVIDER/MODEL, such as openai/gpt-4o")
    return provider, model


def _own_price(text: str) -> tuple[str, dict[str, Decimal]]:
    name, _, amounts = text.rpartition("=")
    try:
        per_input, per_output = map(Decimal, amounts.split(","))
        provider, model = target(name)
    except (ValueError, InvalidOperation, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROVIDER/MODEL=INPUT,OUTPUT") from None
    return f"{provider}/{model}", {"input": per_input, "output": per_output}


@contextmanager
def failing_as_a_command() -> Iterator[None]:
    """Turns the errors of a cost analysis into lines that speak of options instead of arguments.

    A model without a price is a failure; any other wrong argument is wrong usage.
    """
    import logging

    from ..errors import ConfigurationError

    log = logging.getLogger("genops_helicone_async.prices")
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # its warning says of a model what the error will
    try:
        yield
    except ConfigurationError as exc:
        raise _failure(exc) from None
    except TypeError as exc:
        raise CommandError(str(exc), WRONG_USAGE) from None


def _failure(exc: ConfigurationError) -> CommandError:
    if exc.provider is None:
        return CommandError(exc.message, WRONG_USAGE)
    if exc.model is None:
        return no_provider(exc.provider)
    remedy = f" If the name is right, give its price with --price {exc.provider}/{exc.model}=INPUT,OUTPUT"
    return no_price(exc.provider, exc.model, remedy)


def no_provider(provider: str) -> CommandError:
    """The failure for a provider that is neither in the directory nor on a price list."""
    from .._rules.cost_subjects import likely_provider

    return CommandError(f"unknown provider {provider!r}: {likely_provider(provider)}", WRONG_USAGE)


def no_price(provider: str, model: str, remedy: str = "") -> CommandError:
    """The failure for a model that a provider has no price for, with the nearest names."""
    from .._edges.listed_models import listed_models
    from .._rules.cost_subjects import likely_model

    hint = likely_model(provider, model, listed_models(provider))
    return CommandError(f"no price is known for {model!r} at {provider!r}: {hint}{remedy}", FAILED)


def show(table: Table) -> None:
    """Prints a table on standard output: as plain text where the terminal is too narrow for a drawn one."""
    from shutil import get_terminal_size

    # Drawn, the gaps between columns are one character wider.
    width = max(map(len, plain(table).splitlines())) + len(table.columns) - 1
    if width > get_terminal_size().columns:
        print(plain(table))
    else:
        print_table(table, sys.stdout)


def money(amount: float, digits: int) -> str:
    """Dollars with their sign in front."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{digits}f}"


def origins(facts: Sequence[tuple[str, str | None]]) -> str:
    """Where prices come from, each source once: (source, ISO date) pairs."""
    told = dict.fromkeys(source if day is None else f"{source} (good on {day})" for source, day in facts)
    return f"Prices: {', '.join(told)}."


def moment(when: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


__all__ = [
    "add_price_option",
    "failing_as_a_command",
    "moment",
    "money",
    "no_price",
    "no_provider",
    "origins",
    "show",
    "target",
]

"""The options of `bulk` that say what its input is and how fast it may go, and what they stand for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .failures import WRONG_USAGE, CommandError, reason
from .options import positive

if TYPE_CHECKING:
    from ..bulk.sources import RowSource
    from ..client import GenOpsHeliconeAsyncAdapter


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """What the input is."""
    group = parser.add_argument_group("the input")
    group.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), help="what INPUT is (default: by its suffix, else jsonl)"
    )
    group.add_argument("--prompt-column", metavar="NAME", help="the column of CSV or Parquet that is the message")
    group.add_argument(
        "--ignore-columns", metavar="NAME,…", type=_names, default=(),
        help="columns of CSV or Parquet that are not for us; * is every one that is no keyword",
    )  # fmt: skip


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """How fast it may go."""
    group = parser.add_argument_group("limits of each provider")
    group.add_argument("--requests-per-minute", metavar="N", type=positive, help="calls a minute")
    group.add_argument("--tokens-per-minute", metavar="N", type=positive, help="tokens a minute, in and out together")


def configure_limits(adapter: GenOpsHeliconeAsyncAdapter, arguments: argparse.Namespace) -> None:
    """Has the adapter keep to the limits that were given."""
    requests, tokens = arguments.requests_per_minute, arguments.tokens_per_minute
    if requests is not None or tokens is not None:
        adapter.configure_rate_limits(requests_per_minute=requests, tokens_per_minute=tokens)


def open_rows(arguments: argparse.Namespace) -> RowSource:
    """The source of the input, opened and looked at; this blocks.

    Raises:
        CommandError: wrong usage: it cannot be read.
        ConfigurationError: it is not what it should be.
    """
    from ..bulk.sources import open_source

    path = None if arguments.input == "-" else arguments.input
    try:
        return open_source(
            path, kind=arguments.format, prompt_column=arguments.prompt_column, ignore_columns=arguments.ignore_columns
        )
    except OSError as exc:
        raise CommandError(f"cannot read {reason(exc)}", WRONG_USAGE) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


__all__ = ["add_input_options", "add_limit_options", "configure_limits", "open_rows"]

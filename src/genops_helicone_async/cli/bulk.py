"""`bulk`: a file of requests in, a file of answers out, many at once, each exactly once, in bounded memory."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from .bulk_inputs import add_input_options, add_limit_options
from .bulk_ray import add_ray_options, check_ray, ray_of
from .bulk_via import add_via_options, check_overwrite, check_via
from .failures import WRONG_USAGE, CommandError
from .options import (
    add_connection_options,
    add_json_option,
    add_target_options,
    chat_keywords,
    count,
)

TIMEOUT_S = 120.0
WAIT_FOR_GATEWAY_S = 600.0
DRAIN_S = 20.0
_ROW_HELP = """
a row is one line of JSON, either of OpenAI's batch format
  {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": […]}}
or the chat keywords
  {"message": "Hello", "providers": ["openai", "groq"], "max_tokens": 100, "team": "research"}
or, in CSV and Parquet, a row with such keywords as columns. A row's own provider, model and other fields win over the
options here. A line that cannot be sent is reported with its number, written to OUTPUT.errors.jsonl and skipped; the
others are done.

what is done is kept in OUTPUT.journal: the same command again goes on where it ended, however that was.
Exit status 0 if every row was answered, 1 if not, 2 wrong usage, 130 interrupted.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "bulk",
        help="send a file of requests",
        description="Sends every row of INPUT and writes one line for each to OUTPUT, in OpenAI's batch output format.",
        epilog=_ROW_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", help="the rows; - reads standard input")
    parser.add_argument("-o", "--output", metavar="OUTPUT.jsonl", help="where the answers go; - is standard output")
    parser.add_argument("--max-in-flight", metavar="N", type=count, default=256, help="calls at once (default 256)")
    parser.add_argument("--ordered", action="store_true", help="write in the order of INPUT, not as rows finish")
    parser.add_argument("--from-line", metavar="N", type=count, default=1, help="begin at this line of INPUT")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--json-progress", action="store_true", help="progress as JSON lines on standard error")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="write the summary as a page, too")
    _add_job_options(parser)
    _add_money_options(parser)
    add_via_options(parser)
    add_ray_options(parser)
    add_input_options(parser)
    add_target_options(parser)
    add_limit_options(parser)
    add_connection_options(parser, TIMEOUT_S)
    add_json_option(parser, "the summary")
    parser.set_defaults(run=run)


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("going on with an earlier run")
    again = group.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the job of OUTPUT, if there is one (default)")
    again.add_argument("--overwrite", action="store_true", help="begin anew: replace OUTPUT and its journal")
    group.add_argument("--retry-failed", action="store_true", help="send the failed rows of earlier runs again, too")
    group.add_argument(
        "--new-options", action="store_true",
        help="send the rows that are left with the options given now, although the job began with others",
    )  # fmt: skip
    group.add_argument(
        "--wait-for-gateway", metavar="S", type=_seconds, default=WAIT_FOR_GATEWAY_S,
        help=f"how long to wait while nobody can be reached, before rows are given back (default "
        f"{WAIT_FOR_GATEWAY_S:g})",
    )  # fmt: skip
    group.add_argument(
        "--drain-seconds", metavar="S", type=_seconds, default=DRAIN_S,
        help=f"after SIGTERM, how long calls in flight may take to end (default {DRAIN_S:g})",
    )  # fmt: skip


def _add_money_options(parser: argparse.ArgumentParser) -> None:
    from .ledger_options import dollars

    group = parser.add_argument_group("money")
    group.add_argument("--dry-run", action="store_true", help="send nothing: say what it would cost and take")
    group.add_argument(
        "--max-cost", metavar="USD", type=dollars,
        help="what the whole job may cost, over all its runs; rows that do not fit are left for a later run",
    )  # fmt: skip
    group.add_argument("--no-dedupe", action="store_true", help="send equal rows each, instead of answering them once")


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Does the job; 0 if every row was answered, 1 if one failed, was skipped or is left, 130 if interrupted."""
    check_via(arguments)
    check_ray(arguments)
    if arguments.dry_run:
        from .bulk_estimate import run_estimate

        return run_estimate(arguments)
    if arguments.output is None:
        raise CommandError("give -o OUTPUT.jsonl, where the answers go; - is standard output", WRONG_USAGE)
    if arguments.report is not None:
        from .bulk_page import check_page

        check_page(arguments.report)
    from .. import ChatRequest
    from .._edges.event_loop import run_on_loop
    from ..bulk.job_files import check_output, errors_path
    from .bulk_inputs import open_rows
    from .bulk_run import Begun, run_job
    from .options import adapter_from

    output = None if arguments.output == "-" else Path(arguments.output)
    inputs = () if arguments.input == "-" else (Path(arguments.input),)
    defaults = chat_keywords(arguments)
    ChatRequest(message="only to check the other options", **defaults)
    adapter = adapter_from(arguments)
    source = open_rows(arguments)
    if not inputs and sys.stdin.isatty():
        print("reading rows from standard input; Ctrl-D ends them", file=sys.stderr)
    bad_lines = errors_path(output)
    if output is not None:
        check_output(output, overwrite=arguments.overwrite, inputs=inputs)
        if arguments.overwrite:
            check_overwrite(output)
    if bad_lines is not None:
        check_output(bad_lines, overwrite=True, inputs=inputs)
    with ray_of(arguments):
        return run_on_loop(run_job(Begun(
            arguments=arguments, adapter=adapter, source=source, defaults=defaults, output=output, bad_lines=bad_lines,
        )))  # fmt: skip


__all__ = ["DRAIN_S", "TIMEOUT_S", "WAIT_FOR_GATEWAY_S", "add_to", "run"]

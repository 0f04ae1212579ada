"""`bulk`: a file of requests in, a file of answers out, many at once, in bounded memory."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .failures import FAILED, INTERRUPTED, WRONG_USAGE, CommandError, reason
from .options import (
    adapter_from,
    add_connection_options,
    add_json_option,
    add_target_options,
    chat_keywords,
    count,
)

if TYPE_CHECKING:
    from ..bulk.lines import LineSource
    from ..bulk.rows import BadLine, Row, RowReader
    from ..client import GenOpsHeliconeAsyncAdapter
    from .bulk_sink import JsonlSink
    from .progress import View

TIMEOUT_S = 120.0
_ROW_HELP = """
a row is one line of JSON, either of OpenAI's batch format
  {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": […]}}
or the chat keywords
  {"message": "Hello", "providers": ["openai", "groq"], "max_tokens": 100, "team": "research"}
A row's own provider, model and other fields win over the options here. A line that cannot be sent is reported with
its number, written to OUTPUT.errors.jsonl and skipped; the others are done. Exit status 1 if any row failed.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "bulk",
        help="send a JSONL file of requests",
        description="Sends every row of INPUT and writes one line for each to OUTPUT, in OpenAI's batch output format.",
        epilog=_ROW_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT.jsonl", help="the rows; - reads standard input")
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT.jsonl", required=True, help="where the answers go; - is standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.add_argument("--max-in-flight", metavar="N", type=count, default=256, help="calls at once (default 256)")
    parser.add_argument("--ordered", action="store_true", help="write in the order of INPUT, not as rows finish")
    parser.add_argument("--from-line", metavar="N", type=count, default=1, help="begin at this line of INPUT")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    add_target_options(parser)
    add_connection_options(parser, TIMEOUT_S)
    add_json_option(parser, "the summary")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Does the job; 0 if every row was answered, 1 if one failed or was skipped, 130 if it was interrupted."""
    from .. import ChatRequest
    from ..bulk.lines import LineSource
    from .bulk_sink import JsonlSink, check_output

    output = None if arguments.output == "-" else Path(arguments.output)
    inputs = () if arguments.input == "-" else (Path(arguments.input),)
    defaults = chat_keywords(arguments)
    ChatRequest(message="only to check the other options", **defaults)
    adapter = adapter_from(arguments)
    source = LineSource(open_input(inputs[0]) if inputs else 0)
    if not inputs and sys.stdin.isatty():
        print("reading rows from standard input; Ctrl-D ends them", file=sys.stderr)
    for path in (output, errors_path(output)):
        if path is not None:
            check_output(path, overwrite=arguments.overwrite, inputs=inputs)
    results = JsonlSink(output, overwrite=arguments.overwrite).open()
    job = Job(adapter=adapter, source=source, results=results, bad_lines=errors_path(output), defaults=defaults)
    return asyncio.run(_job(arguments, job))


class Job(NamedTuple):
    """What a run works with, opened and checked."""

    adapter: GenOpsHeliconeAsyncAdapter
    source: LineSource
    results: JsonlSink
    bad_lines: Path | None
    defaults: dict[str, Any]


def errors_path(output: Path | None) -> Path | None:
    """The file of bad lines beside an output; None beside standard output, a pipe or a device."""
    if output is None or (output.exists() and not output.is_file()):
        return None
    name = output.name.removesuffix(".jsonl")
    return output.with_name(f"{name}.errors.jsonl")


async def _job(arguments: argparse.Namespace, job: Job) -> int:
    from ..bulk.rows import RowReader
    from ..bulk.tally import Tally
    from .bulk_report import print_summary
    from .bulk_run import BulkRun, Outlets
    from .bulk_sink import JsonlSink
    from .progress import view_for

    view, tally = view_for("bulk", quiet=arguments.quiet), Tally()
    bad = JsonlSink(job.bad_lines, overwrite=True) if job.bad_lines is not None else None
    async with job.adapter as adapter:
        reader = RowReader(job.defaults, frozenset(adapter.settings.candidates))
        rows = rows_of(job.source, reader, arguments.from_line)
        outlets = Outlets(results=job.results, bad=bad, view=view, tally=tally)
        running = BulkRun(adapter, rows, job.source.stop, outlets)
        _count_beside(arguments, view)
        started = time.monotonic()
        await running.run(max_in_flight=arguments.max_in_flight, ordered=arguments.ordered)
        wall_s = time.monotonic() - started
    if job.bad_lines is not None and arguments.overwrite and not tally.skipped:
        await asyncio.to_thread(job.bad_lines.unlink, missing_ok=True)  # those of the output that was replaced
    print_summary(arguments, running, tally, wall_s, job.bad_lines if tally.skipped else None)
    if running.is_interrupted:
        return INTERRUPTED
    return FAILED if tally.failed or tally.skipped else 0


def _count_beside(arguments: argparse.Namespace, view: View) -> None:
    """Counts the rows while the first are sent, for the bar; a pipe cannot be counted."""
    from ..bulk.lines import count_rows

    def run() -> None:
        with contextlib.suppress(OSError):
            if not Path(arguments.input).is_file():  # counting a pipe would empty it
                return
            view.total = count_rows(arguments.input, arguments.from_line)

    if arguments.input != "-":
        threading.Thread(target=run, name="bulk-count", daemon=True).start()


async def rows_of(source: LineSource, reader: RowReader, first_line: int = 1) -> AsyncIterator[Row | BadLine]:
    """The rows and bad lines of a source; blank lines are none."""
    from ..bulk.rows import bad_line

    async for line in source.lines():
        if line.number < first_line:
            continue
        if not line.is_whole:
            yield bad_line(line.number, line.data, f"longer than {len(line.data):,} bytes")
        elif item := reader.read(line.number, line.data):
            yield item


def open_input(path: Path) -> int:
    """A descriptor of the input.

    Raises:
        CommandError: wrong usage: it cannot be read, or is no file of lines in UTF-8.
    """
    if path.is_dir():
        raise CommandError(f"cannot read {path}: it is a folder, give a JSONL file", WRONG_USAGE)
    try:
        descriptor = os.open(path, os.O_RDONLY)
        head = os.read(descriptor, 2) if path.is_file() else b""
        if head:
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as exc:
        raise CommandError(f"cannot read {reason(exc)}", WRONG_USAGE) from None
    if head in (b"\xff\xfe", b"\xfe\xff"):
        raise CommandError(f"{path} is UTF-16: convert it first (iconv -f utf-16 -t utf-8)", WRONG_USAGE)
    return descriptor


__all__ = ["TIMEOUT_S", "Job", "add_to", "errors_path", "open_input", "rows_of", "run"]

"""What `bulk` says at its end: the summary, where the answers are, and how to go on after an interruption."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import msgspec

from ..bulk.tally import Tally
from .bulk_run import BulkRun
from .program import program
from .summary import doubt_line, rows_line, tables_of
from .tables import print_table


def print_summary(
    arguments: argparse.Namespace, run: BulkRun, tally: Tally, wall_s: float, bad_lines: Path | None
) -> None:
    """Prints the summary of a job, on standard error where standard output holds the answers."""
    out = sys.stderr if arguments.output == "-" else sys.stdout
    if arguments.json:
        told = {
            "interrupted": run.is_interrupted, "last_line": run.last_line, "wall_s": round(wall_s, 3),
            "rows_per_s": round(tally.done / max(wall_s, 1e-3), 3), **tally.as_json(),
            "output": None if arguments.output == "-" else arguments.output,
            "errors_file": str(bad_lines) if bad_lines else None,
        }  # fmt: skip
        print(msgspec.json.encode(told).decode(), file=out)
    else:
        print(rows_line(tally, wall_s), file=out)
        for table in tables_of(tally):
            print_table(table, out)
        for line in (doubt_line(tally), *_where(arguments, bad_lines)):
            if line:
                print(line, file=out)
    if run.is_interrupted:
        print(_how_to_go_on(arguments, run), file=sys.stderr)


def _where(arguments: argparse.Namespace, bad_lines: Path | None) -> list[str]:
    lines = [] if arguments.output == "-" else [f"answers:   {arguments.output}"]
    return [*lines, f"bad lines: {bad_lines}"] if bad_lines else lines


def _how_to_go_on(arguments: argparse.Namespace, run: BulkRun) -> str:
    told = f"interrupted: every row up to line {run.last_line} is in the output"
    if run.dropped:
        told += f"; {run.dropped} rows were dropped unanswered and may be billed (error code `interrupted`)"
    if arguments.input == "-":
        return told
    rest = Path(arguments.output).with_suffix(".rest.jsonl") if arguments.output != "-" else Path("rest.jsonl")
    again = shlex.join(["bulk", arguments.input, "-o", str(rest), "--from-line", str(run.last_line + 1)])
    return f"{told}\nto go on, with the same options: {program()} {again}"


__all__ = ["print_summary"]

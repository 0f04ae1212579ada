"""What is said of a bulk job when a run of it ends: all its figures, what is in doubt, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import msgspec

from ..bulk.tally import Tally
from ..models import PUSD_PER_USD
from .money import about_usd
from .summary import counted, doubt_line, rows_line, tables_of
from .tables import print_table

MOST_NAMED = 100
"""Rows perhaps billed twice that are named one by one."""
_NAMED_IN_A_LINE = 5


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run. The tally is the whole job's, over all its runs.

    Attributes:
        tally: What the job has come to.
        wall_s: Seconds that this run took.
        input: What was read.
        output: Where the answers are, None for standard output.
        bad_lines: Where the lines are that could not be sent, None without any.
        runs: How many runs the job took so far, this one included.
        rows_before: Rows that were done when this run began.
        rows_total: Rows of the input, where they are known.
        is_interrupted: Whether somebody ended it.
        given_back: Why rows were given back, `--max-cost` for instance; None without such rows.
        twice: Of rows that were on their way when a run ended unawares and were sent again.
        twice_count: How many these are.
        twice_pusd: What these may cost besides, at most, which `--max-cost` counts as spent; 0 where it is not known.
        dropped: Of rows that this run gave up on their way; a later run sends them again.
        go_on: The command that does the rest; None where nothing is left.
        last_line: The last line or row that was read.
    """

    tally: Tally
    wall_s: float
    input: str = "-"
    output: str | None = None
    bad_lines: str | None = None
    runs: int = 1
    rows_before: int = 0
    rows_total: int | None = None
    is_interrupted: bool = False
    given_back: str | None = None
    twice: Sequence[str] = ()
    twice_count: int = 0
    twice_pusd: int = 0
    dropped: Sequence[str] = ()
    go_on: str | None = None
    last_line: int = 0

    @property
    def rows_per_s(self) -> float:
        """Of this run."""
        return (self.tally.done - self.rows_before) / max(self.wall_s, 1e-3)


def print_end(end: JobEnd, out: TextIO, *, as_json: bool) -> None:
    """Prints the summary: tables, or one object."""
    if as_json:
        print(msgspec.json.encode(end_json(end)).decode(), file=out)
        return
    print(rows_line(end.tally, end.wall_s, end.rows_before), file=out)
    for table in tables_of(end.tally):
        print_table(table, out)
    for line in remarks(end):
        print(line, file=out)


def remarks(end: JobEnd) -> Iterator[str]:
    """What tables cannot say, a line each."""
    tally = end.tally
    if end.runs > 1:
        now = tally.done - end.rows_before
        yield f"all figures are those of {end.runs} runs; this one did {counted(now, 'row')}"
    if tally.copied:
        yield f"{counted(tally.copied, 'row')} equal to another, answered with it at no cost"
    if tally.unpriced:
        yield f"{counted(tally.unpriced, 'call')} without a known price, in no sum"
    if doubt := doubt_line(tally):
        yield doubt
    if end.twice_count:
        sent = f"{counted(end.twice_count, 'row')} on the way when an earlier run ended, and sent again"
        most = f", {about_usd(end.twice_pusd)} at most" if end.twice_pusd else ""
        yield f"{sent}, perhaps billed twice{most}: {_named(end)}"
    if tally.unsent:
        yield f"{counted(tally.unsent, 'row')} given back unsent: {end.given_back or 'the run ended'}"
    if end.output is not None:
        yield f"answers:   {end.output}"
    if end.bad_lines is not None:
        yield f"bad lines: {end.bad_lines}"
    if end.go_on is not None:
        yield f"to go on:  {end.go_on}"


def _named(end: JobEnd) -> str:
    named = ", ".join(end.twice[:_NAMED_IN_A_LINE])
    return named if end.twice_count <= _NAMED_IN_A_LINE else f"{named}, …"


def end_json(end: JobEnd) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "interrupted": end.is_interrupted,
        "last_line": end.last_line,
        "wall_s": round(end.wall_s, 3),
        "rows_per_s": round(end.rows_per_s, 3),
        "runs": end.runs,
        "rows_before": end.rows_before,
        "rows_total": end.rows_total,
        **end.tally.as_json(),
        "given_back": {"rows": end.tally.unsent, "because": end.given_back},
        "perhaps_billed_twice": {
            "rows": end.twice_count,
            "custom_ids": list(end.twice),
            "most_cost_usd": end.twice_pusd / PUSD_PER_USD,
        },
        "dropped": list(end.dropped),
        "output": end.output,
        "errors_file": end.bad_lines,
        "go_on": end.go_on,
    }


__all__ = ["MOST_NAMED", "JobEnd", "end_json", "print_end", "remarks"]

"""An estimate on the screen or as JSON: cost, what a limit would cut, time, and what all this is worth."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ..bulk.estimate import Estimate, TargetEstimate
from .cost_options import show
from .money import PUSD_PER_USD, about_usd
from .summary import counted
from .tables import Table

FIRST_TOKEN_S = 0.7
TOKENS_PER_S = 60.0
"""How fast a model is taken to begin and to write, for the time that calls at once allow: a guess, and told as one."""


class JobEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with what it is of. `is_cut` says that the input was not read to its end.

    `done` are the rows that earlier runs of the job have done, `spent_pusd` what all of these have spent or may have.
    """

    estimate: Estimate
    input: str
    bad_lines: int
    reasons: tuple[str, ...]
    is_cut: bool
    limit_pusd: int | None
    max_in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    done: int = 0
    spent_pusd: int = 0

    @property
    def refused(self) -> int:
        """Lines and rows that cannot be sent."""
        return self.bad_lines + self.estimate.refused

    def times_s(self) -> dict[str, float]:
        """Seconds that each limit alone would make it take; the longest of them is the job's."""
        rows: dict[str, int] = {}
        tokens: dict[str, int] = {}
        for (provider, _), one in self.estimate.by_target.items():
            rows[provider] = rows.get(provider, 0) + one.rows
            tokens[provider] = tokens.get(provider, 0) + one.input_tokens + one.output_tokens
        times = {"max_in_flight": self._seconds_of_calls() / self.max_in_flight}
        if self.requests_per_minute is not None:
            times["requests_per_minute"] = max(rows.values(), default=0) * 60 / self.requests_per_minute
        if self.tokens_per_minute is not None:
            times["tokens_per_minute"] = max(tokens.values(), default=0) * 60 / self.tokens_per_minute
        return times

    def _seconds_of_calls(self) -> float:
        values = self.estimate.by_target.values()
        return sum(one.rows * FIRST_TOKEN_S + one.output_tokens / TOKENS_PER_S for one in values)


def print_estimate(job: JobEstimate, *, as_json: bool) -> None:
    """Prints it on standard output."""
    if as_json:
        print(msgspec.json.encode(estimate_json(job)).decode())
        return
    whole = job.estimate
    print(_rows_line(job))
    for reason in job.reasons:
        print(f"  {reason}")
    if job.refused > len(job.reasons):
        print(f"  … and {job.refused - len(job.reasons):,} more")
    if whole.rows:
        show(cost_table(whole))
        for line in (*_limit_lines(job), _time_line(job), *_batch_lines(whole), *_worth(whole)):
            print(line)
    print("Nothing was sent.")


def cost_table(whole: Estimate) -> Table:
    """Cost by provider and model, where most is expected first."""
    ranked = sorted(whole.by_target.items(), key=lambda item: (-item[1].expected_pusd, -item[1].rows, item[0]))
    rows = [(provider, model, *_figures(one)) for (provider, model), one in ranked]
    values = whole.by_target.values()
    total = (
        "total", "", f"{whole.rows:,}", f"{sum(one.input_tokens for one in values):,}",
        f"{sum(one.output_tokens for one in values):,}", about_usd(whole.expected_pusd), f"{whole.rows:,}",
        about_usd(whole.worst_pusd),
    )  # fmt: skip
    columns = (
        "provider", "model", "rows >", "tokens in >", "tokens out >", "expected >", "rows at most >", "worst case >",
    )  # fmt: skip
    return Table(title="What it would cost, estimated", columns=columns, rows=rows, total=total)


def _figures(one: TargetEstimate) -> tuple[str, ...]:
    unknown = one.unpriced and not one.expected_pusd
    return (
        f"{one.rows:,}", f"{one.input_tokens:,}", f"{one.output_tokens:,}",
        "no price" if unknown else about_usd(one.expected_pusd), f"{one.possible:,}",
        "no price" if unknown or not one.worst_pusd else about_usd(one.worst_pusd),
    )  # fmt: skip


def estimate_json(job: JobEstimate) -> dict[str, Any]:
    """The same for a machine."""
    whole, times = job.estimate, job.times_s()
    return {
        "estimated": True,
        "sent": 0,
        "input": job.input,
        "read_to_the_end": not job.is_cut,
        "rows": {
            "done": job.done, "to_send": whole.rows, "sent_again": whole.again,
            "equal_to_earlier": whole.copies, "cannot_be_sent": job.refused,
            "assumed_length": whole.assumed, "unpriced": whole.unpriced,
        },
        "reasons": list(job.reasons),
        "spent_usd": job.spent_pusd / PUSD_PER_USD,
        "perhaps_billed_twice_usd": whole.again_pusd / PUSD_PER_USD,
        "expected_cost_usd": whole.expected_pusd / PUSD_PER_USD,
        "worst_case_cost_usd": whole.worst_pusd / PUSD_PER_USD,
        "as_batches": {"rows": whole.batch_rows, "expected_cost_usd": whole.batch_pusd / PUSD_PER_USD},
        "max_cost_usd": None if job.limit_pusd is None else job.limit_pusd / PUSD_PER_USD,
        "rows_within_max_cost": None if job.limit_pusd is None else {
            "expected": whole.rows if whole.fit_expected is None else whole.fit_expected,
            "worst_case": whole.rows if whole.fit_worst is None else whole.fit_worst,
        },
        "seconds": {"at_least": round(max(times.values()), 1), "by_limit": {k: round(v, 1) for k, v in times.items()}},
        "tokens_are": "counted" if whole.is_exact else "by characters",
        "by_model": [
            {
                "provider": provider, "model": model, "rows": one.rows, "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens, "expected_cost_usd": one.expected_pusd / PUSD_PER_USD,
                "possible_rows": one.possible, "worst_case_cost_usd": one.worst_pusd / PUSD_PER_USD,
                "unpriced_rows": one.unpriced,
            }
            for (provider, model), one in sorted(whole.by_target.items())
        ],
    }  # fmt: skip


def _rows_line(job: JobEstimate) -> str:
    whole = job.estimate
    parts = [f"{counted(whole.rows, 'row')} to send"]
    if job.done:
        parts.append(f"{counted(job.done, 'row')} done already, for {about_usd(job.spent_pusd)}")
    if whole.again:
        parts.append(f"{whole.again:,} of those to send perhaps billed before, {about_usd(whole.again_pusd)} at most")
    if whole.copies:
        parts.append(f"{counted(whole.copies, 'row')} equal to an earlier one, answered with it")
    if job.refused:
        parts.append(f"{job.refused:,} that cannot be sent" + (":" if job.reasons else ""))
    cut = " (interrupted: not read to its end)" if job.is_cut else ""
    return f"{job.input}{cut}: {'; '.join(parts)}"


def _limit_lines(job: JobEstimate) -> list[str]:
    limit, whole = job.limit_pusd, job.estimate
    if limit is None:
        return []
    told = f"--max-cost {about_usd(limit)}"
    if taken := job.spent_pusd + whole.again_pusd:
        told += f", of which {about_usd(taken)} is or may be spent,"
    if whole.fit_expected is None and whole.fit_worst is None:
        return [f"{told} is enough, also in the worst case"]
    worst = whole.rows if whole.fit_worst is None else whole.fit_worst
    if whole.fit_expected is None:
        return [f"{told} is likely to be enough; in the worst case it ends after {worst:,} of {whole.rows:,} rows"]
    cut = f"{told} is likely to end it after {whole.fit_expected:,} of {whole.rows:,} rows"
    return [f"{cut}; in the worst case after {worst:,}"]


def _time_line(job: JobEstimate) -> str:
    times = job.times_s()
    longest = max(times, key=lambda name: times[name])
    flag = f"--{longest.replace('_', '-')} {getattr(job, longest):,g}"
    line = f"Time: about {told_time(times[longest])}, by {flag}"
    if longest == "max_in_flight":
        line += f" (if a call takes {FIRST_TOKEN_S:g} s and a second for {TOKENS_PER_S:g} tokens)"
    return line


def _batch_lines(whole: Estimate) -> list[str]:
    if not whole.batch_rows:
        return []
    rows = "all rows" if whole.batch_rows == whole.rows else f"{whole.batch_rows:,} of the rows"
    return [f"As provider batches {rows} would cost about {about_usd(whole.batch_pusd)}, within a day"]


def _worth(whole: Estimate) -> list[str]:
    how = (
        "counted (models other than OpenAI's at a factor)"
        if whole.is_exact
        else "by characters: the extra [tokens] counts"
    )
    lines = [f"Tokens of all {whole.rows:,} rows are {how}"]
    if whole.assumed:
        lines.append(f"{counted(whole.assumed, 'answer')} without --max-tokens taken to have 1,000 tokens")
    if whole.unpriced:
        lines.append(f"{counted(whole.unpriced, 'row')} may go to a model without a known price, which is in no sum")
    lines.append(
        "Worst case: every row at its dearest candidate, the longest answer, input with a margin; repeats aside"
    )
    return lines


def told_time(seconds: float) -> str:
    """A time in the unit that fits."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


__all__ = ["JobEstimate", "cost_table", "estimate_json", "print_estimate", "told_time"]

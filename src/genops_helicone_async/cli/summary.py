"""What is said of a job at its end: tables of cost, latency and failovers, or the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from ..bulk.tally import PERCENTILES, Latencies, Tally
from .failures import one_line
from .money import about_usd, digits_of, exact_usd
from .tables import Table

_MOST_CAUSES = 12
_SHOWN_CHARS = 60
"""How much of an error's message fits beside its name."""


def cost_table(tally: Tally, title: str = "Cost and latency (seconds) by provider") -> Table:
    """Answers, tokens, exact cost, its share, and latency percentiles of each provider, the dearest first."""
    providers = sorted(tally.providers.items(), key=lambda item: (-item[1].cost_pusd, item[0]))
    total = tally.cost_pusd
    digits = digits_of([provider.cost_pusd for _, provider in providers])
    rows = [
        (
            name, f"{one.asked:,}", f"{one.answered:,}", f"{one.input_tokens:,}", f"{one.output_tokens:,}",
            exact_usd(one.cost_pusd, digits), _share(one.cost_pusd, total), *_times(one.latencies),
        )
        for name, one in providers
    ]  # fmt: skip
    everyone = tally.providers.values()
    whole = (
        "total", f"{sum(p.asked for p in everyone):,}", f"{sum(p.answered for p in everyone):,}",
        f"{sum(p.input_tokens for p in everyone):,}", f"{sum(p.output_tokens for p in everyone):,}",
        exact_usd(total, digits), _share(total, total), *_times(tally.latencies),
    )  # fmt: skip
    columns = (
        "provider", "calls >", "answered >", "tokens in >", "tokens out >", "cost >", "share >",
        *(f"p{percent} >" for percent in PERCENTILES),
    )  # fmt: skip
    return Table(title=title, columns=columns, rows=rows, total=whole)


def failover_table(tally: Tally) -> Table:
    """From which provider to which, why and how often; the most frequent first."""
    rows = [
        (origin, target, why, f"{count:,}")
        for (origin, target, why), count in sorted(tally.failovers.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Table(title="What failed over", columns=("from", "to", "because of", "times >"), rows=rows)


def failure_table(tally: Tally) -> Table:
    """The causes that rows failed for, how often, and an example of each; the most frequent first."""
    ranked = tally.ranked_failures()
    rows = [
        (kind, status or "-", f"{one.count:,}", shortened(one.example))
        for (kind, status, _), one in ranked[:_MOST_CAUSES]
    ]
    if len(ranked) > _MOST_CAUSES:
        rest = ranked[_MOST_CAUSES:]
        rows.append((f"({len(rest):,} more causes)", "", f"{sum(one.count for _, one in rest):,}", ""))
    return Table(title="Why rows failed", columns=("error", "status", "rows >", "for example"), rows=rows)


def shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    text = one_line(text)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def rows_line(tally: Tally, wall_s: float, rows_before: int = 0) -> str:
    """Rows by outcome, failovers, retries; time and speed of the run, which began with so many rows done."""
    outcomes = [f"{tally.ok:,} answered", f"{tally.failed:,} failed"]
    if tally.skipped:
        outcomes.append(f"{tally.skipped:,} skipped")
    parts = [
        f"{counted(tally.done, 'row')}: {', '.join(outcomes)}",
        f"{counted(tally.failover_count, 'failover')}, {counted(tally.retries, 'retry', 'retries')}",
        f"{wall_s:.1f} s, {(tally.done - rows_before) / max(wall_s, 1e-3):,.0f} rows/s",
    ]
    return "; ".join(parts)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 retry`, `2 retries`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def doubt_line(tally: Tally) -> str | None:
    """What cannot be known from here: attempts that were lost after they were sent."""
    if not tally.in_doubt:
        return None
    lost = "reply was" if tally.in_doubt == 1 else "replies were"
    about = about_usd(tally.in_doubt_pusd)
    return f"{tally.in_doubt:,} {lost} lost on the way: perhaps billed, at most about {about} on top"


def tables_of(tally: Tally) -> Sequence[Table]:
    """The tables worth showing."""
    tables = [cost_table(tally)] if tally.providers else []
    if tally.failovers:
        tables.append(failover_table(tally))
    if tally.failures:
        tables.append(failure_table(tally))
    return tables


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _times(latencies: Latencies) -> tuple[str, ...]:
    found = [latencies.percentile(percent) for percent in PERCENTILES]
    return tuple("-" if seconds is None else f"{seconds:.2f}" for seconds in found)


__all__ = [
    "cost_table",
    "counted",
    "doubt_line",
    "failover_table",
    "failure_table",
    "rows_line",
    "shortened",
    "tables_of",
]

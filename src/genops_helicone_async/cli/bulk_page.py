"""`bulk --report`: a job as one self-contained HTML page, in the dress of the ledger's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..bulk.tally import MOST_BARS, PERCENTILES, Latencies, ProviderTally, Tally
from ..report.amounts import (
    NO_BREAK,
    about,
    count,
    counted,
    digits_of,
    duration,
    moment,
    money,
    round_duration,
    share,
)
from ..report.charts import Part, Range, StackedBar, Titled, bar_chart, range_chart
from ..report.markup import Html, foreign, joined, tag
from ..report.over_time import COLOURS, REST
from ..report.page import framed, section, tile
from ..report.tables import plain_table
from ..report.written import write_whole
from .bulk_end import MOST_NAMED, JobEnd
from .failures import WRONG_USAGE, CommandError

_MOST_CAUSES = 30
_HOUR_S = 3600
_BEGINS = b"<!doctype html>"


def check_page(path: Path) -> None:
    """Refuses, before anything is sent, a path that a page cannot or must not be written to.

    Raises:
        CommandError: wrong usage; the message names the remedy.
    """
    if path.is_dir():
        raise CommandError(f"{path} is a folder: name a file in it", WRONG_USAGE)
    if not path.parent.is_dir():
        raise CommandError(f"{path.parent} is no folder: create it first (mkdir -p)", WRONG_USAGE)
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(len(_BEGINS))
        if head and head.lower() != _BEGINS:
            raise CommandError(f"{path} is no HTML page: give --report another name", WRONG_USAGE)


def write_page(end: JobEnd, path: Path, *, title: str = "What the bulk run came to") -> None:
    """Writes the page, in place of an earlier one; a failure leaves that as it was.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, page_of_job(end, title, datetime.now(UTC)))


def page_of_job(end: JobEnd, title: str, written_at: datetime) -> str:
    """The page: figures of all runs, and what is left to do."""
    tally = end.tally
    return framed(
        title,
        _about(end, written_at),
        [
            _tiles(end),
            _left(end),
            _course(tally),
            _providers(tally),
            _latencies(tally),
            _failures(tally),
            _failovers(tally),
            _twice(end),
        ],
    )


def _about(end: JobEnd, written_at: datetime) -> Html:
    tally = end.tally
    words = [counted(tally.done, "row"), " of ", foreign(end.input)]
    if end.rows_total is not None:
        words[1] = f" of {count(end.rows_total)} of "
    runs = f", in {counted(end.runs, 'run')}" if end.runs > 1 else ""
    took = f"The last run took {duration(end.wall_s * 1000)}, {end.rows_per_s:,.0f} rows a second."
    lines = [joined(*words, f"{runs}. ", took), joined(f"Written {moment(written_at.timestamp(), UTC)} UTC.")]
    if end.output is not None:
        lines.insert(1, joined("Answers: ", foreign(end.output), "."))
    return joined(*(tag("p", line) for line in lines))


def _tiles(end: JobEnd) -> Html:
    tally = end.tally
    providers = tally.providers.values()
    p50, p95, p99 = (_ms(tally.latencies, percent) for percent in PERCENTILES)
    certainty: list[str] = ["exact, to the last digit"]
    if tally.in_doubt:
        lost = f" at most on top, for replies that were lost ({count(tally.in_doubt)})"
        certainty = ["exact; ", about(tally.in_doubt_pusd), lost]
    if tally.unpriced:
        certainty.append(f"; {counted(tally.unpriced, 'call')} without a known price not in it")
    rest = [(tally.failed, "failed"), (tally.skipped, "skipped"), (tally.copied, "equal to another"),
            (tally.unsent, "given back")]  # fmt: skip
    told = ", ".join(f"{count(number)} {what}" for number, what in rest if number)
    within = f"95{NO_BREAK}% within {duration(p95)}, 99{NO_BREAK}% within {duration(p99)}"
    return tag(
        "div",
        tile("Spend", money(tally.cost_pusd), joined(*certainty), "wide"),
        tile("Answered", count(tally.ok), f"{share(tally.ok, tally.done)} of {counted(tally.done, 'row')}"
             + (f"; {told}" if told else "")),
        tile("Tokens", joined(count(sum(one.input_tokens for one in providers)), tag("small", f"{NO_BREAK}in")),
             joined(count(sum(one.output_tokens for one in providers)), f"{NO_BREAK}out")),
        tile("A row, median", duration(p50), within if tally.latencies.count else "no row was answered"),
        class_="tiles",
    )  # fmt: skip


def _left(end: JobEnd) -> Html:
    tally = end.tally
    lines = []
    if tally.unsent:
        lines.append(tag("p", f"{counted(tally.unsent, 'row')} given back unsent: ", end.given_back or "the run ended"))
    if end.bad_lines is not None:
        lines.append(tag("p", f"{counted(tally.skipped, 'line')} could not be sent: ", foreign(end.bad_lines)))
    if end.go_on is not None:
        lines.append(tag("p", "To go on: ", tag("code", end.go_on)))
    return section("What is left", *lines) if lines else Html("")


def _course(tally: Tally) -> Html:
    bars, width_s = tally.course.bars, tally.course.width_s
    if not bars:
        return Html("")
    drawn = []
    for number in _stretch(bars):
        answered, failed = bars.get(number, (0, 0))
        at = moment(number * width_s, UTC)
        tip = f"{at}: {counted(answered + failed, 'row')}, {failed:,} failed"
        parts = (Part("answered", answered), Part("failed", failed))
        drawn.append(
            StackedBar(at[11:19] if width_s < 60 else at[11:16] if width_s < _HOUR_S else at[5:16], tip, parts)
        )
    titled = Titled(
        "Rows over time", f"{counted(tally.ok + tally.failed, 'row')}, {count(tally.failed)} of them failed.", "rows"
    )
    words = f"Each bar is {duration(width_s * 1000)}, times are UTC; red are rows that failed."
    chart = bar_chart(titled, drawn, lambda ticks: list(map(count, ticks)), 170)
    return section("Rows over time", chart, tag("p", words, class_="quiet"))


def _stretch(bars: Mapping[int, object]) -> Sequence[int]:
    """The bars with the gaps between them, unless a job that rested for days would be nothing but gaps."""
    first, last = min(bars), max(bars)
    return range(first, last + 1) if last - first < 3 * MOST_BARS else sorted(bars)


def _providers(tally: Tally) -> Html:
    ranked = _ranked(tally)
    if not ranked:
        return Html("")
    digits = digits_of(one.cost_pusd for _, one in ranked)
    rows = [
        (
            foreign(name), money(one.cost_pusd, digits), share(one.cost_pusd, tally.cost_pusd), count(one.asked),
            count(one.answered), count(one.failed), count(one.input_tokens), count(one.output_tokens),
        )
        for name, one in ranked
    ]  # fmt: skip
    heads = ("Provider", "Cost", "Share", "Attempts", "Answered", "Failed", "Tokens in", "Tokens out")
    return section("By provider", plain_table(heads, rows))


def _latencies(tally: Tally) -> Html:
    timed = [(name, [_ms(one.latencies, percent) for percent in PERCENTILES]) for name, one in _ranked(tally)]
    colours = {name: colour for (name, _), colour in zip(timed, COLOURS, strict=False)}
    ranges, rows = [], []
    for name, (p50, p95, p99) in timed:
        if p50 is None or p95 is None or p99 is None:
            continue
        tip = f"{name}: median {duration(p50)}, p95 {duration(p95)}, p99 {duration(p99)}"
        ranges.append(Range(name, tip, colours.get(name, REST), p50, p95, p99))
        answers = count(tally.providers[name].latencies.count)
        rows.append((foreign(name), answers, *map(duration, (p50, p95, p99))))
    if not ranges:
        return Html("")
    titled = Titled(
        "Latency by provider", "Median, 95th and 99th percentile of answered attempts, logarithmic.", "latency"
    )
    table = plain_table(("Provider", "Answers", *(f"p{percent}" for percent in PERCENTILES)), rows)
    return section("Latency by provider", range_chart(titled, ranges, round_duration), table)


def _failures(tally: Tally) -> Html:
    ranked = tally.ranked_failures()
    if not ranked:
        return Html("")
    rows: list[tuple[str, ...]] = [
        (foreign(kind), count(one.count), share(one.count, tally.failed), status or "–", foreign(one.example[:400]))
        for (kind, status, _), one in ranked[:_MOST_CAUSES]
    ]
    if len(ranked) > _MOST_CAUSES:
        rest = sum(one.count for _, one in ranked[_MOST_CAUSES:])
        words = f"(other: {len(ranked) - _MOST_CAUSES:,} more causes)"
        rows.append((words, count(rest), share(rest, tally.failed), "", ""))
    return section("Why rows failed", plain_table(("Error", "Rows", "of all", "Status", "For example"), rows, {4}))


def _failovers(tally: Tally) -> Html:
    if not tally.failovers:
        return Html("")
    ranked = sorted(tally.failovers.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CAUSES]
    rows = [(joined(foreign(origin), " → ", foreign(to)), count(times), why) for (origin, to, why), times in ranked]
    return section("What failed over", plain_table(("From and to", "Times", "Because of"), rows))


def _twice(end: JobEnd) -> Html:
    if not end.twice_count:
        return Html("")
    words = "on the way when an earlier run ended unawares, and sent again: perhaps billed twice."
    names = tag("ul", *(tag("li", foreign(name)) for name in end.twice[:MOST_NAMED]))
    return section("Perhaps billed twice", tag("p", f"{counted(end.twice_count, 'row')} {words}"), names)


def _ranked(tally: Tally) -> list[tuple[str, ProviderTally]]:
    return sorted(tally.providers.items(), key=lambda item: (-item[1].cost_pusd, item[0]))


def _ms(latencies: Latencies, percent: float) -> float | None:
    seconds = latencies.percentile(percent)
    return None if seconds is None else seconds * 1000


__all__ = ["check_page", "page_of_job", "write_page"]

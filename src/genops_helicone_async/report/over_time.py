"""The two pictures of a ledger's course: what was spent when and where, and how many attempts failed."""

from __future__ import annotations

from collections.abc import Sequence

from .._rules.report_time import Bar, Grain, Timeline
from .._rules.report_totals import Totals
from .amounts import MONTHS, count, counted, digits_of, money, usd
from .charts import Part, StackedBar, Titled, bar_chart
from .markup import Html, foreign, joined, tag
from .tables import plain_table

COLOURS = ("c1", "c2", "c3", "c4", "c5")
REST = "c0"


def spend_chart(timeline: Timeline, providers: Sequence[str]) -> Html:
    """Bars of dollars, stacked by provider, the dearest at the bottom; the estimated part of each is hatched."""
    shown = providers[: len(COLOURS)]
    bars = [
        StackedBar(_label(timeline, index), _spend_tip(timeline.grain, bar), _parts(bar, shown))
        for index, bar in enumerate(timeline.bars)
    ]
    top = max(timeline.bars, key=lambda bar: bar.totals.cost_pusd)
    titled = Titled(
        f"Spend by {timeline.grain}",
        f"{counted(len(bars), 'bar')}, one for each {timeline.grain}. Most was spent in {told(timeline.grain, top)}: "
        f"{usd(top.totals.cost_pusd, 4)}.",
        "spend",
    )
    return joined(bar_chart(titled, bars, _dollar_axis, 270), _legend(timeline, shown))


def attempts_chart(timeline: Timeline) -> Html:
    """Bars of attempts: those that brought an answer, and above them those that failed."""
    bars = [
        StackedBar(
            _label(timeline, index),
            f"{told(timeline.grain, bar)}: {counted(bar.totals.attempts, 'attempt')}, {bar.totals.failed:,} failed",
            (Part("answered", bar.totals.attempts - bar.totals.failed), Part("failed", bar.totals.failed)),
        )
        for index, bar in enumerate(timeline.bars)
    ]
    failed = sum(bar.totals.failed for bar in timeline.bars)
    titled = Titled(
        f"Attempts by {timeline.grain}",
        f"{counted(sum(bar.size for bar in bars), 'attempt')}, {count(failed)} of them failed.",
        "attempts",
    )
    entries = [_entry("answered", "answered"), *([_entry("failed", "failed")] if failed else [])]
    return joined(
        bar_chart(titled, bars, lambda ticks: list(map(count, ticks)), 170), tag("ul", *entries, class_="legend")
    )


def timeline_table(timeline: Timeline) -> Html:
    """The same in figures, without the empty bars."""
    bars = [bar for bar in timeline.bars if bar.totals.attempts]
    digits = digits_of(bar.totals.cost_pusd for bar in bars)
    rows = [(told(timeline.grain, bar), *_figures(bar.totals, digits)) for bar in bars]
    if timeline.earlier.attempts:
        rows.insert(0, ("earlier", *_figures(timeline.earlier, digits)))
    heads = (timeline.grain.capitalize(), "Cost", "of it estimated", "Attempts", "Failed", "Tokens in", "Tokens out")
    return tag("details", tag("summary", "In figures"), plain_table(heads, rows))


def told(grain: Grain, bar: Bar) -> str:
    """The name of a bar's stretch of time."""
    at = bar.starts_at
    if grain == "hour":
        return f"{at:%Y-%m-%d %H:%M}"
    if grain == "month":
        return f"{at.year:04d}-{at.month:02d}"
    if grain == "year":
        return f"{at.year:04d}"
    return f"{'week of ' if grain == 'week' else ''}{at:%Y-%m-%d}"


def _figures(totals: Totals, digits: int) -> tuple[str, ...]:
    return (
        money(totals.cost_pusd, digits),
        money(totals.estimated_pusd, digits) if totals.estimates else "",
        *(count(number) for number in (totals.attempts, totals.failed, totals.input_tokens, totals.output_tokens)),
    )


def _spend_tip(grain: Grain, bar: Bar) -> str:
    tip = f"{told(grain, bar)}: {usd(bar.totals.cost_pusd, 4)}"
    if bar.totals.estimates:
        tip += f", of it {usd(bar.totals.estimated_pusd, 4)} estimated"
    ranked = sorted(bar.by_provider.items(), key=lambda item: -item[1].cost_pusd)
    return tip + "".join(f"\n{name}: {usd(totals.cost_pusd, 4)}" for name, totals in ranked[: len(COLOURS)])


def _parts(bar: Bar, shown: Sequence[str]) -> list[Part]:
    parts = []
    rest, rest_estimated = bar.totals.cost_pusd, bar.totals.estimated_pusd
    for colour, name in zip(COLOURS, shown, strict=False):
        totals = bar.by_provider.get(name)
        if totals is not None:
            parts.append(Part(colour, totals.cost_pusd, totals.estimated_pusd))
            rest -= totals.cost_pusd
            rest_estimated -= totals.estimated_pusd
    return [*parts, Part(REST, rest, rest_estimated)]


def _legend(timeline: Timeline, shown: Sequence[str]) -> Html:
    entries = [_entry(colour, foreign(name)) for colour, name in zip(COLOURS, shown, strict=False)]
    if any(_parts(bar, shown)[-1].size > 0 for bar in timeline.bars):
        entries.append(_entry(REST, "other providers"))
    if any(bar.totals.estimated_pusd for bar in timeline.bars):
        entries.append(_entry("hatched", "hatched: estimated"))
    return tag("ul", *entries, class_="legend")


def _entry(class_: str, words: str) -> Html:
    return tag("li", tag("span", class_=f"key {class_}", aria_hidden="true"), words)


def _dollar_axis(ticks: Sequence[int]) -> list[str]:
    digits = digits_of(ticks, 2 if ticks[-1] < 10**15 else 0)
    return [usd(tick, digits) for tick in ticks]


def _label(timeline: Timeline, index: int) -> str:
    """Short, for below a bar."""
    at = timeline.bars[index].starts_at
    if timeline.grain == "hour":
        return f"{at.day} {MONTHS[at.month - 1]} {at:%H:%M}"
    if timeline.grain in ("day", "week"):
        changed = index > 0 and timeline.bars[index - 1].starts_at.year != at.year
        return f"{at.day} {MONTHS[at.month - 1]}{f' {at.year}' if changed else ''}"
    return f"{MONTHS[at.month - 1]} {at.year}" if timeline.grain == "month" else f"{at.year}"


__all__ = ["attempts_chart", "spend_chart", "timeline_table", "told"]

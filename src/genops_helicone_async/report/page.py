"""The page: which sections a report has, in their order, inside the template that is shipped beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from string import Template

import msgspec

from .._rules.report_figures import LatencyLine, ReportFigures
from .._rules.report_totals import Line, Totals
from ..models import BudgetStatus
from .amounts import NO_BREAK, about, count, counted, duration, moment, money, round_duration, share
from .budget_bars import budget_bars
from .charts import Range, Titled, range_chart
from .markup import Html, foreign, joined, tag, text
from .over_time import COLOURS, REST, attempts_chart, spend_chart, timeline_table
from .tables import biggest_table, breakdown_table, error_table, latency_table, worth_table

_BRIEF = {"team": "Team", "project": "Project", "customer": "Customer", "environment": "Environment"}


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What stands above the figures. `zone` is a name; `written_at` knows that zone, and all times are told in it."""

    title: str
    written_at: datetime
    zone: str
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def page_of(figures: ReportFigures, heading: Heading, budgets: Sequence[BudgetStatus] = ()) -> str:
    """The whole page. It refers to nothing outside of itself, and holds no script."""
    return framed(heading.title, _about(figures, heading), _sections(figures, heading, budgets))


def framed(title: str, about: Html, sections: Sequence[Html]) -> str:
    """A page with these sections, those that are empty left out, and what `about` says below the title."""
    files = resources.files(__package__)
    template = Template((files / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=text(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        about=about,
        sections=joined(*filter(None, sections)),
    )


def _about(figures: ReportFigures, heading: Heading) -> Html:
    zone = heading.written_at.tzinfo
    assert zone is not None
    if figures.first_s is None or figures.last_s is None:
        covered = Html("No attempts in this period")
    else:
        covered = joined("Attempts from ", tag("b", moment(figures.first_s, zone)), " to ",
                         tag("b", moment(figures.last_s, zone)))  # fmt: skip
    asked = [
        f"{word} {at if at.tzinfo is None else at.astimezone(zone):%Y-%m-%d %H:%M}"
        for word, at in (("since", heading.since), ("before", heading.until))
        if at is not None
    ]
    lines = [
        joined(covered, f", {heading.zone}", f" (asked for: {', '.join(asked)})" if asked else "", "."),
        joined(f"Written {heading.written_at:%Y-%m-%d %H:%M:%S}",
               joined(" from ", foreign(heading.source)) if heading.source else "", "."),
    ]  # fmt: skip
    return joined(*(tag("p", line) for line in lines))


def _sections(figures: ReportFigures, heading: Heading, budgets: Sequence[BudgetStatus]) -> list[Html]:
    zone = heading.written_at.tzinfo
    assert zone is not None
    whole, lines = figures.totals, figures.breakdowns
    budget = section("Budgets", budget_bars(budgets)) if budgets else Html("")
    if not whole.attempts:
        return [section("Spend", tag("p", "The ledger has no attempts in this period.", class_="empty")), budget]
    timeline = figures.timeline
    dearest = [line.name[0] for line in lines["provider"] if line.name is not None]
    small = [
        section(f"By {dimension}", breakdown_table(word, lines[dimension], whole, brief=True))
        for dimension, word in _BRIEF.items()
        if _tells(lines[dimension])
    ]
    return [
        _tiles(whole, figures.latency),
        budget,
        section(f"Spend by {timeline.grain}", spend_chart(timeline, dearest)),
        section(f"Attempts by {timeline.grain}", attempts_chart(timeline), timeline_table(timeline)),
        section("By provider", breakdown_table("Provider", lines["provider"], whole)),
        section("By model", breakdown_table("Provider / model", lines["model"], whole)),
        tag("div", *small, class_="pairs") if small else Html(""),
        _latency(figures, dearest),
        section("Failed attempts", error_table(figures.errors, whole)) if figures.errors else Html(""),
        section("Dearest attempts", biggest_table(figures.biggest, zone)) if figures.biggest else Html(""),
        section("What these figures are worth", worth_table(figures.sources, whole)),
    ]


def section(title: str, *content: Html) -> Html:
    """A section of a page, below its heading."""
    return tag("section", tag("h2", title), *content)


def _tells(lines: Sequence[Line]) -> bool:
    """Whether anybody was named at all."""
    return any(line.name != ("",) for line in lines)


def _tiles(whole: Totals, latency: LatencyLine) -> Html:
    answered = whole.attempts - whole.failed
    average = whole.cost_pusd // whole.attempts
    tiles = [
        tile("Spend", money(whole.cost_pusd), _certainty(whole), "wide"),
        tile("Attempts", count(whole.attempts),
              joined(f"{share(answered, whole.attempts)} answered, {count(whole.failed)} failed; ",
                     about(_rounded(average)), " each")),
        tile("Tokens", joined(count(whole.input_tokens), tag("small", f"{NO_BREAK}in")),
              joined(count(whole.output_tokens), f"{NO_BREAK}out")),
        tile("Latency, median", duration(latency.p50_ms),
              f"95{NO_BREAK}% within {duration(latency.p95_ms)}, 99{NO_BREAK}% within {duration(latency.p99_ms)}"
              if latency.answers else "no answer was timed"),
    ]  # fmt: skip
    if whole.gateway_pusd:
        tiles.append(tile("Gateway fees", money(whole.gateway_pusd),
                           f"{share(whole.gateway_pusd, whole.cost_pusd)} of the spend, in it"))  # fmt: skip
    return tag("div", *tiles, class_="tiles")


def tile(name: str, figure: str, words: str, class_: str = "") -> Html:
    """One large figure with its name and a line of words."""
    return tag(
        "div", tag("h2", name), tag("p", figure, class_="figure"), tag("p", words, class_="quiet"),
        class_=f"tile {class_}".strip(),
    )  # fmt: skip


def _certainty(whole: Totals) -> Html:
    if whole.is_exact:
        return Html("exact, to the last digit")
    said = []
    if whole.estimates:
        said.append(joined("of it ", about(whole.estimated_pusd), f" ({share(whole.estimated_pusd, whole.cost_pusd)}) ",
                           f"estimated, for {counted(whole.estimates, 'attempt')}"))  # fmt: skip
    if whole.unpriced:
        said.append(joined(f"{counted(whole.unpriced, 'attempt')} without a known price not in it"))
    return Html("; ".join(said))


def _rounded(amount_pusd: int) -> int:
    """To six digits after the point, for an average that nobody has to pay."""
    return round(amount_pusd, -6)


def _latency(figures: ReportFigures, dearest: Sequence[str]) -> Html:
    if not figures.latencies:
        return Html("")
    colours = dict(zip(dearest, COLOURS, strict=False))
    ranges = [
        Range(
            line.provider or "", _tip(line), colours.get(line.provider or "", REST),
            line.p50_ms, line.p95_ms, line.p99_ms,
        )
        for line in figures.latencies
        if line.p50_ms is not None and line.p95_ms is not None and line.p99_ms is not None
    ]  # fmt: skip
    titled = Titled(
        "Latency by provider", "Median, 95th and 99th percentile of answered attempts, logarithmic.", "latency"
    )
    legend = tag("p", "Dot: median. Thick line: to the 95th percentile. Thin line: to the 99th. "
                      "Answered attempts only; percentiles within half a per cent.", class_="quiet")  # fmt: skip
    chart = joined(range_chart(titled, ranges, round_duration), legend) if ranges else Html("")
    return section("Latency by provider", chart, latency_table([*figures.latencies, figures.latency]))


def _tip(line: LatencyLine) -> str:
    return f"{line.provider}: median {duration(line.p50_ms)}, p95 {duration(line.p95_ms)}, p99 {duration(line.p99_ms)}"


__all__ = ["Heading", "framed", "page_of", "section", "tile"]

"""The tables of a report: breakdowns with their shares as bars, errors, what costs are worth, the dearest calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import tzinfo

import msgspec

from .._rules.ledger import LedgerRow
from .._rules.report_figures import LatencyLine
from .._rules.report_totals import MOST_NAMES, Line, Totals
from .amounts import NO_BREAK, about, count, digits_of, duration, moment, money, share
from .markup import Html, foreign, joined, tag

_WORTH = {
    "reported": "the provider or the gateway told what it charged",
    "computed": "list prices times the tokens that the provider counted; failed attempts that cost nothing",
    "estimated": "list prices times tokens that we counted or expected: the reply was lost or brought no usage",
    "unpriced": "no price is known: these attempts are in no sum",
}


class Column(msgspec.Struct, frozen=True):
    """A column: its heading, the class of its cells, and what a line has in it."""

    heading: str
    class_: str
    cell: Callable[[Line], str]


def breakdown_table(what: str, lines: Sequence[Line], whole: Totals, *, brief: bool = False) -> Html:
    """Spending by name; `brief` has fewer columns, and what is estimated below the cost."""
    digits = digits_of(line.totals.cost_pusd for line in lines)
    columns = [
        Column(what, "name", _name),
        Column("Share", "share", lambda line: _share_bar(line.totals, whole)),
        Column("Cost", "number", lambda line: _cost_and_doubt(line.totals, digits, brief=brief)),
    ]
    if any(line.totals.estimates for line in lines) and not brief:
        columns.append(Column("of it estimated", "number", lambda line: _estimated(line.totals, digits)))
    if any(line.totals.unpriced for line in lines) and not brief:
        columns.append(Column("Unpriced", "number", lambda line: _some(line.totals.unpriced)))
    columns.append(Column("Attempts", "number", lambda line: count(line.totals.attempts)))
    if any(line.totals.failed for line in lines) and not brief:
        columns.append(Column("Failed", "number", lambda line: _some(line.totals.failed)))
    if not brief:
        columns.append(Column("Tokens in", "number", lambda line: count(line.totals.input_tokens)))
        columns.append(Column("Tokens out", "number", lambda line: count(line.totals.output_tokens)))
    table = _table(columns, lines)
    if any(line.at_least for line in lines):
        told = f"Beyond {count(MOST_NAMES)} names, further ones are counted together: a dear one may be among them."
        return joined(table, tag("p", told, class_="quiet"))
    return table


def error_table(lines: Sequence[Line], whole: Totals) -> Html:
    """Failed attempts by kind, and what they may have cost all the same."""
    digits = digits_of(line.totals.cost_pusd for line in lines)
    return _table(
        [
            Column("Error", "name", _name),
            Column("Attempts", "number", lambda line: count(line.totals.attempts)),
            Column("of all", "number", lambda line: share(line.totals.attempts, whole.attempts)),
            Column("Cost all the same", "number", lambda line: _cost(line.totals, digits)),
        ],
        lines,
    )


def worth_table(lines: Sequence[Line], whole: Totals) -> Html:
    """What the figures are worth: where each cost comes from."""
    digits = digits_of(line.totals.cost_pusd for line in lines)
    return _table(
        [
            Column("Cost is", "name", _name),
            Column("which means", "words", lambda line: _WORTH.get(line.name[0], "") if line.name else ""),
            Column("Attempts", "number", lambda line: count(line.totals.attempts)),
            Column("Cost", "number", lambda line: _cost(line.totals, digits)),
            Column("Share", "share", lambda line: _share_bar(line.totals, whole)),
        ],
        lines,
    )


def latency_table(lines: Sequence[LatencyLine]) -> Html:
    """How long answers took, by provider."""
    heads = [("Provider", "name"), ("Answers", "number"), *((name, "number") for name in ("p50", "p90", "p95", "p99"))]
    return _rows(
        [*heads, ("Longest", "number")],
        [
            [
                _all("all") if line.provider is None else foreign(line.provider),
                count(line.answers),
                *(duration(ms) for ms in (line.p50_ms, line.p90_ms, line.p95_ms, line.p99_ms, line.most_ms)),
            ]
            for line in lines
        ],
    )


def biggest_table(rows: Sequence[LedgerRow], zone: tzinfo) -> Html:
    """The dearest attempts, one by one."""
    digits = digits_of(row.cost_pusd for row in rows)
    heads = [
        ("When", "when"), ("Provider / model", "name"), ("For", "name"), ("Result", "name"), ("Tokens in", "number"),
        ("Tokens out", "number"), ("Time", "number"), ("Cost", "number"), ("Request", "id"),
    ]  # fmt: skip
    return _rows(
        heads,
        [
            [
                moment(row.at_s, zone), _pair(row.provider, row.model), _whose(row), foreign(row.status),
                count(row.input_tokens), count(row.output_tokens), duration(row.duration_ms),
                (about if row.cost_source == "estimated" else money)(row.cost_pusd, digits), foreign(row.request_id),
            ]
            for row in rows
        ],
    )  # fmt: skip


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = frozenset()) -> Html:
    """A name and numbers; `words` are the columns whose cells are sentences."""
    classes = ["name" if index == 0 else "words" if index in words else "number" for index in range(len(headings))]
    return _rows(list(zip(headings, classes, strict=True)), rows)


def _table(columns: Sequence[Column], lines: Sequence[Line]) -> Html:
    heads = [(column.heading, column.class_) for column in columns]
    return _rows(heads, [[column.cell(line) for column in columns] for line in lines])


def _rows(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Html:
    head = tag("tr", *(tag("th", heading, scope="col", class_=class_) for heading, class_ in heads))
    body = [
        tag("tr", *(
            tag("th", cell, scope="row", class_=class_) if index == 0 else tag("td", cell, class_=class_)
            for index, (cell, (_, class_)) in enumerate(zip(row, heads, strict=True))
        ))
        for row in rows
    ]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Table by {heads[0][0].lower()}")


def _name(line: Line) -> Html:
    if line.name is None:
        return _all(f"(other: {'at least ' * line.at_least}{count(line.names)} more)")
    if len(line.name) == 2:
        return _pair(*line.name)
    (name,) = line.name
    return foreign(name) if name else _all("(none)")


def _pair(provider: str, model: str) -> Html:
    return joined(tag("span", foreign(provider), " / ", class_="quiet"), foreign(model))


def _all(words: str) -> Html:
    return tag("i", words, class_="quiet")


def _whose(row: LedgerRow) -> Html:
    names = [foreign(name) for name in (row.team, row.project, row.customer_id) if name]
    return Html(" · ".join(names)) if names else _all("(none)")


def _share_bar(totals: Totals, whole: Totals) -> Html:
    whole_pusd = max(whole.cost_pusd, 1)
    firm = 100 * max(totals.cost_pusd - totals.estimated_pusd, 0) / whole_pusd
    unsure = 100 * max(totals.estimated_pusd, 0) / whole_pusd
    bar = tag(
        "span",
        tag("span", class_="firm", style=f"width:{firm:.2f}%"),
        tag("span", class_="unsure", style=f"width:{unsure:.2f}%"),
        class_="track",
        aria_hidden="true",
    )
    return joined(bar, tag("span", share(totals.cost_pusd, whole.cost_pusd), class_="percent"))


def _estimated(totals: Totals, digits: int) -> Html:
    return about(totals.estimated_pusd, digits) if totals.estimates else Html("")


def _cost_and_doubt(totals: Totals, digits: int, *, brief: bool) -> Html:
    cost = money(totals.cost_pusd, digits)
    doubts = []
    if totals.estimates:
        doubts.append(f"≈{NO_BREAK}{share(totals.estimated_pusd, totals.cost_pusd)} estimated")
    if totals.unpriced:
        doubts.append(f"{count(totals.unpriced)} unpriced")
    return joined(cost, tag("span", ", ".join(doubts), class_="doubt")) if doubts and brief else cost


def _cost(totals: Totals, digits: int) -> Html:
    if not totals.cost_pusd:
        return Html("$0")
    return (about if totals.estimates else money)(totals.cost_pusd, digits)


def _some(number: int) -> str:
    return count(number) if number else ""


__all__ = [
    "biggest_table", "breakdown_table", "error_table", "latency_table", "plain_table", "worth_table",
]  # fmt: skip

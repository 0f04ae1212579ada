"""What is put off is counted as if it had been counted one by one."""

from collections import deque
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async._flow.tally import Tally
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.metric_cells import Line, MetricCells
from genops_helicone_async._rules.put_off import grouped, taken

ROWS = st.lists(
    st.builds(
        LedgerRow,
        request_id=st.just("r"),
        at_s=st.just(0.0),
        provider=st.sampled_from(["openai", "anthropic"]),
        model=st.sampled_from(["m", "n"]),
        status=st.sampled_from(["ok", "GatewayError"]),
        cost_pusd=st.integers(0, 10**13),
        gateway_pusd=st.integers(0, 100),
        cost_source=st.sampled_from(["computed", "computed", "estimated"]),
        input_tokens=st.sampled_from([0, 1, 120, 5000]),
        output_tokens=st.sampled_from([0, 1, 150]),
        duration_ms=st.integers(0, 1 << 20).map(lambda number: number * 125.0),  # whose sums are exact, also in seconds
        team=st.sampled_from(["", "a", "b"]),
    ),
    max_size=12,
)


def sums_of(line: Line) -> tuple[Any, ...]:
    """All that a line and the cells it counts in say."""
    histograms = (line.duration_s, line.input_usage, line.output_usage)
    told = [(each.counts, each.total, each.least, each.most) for each in histograms]
    return line.requests, line.cost_pusd, line.input_tokens, line.output_tokens, line.interval_ms.total, told


@settings(max_examples=60, deadline=None)
@given(things=st.lists(st.tuples(st.integers(0, 3), st.integers())))
def test_things_are_grouped_as_they_stand(things: list[tuple[int, int]]) -> None:
    """Keys in the order in which they are first seen, and things in their own."""
    expected: dict[int, list[tuple[int, int]]] = {}
    for thing in things:
        expected.setdefault(thing[0], []).append(thing)
    assert list(grouped(things, [thing[0] for thing in things]).items()) == list(expected.items())


def test_what_is_taken_is_gone() -> None:
    """All of it, in its order."""
    put_off = deque([3, 1, 2])
    assert (taken(put_off), taken(put_off)) == ([3, 1, 2], [])


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_attempts_put_off_come_to_the_same_as_each_counted_at_once(rows: list[LedgerRow]) -> None:
    """Sums, means and histograms by every label set, in the order in which these were first seen."""
    at_once, put_off = MetricCells(), MetricCells()
    for number, row in enumerate(rows):
        at_once.attempt("chat", row)
        at_once.waits_ms.of((row.provider,)).add(number)
        put_off.later(row, number)
    expected = [(labels, sums_of(line)) for labels, line in at_once.lines()]
    assert [(labels, sums_of(line)) for labels, line in put_off.lines()] == expected
    waits = [[(labels, mean.take()) for labels, mean in cells.waits_ms] for cells in (at_once, put_off)]
    assert waits[0] == waits[1]
    assert sum(cell.total for _, cell in put_off.durations_s) == sum(row.duration_ms for row in rows) / 1000


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_spending_put_off_comes_to_the_same_as_each_counted_at_once(rows: list[LedgerRow]) -> None:
    """By provider, model and team, whatever the order."""
    at_once, put_off = Tally(), Tally()
    for row in rows:
        at_once.add([row], failed=False, cached=False)
        put_off.later(row)
    summaries = [msgspec.structs.replace(tally.summary(), duration_s=0.0) for tally in (at_once, put_off)]
    assert summaries[0] == summaries[1]
    assert (summaries[0].request_count, list(summaries[0].cost_by_team)) == (len(rows), list(summaries[1].cost_by_team))

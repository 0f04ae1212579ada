"""Cells: sums, means and buckets per label set, and what happens when there are too many of them."""

import pytest

from genops_helicone_async._rules.custom_metrics import MetricDefinition
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.metric_cells import OVERFLOW, Buckets, Capped, Mean, MetricCells, Total


def row(**changes: object) -> LedgerRow:
    """An attempt of a team's."""
    told: dict[str, object] = {
        "request_id": "r", "at_s": 0.0, "provider": "openai", "model": "m", "status": "ok", "cost_pusd": 7,
        "input_tokens": 3, "output_tokens": 2, "duration_ms": 20.0, "team": "a", **changes,
    }  # fmt: skip
    return LedgerRow(**told)  # type: ignore[arg-type]


def test_a_mean_is_that_of_its_interval() -> None:
    """None before the first value; without a value since, the one before."""
    mean = Mean()
    readings = [mean.take()]
    for values in ((1.0, 2.0), (), (9.0,)):
        for value in values:
            mean.add(value)
        readings.append(mean.take())
    assert readings == [None, 1.5, 1.5, 9.0]


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (1.0, 0), (1.0001, 1), (2.0, 1), (2.1, 2)])
def test_a_bound_belongs_to_the_bucket_below(value: float, bucket: int) -> None:
    """As OpenTelemetry and Prometheus have it."""
    buckets = Buckets((1.0, 2.0))
    buckets.add(value)
    assert buckets.counts.index(1) == bucket


def test_what_is_taken_from_a_histogram_is_gone_from_it() -> None:
    """Counts, sum, least and most, once; nothing is nothing."""
    buckets = Buckets((1.0,))
    for value in (0.5, 3.0, 2.0):
        buckets.add(value)
    taken = buckets.take()
    assert taken is not None
    assert (taken.counts, taken.total, taken.least, taken.most) == ([1, 2], 5.5, 0.5, 3.0)
    assert buckets.take() is None


def test_a_cap_leaves_room_for_one_more_that_takes_the_rest() -> None:
    """Sets known before the cap was reached stay themselves."""
    cells = Capped(lambda _: Total(), most=2)
    for name in "abcad":
        cells.of((name,)).value += 1
    assert {labels: cell.value for labels, cell in cells} == {("a",): 2, ("b",): 1, OVERFLOW: 2}


def test_a_line_counts_in_every_coarser_cell() -> None:
    """Two teams have a line each, one mean each, and one histogram between them."""
    cells = MetricCells()
    for team in ("a", "b", "a"):
        cells.attempt("chat", row(team=team))
    lines = {labels[3]: line for labels, line in cells.lines()}
    told = {
        team: (line.requests, line.cost_pusd, line.input_tokens, line.output_tokens) for team, line in lines.items()
    }
    assert told == {"a": (2, 14, 6, 4), "b": (1, 7, 3, 2)}
    assert [(labels, sum(cell.counts)) for labels, cell in cells.durations_s] == [(("chat", "openai", "m", "ok"), 3)]
    assert [(labels, cell.count) for labels, cell in cells.intervals_ms] == [
        (("openai", "m", "a"), 2),
        (("openai", "m", "b"), 1),
    ]


def test_tokens_that_nobody_counted_are_no_observation() -> None:
    """Estimates are in the sums, as in the ledger, and not in the histogram of what providers reported."""
    cells = MetricCells()
    cells.attempt("chat", row(cost_source="estimated"))
    cells.attempt("chat", row(input_tokens=0, output_tokens=0, status="GatewayError"))
    assert sum(line.input_tokens for _, line in cells.lines()) == 3
    assert [sum(cell.counts) for _, cell in (*cells.input_usages, *cells.output_usages)] == [0, 0, 0, 0]


def test_embeddings_have_no_output_to_observe() -> None:
    """One value of input tokens, none of output."""
    cells = MetricCells()
    cells.attempt("embeddings", row(output_tokens=0))
    assert [sum(cell.counts) for _, cell in cells.input_usages] == [1]
    assert [sum(cell.counts) for _, cell in cells.output_usages] == [0]


def test_lines_beyond_the_cap_share_one() -> None:
    """Every figure of theirs is in it."""
    cells = MetricCells(most=2)
    for number in range(5):
        cells.attempt("chat", row(team=f"t{number}"))
    assert {labels: line.requests for labels, line in cells.lines()} == {
        ("chat", "openai", "m", "t0", "", "", "ok"): 1,
        ("chat", "openai", "m", "t1", "", "", "ok"): 1,
        OVERFLOW: 3,
    }


def test_a_value_without_its_metric_goes_nowhere() -> None:
    """A metric that could not be made because another one has its name."""
    cells = MetricCells()
    for kind in ("gauge", "histogram"):
        cells.observe(MetricDefinition(name="x", kind=kind), ("openai", "m", ""), 1.0)
    assert (cells.custom, cells.custom_buckets) == ({}, {})

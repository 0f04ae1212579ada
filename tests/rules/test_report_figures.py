"""What a ledger comes to: exact sums in every breakdown, estimates kept apart, memory that stays small."""

import math
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.report_figures import DIMENSIONS, Figures, ReportFigures
from genops_helicone_async._rules.report_totals import MOST_NAMES, Totals


def row(number: int = 0, **fields: Any) -> LedgerRow:
    """An answered call of a pico-dollar, with whatever is given."""
    known: dict[str, Any] = {
        "request_id": f"r{number}", "at_s": 1_795_392_000.0, "provider": "openai", "model": "gpt-4o", "status": "ok",
        "cost_pusd": 1, "duration_ms": 100.0,
    }  # fmt: skip
    return LedgerRow(**{**known, **fields})


def figures_of(*rows: LedgerRow, most_shown: int = 10) -> ReportFigures:
    """The figures of some rows."""
    figures = Figures(UTC, most_shown=most_shown)
    for each in rows:
        figures.add(each)
    return figures.finish()


NAMES = st.sampled_from(["", "a", "b", "c", "ü"])
ROWS = st.lists(
    st.builds(
        LedgerRow,
        request_id=st.uuids().map(str),
        at_s=st.floats(0, 2e9),
        provider=NAMES,
        model=NAMES,
        status=st.sampled_from(["ok", "ok", "ProviderError", "Abandoned"]),
        cost_pusd=st.integers(0, 10**20),
        gateway_pusd=st.integers(0, 100),
        cost_source=st.sampled_from(["reported", "computed", "estimated", "unpriced"]),
        input_tokens=st.integers(0, 10**6),
        output_tokens=st.integers(0, 10**6),
        duration_ms=st.floats(0, 1e6),
        team=NAMES,
        project=NAMES,
        customer_id=NAMES,
        environment=NAMES,
    ),
    max_size=40,
)


def total(rows: list[LedgerRow]) -> Totals:
    """The same sums, added up one by one."""
    estimated = [each for each in rows if each.cost_source == "estimated"]
    return Totals(
        attempts=len(rows),
        failed=sum(each.status != "ok" for each in rows),
        cost_pusd=sum(each.cost_pusd for each in rows),
        estimated_pusd=sum(each.cost_pusd for each in estimated),
        gateway_pusd=sum(each.gateway_pusd for each in rows),
        estimates=len(estimated),
        unpriced=sum(each.cost_source == "unpriced" for each in rows),
        input_tokens=sum(each.input_tokens for each in rows),
        output_tokens=sum(each.output_tokens for each in rows),
    )


@given(ROWS, st.integers(1, 4))
def test_every_breakdown_adds_up_to_the_whole(rows: list[LedgerRow], most_shown: int) -> None:
    """Sums are exact integers, whatever is shown and whatever stands under `(other)`."""
    figures = figures_of(*rows, most_shown=most_shown)
    assert figures.totals == total(rows)
    wholes = [*figures.breakdowns.values(), figures.sources]
    for lines in wholes:
        added = Totals()
        for line in lines:
            added.include(line.totals)
        assert added == total(rows)
    bars = Totals()
    for bar in figures.timeline.bars:
        bars.include(bar.totals)
    bars.include(figures.timeline.earlier)
    assert bars == total(rows)
    failed = [each for each in rows if each.status != "ok"]
    assert sum(line.totals.attempts for line in figures.errors) == len(failed)
    assert figures.latency.answers == len(rows) - len(failed)


@given(ROWS)
def test_each_name_has_its_own_rows(rows: list[LedgerRow]) -> None:
    """A line is the sum of the rows that bear its name."""
    figures = figures_of(*rows, most_shown=100)
    fields = {"provider": "provider", "team": "team", "project": "project", "customer": "customer_id"}
    for dimension, field in fields.items():
        for line in figures.breakdowns[dimension]:
            assert line.name is not None
            assert line.totals == total([each for each in rows if getattr(each, field) == line.name[0]])
    for line in figures.breakdowns["model"]:
        assert line.totals == total([each for each in rows if (each.provider, each.model) == line.name])


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[LedgerRow], chance: Any) -> None:
    """A shared store gives rows as they came in: the figures are the same."""
    shuffled = list(rows)
    chance.shuffle(shuffled)
    one, other = figures_of(*rows), figures_of(*shuffled)
    assert (one.totals, one.breakdowns, one.timeline, one.errors, one.latencies, one.first_s, one.last_s) == (
        other.totals, other.breakdowns, other.timeline, other.errors, other.latencies, other.first_s, other.last_s
    )  # fmt: skip


def test_no_rows() -> None:
    """Nothing was spent: no line, no bar, no percentile, no division by zero."""
    figures = figures_of()
    assert (figures.totals, figures.first_s, figures.last_s, figures.biggest) == (Totals(), None, None, ())
    assert figures.breakdowns == dict.fromkeys(DIMENSIONS, ())
    assert (figures.timeline.bars, figures.latencies, figures.latency.p50_ms) == ((), (), None)


def test_lines_are_the_dearest_first() -> None:
    """Where two cost the same, the one with more attempts comes first."""
    rows = [row(provider="cheap"), row(provider="dear", cost_pusd=9), row(provider="b", cost_pusd=2),
            row(provider="a"), row(provider="a")]  # fmt: skip
    assert [line.name for line in figures_of(*rows).breakdowns["provider"]] == [("dear",), ("a",), ("b",), ("cheap",)]


@pytest.mark.parametrize("names,shown,rest", [(3, 3, 0), (4, 4, 0), (5, 3, 2), (50, 3, 47)])
def test_what_is_not_shown_is_counted_as_other(names: int, shown: int, rest: int) -> None:
    """The rest is one line, unless a single name would be all that it stands for."""
    lines = figures_of(*(row(team=f"t{i:02}", cost_pusd=names - i) for i in range(names)), most_shown=3).breakdowns[
        "team"
    ]
    assert [line.name for line in lines if line.name] == [(f"t{i:02}",) for i in range(shown)]
    assert sum(line.names for line in lines if line.name is None) == rest


def test_ever_more_names_take_no_more_room() -> None:
    """Beyond 100,000 names, new ones are counted together: nothing is lost, and how many they are is not known."""
    figures = figures_of(*(row(customer_id=f"c{i}", cost_pusd=1) for i in range(MOST_NAMES + 500)))
    *shown, rest = figures.breakdowns["customer"]
    assert (len(shown), rest.name, rest.names, rest.at_least) == (10, None, MOST_NAMES - 10 + 1, True)
    assert rest.totals.cost_pusd == MOST_NAMES + 500 - 10


def test_a_very_long_name_is_cut() -> None:
    """Two hundred characters of a name are kept."""
    (line,) = figures_of(row(team="x" * 5_000)).breakdowns["team"]
    assert line.name == ("x" * 199 + "…",)


def test_failed_attempts_are_not_timed() -> None:
    """Latency is that of answers: an outage that fails fast must not look like speed."""
    figures = figures_of(row(duration_ms=200.0), row(status="ProviderError", duration_ms=1.0))
    assert (figures.latency.answers, figures.latency.p50_ms, figures.latency.most_ms) == (1, 200.0, 200.0)


def test_latencies_are_each_provider_s_own() -> None:
    """In the order of spending, and all of them together."""
    figures = figures_of(row(provider="a", duration_ms=10.0), row(provider="b", duration_ms=30.0, cost_pusd=5))
    assert [(line.provider, line.p99_ms) for line in figures.latencies] == [("b", 30.0), ("a", 10.0)]
    assert (figures.latency.provider, figures.latency.answers, figures.latency.most_ms) == (None, 2, 30.0)


def test_providers_beyond_64_are_timed_together() -> None:
    """Their answers stand under `(other)`."""
    rows = [row(provider=f"p{i}", cost_pusd=100 - i) for i in range(66)]
    latencies = figures_of(*rows, most_shown=100).latencies
    assert (len(latencies), latencies[-1].provider, latencies[-1].answers) == (65, "(other)", 2)


def test_the_dearest_rows_are_kept() -> None:
    """The ten dearest of all, the dearest first, an earlier one before a later of the same cost; free ones never."""
    rows = [row(i, cost_pusd=i % 40) for i in range(200)]
    biggest = figures_of(*rows).biggest
    assert [each.cost_pusd for each in biggest] == [39] * 5 + [38] * 5
    assert [each.request_id for each in biggest[:5]] == ["r39", "r79", "r119", "r159", "r199"]
    assert figures_of(row(cost_pusd=0)).biggest == ()


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -5.0, 1e300])
def test_a_time_that_is_none_counts_as_1970(at_s: float) -> None:
    """The row is counted all the same."""
    figures = figures_of(row(at_s=at_s))
    assert (figures.totals.cost_pusd, figures.first_s, figures.last_s) == (1, 0.0, 0.0)


def test_cost_sources_are_told_apart() -> None:
    """Reported and computed are exact; what is estimated or unpriced makes the whole uncertain."""
    sure = figures_of(row(cost_source="reported"), row(cost_source="computed"))
    assert (sure.totals.is_exact, [line.name for line in sure.sources]) == (True, [("computed",), ("reported",)])
    assert not figures_of(row(cost_source="estimated")).totals.is_exact
    assert not figures_of(row(cost_source="unpriced", cost_pusd=0)).totals.is_exact

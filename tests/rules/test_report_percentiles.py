"""Percentiles of times without keeping the times."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.percentiles import Percentiles

TIMES = st.lists(st.floats(min_value=0.2, max_value=1e7), min_size=1, max_size=200)


def counted(times: Sequence[float]) -> Percentiles:
    """The percentiles of these times."""
    percentiles = Percentiles()
    for ms in times:
        percentiles.add(ms)
    return percentiles


@given(TIMES, st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_percentile_is_near_the_true_one(times: list[float], percent: int) -> None:
    """Within half a per cent of the time that this many of all do not exceed."""
    true_ms = sorted(times)[math.ceil(len(times) * percent / 100) - 1]
    assert counted(times).at(percent) == pytest.approx(true_ms, rel=0.005)


@given(TIMES, TIMES)
def test_two_counts_make_one(some: list[float], others: list[float]) -> None:
    """Counting apart and adding up is counting together."""
    together, apart = counted(some + others), counted(some)
    apart.include(counted(others))
    assert [apart.at(percent) for percent in (1, 50, 99)] == [together.at(percent) for percent in (1, 50, 99)]
    assert (apart.count, apart.most_ms) == (together.count, together.most_ms)


@pytest.mark.parametrize("ms", [0.0, 0.01, 1234.5, 86_400_000.0])
def test_a_single_time_is_told_exactly(ms: float) -> None:
    """No percentile lies outside of what was counted."""
    one = counted([ms])
    assert [one.at(percent) for percent in (0, 50, 99, 100)] == [ms] * 4
    assert one.most_ms == ms


def test_without_times_there_is_no_percentile() -> None:
    """Nothing was counted: None, not 0."""
    assert (Percentiles().at(50), Percentiles().most_ms) == (None, None)


def test_what_is_no_time_is_left_out() -> None:
    """A negative number and not-a-number count for nothing; infinity is a very long time."""
    odd = counted([-1.0, math.nan, 10.0, math.inf])
    assert (odd.count, odd.most_ms) == (2, 1e12)
    assert odd.at(1) == pytest.approx(10.0, rel=0.005)

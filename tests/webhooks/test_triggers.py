"""What `triggers` may say, and that each fires once per crossing."""

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.alert_triggers import (
    ErrorRate,
    ErrorWatch,
    HighCost,
    SlowResponse,
    SlowWatch,
    Triggers,
    triggers_of,
)
from genops_helicone_async._rules.windows import window_of


def test_the_guide_s_triggers_are_read() -> None:
    """The mapping of the guide means what it says."""
    read = triggers_of(
        {
            "high_cost": {"threshold": 10.0, "timeframe": "hourly"},
            "slow_response": {"threshold": 5000, "unit": "ms"},
            "error_rate": {"threshold": 0.05, "unit": "percentage"},
        }
    )
    assert read == Triggers(
        high_cost=HighCost(threshold=10.0, timeframe="hourly"),
        slow_response=SlowResponse(threshold_ms=5000.0),
        error_rate=ErrorRate(threshold=0.05, window_s=300.0, min_requests=20),
    )


def test_seconds_and_other_windows_can_be_given() -> None:
    """A slow response in seconds, an error rate's own window and least number of calls."""
    read = triggers_of(
        {
            "slow_response": {"threshold": 2.5, "unit": "s"},
            "error_rate": {"threshold": 1, "window_s": 60, "min_requests": 3},
        }
    )
    assert read == Triggers(
        slow_response=SlowResponse(threshold_ms=2500.0),
        error_rate=ErrorRate(threshold=1.0, window_s=60.0, min_requests=3),
    )


@pytest.mark.parametrize(
    "triggers, told",
    [
        ({"high_costs": {}}, "unknown 'high_costs': known are high_cost, slow_response, error_rate"),
        ({"high_cost": {"treshold": 1}}, "unknown 'treshold': known are threshold, timeframe"),
        ({"high_cost": {}}, "lacks its threshold"),
        ({"high_cost": {"threshold": 1, "timeframe": "weekly"}}, "'weekly': use one of hourly, daily, monthly"),
        ({"high_cost": {"threshold": 0}}, "give a finite number above 0"),
        ({"high_cost": {"threshold": math.inf}}, "give a finite number above 0"),
        ({"slow_response": {"threshold": 5, "unit": "min"}}, "use 'ms' or 's'"),
        ({"error_rate": {"threshold": 5}}, "write a share from 0 to 1, 0.05 is 5 %"),
        ({"error_rate": {"threshold": 0.5, "unit": "per mille"}}, "use 'percentage' with 0.05 for 5 %"),
        ({"error_rate": {"threshold": 0.5, "min_requests": 0}}, "give a whole number from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(triggers: dict[str, Any], told: str) -> None:
    """The error names what is wrong and what would be right."""
    with pytest.raises(ConfigurationError) as refused:
        triggers_of(triggers)
    assert told in refused.value.message


@pytest.mark.parametrize(
    "triggers", [[], {"high_cost": 10}, {"high_cost": {"threshold": "10"}}, {"slow_response": {"threshold": True}}]
)
def test_wrong_types_are_type_errors(triggers: Any) -> None:
    """Text for a number, a number for a mapping."""
    with pytest.raises(TypeError, match="must be a"):
        triggers_of(triggers)


def test_slow_calls_fire_once_until_a_fast_one() -> None:
    """One alert for a row of slow calls; each provider and model has its own row."""
    watch = SlowWatch(SlowResponse(threshold_ms=100))
    told = [watch.crosses("openai", "m", ms) for ms in (100, 101, 5000, 99, 101, 102)]
    assert told == [False, True, False, False, True, False]
    assert watch.crosses("groq", "m", 101)


def test_an_error_rate_fires_once_per_crossing() -> None:
    """From the least number of calls on, when the share is reached, and again after it was below."""
    watch = ErrorWatch(ErrorRate(threshold=0.5, window_s=60, min_requests=4))
    pattern = [True, True, True, True, False, False, False, False, False, True, True, True]
    crossings = [watch.crosses(failed=failed, now_s=1.0) for failed in pattern]
    assert [(c.errors, c.requests) if c else None for c in crossings] == [
        *(None, None, None, (4, 4)),
        *(None, None, None, None, None),
        *((5, 10), None, None),
    ]


def test_old_calls_leave_the_window() -> None:
    """Failures that are older than the window count no more, so that the rate can cross again."""
    watch = ErrorWatch(ErrorRate(threshold=1.0, window_s=60, min_requests=2))
    assert [bool(watch.crosses(failed=True, now_s=now_s)) for now_s in (0.0, 1.0)] == [False, True]
    assert [bool(watch.crosses(failed=False, now_s=now_s)) for now_s in (100.0, 101.0)] == [False, False]
    assert [bool(watch.crosses(failed=True, now_s=now_s)) for now_s in (200.0, 201.0)] == [False, True]


def test_an_outage_after_a_silence_is_another_one() -> None:
    """Nothing was called for a window, nor anything well between two outages: each has its alert."""
    watch = ErrorWatch(ErrorRate(threshold=0.5, window_s=60, min_requests=3))
    for began_s in (0.0, 3600.0, 7200.0):
        told = [bool(watch.crosses(failed=True, now_s=began_s + step)) for step in range(5)]
        assert told == [False, False, True, False, False]


def test_few_calls_that_go_well_end_an_outage() -> None:
    """Below the least number of calls nothing is told, but a rate that is below again has crossed."""
    watch = ErrorWatch(ErrorRate(threshold=0.5, window_s=60, min_requests=3))
    assert [bool(watch.crosses(failed=True, now_s=0.0)) for _ in range(3)] == [False, False, True]
    assert not watch.crosses(failed=False, now_s=59.9 + 0.2)
    assert [bool(watch.crosses(failed=True, now_s=60.2)) for _ in range(3)] == [False, True, False]


def test_a_call_is_counted_for_exactly_the_window() -> None:
    """A call that is as old as the window is no longer in it."""
    watch = ErrorWatch(ErrorRate(threshold=1.0, window_s=60, min_requests=1))
    for now_s, count in ((0.0, 1), (59.0, 2), (60.0, 2), (61.0, 3)):
        watch.crosses(failed=False, now_s=now_s)
        assert watch._requests == count


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200))
def test_an_error_rate_is_that_of_the_calls_in_the_window(steps: list[tuple[float, bool]]) -> None:
    """It never counts a call older than the window, nor misses one younger than 59 sixtieths of it."""
    watch, now_s, calls = ErrorWatch(ErrorRate(threshold=0.5, window_s=60, min_requests=1)), 0.0, []
    for wait_s, failed in steps:
        now_s += wait_s
        calls.append((now_s, failed))
        watch.crosses(failed=failed, now_s=now_s)
        most = sum(at_s > now_s - 60 for at_s, _ in calls)
        least = sum(at_s > now_s - 59 for at_s, _ in calls)
        assert least <= watch._requests <= most


def test_hours_are_those_of_utc() -> None:
    """An hour has one key and end in every zone, also where summer time ends and in zones half an hour off."""
    now_s = datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC).timestamp()
    for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
        window = window_of("hour", now_s, ZoneInfo(zone))
        assert (window.key, window.ends_s) == ("2026-11-01T05Z", now_s + 1)
        assert window.ends_at.timestamp() == window.ends_s

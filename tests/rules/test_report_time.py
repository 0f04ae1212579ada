"""Spending over time: which bars are drawn, where they begin, and that nothing falls between them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.report_time import LATEST_S, QUARTER_S, Calendar, Timeline, local_time
from genops_helicone_async._rules.report_totals import Totals

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
         "America/Sao_Paulo"]  # fmt: skip


def quarter(moment: datetime) -> int:
    """The quarter of an hour since 1970 that a moment falls into."""
    return int(moment.timestamp()) // QUARTER_S


def timeline_of(moments: list[datetime], zone: str = "UTC") -> Timeline:
    """One pico-dollar at each of the moments."""
    calendar = Calendar(ZoneInfo(zone))
    for moment in moments:
        calendar.of(quarter(moment), "openai").include(Totals(attempts=1, cost_pusd=1))
    return calendar.timeline()


def starts(timeline: Timeline) -> list[str]:
    """When the bars begin, in local time."""
    return [f"{bar.starts_at:%Y-%m-%d %H:%M}" for bar in timeline.bars]


def costs(timeline: Timeline) -> list[int]:
    """What was spent in each bar."""
    return [bar.totals.cost_pusd for bar in timeline.bars]


@pytest.mark.parametrize(
    "length,grain,bars",
    [
        (timedelta(), "hour", 1),
        (timedelta(hours=71), "hour", 72),
        (timedelta(hours=72), "day", 4),
        (timedelta(days=91), "day", 92),
        (timedelta(days=92), "week", 14),
        (timedelta(weeks=103), "week", 104),
        (timedelta(weeks=105), "month", 25),
        (timedelta(days=365 * 9), "year", 10),
    ],
)
def test_the_bars_fit_the_time_covered(length: timedelta, grain: str, bars: int) -> None:
    """Hours for three days, days for three months, then weeks, months and years."""
    begin = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
    timeline = timeline_of([begin, begin + length])
    assert (timeline.grain, len(timeline.bars)) == (grain, bars)


def test_empty_hours_have_bars_too() -> None:
    """A pause is seen as a gap."""
    begin = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
    timeline = timeline_of([begin, begin + timedelta(minutes=44), begin + timedelta(hours=3)])
    assert list(zip(starts(timeline), costs(timeline), strict=True)) == [
        ("2026-11-23 08:00", 2), ("2026-11-23 09:00", 0), ("2026-11-23 10:00", 0), ("2026-11-23 11:00", 1)
    ]  # fmt: skip


def test_days_are_those_of_the_time_zone() -> None:
    """Half past eleven in the evening in London is the next day in Berlin."""
    moments = [datetime(2026, 7, day, 22, 30, tzinfo=UTC) for day in (1, 2, 9)]
    assert starts(timeline_of(moments, "Europe/Berlin"))[:2] == ["2026-07-02 00:00", "2026-07-03 00:00"]
    assert starts(timeline_of(moments))[:2] == ["2026-07-01 00:00", "2026-07-02 00:00"]


def test_the_hours_of_a_zone_between_hours() -> None:
    """In India the hours begin half an hour apart from everybody else's."""
    begin = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    timeline = timeline_of([begin, begin + timedelta(minutes=30)], "Asia/Kolkata")
    assert starts(timeline) == ["2026-11-23 13:00", "2026-11-23 14:00"]


def test_a_day_may_have_23_or_25_hours() -> None:
    """In the night when the clocks change, the hours drawn are those that there were."""
    spring = [datetime(2026, 3, 29, hour, 30, tzinfo=BERLIN) for hour in (0, 5)]
    assert starts(timeline_of(spring, "Europe/Berlin")) == [f"2026-03-29 0{hour}:00" for hour in (0, 1, 3, 4, 5)]
    autumn = [datetime(2026, 10, 25, hour, 30, tzinfo=BERLIN) for hour in (1, 4)]
    assert starts(timeline_of(autumn, "Europe/Berlin")) == [f"2026-10-25 0{hour}:00" for hour in (1, 2, 2, 3, 4)]


@given(
    st.sampled_from(ZONES),
    st.lists(st.integers(0, 2**31 // QUARTER_S), min_size=1, max_size=30),
    st.sampled_from([1, 50, 2_000, 200_000]),
)
def test_nothing_falls_between_the_bars(zone: str, quarters: list[int], spread: int) -> None:
    """In every zone and over every length, the bars add up to what went in, and each provider's part to the bar."""
    calendar = Calendar(ZoneInfo(zone))
    begin = 1_700_000_000 // QUARTER_S
    for index, number in enumerate(quarters):
        calendar.of(begin + number % spread, f"p{index % 3}").include(Totals(attempts=1, cost_pusd=10**index))
    timeline = calendar.timeline()
    assert sum(costs(timeline)) + timeline.earlier.cost_pusd == sum(10**index for index in range(len(quarters)))
    for bar in timeline.bars:
        assert sum(totals.cost_pusd for totals in bar.by_provider.values()) == bar.totals.cost_pusd
    began = [bar.starts_at.astimezone(UTC) for bar in timeline.bars]
    assert began == sorted(set(began))


def test_memory_does_not_grow_with_the_time_covered() -> None:
    """Ten years, an attempt an hour: hours become days, and days stay exact."""
    calendar = Calendar(BERLIN)
    begin = quarter(datetime(2016, 1, 1, tzinfo=BERLIN))
    hours = 10 * 365 * 24
    for hour in range(hours):
        calendar.of(begin + 4 * hour, "openai").include(Totals(attempts=1, cost_pusd=7))
    assert repr(calendar) == "Calendar(120 months)"
    timeline = calendar.timeline()
    assert (timeline.grain, len(timeline.bars), sum(costs(timeline))) == ("year", 10, 7 * hours)
    assert timeline.bars[0].totals.attempts == 366 * 24


def test_what_does_not_fit_is_told_as_earlier() -> None:
    """A row of a clock that stood in the year 3000 draws 120 bars, and what came before them is not lost."""
    timeline = timeline_of([datetime(2026, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)])
    assert (timeline.grain, len(timeline.bars), timeline.earlier.cost_pusd) == ("year", 120, 1)
    assert starts(timeline)[-1] == "3000-01-01 00:00"


def test_a_provider_too_many_is_still_in_the_bar() -> None:
    """Beyond 64 providers a bar knows its sum, and no longer whose it is."""
    calendar = Calendar(UTC)
    for number in range(70):
        calendar.of(0, f"p{number}").include(Totals(attempts=1, cost_pusd=1))
    (bar,) = calendar.timeline().bars
    assert (len(bar.by_provider), bar.totals.cost_pusd) == (64, 70)


def test_no_rows_no_bars() -> None:
    """Nothing is drawn of nothing."""
    assert Calendar(UTC).timeline() == Timeline(grain="day", bars=(), earlier=Totals())


@pytest.mark.parametrize("moment_s", [float("nan"), float("inf"), -1e18, LATEST_S * 2])
def test_what_is_no_moment_is_the_beginning_of_1970(moment_s: float) -> None:
    """A broken time breaks no page."""
    assert local_time(moment_s, UTC) == datetime(1970, 1, 1, tzinfo=UTC)

"""Calendar windows: a day and a month end when the local calendar says so, whatever the clocks do."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from genops_helicone_async._rules.windows import window_of


def at(zone: str, *moment: int) -> float:
    """Unix seconds of a local time."""
    return datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("zone", "moment", "key", "hours_left"),
    [
        ("UTC", (2026, 11, 23, 0), "2026-11-23", 24),
        ("UTC", (2026, 11, 23, 23), "2026-11-23", 1),
        ("Asia/Tokyo", (2026, 11, 23, 6), "2026-11-23", 18),
        # the day with 23 hours, and the one with 25
        ("America/New_York", (2026, 3, 8, 0), "2026-03-08", 23),
        ("America/New_York", (2026, 11, 1, 0), "2026-11-01", 25),
        # days that begin at one in the morning, because the clocks jump over midnight
        ("America/Sao_Paulo", (2018, 11, 3, 12), "2018-11-03", 12),
        ("Africa/Cairo", (2023, 4, 27, 12), "2023-04-27", 12),
        # the island that skipped a whole day
        ("Pacific/Apia", (2011, 12, 29, 12), "2011-12-29", 12),
    ],
)
def test_a_day_ends_with_the_local_day(zone: str, moment: tuple[int, ...], key: str, hours_left: int) -> None:
    """The window's key is the local date; its end is the first moment of the next local day."""
    now_s = at(zone, *moment)
    window = window_of("day", now_s, ZoneInfo(zone))
    assert (window.key, window.ends_s - now_s) == (key, hours_left * 3600)
    assert window.ends_at.timestamp() == window.ends_s


@pytest.mark.parametrize(
    ("moment", "key", "end"),
    [
        ((2026, 11, 23), "2026-11", (2026, 12, 1)),
        ((2026, 12, 31), "2026-12", (2027, 1, 1)),
        ((2028, 2, 29), "2028-02", (2028, 3, 1)),
    ],
)
def test_a_month_ends_with_the_first_of_the_next(moment: tuple[int, ...], key: str, end: tuple[int, ...]) -> None:
    """Months have their own lengths, December ends in the next year."""
    window = window_of("month", at("Europe/Berlin", *moment), ZoneInfo("Europe/Berlin"))
    assert (window.key, window.ends_s) == (key, at("Europe/Berlin", *end))


def test_the_same_moment_is_in_different_days_of_different_zones() -> None:
    """Half past eleven in the evening in New York is already tomorrow in Tokyo."""
    now_s = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()
    keys = [window_of("day", now_s, ZoneInfo(zone)).key for zone in ("America/New_York", "Asia/Tokyo")]
    assert keys == ["2026-11-23", "2026-11-24"]

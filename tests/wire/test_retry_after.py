"""How long the other side asked to wait: every form in which it says so, and everything that only looks like one."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from genops_helicone_async._wire.retry_after import retry_after_s

NOW_S = 1_795_439_000.0
NOW = datetime.fromtimestamp(NOW_S, UTC)
WEEK_S = 7 * 24 * 3600


def asked(**headers: str) -> float | None:
    """What a reply with these headers asks for, `_` standing for `-`."""
    return retry_after_s(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), NOW_S)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        (str(WEEK_S), float(WEEK_S)),
        (str(WEEK_S + 1), float(WEEK_S)),
        ("1e400", None),
        ("9" * 5000, None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("7s", None),
        ("5, 6", None),
        ("0x10", None),
        ("1_0", None),
        ("\u0663", None),
    ],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    """Whole and fractional seconds are taken, longer ones as a week; negative and nonsensical wishes are not."""
    assert asked(Retry_After=text) == seconds


@pytest.mark.parametrize(
    "milliseconds, retry_after, seconds",
    [
        ("250", "9", 0.25),
        ("0", "9", 0.0),
        ("1500.5", "9", 1.5005),
        ("nonsense", "9", 9.0),
        ("nan", "9", 9.0),
        ("-5", "9", 9.0),
        ("", "9", 9.0),
        ("nonsense", "nonsense", None),
    ],
)
def test_milliseconds_win_where_they_make_sense(milliseconds: str, retry_after: str, seconds: float | None) -> None:
    """`retry-after-ms` is the finer wish; a senseless one leaves `Retry-After` to decide."""
    assert asked(retry_after_ms=milliseconds, Retry_After=retry_after) == seconds


def test_nothing_said_is_none() -> None:
    """Without either header there is no wish."""
    assert asked(Content_Type="text/plain") is None


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is nine hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    "text",
    [
        format_datetime(NOW + timedelta(seconds=30), usegmt=True),
        (NOW + timedelta(seconds=30)).strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        (NOW + timedelta(seconds=30)).strftime("%a %b %d %H:%M:%S %Y"),
        (NOW + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S -0000"),
        format_datetime((NOW + timedelta(seconds=30)).astimezone(timezone(timedelta(hours=2)))),
    ],
)
def test_a_date_is_utc_in_all_its_spellings(text: str) -> None:
    """The three spellings of an HTTP date, and offsets, mean the same moment wherever this machine stands."""
    assert asked(Retry_After=text) == 30.0


def test_a_date_counts_from_the_replys_own_clock() -> None:
    """With a `Date` header the difference of the two counts, so that a wrong clock here does not matter."""
    until, sent = datetime(2001, 1, 1, 0, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)
    assert asked(Retry_After=format_datetime(until, usegmt=True), Date=format_datetime(sent, usegmt=True)) == 60.0


@pytest.mark.parametrize("date", ["", "nonsense", "0"])
def test_a_senseless_date_header_leaves_our_clock(date: str) -> None:
    """A `Date` that is no date is as good as none."""
    assert asked(Retry_After=format_datetime(NOW + timedelta(seconds=5), usegmt=True), Date=date) == 5.0


def test_a_date_in_the_past_asks_for_no_wait() -> None:
    """What was to be waited for is over."""
    assert asked(Retry_After=format_datetime(NOW - timedelta(days=400), usegmt=True)) == 0.0


def test_a_date_beyond_a_week_is_a_week() -> None:
    """A date next year is a long wait, not none."""
    assert asked(Retry_After=format_datetime(NOW + timedelta(days=365), usegmt=True)) == WEEK_S


@given(
    retry_after=st.text(max_size=40),
    milliseconds=st.none() | st.text(max_size=20),
    date=st.none() | st.text(max_size=40),
)
def test_no_text_breaks_the_reading(retry_after: str, milliseconds: str | None, date: str | None) -> None:
    """Whatever stands in the headers, the answer is None or a wait between 0 and a week."""
    headers = {"retry-after": retry_after, "retry-after-ms": milliseconds, "date": date}
    seconds = retry_after_s({name: text for name, text in headers.items() if text is not None}, NOW_S)
    assert seconds is None or 0 <= seconds <= WEEK_S


@given(
    st.from_regex(
        r"(Mon, |Sunday, |)\d{1,3}[ -](Jan|Feb|Foo)[ -]\d{2,5} \d{1,3}:\d{1,3}(:\d{1,3})?( GMT| -0000| \+9999|)",
        fullmatch=True,
    )
)
def test_no_near_date_breaks_the_reading(text: str) -> None:
    """Dates with impossible parts are no dates, never an exception."""
    seconds = retry_after_s({"retry-after": text}, NOW_S)
    assert seconds is None or 0 <= seconds <= WEEK_S

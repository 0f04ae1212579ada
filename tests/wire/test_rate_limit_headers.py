"""What replies tell about rate limits: every provider's spelling, and everything that only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from genops_helicone_async._values import RateObservation
from genops_helicone_async._wire.rate_limit_headers import duration_s, rate_limits_of

NOW_S = 1_795_439_000.0  # 2026-11-23T13:03:20Z


def told(**headers: str) -> tuple[RateObservation, ...]:
    """What a reply with these headers tells, `_` standing for `-`."""
    return rate_limits_of(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), NOW_S)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1s", 1.0),
        ("0s", 0.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("17.028s", 17.028),
        ("2m59.56s", 179.56),
        ("1h2m3.5s", 3723.5),
        ("1d2h", 93600.0),
        ("1h", 3600.0),
        ("500µs", 0.0005),
        ("500us", 0.0005),
        ("1s500ms", 1.5),
        (" 7s ", 7.0),
        ("", None),
        ("s", None),
        ("ms", None),
        ("-1s", None),
        ("1", None),
        ("1s2m", None),
        ("1e3s", None),
        ("nans", None),
        ("9" * 30 + "s", None),
        ("\u0661s", None),
    ],
)
def test_durations_as_go_writes_them(text: str, seconds: float | None) -> None:
    """Any of days to nanoseconds in falling order; nothing else is a duration."""
    assert duration_s(text) == (pytest.approx(seconds) if seconds is not None else None)


def test_openai() -> None:
    """Requests and tokens; the window is found from how fast the used part comes back."""
    assert told(
        X_RateLimit_Limit_Requests="60",
        X_RateLimit_Remaining_Requests="59",
        X_RateLimit_Reset_Requests="1s",
        X_RateLimit_Limit_Tokens="150000",
        X_RateLimit_Remaining_Tokens="149984",
        X_RateLimit_Reset_Tokens="6ms",
    ) == (
        RateObservation(by="provider", unit="requests", limit=60.0, remaining=59.0, reset_s=1.0, window_s=60.0),
        RateObservation(by="provider", unit="tokens", limit=150000.0, remaining=149984.0, reset_s=0.006, window_s=60.0),
    )


def test_a_limit_per_day_under_the_same_name() -> None:
    """Groq's requests are per day: 30 of 14,400 come back in three minutes."""
    (requests,) = told(
        x_ratelimit_limit_requests="14400",
        x_ratelimit_remaining_requests="14370",
        x_ratelimit_reset_requests="2m59.56s",
    )
    assert requests.window_s == 86400.0
    assert requests.rate_per_s == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "limit, remaining, reset, window_s",
    [
        ("60", "59", "1s", 60.0),
        ("60", "0", "55s", 60.0),
        ("60", "30", "44s", 60.0),
        ("60", "30", "46s", None),  # 92 s are no usual window
        ("40", "39", "250ms", 10.0),
        ("10000", "9999", "8.64s", 86400.0),
        ("150000", "149984", "6m0s", None),  # the sample in OpenAI's guide, which fits no window
        ("60", "60", "0s", None),
        ("60", "60", "5s", None),
        ("60", "61", "1s", None),
        ("0", "0", "1s", None),
        ("60", "59", "soon", None),
    ],
)
def test_a_window_is_found_or_not_known(limit: str, remaining: str, reset: str, window_s: float | None) -> None:
    """Only the usual windows are taken, within a factor of 1.5, for the figures are rounded."""
    (requests,) = told(
        x_ratelimit_limit_requests=limit,
        x_ratelimit_remaining_requests=remaining,
        x_ratelimit_reset_requests=reset,
    )
    assert requests.window_s == window_s


def test_only_what_remains_is_told() -> None:
    """Azure tells no more than that on some deployments."""
    assert told(x_ratelimit_remaining_requests="119", x_ratelimit_remaining_tokens="4000") == (
        RateObservation(by="provider", unit="requests", remaining=119.0),
        RateObservation(by="provider", unit="tokens", remaining=4000.0),
    )


def test_anthropic() -> None:
    """Requests, all tokens, input and output; the reset is a moment, and this reply's own clock counts."""
    assert told(
        Date="Mon, 23 Nov 2026 12:00:00 GMT",
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="40",
        anthropic_ratelimit_requests_reset="2026-11-23T12:00:12Z",
        anthropic_ratelimit_tokens_limit="50000",
        anthropic_ratelimit_tokens_remaining="50000",
        anthropic_ratelimit_tokens_reset="2026-11-23T12:00:00Z",
        anthropic_ratelimit_input_tokens_limit="40000",
        anthropic_ratelimit_input_tokens_remaining="20000",
        anthropic_ratelimit_input_tokens_reset="2026-11-23T13:00:30+01:00",
        anthropic_ratelimit_output_tokens_limit="8000",
        anthropic_ratelimit_output_tokens_remaining="0",
        anthropic_ratelimit_output_tokens_reset="2026-11-23T11:59:00Z",
    ) == (
        RateObservation(by="provider", unit="requests", limit=50.0, remaining=40.0, reset_s=12.0, window_s=60.0),
        RateObservation(by="provider", unit="tokens", limit=50000.0, remaining=50000.0, reset_s=0.0),
        RateObservation(
            by="provider", unit="input_tokens", limit=40000.0, remaining=20000.0, reset_s=30.0, window_s=60.0
        ),
        RateObservation(by="provider", unit="output_tokens", limit=8000.0, remaining=0.0, reset_s=0.0),
    )


@pytest.mark.parametrize("date", [None, "", "nonsense"])
def test_without_a_date_our_clock_counts(date: str | None) -> None:
    """The moment of the reset counts from the time given."""
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-23T13:03:25.500Z",
    }
    if date is not None:
        headers["date"] = date
    (requests,) = rate_limits_of(headers, NOW_S)
    assert requests.reset_s == 5.5


def test_mistral() -> None:
    """The name tells the window."""
    assert told(
        x_ratelimit_limit_req_minute="720",
        x_ratelimit_remaining_req_minute="717",
        x_ratelimit_limit_tokens_minute="5000000",
        x_ratelimit_remaining_tokens_minute="4999911",
    ) == (
        RateObservation(by="provider", unit="requests", limit=720.0, remaining=717.0, window_s=60.0),
        RateObservation(by="provider", unit="tokens", limit=5e6, remaining=4999911.0, window_s=60.0),
    )


@pytest.mark.parametrize("reset", ["12", "12s", "1795439012", "1795439012000", "2026-11-23T13:03:32+00:00"])
def test_plain_names_and_every_kind_of_reset(reset: str) -> None:
    """Without a unit they are requests; the reset is seconds, Unix seconds, Unix milliseconds or a date."""
    assert told(x_ratelimit_limit="20", x_ratelimit_remaining="16", x_ratelimit_reset=reset) == (
        RateObservation(by="provider", unit="requests", limit=20.0, remaining=16.0, reset_s=12.0, window_s=60.0),
    )


def test_helicone() -> None:
    """The gateway's own limit, its window from the policy; the reset is absent when the bucket is full."""
    assert told(
        Helicone_RateLimit_Limit="1000",
        Helicone_RateLimit_Remaining="999",
        Helicone_RateLimit_Policy="1000;w=3600;s=user",
        Helicone_RateLimit_Reset="4",
    ) == (RateObservation(by="helicone", unit="requests", limit=1000.0, remaining=999.0, reset_s=4.0, window_s=3600.0),)
    assert told(
        Helicone_RateLimit_Limit="2.5", Helicone_RateLimit_Remaining="2", Helicone_RateLimit_Policy="2.5;w=60;u=cents"
    ) == (RateObservation(by="helicone", unit="cents", limit=2.5, remaining=2.0, window_s=60.0),)


@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=100;w=60'},
        {"ratelimit": "default;r=50; t=30", "ratelimit-policy": 'other;q=1;w=1, default;q=100;qu="requests";w=60'},
        {"ratelimit": "limit=100, remaining=50, reset=30", "ratelimit-policy": "100;w=60"},
        {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
        {"ratelimit-limit": "100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
    ],
)
def test_the_standard_in_all_its_drafts(headers: dict[str, str]) -> None:
    """The same limit, as four generations of the draft write it."""
    assert rate_limits_of(headers, NOW_S) == (
        RateObservation(by="provider", unit="requests", limit=100.0, remaining=50.0, reset_s=30.0, window_s=60.0),
    )


def test_several_standard_limits() -> None:
    """Each with its own policy; those of other units than requests are left out."""
    assert rate_limits_of(
        {
            "ratelimit": '"burst";r=9;t=1,"day";r=900;t=5000,"bytes";r=1;t=1',
            "ratelimit-policy": '"burst";q=10;w=1,"day";q=1000;w=86400,"bytes";q=10;w=1;qu="content-bytes"',
        },
        NOW_S,
    ) == (
        RateObservation(by="provider", unit="requests", limit=10.0, remaining=9.0, reset_s=1.0, window_s=1.0),
        RateObservation(
            by="provider", unit="requests", limit=1000.0, remaining=900.0, reset_s=5000.0, window_s=86400.0
        ),
    )


@pytest.mark.parametrize("remaining", ["", "many", "-1", "nan", "inf", "1e3", "0x10", "9" * 400, "\u0661"])
def test_senseless_figures_are_none(remaining: str) -> None:
    """What is no number is not told; with nothing told there is no observation."""
    assert told(x_ratelimit_remaining_requests=remaining) == ()
    (requests,) = told(x_ratelimit_remaining_requests=remaining, x_ratelimit_limit_requests="5")
    assert (requests.limit, requests.remaining) == (5.0, None)


def test_a_reset_beyond_a_year_is_a_mistake() -> None:
    """A moment in ten years is not believed, the rest is."""
    (requests,) = told(x_ratelimit_remaining="1", x_ratelimit_limit="5", x_ratelimit_reset="2036-01-01T00:00:00Z")
    assert (requests.remaining, requests.reset_s) == (1.0, None)


def test_nothing_told_is_empty() -> None:
    """A reply without such headers tells nothing."""
    assert told(Content_Type="application/json") == ()


@pytest.mark.parametrize(
    "limit, window_s, rate_per_s", [(60.0, 60.0, 1.0), (None, 60.0, None), (60.0, None, None), (0.0, 60.0, None)]
)
def test_the_rate_needs_limit_and_window(limit: float | None, window_s: float | None, rate_per_s: float | None) -> None:
    """Without both there is no rate."""
    observation = RateObservation(by="provider", unit="requests", limit=limit, window_s=window_s)
    assert observation.rate_per_s == rate_per_s


NAMES = st.sampled_from(
    [
        "date",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-reset",
        "helicone-ratelimit-remaining",
        "helicone-ratelimit-policy",
        "helicone-ratelimit-reset",
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
    ]
)
TEXTS = (
    st.text(max_size=40)
    | st.from_regex(r'("?[a-z]{0,3}"?(;[rtqw]=\d{0,4}){0,3},?){0,3}', fullmatch=True)
    | st.from_regex(r"\d{1,16}(\.\d)?|\d{0,4}m\d{0,3}s|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+\d\d:\d\d)", fullmatch=True)
)


@given(headers=st.dictionaries(NAMES, TEXTS))
def test_no_text_breaks_the_reading(headers: dict[str, str]) -> None:
    """Whatever stands in the headers, what comes out are finite figures that are not negative."""
    for observation in rate_limits_of(headers, NOW_S):
        for figure in (observation.limit, observation.remaining, observation.reset_s, observation.window_s):
            assert figure is None or 0 <= figure < 1e16

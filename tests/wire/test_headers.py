"""The `Helicone-*` headers of a call: checked here, since the worker crashes over a bad one or lets it pass unused."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._wire.headers import (
    GatewayCache,
    GatewayOptions,
    GatewayRetry,
    RateLimitPolicy,
    attribution_headers,
    cache_headers,
    gateway_headers,
    header_name,
    header_value,
    rate_limit_header,
    retry_headers,
)
from genops_helicone_async.errors import ConfigurationError

CONTROLS = ["\r", "\n", "\r\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\x9f"]


@pytest.mark.parametrize(
    "value, travels",
    [
        ("plain", "plain"),
        ("", ""),
        ("a b;c=d, \"e\" 100%", "a b;c=d, \"e\" 100%"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("50 % 名前", "50 %25 %E5%90%8D%E5%89%8D"),
        ("😀", "%F0%9F%98%80"),
        ("a\u2028b", "a%E2%80%A8b"),
        ("x" * 8192, "x" * 8192),
    ],
)  # fmt: skip
def test_a_value_travels_as_ascii(value: str, travels: str) -> None:
    """ASCII goes as it is; beyond it the UTF-8 bytes are percent-encoded, as Latin-1 readers need."""
    assert header_value("team", value) == travels


@pytest.mark.parametrize("text", ["", "ä"], ids=["ASCII", "beyond"])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_character_is_refused(control: str, text: str) -> None:
    """A line break would start another header; nothing is silently stripped."""
    with pytest.raises(ConfigurationError, match=r"^the value of `team` holds a control character or a line break"):
        header_value("team", f"{text}a{control}b")


@pytest.mark.parametrize("value", ["x" * 8193, "ä" * 2000, "😀" * 700])
def test_a_value_too_long_for_a_header_is_refused(value: str) -> None:
    """What counts is the length that travels, after encoding."""
    with pytest.raises(ConfigurationError, match=r"^the value of `team` takes \d+ characters in a header"):
        header_value("team", value)


def test_half_a_character_is_refused() -> None:
    """An unpaired surrogate has no bytes."""
    with pytest.raises(ConfigurationError, match=r"^the value of `team` holds an unpaired surrogate"):
        header_value("team", "a\ud800")


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["list"]])
def test_a_value_that_is_no_text_is_a_type_error(value: object) -> None:
    """The error names the value."""
    with pytest.raises(TypeError, match=r"^the value of `team` must be text, not "):
        header_value("team", value)


@given(st.text(max_size=60))
def test_what_travels_can_be_read_back(value: str) -> None:
    """Every accepted value beyond ASCII is the percent-encoding of itself; ASCII stays itself."""
    try:
        travels = header_value("x", value)
    except ConfigurationError:
        return
    assert (travels if value.isascii() else unquote(travels)) == value


@pytest.mark.parametrize(
    "name, header",
    [
        ("customer_tier", "P-Customer-Tier"),
        ("customerTier", "P-CustomerTier"),
        ("cost center", "P-Cost-Center"),
        (" padded ", "P-Padded"),
        ("a__b", "P-A-B"),
        ("already-fine", "P-Already-fine"),
        ("x", "P-X"),
        ("1st", "P-1st"),
    ],
)
def test_a_name_becomes_a_headers_name(name: str, header: str) -> None:
    """Words are joined by hyphens and capitalised."""
    assert header_name("P-", name) == header


@pytest.mark.parametrize(
    "name", ["", " ", "a:b", "a/b", "größe", "a\nb", "a\r\nX: y", "a\tb", "a\u00a0b", "(a)", "x" * 129]
)
def test_a_name_that_cannot_be_a_headers_is_refused(name: str) -> None:
    """The message shows the name and what it may hold."""
    with pytest.raises(ConfigurationError, match=r"^the attribute name .* use letters, digits"):
        header_name("P-", name)


def test_attribution_goes_into_the_official_headers() -> None:
    """User and session have headers of their own, everything else is a property."""
    attribution = {
        "user_id": "u-1",
        "session_id": "s-1",
        "session_path": "/a/b",
        "session_name": "Nightly",
        "team": "research",
        "project": "p",
        "customer_id": "c",
        "environment": "prod",
        "cost_center": "cc",
        "feature": "f",
        "release_train": "r",
    }
    assert attribution_headers(attribution) == {
        "Helicone-User-Id": "u-1",
        "Helicone-Session-Id": "s-1",
        "Helicone-Session-Path": "/a/b",
        "Helicone-Session-Name": "Nightly",
        "Helicone-Property-Team": "research",
        "Helicone-Property-Project": "p",
        "Helicone-Property-Customer-Id": "c",
        "Helicone-Property-Environment": "prod",
        "Helicone-Property-Cost-Center": "cc",
        "Helicone-Property-Feature": "f",
        "Helicone-Property-Release-Train": "r",
    }


def test_a_session_brings_all_three_headers() -> None:
    """Helicone wants path and name beside the id: the path's root, and the id as the name."""
    assert attribution_headers({"session_id": "s-ä"}) == {
        "Helicone-Session-Id": "s-%C3%A4",
        "Helicone-Session-Path": "/",
        "Helicone-Session-Name": "s-%C3%A4",
    }


@pytest.mark.parametrize(
    "names", [("session_id", "session_path", "session_name"), ("session_name", "session_path", "session_id")]
)
def test_a_sessions_own_path_and_name_win_in_any_order(names: tuple[str, ...]) -> None:
    """The defaults never replace what was given, and a path gets its leading slash."""
    given = {"session_id": "s", "session_path": "a/b", "session_name": "n"}
    assert attribution_headers({name: given[name] for name in names}) == {
        "Helicone-Session-Id": "s",
        "Helicone-Session-Path": "/a/b",
        "Helicone-Session-Name": "n",
    }


@pytest.mark.parametrize("name", ["user_id", "session_id", "session_path", "session_name", "team", "anything"])
@pytest.mark.parametrize("control", CONTROLS)
def test_no_attribution_smuggles_a_line_break(name: str, control: str) -> None:
    """Every kind of attribution is checked."""
    with pytest.raises(ConfigurationError, match=r"control character"):
        attribution_headers({name: f"a{control}b"})


@pytest.mark.parametrize(
    "cache, headers",
    [
        (GatewayCache(), {"Helicone-Cache-Enabled": "true"}),
        (GatewayCache(enabled=False, ttl_s=60, seed="s"), {}),
        (GatewayCache(ttl_s=1), {"Helicone-Cache-Enabled": "true", "Cache-Control": "max-age=1"}),
        (GatewayCache(ttl_s=31_536_000), {"Helicone-Cache-Enabled": "true", "Cache-Control": "max-age=31536000"}),
        (GatewayCache(bucket_size=1), {"Helicone-Cache-Enabled": "true"}),
        (GatewayCache(bucket_size=20), {"Helicone-Cache-Enabled": "true", "Helicone-Cache-Bucket-Max-Size": "20"}),
        (GatewayCache(seed="ä"), {"Helicone-Cache-Enabled": "true", "Helicone-Cache-Seed": "%C3%A4"}),
        (
            GatewayCache(ignore_keys=("user", 'a"b', "größe")),
            {"Helicone-Cache-Enabled": "true", "Helicone-Cache-Ignore-Keys": '"user","a\\"b","gr\\u00f6\\u00dfe"'},
        ),
    ],
)
def test_cache_headers_say_what_the_worker_reads(cache: GatewayCache, headers: dict[str, str]) -> None:
    """The lifetime goes into the plain `Cache-Control`, ignored keys are quoted, defaults are not spelled out."""
    assert cache_headers(cache) == headers


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8), min_size=1, max_size=4))
def test_ignored_keys_arrive_as_they_were_given(keys: list[str]) -> None:
    """The worker reads the header as the inside of a JSON list; it gets the very names back."""
    header = cache_headers(GatewayCache(ignore_keys=tuple(keys)))["Helicone-Cache-Ignore-Keys"]
    assert json.loads(f"[{header}]") == keys


@pytest.mark.parametrize(
    "cache, problem",
    [
        (GatewayCache(ttl_s=0), "`ttl_s` is 0"),
        (GatewayCache(ttl_s=31_536_001), "`ttl_s` is 31536001"),
        (GatewayCache(bucket_size=0), "`bucket_size` is 0"),
        (GatewayCache(bucket_size=21), "`bucket_size` is 21"),
        (GatewayCache(seed="a\nb"), "the value of `seed` holds a control"),
        (GatewayCache(ignore_keys=("a\nb",)), "the value of `ignore_keys` holds a control"),
    ],
)
def test_a_cache_setting_out_of_range_is_refused(cache: GatewayCache, problem: str) -> None:
    """What the worker would crash over never leaves."""
    with pytest.raises(ConfigurationError, match=problem):
        cache_headers(cache)


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"ttl_s": 1.5}, "`ttl_s` must be an integer, not float"),
        ({"ttl_s": True}, "`ttl_s` must be an integer, not bool"),
        ({"bucket_size": "3"}, "`bucket_size` must be an integer, not str"),
        ({"ignore_keys": "user"}, "`ignore_keys` must be a tuple of names"),
        ({"ignore_keys": (5,)}, "the value of `ignore_keys` must be text"),
    ],
)
def test_a_cache_setting_of_the_wrong_kind_is_a_type_error(settings: dict[str, Any], problem: str) -> None:
    """One text for several names, or half a second, is a mistake of the caller."""
    with pytest.raises(TypeError, match=problem):
        cache_headers(GatewayCache(**settings))


def test_retries_are_asked_for_by_presence() -> None:
    """`false` switches them on as well: without retries there is no header at all."""
    assert retry_headers(None) == {}
    assert retry_headers(GatewayRetry(attempts=3, factor=1.5, min_timeout_ms=50, max_timeout_ms=100)) == {
        "Helicone-Retry-Enabled": "true",
        "helicone-retry-num": "3",
        "helicone-retry-factor": "1.5",
        "helicone-retry-min-timeout": "50",
        "helicone-retry-max-timeout": "100",
    }


@pytest.mark.parametrize(
    "retry, problem",
    [
        (GatewayRetry(attempts=0), "`attempts` is 0"),
        (GatewayRetry(factor=0), "`factor` is above 0"),
        (GatewayRetry(factor=float("nan")), "`factor` is above 0"),
        (GatewayRetry(factor=float("inf")), "`factor` is above 0"),
        (GatewayRetry(min_timeout_ms=0), "`min_timeout_ms` is 0"),
        (GatewayRetry(min_timeout_ms=200, max_timeout_ms=100), "not above `max_timeout_ms`"),
    ],
)
def test_retries_that_make_no_sense_are_refused(retry: GatewayRetry, problem: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=problem):
        retry_headers(retry)


@pytest.mark.parametrize(
    "settings", [{"attempts": True}, {"attempts": 2.0}, {"min_timeout_ms": 1.5}, {"max_timeout_ms": "9"}]
)
def test_retries_of_the_wrong_kind_are_a_type_error(settings: dict[str, Any]) -> None:
    """Attempts and milliseconds are whole numbers."""
    with pytest.raises(TypeError, match=r"must be an integer"):
        retry_headers(GatewayRetry(**settings))


CARRIED = {"Helicone-User-Id": "u", "Helicone-Property-Team": "t", "Helicone-Property-Cost-Center": "c"}


@pytest.mark.parametrize(
    "policy, header",
    [
        ("1000;w=3600", "1000;w=3600"),
        ("0.5;w=60;u=cents", "0.5;w=60;u=cents"),
        ("10;W=60;U=REQUEST;S=User", "10;W=60;U=REQUEST;S=User"),
        ("10;w=31536000;s=team", "10;w=31536000;s=team"),
        ("10;w=60;u=cents;s=cost-center", "10;w=60;u=cents;s=cost-center"),
        (RateLimitPolicy(quota=10, window_s=60), "10;w=60"),
        (RateLimitPolicy(quota=1_000_000, window_s=86_400), "1000000;w=86400"),
        (RateLimitPolicy(quota=1_234_567.5, window_s=60, unit="cents"), "1234567.5;w=60;u=cents"),
        (RateLimitPolicy(quota=0.25, window_s=60, unit="cents", segment="user"), "0.25;w=60;u=cents;s=user"),
        (RateLimitPolicy(quota=100, window_s=60, segment="team"), "100;w=60;s=team"),
    ],
)
def test_a_policy_within_the_grammar_is_sent(policy: RateLimitPolicy | str, header: str) -> None:
    """Text goes as it is, a policy's figures in full, never in powers of ten."""
    assert rate_limit_header(policy, CARRIED) == {"Helicone-RateLimit-Policy": header}


@pytest.mark.parametrize(
    "policy",
    [
        "", "10", "w=60", "10;w=59", "10;w=31536001", "0;w=60", "0.0;w=60", "-1;w=60", "1e3;w=60", "10;w=60.5",
        "10 ;w=60", "10;w=60;", ".5;w=60", "10;w=60;u=dollars", "10;w=60;s=", "10;w=60;s=a b", "10;w=60;s=user;u=cents",
        "10;w=60\n", "10;w=60\r\nX-Y: z", "\u0661\u0660;w=60", "10;w=60;s=gr\u00f6\u00dfe", "10;w=60;\u017f=user",
        "9" * 5000 + ";w=60",
        "10;w=" + "9" * 5000, RateLimitPolicy(quota=float("nan"), window_s=60),
        RateLimitPolicy(quota=float("inf"), window_s=60), RateLimitPolicy(quota=0, window_s=60),
        RateLimitPolicy(quota=-5, window_s=60), RateLimitPolicy(quota=5, window_s=1),
        RateLimitPolicy(quota=5, window_s=60, segment="a;b"), RateLimitPolicy(quota=0.0000001, window_s=60),
    ],
)  # fmt: skip
def test_a_policy_outside_the_grammar_is_refused(policy: RateLimitPolicy | str) -> None:
    """The worker would let every call through without a word."""
    with pytest.raises(ConfigurationError, match=r"^the rate limit policy .* is not valid: write quota;w=seconds"):
        rate_limit_header(policy, CARRIED)


@pytest.mark.parametrize(
    "policy, needed",
    [("10;w=60;s=user", "helicone-user-id"), ("10;w=60;s=Region", "helicone-property-region")],
)
def test_a_segment_must_be_on_the_call(policy: str, needed: str) -> None:
    """Without its header the worker applies no limit: the message names the header."""
    with pytest.raises(ConfigurationError, match=f"needs the header {needed}, which this call does not carry"):
        rate_limit_header(policy, {"Helicone-Property-Team": "t"})


def test_options_are_all_or_nothing() -> None:
    """Each option brings its headers; without options, or with none set, there are none."""
    options = GatewayOptions(
        cache=GatewayCache(ttl_s=60),
        retry=GatewayRetry(attempts=2),
        rate_limit="10;w=60;s=user",
        omit_request=True,
        omit_response=True,
    )
    assert (gateway_headers(None, {}), gateway_headers(GatewayOptions(), {})) == ({}, {})
    assert gateway_headers(options, CARRIED) == {
        "Helicone-Cache-Enabled": "true",
        "Cache-Control": "max-age=60",
        "Helicone-Retry-Enabled": "true",
        "helicone-retry-num": "2",
        "helicone-retry-factor": "2.0",
        "helicone-retry-min-timeout": "1000",
        "helicone-retry-max-timeout": "10000",
        "Helicone-RateLimit-Policy": "10;w=60;s=user",
        "Helicone-Omit-Request": "true",
        "Helicone-Omit-Response": "true",
    }


_NAMES = st.sampled_from(["user_id", "session_id", "session_path", "session_name", "team"]) | st.text(max_size=12)


@given(
    attribution=st.dictionaries(_NAMES, st.text(max_size=30), max_size=5),
    seed=st.none() | st.text(max_size=20),
    keys=st.lists(st.text(max_size=10), max_size=3),
    policy=st.none() | st.text(max_size=20) | st.from_regex(r"\d{1,3};w=\d{2,3}(;s=\w{1,5})?", fullmatch=True),
)
def test_no_header_ever_holds_a_control_or_a_foreign_character(
    attribution: dict[str, str], seed: str | None, keys: list[str], policy: str | None
) -> None:
    """Whatever is asked for: either it is refused by a ConfigurationError, or all that is sent is printable ASCII."""
    try:
        headers = attribution_headers(attribution)
        cache = GatewayCache(seed=seed, ignore_keys=tuple(keys))
        headers |= gateway_headers(GatewayOptions(cache=cache, rate_limit=policy), headers)
    except ConfigurationError:
        return
    assert [text for pair in headers.items() for text in pair if not (text.isascii() and text.isprintable())] == []
    assert [name for name in headers if set(name) & set(' ():,;<=>?@[]{}/\\"')] == []

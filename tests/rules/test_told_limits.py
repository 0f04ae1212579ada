"""A provider's own limits as its replies tell them: exact waits, and no reply is believed more than it knows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.told_limits import ToldLimit, ToldLimits, ToldStatistics
from genops_helicone_async._values import RateObservation


def told(
    unit: str = "requests", limit: float | None = 10.0, remaining: float | None = 4.0, *,
    reset_s: float | None = None, window_s: float | None = None, by: str = "provider",
) -> RateObservation:  # fmt: skip
    """One limit as a reply tells it."""
    return RateObservation(by=by, unit=unit, limit=limit, remaining=remaining, reset_s=reset_s, window_s=window_s)  # type: ignore[arg-type]


def limits_of(*observed: RateObservation, now_s: float = 0.0) -> ToldLimits:
    """The mirror after one reply."""
    limits = ToldLimits()
    limits.observe(observed, now_s, alone=True)
    return limits


def test_a_limit_with_a_window_refills_steadily() -> None:
    """60 a minute are one a second: with none left the next goes after a second, the third after three."""
    limits = limits_of(told(limit=60.0, remaining=0.0, window_s=60.0))
    assert limits.wait_s(0.0, 0.0) == 1.0
    assert limits.wait_s(0.0, 0.75) == pytest.approx(0.25)
    assert limits.wait_s(0.0, 1.0) == 0.0
    limits.take(0.0)
    assert limits.wait_s(0.0, 1.5) == pytest.approx(0.5)


def test_a_limit_that_only_tells_when_it_resets_is_all_there_then() -> None:
    """Nothing comes back before."""
    limits = limits_of(told(limit=10.0, remaining=1.0, reset_s=30.0))
    assert limits.wait_s(0.0, 0.0) == 0.0
    limits.take(0.0)
    assert limits.wait_s(0.0, 20.0) == 10.0
    assert limits.wait_s(0.0, 30.0) == 0.0
    assert limits.statistics() == (ToldStatistics(unit="requests", limit=10.0, left=10.0, rate_per_s=None),)


def test_a_reply_without_reset_or_window_holds_nobody_for_ever() -> None:
    """Nothing is left, and nobody knows until when: the next refusal may say more."""
    assert limits_of(told(remaining=0.0)).wait_s(0.0, 0.0) == 0.0


def test_calls_under_way_are_not_in_what_a_reply_says() -> None:
    """With others sent meanwhile it can only be less than thought; alone it is the whole truth."""
    limits = limits_of(told(remaining=8.0, reset_s=60.0))
    for _ in range(5):
        limits.take(0.0)
    limits.observe([told(remaining=7.0, reset_s=60.0)], 0.0, alone=False)
    assert limits.statistics()[0].left == 3.0
    limits.observe([told(remaining=2.0, reset_s=60.0)], 0.0, alone=False)
    assert limits.statistics()[0].left == 2.0
    limits.observe([told(remaining=9.0, reset_s=60.0)], 0.0, alone=True)
    assert limits.statistics()[0].left == 9.0


def test_requests_and_tokens_are_kept_apart() -> None:
    """The longer wait counts; a call takes one of the requests and its tokens; what it did not use comes back."""
    limits = limits_of(
        told(limit=60.0, remaining=5.0, window_s=60.0), told("tokens", limit=6000.0, remaining=100.0, window_s=60.0)
    )
    assert limits.counts_tokens is True
    assert limits.wait_s(100.0, 0.0) == 0.0
    assert limits.wait_s(250.0, 0.0) == 1.5
    limits.take(100.0)
    limits.give_back(40.0)
    assert [each.left for each in limits.statistics()] == [4.0, 40.0]
    limits.give_back(60.0, unsent=True)
    assert [each.left for each in limits.statistics()] == [5.0, 100.0]
    assert repr(limits) == "ToldLimits(5 of 60 requests, 100 of 6000 tokens)"


def test_more_than_the_whole_limit_needs_all_of_it() -> None:
    """It is not stuck, and those behind it pay."""
    limits = limits_of(told("tokens", limit=600.0, remaining=300.0, window_s=60.0))
    assert limits.wait_s(5000.0, 0.0) == 30.0
    limits.take(5000.0)
    assert limits.wait_s(1.0, 30.0) == pytest.approx((1.0 + 5000.0 - 600.0) / 10.0)


def test_what_is_not_mirrored_makes_it_pause_when_nothing_is_left() -> None:
    """Input and output tokens, or a limit of unknown size; only until they reset, and the longest counts."""
    limits = ToldLimits()
    pauses_s = [
        limits.observe([told("input_tokens", remaining=0.0, reset_s=7.0)], 0.0, alone=True),
        limits.observe([told("input_tokens", remaining=1.0, reset_s=7.0)], 0.0, alone=True),
        limits.observe(
            [told(limit=None, remaining=0.0, reset_s=3.0), told("output_tokens", remaining=0.0, reset_s=2.0)],
            0.0, alone=True,
        ),
        limits.observe([told("input_tokens", remaining=0.0)], 0.0, alone=True),
    ]  # fmt: skip
    assert pauses_s == [7.0, 0.0, 3.0, 0.0]
    assert (limits.counts_tokens, limits.wait_s(1.0, 0.0), repr(limits)) == (False, 0.0, "ToldLimits(nothing told)")


def test_the_gateways_limits_are_not_the_providers() -> None:
    """They are those of one user or property: nobody else waits for them."""
    limits = limits_of(told(remaining=0.0, reset_s=60.0, by="gateway"), told(remaining=None))
    assert repr(limits) == "ToldLimits(nothing told)"


def test_a_limit_that_becomes_larger_or_smaller_is_followed() -> None:
    """The account was upgraded: the new limit refills up to its new size; a smaller one cuts what is left."""
    limits = limits_of(told(limit=60.0, remaining=60.0, window_s=60.0))
    limits.observe([told(limit=600.0, remaining=600.0, window_s=60.0)], 0.0, alone=False)
    assert limits.statistics()[0] == ToldStatistics(unit="requests", limit=600.0, left=60.0, rate_per_s=10.0)
    limits.wait_s(0.0, 3600.0)
    assert limits.statistics()[0].left == 600.0
    limits.observe([told(limit=6.0, remaining=6.0, window_s=60.0)], 3600.0, alone=False)
    limits.give_back(0.0, unsent=True)
    assert limits.statistics()[0].left == 6.0


STEP = st.tuples(
    st.floats(0.0, 90.0), st.sampled_from(["take", "back", "told", "alone"]), st.floats(0.0, 500.0),
    st.none() | st.floats(0.0, 120.0),
)  # fmt: skip


@given(st.lists(STEP, max_size=40), st.none() | st.floats(1.0, 60.0))
def test_a_wait_is_finite_and_long_enough(
    steps: list[tuple[float, str, float, float | None]], rate: float | None
) -> None:
    """Whatever is told and taken in whatever order: after the wait it lets the call pass, and never more is left."""
    limit, now_s = ToldLimit(100.0, 50.0, 0.0), 0.0
    for passed_s, what, amount, reset_s in steps:
        now_s += passed_s
        if what == "take":
            limit.take(amount)
        elif what == "back":
            limit.give_back(amount)
        else:
            limit.observe(100.0, min(amount, 100.0), reset_s, rate, now_s, alone=what == "alone")
        wait_s = limit.wait_s(5.0, now_s)
        assert 0.0 <= wait_s < math.inf
        assert limit.statistics("requests").left <= 100.0
    wait_s = limit.wait_s(5.0, now_s)
    assert limit.wait_s(5.0, now_s + wait_s * (1 + 1e-9) + 1e-6) == 0.0

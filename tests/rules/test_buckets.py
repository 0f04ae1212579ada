"""A token bucket as arithmetic: exact levels, waits that are true, and laws over any story."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genops_helicone_async._rules.buckets import Bucket, BucketStatistics


def test_a_new_bucket_is_full() -> None:
    """All of its capacity is there at once, then it refills by its rate up to the capacity."""
    bucket = Bucket(20, 2.0, 100.0)
    assert [bucket.take(1, 100.0) for _ in range(21)] == [True] * 20 + [False]
    assert (bucket.ready_in_s(1, 100.0), bucket.level(101.0), bucket.level(500.0)) == (0.5, 2.0, 20.0)


def test_a_request_larger_than_the_capacity_waits_for_a_full_bucket() -> None:
    """It is let through and drives the level below zero; who comes next waits until the debt is paid."""
    bucket = Bucket(100, 10.0, 0.0)
    bucket.take(30, 0.0)
    assert bucket.take(250, 0.0) is False
    assert bucket.ready_in_s(250, 0.0) == 3.0
    assert bucket.take(250, 3.0) is True
    assert bucket.level(3.0) == -150.0
    assert bucket.ready_in_s(10, 3.0) == 16.0


def test_settling_gives_back_or_takes_the_rest() -> None:
    """What was reserved and not used comes back at once, what was used beyond it is owed."""
    bucket = Bucket(1000, 10.0, 0.0)
    bucket.take(600, 0.0)
    bucket.settle(600, 150, 0.0)
    assert bucket.level(0.0) == 850.0
    bucket.take(800, 0.0)
    bucket.settle(800, 1000, 0.0)
    assert bucket.level(0.0) == -150.0
    bucket.refund(5000, 0.0)
    assert bucket.level(0.0) == 1000.0


def test_another_rate_keeps_the_level() -> None:
    """What has come in so far came in at the old rate, what comes now at the new one."""
    bucket = Bucket(100, 10.0, 0.0)
    bucket.take(100, 0.0)
    bucket.set_rate(1.0, 4.0)
    assert (bucket.level(4.0), bucket.level(14.0), bucket.rate_per_s) == (40.0, 50.0, 1.0)


def test_a_smaller_bucket_keeps_what_fits() -> None:
    """The level is cut to the new capacity; a larger one is not filled by growing."""
    bucket = Bucket(100, 10.0, 0.0)
    bucket.set_limit(30, 10.0, 0.0)
    assert bucket.level(0.0) == 30.0
    bucket.set_limit(200, 10.0, 0.0)
    assert (bucket.level(0.0), bucket.level(1.0)) == (30.0, 40.0)


def test_a_debt_outlives_a_change_of_size() -> None:
    """What a large request owes is owed to the new bucket too."""
    bucket = Bucket(100, 10.0, 0.0)
    bucket.take(300, 0.0)
    bucket.set_limit(50, 100.0, 0.0)
    assert bucket.ready_in_s(1, 0.0) == 2.01


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    """An earlier time than seen before finds the level as it was."""
    bucket = Bucket(10, 1.0, 100.0)
    bucket.take(5, 100.0)
    assert (bucket.level(50.0), bucket.level(101.0)) == (5.0, 6.0)


def test_the_statistics_and_the_repr_tell_the_state() -> None:
    """Capacity, rate and level."""
    bucket = Bucket(10, 2.0, 0.0)
    bucket.take(4, 0.0)
    assert bucket.statistics(1.0) == BucketStatistics(capacity=10.0, rate_per_s=2.0, level=8.0)
    assert repr(bucket) == "Bucket(8/10, +2/s)"


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
def test_limits_are_finite_and_above_zero(value: float) -> None:
    """Whatever would never let anything through, or everything, is refused; the message names it."""
    with pytest.raises(ValueError, match="`capacity`"):
        Bucket(value, 1.0, 0.0)
    with pytest.raises(ValueError, match="`rate_per_s`"):
        Bucket(1, 1.0, 0.0).set_rate(value, 0.0)


@given(
    story=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.25, 1.0, 16.0]), st.sampled_from(["take", "back", "beyond"]), st.integers(0, 24)
        ),
        max_size=40,
    )
)
def test_what_comes_back_needs_no_time(story: list[tuple[float, str, int]]) -> None:
    """The levels are those of a bucket that is filled to the moment and cut to its capacity at every step."""
    bucket, level, now_s = Bucket(16, 2.0, 0.0), 16.0, 0.0
    for passed_s, event, amount in story:
        now_s += passed_s
        level = min(16.0, level + 2.0 * passed_s)
        if event == "take":
            if bucket.take_if_full_enough(amount, now_s):
                level -= amount
            else:
                assert level < amount
        elif event == "back":
            bucket.give_back(amount)
            level = min(16.0, level + amount)
        else:
            bucket.settle(0.0, amount, now_s)
            level -= amount
        if amount % 3 == 0:
            assert (bucket.level(now_s), repr(bucket)) == (level, f"Bucket({level:.6g}/16, +2/s)")
    assert bucket.level(now_s) == level


def test_a_clock_that_steps_back_leaves_what_is_there_to_be_taken() -> None:
    """Also by the short ways of taking and settling."""
    bucket = Bucket(10, 1.0, 100.0)
    assert [bucket.take_if_full_enough(5, now_s) for now_s in (100.0, 50.0)] == [True, True]
    bucket.settle(3, 1, 40.0)
    assert (bucket.level(50.0), bucket.level(101.0)) == (2.0, 3.0)


AMOUNTS = st.floats(0.001, 1e6)
STORIES = st.lists(
    st.tuples(st.floats(0, 1e4), st.sampled_from(["take", "settle", "rate"]), AMOUNTS, AMOUNTS), max_size=40
)


@example(capacity=1.0, rate=34308.0, story=[(1024.0, "take", 3.0, 1.0)], amount=1.0)  # finer than the clock's steps
@given(capacity=AMOUNTS, rate=AMOUNTS, story=STORIES, amount=AMOUNTS)
def test_who_waits_as_long_as_told_is_served(
    capacity: float, rate: float, story: list[tuple[float, str, float, float]], amount: float
) -> None:
    """After any story `ready_in_s` is finite, `take` says yes when it is over, and no earlier than a millionth."""
    bucket, now_s = Bucket(capacity, rate, 0.0), 0.0
    for passed_s, event, one, other in story:
        now_s += passed_s
        if event == "take":
            bucket.take(one, now_s)
        elif event == "settle":
            bucket.settle(one, other, now_s)
        else:
            bucket.set_limit(one, other, now_s)
    wait_s = bucket.ready_in_s(amount, now_s)
    assert 0 <= wait_s < math.inf
    if wait_s > 1e-6 * (now_s + wait_s):
        assert not bucket.take(amount, now_s + wait_s * 0.99)
    assert bucket.take(amount, now_s + wait_s)


@given(
    capacity=st.integers(1, 1000),
    rate=st.integers(1, 100),
    requests=st.lists(st.integers(1, 3000), min_size=1, max_size=30),
)
def test_served_in_order_nobody_starves_and_the_rate_holds(capacity: int, rate: int, requests: list[int]) -> None:
    """The head of a queue is always served at last, and at any moment no more has gone out than came in.

    What went out before a moment is at most the capacity, plus what refilled, plus the one request that went below.
    """
    bucket, now_s, sent = Bucket(capacity, rate, 0.0), 0.0, 0.0
    for amount in requests:
        now_s += bucket.ready_in_s(amount, now_s)
        assert bucket.take(amount, now_s)
        assert sent <= (capacity + rate * now_s) * (1 + 1e-9)
        sent += amount
    assert sent <= (capacity + rate * now_s + max(0, max(requests) - capacity)) * (1 + 1e-9)

"""The script of the shared rates at made-up times, on a real server: exact figures, and the law over every window."""

import secrets
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

import valkey_server
from genops_helicone_async._edges.shared_rates.script import SHARE

AT_GIVEN_TIME = "local now = tonumber(ARGV[2])\n" + SHARE
START_US = 1_795_000_000_123_456
SECOND_US = 1_000_000
HOUR_MS = 3_600_000


class Grant(NamedTuple):
    """An amount and the microsecond from which it was usable."""

    at_us: int
    amount: float


class Bucket:
    """One key of the server, used at the times that a test says."""

    def __init__(self, client: redis.Redis, capacity: float, rate_per_s: float) -> None:
        self.client = client
        self.key = f"{{test:{secrets.token_hex(8)}}}:calls"
        self.capacity = capacity
        self.rate_per_s = rate_per_s
        self.now_us = START_US
        self.state: object = None

    def ask(self, *amounts: float, is_due: bool = False) -> list[int]:
        """Reserves in one step, or gives back what is below zero; the microseconds to wait for each."""
        asks = [(1, amount, self.capacity, self.rate_per_s / 1e6, is_due) for amount in amounts]
        body = msgspec.msgpack.encode((asks, [self.state]))
        waits, (state,) = msgspec.msgpack.decode(self.client.eval(AT_GIVEN_TIME, 1, self.key, body, self.now_us))
        # The real clock, which ends idle keys, stands still beside the made-up one.
        self.client.pexpire(self.key, HOUR_MS)
        self.state_now = state
        return [int(wait) for wait in waits]

    def grant(self, amount: float) -> Grant:
        """Reserves, and tells when that is usable."""
        (wait_us,) = self.ask(amount)
        return Grant(self.now_us + wait_us, amount)


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    """A connection to the server that tests share."""
    with redis.Redis.from_url(valkey_server.shared_url()) as opened:
        yield opened


# exact figures


def test_a_full_bucket_gives_its_capacity_at_once_and_then_its_rate(client: redis.Redis) -> None:
    """600 a minute with a burst of 20: twenty now, then one each tenth of a second."""
    bucket = Bucket(client, 20, 10)
    assert bucket.ask(*[1.0] * 23) == [0] * 20 + [100_000, 200_000, 300_000]


def test_moments_go_on_from_the_last_one_whoever_asks_later(client: redis.Redis) -> None:
    """The queue of moments is worked off by the clock, not by answers."""
    bucket = Bucket(client, 1, 10)
    assert bucket.ask(1, 1, 1) == [0, 100_000, 200_000]
    bucket.now_us += 150_000
    assert bucket.ask(1) == [150_000]
    bucket.now_us += 400_000
    assert bucket.ask(1, 1) == [0, 100_000]


def test_an_idle_bucket_fills_up_to_its_capacity(client: redis.Redis) -> None:
    """After an hour there is no more than the burst."""
    bucket = Bucket(client, 3, 10)
    assert bucket.ask(1, 1, 1) == [0, 0, 0]
    bucket.now_us += 3_600 * SECOND_US
    assert bucket.ask(1, 1, 1, 1) == [0, 0, 0, 100_000]


def test_more_than_the_capacity_waits_until_all_of_it_has_flowed_in(client: redis.Redis) -> None:
    """100 from a full bucket of 10 at 10/s: 9 s; whoever comes behind waits for their own amount only."""
    bucket = Bucket(client, 10, 10)
    assert bucket.ask(100, 1, 10) == [9_000_000, 9_100_000, 10_100_000]


def test_a_rate_that_is_no_whole_number_of_microseconds_is_kept_in_the_long_run(client: redis.Redis) -> None:
    """3 a second: each moment is rounded up, and 3,000 of them take 1,000 s, not a microsecond more."""
    bucket = Bucket(client, 1, 3)
    waits = bucket.ask(*[1.0] * 3_001)
    assert waits[:4] == [0, 333_334, 666_667, 1_000_000]
    assert waits[-1] == 1_000 * SECOND_US


def test_another_rate_holds_from_the_last_moment_on(client: redis.Redis) -> None:
    """What was told stays; the next is a new interval later."""
    bucket = Bucket(client, 1, 10)
    assert bucket.ask(1, 1, 1) == [0, 100_000, 200_000]
    bucket.rate_per_s = 1
    assert bucket.ask(1) == [1_200_000]
    bucket.rate_per_s = 100
    assert bucket.ask(1) == [1_210_000]


def test_time_before_a_change_counts_at_the_old_rate(client: redis.Redis) -> None:
    """A tenfold rate does not make a second that has passed worth ten."""
    bucket = Bucket(client, 10, 1)
    assert bucket.ask(10) == [0]
    bucket.now_us += 2 * SECOND_US
    bucket.rate_per_s = 10
    assert bucket.ask(2, 1) == [0, 100_000]


def test_a_smaller_capacity_cuts_what_is_there_and_a_larger_one_adds_nothing(client: redis.Redis) -> None:
    """20 full, cut to 5; made 20 again it is still 5."""
    bucket = Bucket(client, 20, 1)
    assert bucket.ask(0) == [0]
    bucket.capacity = 5
    assert bucket.ask(0) == [0]
    bucket.now_us += 60 * SECOND_US
    bucket.capacity = 20
    assert bucket.ask(5, 2) == [0, 2_000_000]
    bucket.ask(-8, is_due=True)
    bucket.capacity = 3
    assert bucket.ask(2, 1) == [4_000_000, 0]


def test_what_is_given_back_is_there_again_up_to_the_capacity(client: redis.Redis) -> None:
    """Nothing is gained by giving back more than was taken."""
    bucket = Bucket(client, 10, 1)
    assert bucket.ask(10, -4, 4) == [0, 0, 0]
    assert bucket.ask(-99, 10, 1) == [0, 0, 1_000_000]


def test_a_refund_goes_to_the_next_who_asks_before_those_ahead(client: redis.Redis) -> None:
    """They keep the moments that they were told."""
    bucket = Bucket(client, 10, 1)
    assert bucket.ask(10, 2, 2) == [0, 2_000_000, 4_000_000]
    bucket.ask(-3, is_due=True)
    assert bucket.ask(2, 2) == [0, 6_000_000]
    bucket.now_us += 6_000_000
    assert bucket.ask(1, 1) == [0, 1_000_000]
    bucket.ask(-3, is_due=True)
    bucket.now_us += 1_000_000
    assert bucket.ask(3, 3) == [0, 3_000_000]


def test_a_reservation_given_back_before_its_moment_brings_nothing_forward(client: redis.Redis) -> None:
    """It can be had at the end of the queue: nobody gets earlier by reserving and returning."""
    bucket = Bucket(client, 10, 1)
    assert bucket.ask(10, 2, 2) == [0, 2_000_000, 4_000_000]
    bucket.ask(-2)
    assert bucket.ask(1, 2) == [4_000_000, 5_000_000]


def test_what_a_full_bucket_could_not_hold_is_lost(client: redis.Redis) -> None:
    """With a burst of one, a moment given back cannot be had together with the next: two would go at once."""
    bucket = Bucket(client, 1, 1)
    assert bucket.ask(1, 1, 1) == [0, 1_000_000, 2_000_000]
    bucket.ask(-1)
    bucket.ask(-1, is_due=True)
    assert bucket.ask(1) == [3_000_000]


def test_returns_and_refunds_together_fill_no_more_than_the_capacity(client: redis.Redis) -> None:
    """Each leaves less room for the other, at the moments that are still ahead."""
    bucket = Bucket(client, 4, 1)
    assert bucket.ask(4, 1, 1, 1, 1) == [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]
    bucket.ask(-1, -1, -1)
    bucket.ask(-1, is_due=True)
    assert bucket.ask(1, 1, 1, 1) == [4_000_000] * 3 + [5_000_000]
    other = Bucket(client, 4, 1)
    assert other.ask(4, 1, 1, 1, 1) == [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]
    other.ask(-3, is_due=True)
    other.ask(-1, -1, -1)
    assert other.ask(3, 1) == [0, 5_000_000]


@pytest.mark.parametrize("back_us", [0, 3_600 * SECOND_US])
def test_what_was_lost_to_a_moment_is_not_lost_behind_it(client: redis.Redis, back_us: int) -> None:
    """A refund finds no room while the bucket will be full at a moment ahead, and all of it when that has passed."""
    bucket = Bucket(client, 4, 1)
    assert bucket.ask(4, 4, 1) == [0, 4_000_000, 5_000_000]
    bucket.ask(-2, is_due=True)
    assert bucket.ask(2) == [7_000_000]
    bucket.now_us -= back_us
    bucket.ask(0)
    bucket.now_us += 4_500_000
    assert bucket.ask(1) == [3_500_000]
    bucket.now_us += 3_000_000
    bucket.ask(-2, is_due=True)
    assert bucket.ask(2) == [0]
    bucket.now_us += 60 * SECOND_US
    assert bucket.ask(4, 4) == [0, 4_000_000]
    bucket.now_us += 60 * SECOND_US
    assert bucket.ask(4, 1) == [0, 1_000_000]
    bucket.ask(-3, is_due=True)
    assert bucket.ask(3, 1) == [0, 2_000_000]


def test_a_clock_that_is_put_back_makes_nobody_wait_longer(client: redis.Redis) -> None:
    """The moments go back with it."""
    bucket = Bucket(client, 1, 1)
    assert bucket.ask(1, 1) == [0, 1_000_000]
    bucket.now_us -= 3_600 * SECOND_US
    assert bucket.ask(1) == [2_000_000]


def test_a_server_without_its_data_begins_where_the_caller_saw_it_last(client: redis.Redis) -> None:
    """The reminder counts only where there is nothing."""
    bucket = Bucket(client, 1, 1)
    bucket.ask(1, 1, 1)
    bucket.state = bucket.state_now
    assert bucket.ask(1) == [3_000_000]
    client.delete(bucket.key)
    assert bucket.ask(1) == [3_000_000]


@pytest.mark.parametrize("amounts, ends_ms", [((0,), 1), ((20,), 2_001), ((20, 40), 6_001)])
def test_a_bucket_vanishes_once_it_is_full(client: redis.Redis, amounts: tuple[float, ...], ends_ms: int) -> None:
    """Its key lives as long as it takes to work off the moments and to fill up, and a millisecond."""
    bucket = Bucket(client, 20, 10)
    asks = [(1, amount, 20, 1e-5, False) for amount in amounts]
    with client.pipeline(transaction=True) as steps:
        steps.eval(AT_GIVEN_TIME, 1, bucket.key, msgspec.msgpack.encode((asks, [None])), START_US)
        steps.pttl(bucket.key)
        _, left_ms = steps.execute()
    assert ends_ms - 1_000 < left_ms <= ends_ms  # the server may have been kept waiting between the two


# the law

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "back", "back", "sleep", "loss"]),
        st.integers(0, 3),
        st.sampled_from([0.1, 0.25, 0.5, 0.75, 1, 1, 1.5, 3]),
    ),
    min_size=8,
    max_size=30,
)


@settings(max_examples=600)
@given(STEPS, st.sampled_from([1, 4, 7.5]), st.sampled_from([0.3, 1, 10]))
def test_no_window_gets_more_than_capacity_and_rate(
    client: redis.Redis, steps: list[tuple[str, int, float]], capacity: float, rate_per_s: float
) -> None:
    """Whatever is taken, given back before its moment or refunded after it, over a loss of data, too."""
    bucket = Bucket(client, capacity, rate_per_s)
    grants: list[Grant] = []
    unused: list[Grant] = []
    refunds: list[Grant] = []
    for step, number, share in steps:
        if step == "take":
            grants.append(bucket.grant(capacity * share))
            unused.append(grants[-1])
        elif step == "sleep":
            bucket.now_us += int(capacity / rate_per_s * share * SECOND_US)
        elif step == "loss" and unused:
            bucket.state = bucket.state_now
            client.delete(bucket.key)
        elif step == "back" and unused:
            chosen = unused.pop(-1 - number % len(unused))
            is_due = chosen.at_us <= bucket.now_us
            back = chosen.amount * min(1, share) if is_due else chosen.amount
            if is_due:
                refunds.append(Grant(bucket.now_us, back))
            else:
                grants.remove(chosen)
            bucket.ask(-back, is_due=is_due)
    assert worst_excess(grants, refunds, capacity, rate_per_s) <= 1e-9


def worst_excess(grants: list[Grant], refunds: list[Grant], capacity: float, rate_per_s: float) -> float:
    """By how much the fullest window passes its limit; windows from each grant to each other, ends included.

    An amount beyond the capacity stands for the capacity in windows that begin with it: all of it was waited for, up to
    the next whole microsecond.
    """
    worst = 0.0
    for begin in {grant.at_us for grant in grants}:
        most = max(capacity, *(grant.amount + rate_per_s / 1e6 for grant in grants if grant.at_us == begin))
        for end in {grant.at_us for grant in grants if grant.at_us >= begin}:
            used = sum(grant.amount for grant in grants if begin <= grant.at_us <= end)
            back = sum(refund.amount for refund in refunds if begin <= refund.at_us <= end)
            worst = max(worst, used - back - most - rate_per_s * (end - begin) / 1e6)
    return worst

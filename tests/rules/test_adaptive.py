"""Finding a hidden rate limit: exact steps, and simulations of a whole provider over hours of its time."""

import heapq
import itertools
import math
import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.adaptive import DECREASE, RateController, RateStatistics
from genops_helicone_async._rules.buckets import Bucket


def limited(controller: RateController, start_s: float, seconds: int) -> float:
    """The rate after so many seconds with an accepted call each and others waiting."""
    for second in range(1, seconds + 1):
        controller.observe_accepted(start_s + second, is_limited=True)
    return controller.rate_per_s


def test_it_starts_at_the_ceiling_or_where_it_is_told() -> None:
    """Without a start nothing limits but the ceiling; a start above the ceiling is the ceiling."""
    assert RateController(0.0).rate_per_s == math.inf
    assert RateController(0.0, ceiling_per_s=5.0).rate_per_s == 5.0
    assert RateController(0.0, start_per_s=2.0, ceiling_per_s=5.0).rate_per_s == 2.0
    assert RateController(0.0, start_per_s=9.0, ceiling_per_s=5.0).rate_per_s == 5.0


def test_the_search_doubles_each_second_or_each_four_calls() -> None:
    """Fast limits are found in seconds, slow ones without a burst of refusals."""
    assert limited(RateController(0.0, start_per_s=8.0), 0.0, 3) == 64.0
    assert limited(RateController(0.0, start_per_s=0.5), 0.0, 1) == pytest.approx(0.5 * 2 ** (1 / 8))


def test_time_without_waiting_calls_raises_nothing() -> None:
    """Who sends less than the rate allows learns nothing about the limit."""
    controller = RateController(0.0, start_per_s=8.0)
    for second in range(100):
        controller.observe_accepted(float(second), is_limited=False)
    assert controller.rate_per_s == 8.0


def test_a_long_gap_counts_as_a_short_one() -> None:
    """After a pause of an hour the rate goes on from where it was: 1 s and five calls' time at most are counted."""
    controller = RateController(0.0, start_per_s=10.0)
    controller.observe_accepted(3600.0, is_limited=True)
    assert controller.rate_per_s == pytest.approx(10.0 * 2**1.5)


def test_a_refusal_in_the_search_halves_the_rate() -> None:
    """The rate has doubled just before: the limit is somewhere between."""
    controller = RateController(0.0, start_per_s=8.0)
    assert controller.observe_throttled(1.0, 1.1) is True
    assert controller.statistics() == RateStatistics(
        rate_per_s=4.0, refused_at_per_s=8.0, ceiling_per_s=math.inf, decreases=1
    )


def test_calls_already_under_way_lower_nothing_again() -> None:
    """A hundred refusals of one round are one piece of news."""
    controller = RateController(0.0, start_per_s=8.0)
    controller.observe_throttled(1.0, 1.1)
    assert [controller.observe_throttled(1.0 + i / 1000, 1.2) for i in range(101)] == [False] * 101
    assert controller.rate_per_s == 4.0


def test_the_curve_comes_back_fast_and_stays_near_the_last_refusal() -> None:
    """Half of the way back in 6 s of 30, at the refused rate after 30 s, 0.01 % above it 3 s later."""
    controller = RateController(0.0, start_per_s=20.0)
    controller.observe_throttled(0.5, 1.0)  # 10 per second, refused at 20
    controller.observe_accepted(1.0, is_limited=False)
    rates = [limited(controller, 1.0 + step, 1) for step in range(33)]
    assert rates[5] == pytest.approx(20 * (1 - 0.5 * 0.8**3))
    assert rates[14] == pytest.approx(20 * (1 - 0.5 * 0.5**3))
    assert rates[29] == pytest.approx(20.0)
    assert rates[32] == pytest.approx(20 * (1 + 0.1 * 0.1**3))


def test_a_refusal_on_the_curve_takes_a_tenth() -> None:
    """Near the last refused rate the limit is known well."""
    controller = RateController(0.0, start_per_s=20.0)
    controller.observe_throttled(0.5, 1.0)
    before = limited(controller, 1.0, 25)
    controller.observe_throttled(26.0, 26.1)
    assert controller.rate_per_s == pytest.approx(before * DECREASE)


def test_early_refusals_take_more_and_the_third_starts_the_search_again() -> None:
    """A limit that has fallen is reached in a few rounds; from wherever that ends the rate doubles again."""
    controller = RateController(0.0, start_per_s=100.0)
    rates = []
    for second in range(1, 7):
        controller.observe_throttled(second - 0.5, float(second))
        rates.append(controller.rate_per_s)
    assert rates == pytest.approx([50.0, 35.0, 24.5, 17.15, 8.575, 6.0025])
    controller = RateController(0.0, start_per_s=100.0)
    for second in range(1, 5):
        controller.observe_throttled(second - 0.5, float(second))
    controller.observe_accepted(4.0, is_limited=False)
    assert limited(controller, 4.0, 1) == pytest.approx(2 * 17.15)


def test_it_never_falls_below_three_calls_a_minute() -> None:
    """A provider that refuses everything for a while is still asked now and then."""
    controller = RateController(0.0, start_per_s=1.0)
    for second in range(1, 100):
        controller.observe_throttled(second - 0.5, float(second))
    assert controller.rate_per_s == 0.05


def test_a_first_refusal_without_a_rate_starts_from_what_was_answered() -> None:
    """Unlimited so far, the search goes on from the throughput of the last seconds, or from one call a second."""
    unanswered = RateController(0.0)
    unanswered.observe_throttled(0.0, 0.1)
    assert unanswered.rate_per_s == 1.0
    answered = RateController(0.0)
    for call in range(2000):
        answered.observe_accepted(call / 100, is_limited=False)
    answered.observe_throttled(21.9, 22.0)  # two seconds of silence leave 1/e of what was measured
    assert answered.rate_per_s == pytest.approx(100.0 / math.e, rel=0.02)
    answered.observe_accepted(22.0, is_limited=False)
    assert limited(answered, 22.0, 1) == pytest.approx(200.0 / math.e, rel=0.02)


def test_a_told_limit_is_taken_at_its_word() -> None:
    """Before any refusal the rate is the told limit at once; after one it is only the ceiling."""
    controller = RateController(0.0, start_per_s=1.0, ceiling_per_s=50.0)
    controller.observe_limit(20.0)
    assert (controller.rate_per_s, controller.ceiling_per_s) == (20.0, 20.0)
    controller.observe_limit(100.0)
    assert (controller.rate_per_s, controller.ceiling_per_s) == (50.0, 50.0)
    controller.observe_throttled(1.0, 1.1)
    controller.observe_limit(100.0)
    assert controller.rate_per_s == 25.0
    controller.observe_limit(10.0)
    assert controller.rate_per_s == 10.0
    for senseless in (0.0, -1.0, math.nan):
        controller.observe_limit(senseless)
    assert controller.ceiling_per_s == 10.0


def test_configuring_keeps_what_was_learned() -> None:
    """A new ceiling lowers the rate at once, and raises it at once only if no call was ever refused."""
    controller = RateController(0.0, ceiling_per_s=10.0)
    controller.configure(20.0)
    assert controller.rate_per_s == 20.0
    controller.observe_throttled(1.0, 1.1)
    controller.configure(30.0)
    assert controller.rate_per_s == 10.0
    controller.configure(5.0)
    assert controller.rate_per_s == 5.0
    assert repr(controller) == "RateController(5/s of at most 5/s, 1 decreases)"


@pytest.mark.parametrize("rate, burst", [(0.5, 1.0), (50.0, 1.0), (100.0, 2.0), (1000.0, 20.0)])
def test_the_burst_makes_up_for_a_late_timer_only(rate: float, burst: float) -> None:
    """Twenty milliseconds' worth of calls, one at least: an unknown limit may have no burst at all."""
    assert RateController(0.0, start_per_s=rate).burst == burst


STEPS = st.lists(
    st.tuples(st.floats(0.0, 100.0), st.sampled_from(["limited", "idle", "refused", "told"]), st.floats(0.01, 1e4)),
    max_size=60,
)


@given(start=st.none() | st.floats(0.1, 1e3), ceiling=st.just(math.inf) | st.floats(0.01, 1e4), steps=STEPS)
def test_the_rate_stays_between_its_bounds(
    start: float | None, ceiling: float, steps: list[tuple[float, str, float]]
) -> None:
    """Whatever happens in whatever order, it is above 0, never above the ceiling, and a refusal never raises it."""
    controller, now_s = RateController(0.0, start_per_s=start, ceiling_per_s=ceiling), 0.0
    for passed_s, event, number in steps:
        now_s += passed_s
        before = controller.rate_per_s
        if event == "refused":
            controller.observe_throttled(now_s, now_s)
            assert controller.rate_per_s <= before
        elif event == "told":
            controller.observe_limit(number)
        else:
            controller.observe_accepted(now_s, is_limited=event == "limited")
            assert controller.rate_per_s >= before or controller.rate_per_s == controller.ceiling_per_s
        assert 0 < controller.rate_per_s <= controller.ceiling_per_s


class Measured(NamedTuple):
    """Share of the hidden limit that was used, share of calls that were refused."""

    used: float
    refused: float


class Simulation:
    """A client with more to send than a hidden token bucket allows; seeded, in its own time."""

    def __init__(self, per_minute: float, burst: float, seed: int, start_per_s: float | None, wait: str) -> None:
        self.random = random.Random(seed)
        self.demand_per_s = 2 * per_minute / 60
        self.hidden = Bucket(burst, per_minute / 60, 0.0)
        self.controller = RateController(0.0, start_per_s=start_per_s)
        self.own = Bucket(1e9, 1e9, 0.0)
        self.paused_until_s = 0.0
        self.wait = wait
        self.events: list[tuple[float, int, str, Any]] = []
        self.waiting = self.number = self.sent = self.accepted = self.refused = 0
        self.has_timer = self.is_down = False
        self.follow(0.0)
        self.at(0.0, "arrive")

    def at(self, time_s: float, kind: str, value: Any = None) -> None:
        self.number += 1
        heapq.heappush(self.events, (time_s, self.number, kind, value))

    def run(self, until_s: float) -> None:
        while self.events[0][0] <= until_s:
            now_s, _, kind, value = heapq.heappop(self.events)
            getattr(self, kind)(now_s, value)

    def measure(self, from_s: float, until_s: float) -> Measured:
        self.run(from_s)
        sent, accepted, refused = self.sent, self.accepted, self.refused
        self.run(until_s)
        possible = self.hidden.rate_per_s * (until_s - from_s)
        return Measured((self.accepted - accepted) / possible, (self.refused - refused) / max(1, self.sent - sent))

    def arrive(self, now_s: float, _: object) -> None:
        self.waiting = min(self.waiting + 1, 1000)
        self.at(now_s + self.random.expovariate(self.demand_per_s), "arrive")
        self.send(now_s)

    def timer(self, now_s: float, _: object) -> None:
        self.has_timer = False
        self.send(now_s)

    def send(self, now_s: float) -> None:
        if 0.0 < self.paused_until_s <= now_s:  # the other side's bucket was empty: no burst follows a pause
            self.own.settle(0.0, max(0.0, self.own.level(now_s)), now_s)
            self.paused_until_s = 0.0
        while self.waiting and not self.has_timer:
            if now_s < self.paused_until_s or not self.own.take(1.0, now_s):
                self.has_timer = True
                self.at(max(self.paused_until_s, now_s + self.own.ready_in_s(1.0, now_s)), "timer")
                return
            self.waiting -= 1
            self.sent += 1
            if not self.is_down and self.hidden.take(1.0, now_s):
                self.accepted += 1
                self.at(now_s + self.random.uniform(0.3, 3.0), "answer", self.waiting > 0)
            else:
                self.refused += 1
                self.at(now_s + self.random.uniform(0.04, 0.12), "refusal", now_s)

    def answer(self, now_s: float, is_limited: bool) -> None:
        self.controller.observe_accepted(now_s, is_limited=is_limited)
        self.follow(now_s)
        self.send(now_s)

    def refusal(self, now_s: float, started_s: float) -> None:
        self.waiting += 1
        self.controller.observe_throttled(started_s, now_s)
        self.follow(now_s)
        if self.wait == "whole seconds":
            wait_s = math.ceil(self.hidden.ready_in_s(1.0, now_s))
            self.paused_until_s = max(self.paused_until_s, now_s + wait_s)
        self.send(now_s)

    def follow(self, now_s: float) -> None:
        if math.isfinite(self.controller.rate_per_s):
            self.own.set_limit(self.controller.burst, self.controller.rate_per_s, now_s)


@pytest.mark.parametrize("wait", ["not told", "whole seconds"])
@pytest.mark.parametrize("burst", [1, 5, 50])
@pytest.mark.parametrize("per_minute, start_per_s", [(30, 1.0), (60, 100.0), (600, None), (3000, 1.0), (6000, 100.0)])
def test_a_hidden_limit_is_found_and_used(per_minute: int, start_per_s: float | None, burst: int, wait: str) -> None:
    """From far below, far above or no rate at all: in steady state 90 % of it is used and 3 % are refused at most."""
    simulation = Simulation(per_minute, burst, seed=per_minute + burst, start_per_s=start_per_s, wait=wait)
    calls_s = 60 / per_minute
    warm_s = max(60.0, 300 * calls_s)
    measured = simulation.measure(warm_s, warm_s + max(150.0, 600 * calls_s))
    assert measured.used >= 0.9
    assert measured.refused < 0.03


def test_a_limit_that_falls_is_followed_down() -> None:
    """From 20 a second to 4: within a minute the refusals are rare again."""
    simulation = Simulation(1200, 10, seed=7, start_per_s=None, wait="not told")
    simulation.run(120.0)
    simulation.hidden.set_rate(4.0, 120.0)
    assert simulation.measure(120.0, 180.0).refused < 0.15
    measured = simulation.measure(180.0, 480.0)
    assert measured.used >= 0.9
    assert measured.refused < 0.03


def test_a_limit_that_rises_is_followed_up() -> None:
    """From 4 a second to 20: within two minutes of waiting calls the new one is used."""
    simulation = Simulation(240, 10, seed=7, start_per_s=None, wait="not told")
    simulation.run(120.0)
    simulation.hidden.set_rate(20.0, 120.0)
    simulation.demand_per_s = 40.0
    simulation.run(240.0)
    measured = simulation.measure(240.0, 540.0)
    assert measured.used >= 0.9
    assert measured.refused < 0.03


def test_it_recovers_from_a_minute_of_refusals() -> None:
    """A provider that refused everything for a minute is used again within four minutes more, not within hours."""
    simulation = Simulation(1200, 10, seed=7, start_per_s=None, wait="not told")
    simulation.run(120.0)
    simulation.is_down = True
    simulation.run(180.0)
    assert simulation.controller.rate_per_s < 0.1
    simulation.is_down = False
    simulation.run(420.0)
    assert simulation.measure(420.0, 720.0).used >= 0.9


@pytest.mark.parametrize("pause_s, back_s", [(0.0, 30), (1.0, 30), (3.0, 60), (20.0, 400), (60.0, 600)])
def test_the_longer_the_pause_asked_for_the_later_the_limit_is_tried_again(pause_s: float, back_s: int) -> None:
    """The way back to the rate of a refusal takes twenty pauses, so that a twentieth of the time is lost in them."""
    controller = RateController(0.0, start_per_s=100.0)
    assert controller.observe_throttled(1.0, 1.0, pause_s=pause_s)
    refused_at = 100.0
    for second in range(2, back_s):
        controller.observe_accepted(float(second), is_limited=True)
        assert controller.rate_per_s < refused_at
    for second in range(back_s, back_s + 4):
        controller.observe_accepted(float(second), is_limited=True)
    assert controller.rate_per_s >= refused_at


@given(gaps_s=st.lists(st.floats(-0.1, 3.0), max_size=50), refused=st.integers(0, 3))
def test_calls_counted_together_count_as_one_by_one(gaps_s: list[float], refused: int) -> None:
    """The rate that the next refusal starts from is the same, and so is whether it is believed."""
    together, one_by_one = RateController(0.0), RateController(0.0)
    moments_s = list(itertools.accumulate(gaps_s, initial=1.0))
    for number in range(refused):
        for controller in (together, one_by_one):
            controller.observe_throttled(0.1 * number, 0.1 * number + 0.05)
            controller.configure(math.inf)
    together.observe_free(moments_s)
    for moment_s in moments_s:
        one_by_one.observe_accepted(moment_s, is_limited=False)
    for controller in (together, one_by_one):
        controller.observe_throttled(moments_s[-1] + 1.0, moments_s[-1] + 1.1)
    assert together.statistics() == one_by_one.statistics()
    assert all(getattr(together, name) == getattr(one_by_one, name) for name in RateController.__slots__)

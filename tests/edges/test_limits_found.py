"""What is known of one provider's own limits, in its own time: pauses, evidence, the pace, and forgetting it."""

import heapq
import math
import random

import pytest

from genops_helicone_async._edges.limits.found import FORGET_S, LONGEST_PAUSE_S, FoundLimits
from genops_helicone_async._rules.rate_limits import RateLimits


def refused(found: FoundLimits, times: int, now_s: float, retry_after_s: float | None = None) -> None:
    """So many refusals of calls that were sent just before."""
    for _ in range(times):
        found.refused("model", now_s - 0.01, now_s, retry_after_s)


def test_two_refusals_are_an_accident_and_three_of_few_a_limit() -> None:
    """While the rate is free. Then nothing goes for a quarter of a second, and calls are paced after that."""
    found = FoundLimits(RateLimits(), 0.0)
    refused(found, 2, 1.0)
    assert (found.is_unlimited, found.wait_s("model", 0.0, 1.0), found.rate()) == (True, 0.0, None)
    refused(found, 1, 1.0)
    assert found.wait_s("model", 0.0, 1.0) == 0.25
    assert found.paced_s(1.2) == 0.0
    assert found.wait_s("model", 0.0, 1.25) == 0.0
    found.take("model", 0.0, 1.25)
    assert found.wait_s("model", 0.0, 1.25) > 0
    rate = found.rate()
    assert rate is not None
    assert (rate.decreases, found.throttled) == (1, 3)


def test_three_refusals_of_many_calls_are_accidents() -> None:
    """A fifth of the last calls at least, those under way included."""
    found = FoundLimits(RateLimits(), 0.0)
    for call in range(30):
        found.accepted(call / 100, was_paced=False)
    refused(found, 6, 1.0)
    assert found.wait_s("model", 0.0, 1.0) == 0.0
    found.in_flight = 1000
    refused(found, 20, 1.0)
    assert found.wait_s("model", 0.0, 1.0) == 0.0
    found.in_flight = 0
    refused(found, 1, 1.0)
    assert found.wait_s("model", 0.0, 1.0) == 0.25


@pytest.mark.parametrize("asked_s, kept_s", [(2.0, 2.0), (0.0, 0.0), (-1.0, 0.0), (1e9, LONGEST_PAUSE_S)])
def test_a_pause_is_kept_to_but_for_five_minutes_at_most(asked_s: float, kept_s: float) -> None:
    """Also without `adaptive`: the provider has asked for it."""
    for adaptive in (True, False):
        found = FoundLimits(RateLimits(adaptive=adaptive), 0.0)
        refused(found, 1, 10.0, asked_s)
        assert found.paused_s(10.0) == kept_s
        assert found.wait_s("model", 0.0, 10.0) == kept_s
        assert found.wait_s("model", 0.0, 10.0 + kept_s) == 0.0


def test_without_adaptive_nothing_is_learned_and_what_was_is_forgotten() -> None:
    """Also while the first rate is about to be taken."""
    for moment_s in (1.1, 2.0):
        found = FoundLimits(RateLimits(), 0.0)
        refused(found, 3, 1.0)
        found.paced_s(moment_s)
        found.configure(RateLimits(adaptive=False))
        assert found.paced_s(5.0) == 0.0
        refused(found, 50, 5.0)
        found.heard("model", {"x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-requests": "0",
                              "x-ratelimit-reset-requests": "9s"}, 5.0, alone=True)  # fmt: skip
        assert found.wait_s("model", 0.0, 5.0) == 0.0
        assert found.told() == {}


def test_a_rate_is_forgotten_when_nothing_was_refused_and_nobody_waited_for_long() -> None:
    """The next rush of calls goes at once, until refusals show a limit again."""
    found = FoundLimits(RateLimits(), 0.0)
    refused(found, 3, 1.0)
    assert found.wait_s("model", 0.0, 1.25) == 0.0
    found.take("model", 0.0, 1.25)
    later_s = 1.0 + FORGET_S
    while found.wait_s("model", 0.0, later_s) == 0.0:
        found.take("model", 0.0, later_s)
    assert found.wait_s("model", 0.0, later_s) > 0
    assert found.wait_s("model", 0.0, later_s + 0.01) == 0.0
    assert found.rate() is None
    for _ in range(1000):
        found.take("model", 0.0, later_s + 0.01)
        assert found.wait_s("model", 0.0, later_s + 0.01) == 0.0


def test_headers_are_looked_at_twenty_times_a_second() -> None:
    """They are mirrored for their own model only; others go on."""
    found = FoundLimits(RateLimits(), 0.0)

    def heard(left: int, now_s: float) -> None:
        found.heard("model", {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": str(left),
                              "x-ratelimit-reset-requests": "30s"}, now_s, alone=False)  # fmt: skip

    heard(5, 1.0)
    heard(0, 1.04)
    assert found.wait_s("model", 0.0, 1.04) == 0.0
    heard(0, 1.05)
    assert found.wait_s("model", 0.0, 1.05) == pytest.approx(30.0)
    assert found.wait_s("other", 0.0, 1.05) == 0.0
    assert [each.left for each in found.told()["model"]] == [0.0]


def test_a_refusal_that_a_told_limit_explains_is_no_news() -> None:
    """Nothing is left until it resets: there is no hidden limit to be found."""
    found = FoundLimits(RateLimits(), 0.0)
    found.heard("model", {"x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-requests": "0",
                          "x-ratelimit-reset-requests": "9s"}, 1.0, alone=True)  # fmt: skip
    refused(found, 50, 1.0)
    assert (found.throttled, found.rate()) == (50, None)


def test_names_of_models_do_not_fill_memory() -> None:
    """A caller that makes up names for each call keeps a few hundred mirrors at most."""
    found = FoundLimits(RateLimits(), 0.0)
    headers = {"x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-requests": "1"}
    for number in range(1000):
        found.heard(f"model-{number}", headers, float(number), alone=True)
    assert len(found.told()) <= 256


class Provider:
    """A provider with a hidden token bucket, or one that refuses by chance, and a client with as much as may go."""

    def __init__(
        self, rate_per_s: float, burst: float, *, in_flight: int, chance: float = 0.0, seed: int = 1,
        takes_s: tuple[float, float] = (0.1, 0.1),
    ) -> None:  # fmt: skip
        self.takes_s = takes_s
        self.rate_per_s, self.burst, self.in_flight, self.chance = rate_per_s, burst, in_flight, chance
        self.level, self.seen_s = burst, 0.0
        self.random = random.Random(seed)
        self.found = FoundLimits(RateLimits(), 0.0)
        self.ok_s: list[float] = []
        self.refused_s: list[float] = []

    def take(self, now_s: float) -> bool:
        """Whether a call that arrives now is let through."""
        self.level = min(self.burst, self.level + (now_s - self.seen_s) * self.rate_per_s)
        self.seen_s = now_s
        if self.random.random() < self.chance or self.level < 1:
            return False
        self.level -= 1
        return True

    def run(self, until_s: float = math.inf, calls: float = math.inf, *, retry_after_s: float = 0.0) -> float:
        """Sends for so long, or until so many were answered; when it ended."""
        found, now_s, number, under_way, wait_s = self.found, 0.0, 0, 0, 0.0
        events: list[tuple[float, int, str, float]] = []
        while now_s < until_s and len(self.ok_s) < calls:
            wait_s = found.wait_s("model", 0.0, now_s)
            while wait_s == 0 and under_way < self.in_flight:
                now_s += 1e-6  # no two calls are sent at one moment
                found.take("model", 0.0, now_s)
                under_way, number = under_way + 1, number + 1
                found.in_flight = under_way
                heapq.heappush(events, (now_s + 0.005, number, "arrives", now_s))
                wait_s = found.wait_s("model", 0.0, now_s)
            timer_s = now_s + wait_s if under_way < self.in_flight else math.inf
            now_s = max(now_s, min(timer_s, events[0][0] if events else math.inf)) + 1e-9
            while events and events[0][0] <= now_s:
                at_s, which, what, sent_s = heapq.heappop(events)
                if what == "arrives":
                    let = self.take(at_s)
                    heapq.heappush(
                        events,
                        (
                            at_s + (self.random.uniform(*self.takes_s) if let else 0.005),
                            which,
                            "ok" if let else "no",
                            sent_s,
                        ),
                    )
                    continue
                under_way -= 1
                found.in_flight = under_way
                if what == "ok":
                    self.ok_s.append(now_s)
                    found.accepted(now_s, was_paced=found.paced_s(now_s) > 0 or found._pace is not None)
                else:
                    self.refused_s.append(now_s)
                    found.refused("model", sent_s, now_s, retry_after_s)
        return now_s

    def measured(self, from_s: float, until_s: float) -> tuple[float, float]:
        """Share of the limit that was used, and of the calls that were refused."""
        ok = sum(from_s <= moment_s < until_s for moment_s in self.ok_s)
        no = sum(from_s <= moment_s < until_s for moment_s in self.refused_s)
        return ok / (self.rate_per_s * (until_s - from_s)), no / max(1, ok + no)


@pytest.mark.parametrize("retry_after_s", [0.0, 1.0])
@pytest.mark.parametrize("rate_per_s, burst", [(5, 5), (20, 5), (20, 20), (50, 50), (200, 50), (200, 200), (1000, 100)])
def test_a_hidden_limit_is_used_and_hardly_anything_refused(
    rate_per_s: float, burst: float, retry_after_s: float
) -> None:
    """200 calls in flight: once it is found, nine tenths of it are used and fewer than 3 % refused."""
    provider = Provider(rate_per_s, burst, in_flight=200)
    provider.run(90.0, retry_after_s=retry_after_s)
    used, refused_share = provider.measured(30.0, 90.0)
    assert used >= 0.9
    assert refused_share < 0.03


@pytest.mark.parametrize("retry_after_s", [0.0, 0.3])
@pytest.mark.parametrize("chance", [0.02, 0.05, 0.1, 0.15])
def test_refusals_that_have_nothing_to_do_with_the_rate_do_not_slow_it_down(
    chance: float, retry_after_s: float
) -> None:
    """Sent without any limit or nearly so: the pauses asked for are all that costs."""
    provider = Provider(1e9, 1e9, in_flight=50, chance=chance)
    provider.run(20.0, retry_after_s=retry_after_s)
    per_s = sum(moment_s >= 5.0 for moment_s in provider.ok_s) / 15.0
    assert per_s > (400 if not retry_after_s else 100)


@pytest.mark.parametrize(
    "rate_per_s, burst, in_flight", [(3.3, 10, 64), (7, 21, 200), (9.8, 29.3, 64), (21.2, 63.5, 64)]
)
def test_pauses_that_keep_refusals_few_are_no_accidents(rate_per_s: float, burst: float, in_flight: int) -> None:
    """A small limit, slow answers, a second's pause after each refusal: no lower rate seems to help, until one does."""
    provider = Provider(rate_per_s, burst, in_flight=in_flight, takes_s=(0.3, 3.0))
    provider.run(90.0, retry_after_s=1.0)
    used, refused_share = provider.measured(30.0, 90.0)
    assert used >= 0.9
    assert refused_share < 0.05


@pytest.mark.parametrize("retry_after_s", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("rate_per_s, burst, in_flight", [(20, 5, 3), (100, 20, 12)])
def test_few_calls_at_a_time_find_a_limit_that_asks_for_pauses(
    rate_per_s: float, burst: float, in_flight: int, retry_after_s: float
) -> None:
    """Each pause fills the limit up again, so that few are refused; that they come regularly gives the limit away."""
    provider = Provider(rate_per_s, burst, in_flight=in_flight, takes_s=(0.05, 0.05))
    provider.run(200.0, retry_after_s=retry_after_s)
    used, refused_share = provider.measured(60.0, 200.0)
    assert used >= 0.85
    assert refused_share < 0.03


@pytest.mark.parametrize("seed", range(6))
def test_what_is_counted_later_counts_as_it_would_have_at_once(seed: int) -> None:
    """Accepted calls are counted in when a refusal asks for them: the evidence is that of counting one by one."""
    found, draw, now_s = FoundLimits(RateLimits(), 0.0), random.Random(seed), 0.0
    accepted = refusals = 0.0
    for _ in range(3000):
        now_s += draw.choice((0.0, 0.001, 0.3, 5.0))
        if draw.random() < 0.98:
            found.accepted(now_s, was_paced=False)
            accepted += 1
            if accepted + refusals > 64:
                accepted, refusals = accepted / 2, refusals / 2
        else:
            refused(found, 1, now_s)
            refusals += 1
            assert (found._accepted, found._refused, found.is_unlimited) == (accepted, refusals, True)

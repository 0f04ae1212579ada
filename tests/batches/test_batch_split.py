"""The split over live calls and batches: whatever the batches do, the deadline is met if live calls can meet it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async._rules.batch_split import OpenBatch, SplitTerms, slack_s, split

TERMS = SplitTerms(cancel_s=600.0, step_s=10.0, margin_s=60.0)


class Day:
    """A simulated job: batches that end when they like, cancelling that takes its time, live calls at a rate."""

    def __init__(
        self, sizes: list[int], ends_s: list[float], cancel_s: list[float], rate: float, left_s: float
    ) -> None:
        self.waiting = sum(sizes)
        self.sizes, self.ends_s, self.cancel_s = sizes, ends_s, cancel_s
        self.rate, self.left_s = rate, left_s
        self.live = self.live_total = self.cancelling_total = 0
        self.running: dict[int, int] = {}
        self.leaving: dict[int, tuple[float, int]] = {}
        self.now_s = 0.0
        self.credit = 0.0
        self.first_live_s = math.inf

    def run(self) -> float:
        """Seconds until every row is done."""
        while self.waiting or self.live or self.running or self.leaving:
            if self.now_s > 3 * 86_400:
                return math.inf
            self.decide()
            self.step()
        return self.now_s

    def decide(self) -> None:
        batches = [OpenBatch(number=number, rows=rows) for number, rows in self.running.items()]
        decided = split(
            self.left_s - self.now_s, waiting=self.waiting, live=self.live,
            cancelling=sum(rows for _, rows in self.leaving.values()), batches=batches, rate=self.rate, terms=TERMS,
        )  # fmt: skip
        self.send(decided.live)
        self.waiting -= decided.live
        for number in decided.cancel:
            self.leaving[number] = (self.now_s + self.cancel_s[number], self.running.pop(number))
        number = len(self.running) + len(self.leaving)
        while self.waiting:
            rows = min(self.waiting, self.sizes[number]) if number < len(self.sizes) else self.waiting
            self.running[number] = rows
            self.waiting -= rows
            number += 1

    def send(self, rows: int) -> None:
        if rows:
            self.first_live_s = min(self.first_live_s, self.now_s)
        self.live += rows
        self.live_total += rows

    def step(self) -> None:
        self.now_s += TERMS.step_s
        self.credit += self.rate * TERMS.step_s
        done = min(self.live, int(self.credit))
        self.live -= done
        self.credit = self.credit - done if self.live else 0.0
        for number in [each for each in self.running if self.ends_s[each] <= self.now_s]:
            del self.running[number]
        for number, (back_s, rows) in tuple(self.leaving.items()):
            if back_s <= self.now_s:
                del self.leaving[number]
                self.send(rows)


sizes = st.lists(st.integers(1, 2_000), min_size=1, max_size=6)
rates = st.floats(2, 200)


@settings(max_examples=40)
@given(sizes, st.data(), rates, st.floats(1.0, 30.0))
def test_deadline_is_met_whenever_live_calls_could_have_met_it(
    rows: list[int], data: st.DataObject, rate: float, spare: float
) -> None:
    """Batches that never end, end late, or are cancelled slowly: all rows are done in time."""
    count = len(rows)
    ends_s = data.draw(st.lists(st.one_of(st.just(math.inf), st.floats(0, 8_000)), min_size=count, max_size=count))
    cancel_s = data.draw(st.lists(st.floats(0, TERMS.cancel_s), min_size=count, max_size=count))
    left_s = sum(rows) / rate + TERMS.reserve_s + spare
    day = Day(rows, ends_s, cancel_s, rate, left_s)
    assert day.run() <= left_s


@settings(max_examples=40)
@given(sizes, rates, st.floats(1000, 10_000))
def test_nothing_is_sent_live_as_long_as_there_is_time(rows: list[int], rate: float, left_s: float) -> None:
    """Batches that are done before live calls would have to begin answer all rows: none is paid in full."""
    begin_s = slack_s(left_s, sum(rows), rate, TERMS)
    day = Day(rows, [begin_s - 2 * TERMS.step_s] * len(rows), [0.0] * len(rows), rate, left_s)
    day.run()
    if begin_s > 4 * TERMS.step_s:
        assert day.live_total == 0
    elif begin_s <= 0:
        assert day.first_live_s == 0


@settings(max_examples=40)
@given(sizes, rates, st.floats(1.0, 1000.0))
def test_live_calls_begin_no_sooner_than_they_must(rows: list[int], rate: float, spare: float) -> None:
    """The first batch is cancelled when the slack is used up, to the step."""
    left_s = sum(rows) / rate + TERMS.reserve_s + spare
    day = Day(rows, [math.inf] * len(rows), [0.0] * len(rows), rate, left_s)
    day.run()
    assert spare - 1e-6 <= day.first_live_s <= spare + 2 * TERMS.step_s + 1e-6


def test_only_as_many_batches_are_cancelled_as_live_calls_can_use() -> None:
    """The batch with the most still to do goes first; those that live calls would not come to yet are left alone."""
    batches = [OpenBatch(number=1, rows=10), OpenBatch(number=2, rows=700), OpenBatch(number=3, rows=300)]
    decided = split(1500, waiting=0, live=0, cancelling=0, batches=batches, rate=1.0, terms=TERMS)
    assert decided.cancel == (2,)
    later = split(1500, waiting=0, live=0, cancelling=700, batches=[batches[0], batches[2]], rate=1.0, terms=TERMS)
    assert later.cancel == ()


@pytest.mark.parametrize(
    ("left_s", "waiting", "live"),
    [(86_400, 1000, 0), (1000, 1000, 620), (600, 1000, 1000)],
    ids=["a day", "too little for all live", "too little for a batch to be rescued"],
)
def test_waiting_rows_go_where_the_time_left_says(left_s: float, waiting: int, live: int) -> None:
    """With time for all they go into batches, with less live calls are fed first, with hardly any all go live."""
    decided = split(left_s, waiting=waiting, live=0, cancelling=0, batches=[], rate=1.0, terms=TERMS)
    assert decided.live == live


def test_rows_on_their_way_back_count() -> None:
    """What is being cancelled will need live calls, too: a row that comes now does not go into another batch."""
    assert split(1500, waiting=10, live=0, cancelling=1000, batches=[], rate=1.0, terms=TERMS).live == 10


def test_no_rate_means_no_slack() -> None:
    """Where live calls answer nothing, no time is enough."""
    assert slack_s(86_400, 1, 0.0, TERMS) == -math.inf
    assert slack_s(86_400, 0, 0.0, TERMS) == 86_400 - TERMS.reserve_s

"""How targets are doing: exact circuits, averages that forget, quantiles within their error, laws over any story."""

import math
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.circuit import Circuit, CircuitPolicy, OutcomeWindow
from genops_helicone_async._rules.decaying import STEP, DecayingMean, DecayingQuantile
from genops_helicone_async._rules.health import HealthBoard, HealthStatistics, Key

KEY = ("openai", "gpt-4o")
OTHER = ("groq", "llama")


def opened(at_s: float = 100.0, **policy: Any) -> Circuit:
    """A circuit that five failures have just opened."""
    circuit = Circuit(CircuitPolicy(**policy))
    for _ in range(5):
        circuit.observe_failure(at_s, at_s)
    return circuit


def test_five_failures_in_a_row_open_the_circuit() -> None:
    """The fifth does; a success in between starts the count again."""
    circuit = Circuit(CircuitPolicy())
    for moment in (1.0, 2.0, 3.0, 4.0):
        circuit.observe_failure(moment, moment)
    circuit.observe_success(5.0, 5.0)
    for moment in (6.0, 7.0, 8.0, 9.0):
        circuit.observe_failure(moment, moment)
    assert circuit.state(9.0) == "closed"
    circuit.observe_failure(10.0, 10.0)
    assert (circuit.state(10.0), circuit.opened) == ("open", 1)
    assert repr(circuit) == "Circuit(open, 0 failures in a row, opened 1 times)"


def test_failures_far_apart_are_not_in_a_row() -> None:
    """One each two minutes says nothing about now."""
    circuit = Circuit(CircuitPolicy())
    for moment in range(0, 2400, 120):
        circuit.observe_failure(moment, moment)
    assert circuit.state(2400.0) == "closed"


def test_half_of_twenty_calls_open_the_circuit() -> None:
    """Mixed with successes the share decides, once there are enough calls to speak of one."""
    circuit = Circuit(CircuitPolicy())
    for moment in range(19):
        (circuit.observe_failure if moment % 2 else circuit.observe_success)(moment, moment)
    assert circuit.state(19.0) == "closed"
    circuit.observe_failure(19.0, 19.0)
    assert circuit.state(19.0) == "open"


def test_an_open_circuit_lets_one_probe_through_when_its_time_is_over() -> None:
    """Two seconds of rest, then half open: one may ask, the next not, until the first has told."""
    circuit = opened()
    assert (circuit.is_usable(101.9), circuit.take_probe(101.9), circuit.state(101.9)) == (False, False, "open")
    assert (circuit.is_usable(102.0), circuit.state(102.0)) == (True, "half_open")
    assert (circuit.take_probe(102.0), circuit.take_probe(102.0), circuit.is_usable(102.0)) == (True, False, False)


def test_a_probe_that_succeeds_closes_the_circuit() -> None:
    """Everything passes again, the past errors are forgotten, and the next rest is short again."""
    circuit = opened()
    circuit.take_probe(102.0)
    circuit.observe_success(102.0, 102.5)
    assert (circuit.state(102.5), circuit.is_usable(102.5), circuit.window.error_rate(102.5)) == ("closed", True, 0.0)
    for _ in range(5):
        circuit.observe_failure(103.0, 103.0)
    assert circuit.wait_s(103.0, 1.0) == 2.0


def test_failed_probes_double_the_rest_up_to_a_minute() -> None:
    """2, 4, 8, … 60 seconds."""
    circuit, now_s, rests = opened(), 100.0, []
    for _ in range(7):
        rests.append(circuit.wait_s(now_s, 1.0))
        now_s += rests[-1]
        assert circuit.take_probe(now_s)
        circuit.observe_failure(now_s, now_s)
    assert rests == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_probe_that_told_nothing_makes_way_for_another() -> None:
    """Cancelled before an answer: the circuit stays half open and the next may probe at once."""
    circuit = opened()
    circuit.take_probe(102.0)
    circuit.end_probe()
    assert (circuit.state(102.0), circuit.take_probe(102.1), circuit.take_probe(102.1)) == ("half_open", True, False)


def test_a_lost_probe_is_given_up_after_a_minute() -> None:
    """Whoever took it and never reported blocks nobody for ever."""
    circuit = opened()
    circuit.take_probe(102.0)
    assert [circuit.take_probe(now_s) for now_s in (161.9, 162.0, 162.1)] == [False, True, False]


def test_calls_from_before_the_circuit_changed_change_nothing() -> None:
    """Late failures neither lengthen a rest nor open a circuit again; a late success does not close one."""
    circuit = opened()
    for _ in range(100):
        circuit.observe_failure(90.0, 101.0)
    circuit.observe_success(99.0, 101.5)
    assert (circuit.state(101.5), circuit.wait_s(101.5, 1.0)) == ("open", 0.5)
    circuit.take_probe(102.0)
    circuit.observe_failure(99.0, 102.2)
    assert circuit.state(102.2) == "half_open"
    circuit.observe_success(102.0, 103.0)
    for _ in range(100):
        circuit.observe_failure(99.0, 104.0)
    assert circuit.state(104.0) == "closed"


def test_a_call_that_began_after_the_opening_may_close_the_circuit() -> None:
    """It was admitted before, sent after, and answered: that is as good as a probe."""
    circuit = opened()
    circuit.observe_success(100.5, 101.0)
    assert circuit.state(101.0) == "closed"


def test_who_waits_for_a_probe_asks_when_it_should_be_over() -> None:
    """After the time it should take, then after as long again as it has taken, at most until it is given up."""
    circuit = opened()
    circuit.take_probe(102.0)
    assert [circuit.wait_s(102.0 + passed, 3.0) for passed in (0.0, 1.0, 3.0, 6.0, 50.0)] == [3.0, 2.0, 3.0, 6.0, 10.0]
    assert circuit.wait_s(170.0, 3.0) == 0.0


def test_the_window_forgets_after_a_minute() -> None:
    """Exact to a twelfth of it, and at once after a long silence."""
    window = OutcomeWindow(60.0)
    for moment in range(0, 60, 10):
        (window.failed if moment < 30 else window.succeeded)(moment)
    assert window.error_rate(59.9) == 0.5
    assert window.error_rate(75.0) == 0.25
    assert window.error_rate(79.9) == 0.25
    assert window.error_rate(80.0) == 0.0
    window.failed(1e6)
    assert (window.successes, window.failures, window.error_rate(1e6)) == (0, 1, 1.0)


@given(events=st.lists(st.tuples(st.floats(0.0, 40.0), st.booleans()), max_size=60))
def test_the_window_counts_what_is_in_it(events: list[tuple[float, bool]]) -> None:
    """Everything of the last 55 s is counted, nothing older than 60 s, whatever the gaps."""
    window, now_s, story = OutcomeWindow(60.0), 1000.0, []
    for passed_s, failed in events:
        now_s += passed_s
        (window.failed if failed else window.succeeded)(now_s)
        story.append((now_s, failed))
        for count, kind in ((window.failures, True), (window.successes, False)):
            least = sum(failed is kind and now_s - moment < 55.0 for moment, failed in story)
            most = sum(failed is kind and now_s - moment < 60.0 for moment, failed in story)
            assert least <= count <= most


def test_the_mean_begins_with_the_first_and_forgets_by_number() -> None:
    """At one moment each new one leaves four fifths of the weight to the old."""
    mean = DecayingMean()
    assert mean.value is None
    mean.add(10.0, 5.0)
    assert mean.value == 10.0
    mean.add(20.0, 5.0)
    assert mean.value == pytest.approx((10 * 0.8 + 20) / 1.8)
    assert repr(mean).startswith("DecayingMean(15.5")


def test_the_mean_forgets_by_time() -> None:
    """After half a minute without calls the next counts twice as much against the past."""
    mean = DecayingMean(half_life_s=30.0, keep=1.0)
    mean.add(10.0, 0.0)
    mean.add(20.0, 30.0)
    assert mean.value == pytest.approx((10 * 0.5 + 20) / 1.5)
    mean.add(20.0, 3000.0)
    assert mean.value == pytest.approx(20.0)


@given(values=st.lists(st.tuples(st.floats(0.001, 1e3), st.floats(0.0, 1e4)), min_size=1, max_size=50))
def test_the_mean_is_between_the_least_and_the_most(values: list[tuple[float, float]]) -> None:
    """Whatever the gaps, also with a clock that stands still."""
    mean, now_s = DecayingMean(), 0.0
    for value, passed_s in values:
        now_s += passed_s
        mean.add(value, now_s)
    assert mean.value is not None
    least, most = min(value for value, _ in values), max(value for value, _ in values)
    assert least * (1 - 1e-9) <= mean.value <= most * (1 + 1e-9)


def test_a_quantile_is_unknown_at_first() -> None:
    """With fewer than twenty observations the 95th percentile is no more than the largest."""
    quantile = DecayingQuantile()
    for _ in range(19):
        quantile.add(1.0, 0.0)
    assert quantile.value is None
    quantile.add(1.0, 0.0)
    assert quantile.value == pytest.approx(1.0, rel=0.025)


@given(
    times=st.lists(st.floats(0.0015, 1000.0), min_size=20, max_size=300),
    share=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_a_quantile_is_within_its_error(times: list[float], share: float) -> None:
    """At one moment it is within 2.5 % of one of the two values that the exact quantile lies between."""
    quantile = DecayingQuantile(share)
    for seconds in times:
        quantile.add(seconds, 7.0)
    at = share * len(times)
    ordered = sorted(times)
    exact = {ordered[min(len(times) - 1, max(0, place))] for place in (math.ceil(at - 1e-6) - 1, math.floor(at + 1e-6))}
    assert quantile.value is not None
    assert any(abs(math.log(quantile.value / value)) <= math.log(STEP) / 2 + 1e-9 for value in exact)


def test_a_quantile_follows_a_change() -> None:
    """Half an hour after the times have doubled nothing is left of the old ones, also over many years of running."""
    quantile, numbers = DecayingQuantile(), random.Random(1)
    for base_s in (0.0, 1e5, 1e8):
        for second in range(3600):
            slow = 2.0 if second >= 1800 else 1.0
            quantile.add(slow * numbers.uniform(0.5, 1.0), base_s + second)
            if second == 1799:
                assert quantile.value == pytest.approx(0.975, rel=0.04)
        assert quantile.value == pytest.approx(1.95, rel=0.04)
    assert repr(quantile).startswith("DecayingQuantile(0.95, ")


@given(steps=st.lists(st.tuples(st.floats(0.001, 1e3), st.sampled_from([0.0, 0.01, 5.0, 5e3])), max_size=150))
def test_how_often_somebody_asks_changes_nothing(steps: list[tuple[float, float]]) -> None:
    """What is counted in together, in larger lots than one, comes to the same numbers to the last bit."""
    means, quantiles, now_s = [DecayingMean(), DecayingMean()], [DecayingQuantile(), DecayingQuantile()], 1e6
    seconds, moments_s = [], []
    for each_s, passed_s in steps:
        now_s += passed_s
        seconds.append(each_s)
        moments_s.append(now_s)
        for each in (means[0], quantiles[0]):
            each.add(each_s, now_s)
        assert means[0].value is not None
    half = len(steps) // 3
    for one in (means[1], quantiles[1]):
        for some in (slice(half), slice(half, half + 1), slice(half + 1, None)):
            if seconds[some]:
                one.add_all(seconds[some], moments_s[some])
    assert (means[0].value, quantiles[0].value) == (means[1].value, quantiles[1].value)
    assert (quantiles[0]._total, quantiles[0]._cells) == (quantiles[1]._total, quantiles[1]._cells)


EVENTS = st.sampled_from(["answered"] * 8 + ["streamed", "failed", "failed", "failed late", "probe", "opening"])


@given(
    steps=st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 0.01, 1.0, 7.0, 5e3]), st.floats(0.001, 90.0)), max_size=300)
)
def test_a_target_that_nobody_looks_at_comes_to_the_same(steps: list[tuple[str, float, float]]) -> None:
    """Answers counted in together are to the last bit those counted one by one, circuits and their windows too."""
    watched, alone, now_s = HealthBoard(), HealthBoard(), 1000.0
    for event, passed_s, took_s in steps:
        now_s += passed_s
        for board in (watched, alone):
            if event == "answered":
                board.begin(KEY)
                board.end_answered(KEY, now_s, took_s)
            elif event == "streamed":
                board.observe_success(KEY, now_s, took_s, took_s / 2)
            elif event.startswith("failed"):
                board.observe_failure(KEY, now_s, now_s - took_s if event == "failed late" else None)
            elif event == "probe":
                board.take_probe(KEY, now_s)
            else:
                board.observe_opening(KEY, now_s)
        watched.statistics(now_s)
        assert watched.is_usable(KEY, now_s) is alone.is_usable(KEY, now_s)
    assert watched.statistics(now_s) == alone.statistics(now_s)
    assert watched.usual_s(KEY) == alone.usual_s(KEY)
    assert repr(watched._targets) == repr(alone._targets)


def test_answers_of_calls_from_before_a_circuit_closed_again_count_for_nothing() -> None:
    """Also where several answers are counted in together: of these two only the second speaks for the target."""
    board = HealthBoard()
    for _ in range(5):
        board.observe_failure(KEY, 100.0)
    assert board.take_probe(KEY, 102.0)
    board.end_answered(KEY, 103.0, 1.0)  # the probe
    assert board.is_closed(KEY)
    board.end_answered(KEY, 104.0, 3.0)
    board.end_answered(KEY, 105.0, 1.0)
    board.observe_failure(KEY, 106.0)
    assert board.of(KEY, 106.0).error_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize("seconds, told", [(0.0, 0.001), (1e-9, 0.001), (1e9, 1240.0)])
def test_times_beyond_the_scale_count_as_its_ends(seconds: float, told: float) -> None:
    """Nothing is too short or too long to be counted."""
    quantile = DecayingQuantile()
    for _ in range(20):
        quantile.add(seconds, 0.0)
    assert quantile.value == pytest.approx(told, rel=0.03)


def test_a_target_never_asked_is_assumed_well() -> None:
    """Nothing is known and everything allowed; looking makes no entry."""
    board = HealthBoard()
    assert board.of(KEY, 5.0) == HealthStatistics(provider="openai", model="gpt-4o")
    assert (board.is_usable(KEY, 5.0), board.is_closed(KEY), board.in_flight(KEY)) == (True, True, 0)
    assert (board.take_probe(KEY, 5.0), board.p95_latency_s(KEY), board.statistics(5.0)) == (False, None, ())
    board.end(KEY)
    board.observe_end(KEY)
    assert repr(board) == "HealthBoard(0 targets, 0 not closed)"


def test_the_board_tells_what_it_saw() -> None:
    """Averages, errors of the last minute, calls under way, and the time since the last outcome."""
    board = HealthBoard()
    board.begin(KEY)
    board.begin(KEY)
    board.observe_success(KEY, 10.0, 2.0, 0.25)
    board.end(KEY)
    board.observe_failure(KEY, 12.0, 11.0)
    assert board.of(KEY, 15.0) == HealthStatistics(
        provider="openai",
        model="gpt-4o",
        error_rate=0.5,
        latency_s=2.0,
        first_token_s=0.25,
        last_latency_s=2.0,
        idle_s=3.0,
        in_flight=1,
        successes=1,
        failures=1,
    )
    for _ in range(19):
        board.observe_success(KEY, 16.0, 2.0)
    assert board.p95_latency_s(KEY) == pytest.approx(2.0, rel=0.025)
    assert board.statistics(16.0)[0].p95_latency_s == board.p95_latency_s(KEY)


def test_the_board_keeps_circuits_apart() -> None:
    """One target rests, another goes on; a probe brings the first back."""
    board = HealthBoard()
    for _ in range(5):
        board.observe_failure(KEY, 100.0)
    board.observe_success(OTHER, 100.0, 0.1)
    assert [(board.is_usable(key, 101.0), board.is_closed(key)) for key in (KEY, OTHER)] == [
        (False, False),
        (True, True),
    ]
    assert repr(board) == "HealthBoard(2 targets, 1 not closed)"
    assert board.of(KEY, 101.0).circuit == "open"
    assert (board.take_probe(KEY, 102.0), board.take_probe(KEY, 102.0)) == (True, False)
    board.observe_end(KEY)
    assert board.take_probe(KEY, 102.0) is True
    board.observe_success(KEY, 102.4, 0.4)
    assert (board.is_closed(KEY), board.of(KEY, 102.4).opened) == (True, 1)


def test_the_earliest_recovery_of_several() -> None:
    """Now if one may be asked, else when the first one's rest is over; None of none."""
    board = HealthBoard()
    for key, moment in ((KEY, 100.0), (OTHER, 101.5)):
        for _ in range(5):
            board.observe_failure(key, moment)
    assert board.earliest_recovery_s([OTHER, KEY], 101.5) == 0.5
    assert board.earliest_recovery_s([OTHER], 101.5) == 2.0
    assert board.earliest_recovery_s([OTHER, ("xai", "grok")], 101.5) == 0.0
    assert board.earliest_recovery_s([], 101.5) is None
    board.take_probe(KEY, 102.0)
    assert board.earliest_recovery_s([KEY], 102.0) == 1.0


@pytest.mark.parametrize("begin", [HealthBoard.begin, HealthBoard.begin_closed])
def test_the_board_is_capped(begin: Callable[[HealthBoard, Key], object]) -> None:
    """Beyond the cap the target not asked for longest is forgotten, and its late ends do no harm."""
    board = HealthBoard(most=2)
    for name in ("a", "b", "b", "a", "c"):
        begin(board, (name, "m"))
        if name == "b":
            board.end((name, "m"))
    assert [(each.provider, each.in_flight) for each in board.statistics(0.0)] == [("a", 2), ("c", 1)]
    board.end(("b", "m"))
    board.observe_success(("d", "m"), 1.0, 0.1)
    board.end(("d", "m"))
    assert [each.provider for each in board.statistics(0.0)] == ["c", "d"]
    for name in ("c", "d", "d"):
        begin(board, (name, "m"))
    board.observe_success(("e", "m"), 1.0, 0.1)
    begin(board, ("d", "m"))
    assert [each.provider for each in board.statistics(0.0)] == ["e", "d"]


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 30.0),
        st.sampled_from(["ok", "fail", "probe", "end", "late ok", "late fail"]),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_any_story_keeps_the_circuits_laws(steps: list[tuple[float, str]]) -> None:
    """One probe at a time, no rest over a minute, always usable again at last, and closed after a success of now."""
    circuit, now_s = Circuit(CircuitPolicy()), 1000.0
    for passed_s, event in steps:
        now_s += passed_s
        wait_s = circuit.wait_s(now_s, 1.0)
        assert 0.0 <= wait_s <= 60.0
        assert circuit.is_usable(now_s) is (wait_s == 0.0)
        assert circuit.is_closed is (circuit.state(now_s) == "closed")
        if event == "probe":
            assert not (circuit.take_probe(now_s) and circuit.take_probe(now_s))
        elif event == "end":
            circuit.end_probe()
        elif event == "ok":
            circuit.observe_success(now_s, now_s)
            assert circuit.is_closed
        elif event == "fail":
            circuit.observe_failure(now_s, now_s)
        else:
            state = circuit.state(now_s)
            observe = circuit.observe_success if event == "late ok" else circuit.observe_failure
            observe(-1e9, now_s)
            assert circuit.state(now_s) == state or state == "closed"
    assert circuit.is_usable(now_s + 60.0)


def test_several_threads_share_a_board() -> None:
    """Nothing that one observes is lost to another, and each target is remembered once."""
    board, keys = HealthBoard(), [("openai", f"model-{number}") for number in range(8)]
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        for turn in range(500):
            key = keys[turn % 8]
            board.begin(key)
            board.end_answered(key, 1.0, 0.5)
            if turn % 5 == 0:
                board.statistics(1.0)

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual_s)
    told = board.statistics(1.0)
    assert sum(health.successes for health in told) == 4 * 500
    assert (sorted(health.model for health in told), repr(board)) == (
        [model for _, model in keys],
        "HealthBoard(8 targets, 0 not closed)",
    )


def test_the_first_content_of_a_stream_closes_a_circuit() -> None:
    """That of one which began before the circuit opened does not; how the stream ends is counted later."""
    circuit = opened()
    circuit.observe_opening(99.0)
    assert circuit.state(100.0) == "open"
    assert circuit.take_probe(102.0)
    circuit.observe_opening(102.0)
    assert (circuit.is_closed, circuit.window.successes) == (True, 0)


def test_a_probe_under_way_is_told_from_a_circuit_at_rest() -> None:
    """Of the one it is known when it ends, of the other not."""
    board = HealthBoard()
    assert not board.is_probed(KEY, 100.0)
    for _ in range(5):
        board.observe_failure(KEY, 100.0)
    assert not board.is_probed(KEY, 100.0)
    assert not board.is_probed(KEY, 102.0)
    assert board.take_probe(KEY, 102.0)
    assert board.is_probed(KEY, 102.0)
    board.observe_end(KEY)
    assert not board.is_probed(KEY, 102.0)


def test_how_long_answers_take() -> None:
    """The average at first, the time within which 95 % came once twenty are known; nothing before."""
    board = HealthBoard()
    assert board.usual_s(KEY) is None
    board.observe_failure(KEY, 1.0)
    assert board.usual_s(KEY) is None
    board.observe_success(KEY, 1.0, 0.5)
    assert board.usual_s(KEY) == 0.5
    for _ in range(30):
        board.observe_success(KEY, 1.0, 2.0)
    assert board.usual_s(KEY) == pytest.approx(2.0, rel=0.025)

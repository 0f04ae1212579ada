"""The order in which candidates are asked: exact for each strategy, and always a permutation."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genops_helicone_async import RoutingError
from genops_helicone_async._rules.health import HealthBoard, HealthStatistics
from genops_helicone_async._rules.strategies import STRATEGIES, Option, RankContext, Ranked, rank

NAMES = ("openai", "anthropic", "groq", "mistral", "xai")


def options(*costs: int | None) -> list[Option]:
    """Candidates with these expected costs in pico-dollars."""
    return [Option(index=i, provider=NAMES[i % 5], model="m", expected_pusd=cost) for i, cost in enumerate(costs)]


def healthy(*healths: HealthStatistics | None) -> list[Option]:
    """Candidates with these healths."""
    return [Option(index=i, provider=NAMES[i % 5], model="m", health=health) for i, health in enumerate(healths)]


def seen(latency_s: float | None = None, **facts: object) -> HealthStatistics:
    """The health of a target that was asked a second ago."""
    facts = {"idle_s": 1.0, "latency_s": latency_s} | facts
    return HealthStatistics(provider="p", model="m", **facts)  # type: ignore[arg-type]


def indices(ranked: list[Ranked]) -> list[int]:
    """Who stands where."""
    return [place.index for place in ranked]


UNSEEN = HealthStatistics(provider="p", model="m")
UNSEEN_BUSY = HealthStatistics(provider="p", model="m", in_flight=1)
OPEN = seen(0.1, circuit="open", is_usable=False)


def test_failover_keeps_the_order_given() -> None:
    """Whatever they cost, they are asked as they were named."""
    assert rank("failover", options(300, None, 100)) == [
        Ranked(index=0, score=0.0, reason="number 1 as given"),
        Ranked(index=1, score=1.0, reason="number 2 as given"),
        Ranked(index=2, score=2.0, reason="number 3 as given"),
    ]


def test_cost_optimized_asks_the_cheapest_first() -> None:
    """By expected cost, ties as given, those without a price last."""
    assert rank("cost_optimized", options(3_000_000, None, 1_000_000, 3_000_000, 0)) == [
        Ranked(index=4, score=0.0, reason="about $0.000000"),
        Ranked(index=2, score=1e-06, reason="about $0.000001"),
        Ranked(index=0, score=3e-06, reason="about $0.000003"),
        Ranked(index=3, score=3e-06, reason="about $0.000003"),
        Ranked(index=1, score=float("inf"), reason="no price is known"),
    ]


def test_round_robin_gives_each_its_turn() -> None:
    """The counter says whose turn it is; the others follow in the order given, from there on."""
    orders = [indices(rank("round_robin", options(1, 1, 1), RankContext(counter=count))) for count in range(4)]
    assert orders == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]
    assert rank("round_robin", options(1, 1), RankContext(counter=1)) == [
        Ranked(index=1, score=0.0, reason="its turn"),
        Ranked(index=0, score=1.0, reason="next in turn"),
    ]


def test_least_busy_counts_calls_in_flight() -> None:
    """Fewest first, ties as given; of whom nothing is known nothing is under way."""
    ranked = rank("least_busy", healthy(seen(in_flight=2), seen(in_flight=1), None, seen(in_flight=1)))
    assert indices(ranked) == [2, 1, 3, 0]
    assert ranked[1] == Ranked(index=1, score=1.0, reason="1 in flight")


def test_quality_optimized_asks_the_best_first() -> None:
    """By the table's scores, ties as given, models without a score last."""
    rows = [("openai", "gpt-4"), ("perplexity", "sonar"), ("anthropic", "claude-3-opus"), ("openai", "gpt-4-0613")]
    given_options = [Option(index=i, provider=provider, model=model) for i, (provider, model) in enumerate(rows)]
    assert rank("quality_optimized", given_options) == [
        Ranked(index=2, score=-1322.0, reason="quality 1322"),
        Ranked(index=0, score=-1275.0, reason="quality 1275"),
        Ranked(index=3, score=-1275.0, reason="quality 1275"),
        Ranked(index=1, score=math.inf, reason="no quality score is known"),
    ]
    own = RankContext(qualities={"perplexity/sonar": 2000.0, "gpt-4": 1999.5})
    assert indices(rank("quality_optimized", given_options, own)) == [1, 0, 2, 3]


@pytest.mark.parametrize(
    "number, order", [(0.0, [0, 1, 2]), (0.699, [0, 2, 1]), (0.701, [1, 0, 2]), (0.899, [1, 2, 0]), (0.999, [2, 1, 0])]
)
def test_weighted_draws_by_weight(number: float, order: list[int]) -> None:
    """One number draws the first, and what is left of it the next, and so on."""
    weighted = [
        Option(index=i, provider=NAMES[i], model="m", weight=weight) for i, weight in enumerate([0.7, 0.2, 0.1])
    ]
    ranked = rank("weighted", weighted, RankContext(random=number))
    assert indices(ranked) == order
    assert ranked[0].reason == f"drawn with {round(weighted[order[0]].weight * 100)}% of the weight"


def test_a_drawn_one_tells_its_share_of_those_left() -> None:
    """The first of all, the second of what remained, the last of itself."""
    weighted = [
        Option(index=i, provider=NAMES[i], model="m", weight=weight) for i, weight in enumerate([6.0, 3.0, 1.0])
    ]
    assert [place.reason for place in rank("weighted", weighted)] == [
        "drawn with 60% of the weight",
        "drawn with 75% of the weight",
        "drawn with 100% of the weight",
    ]


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_each_is_drawn_as_often_as_its_weight(weights: list[int]) -> None:
    """Over evenly spread numbers, firsts come in exact proportion."""
    weighted = [Option(index=i, provider=NAMES[i], model="m", weight=float(w)) for i, w in enumerate(weights)]
    total = sum(weights)
    draws = Counter(rank("weighted", weighted, RankContext(random=(i + 0.5) / total))[0].index for i in range(total))
    assert draws == dict(enumerate(weights))


def test_performance_optimized_asks_the_fastest_first() -> None:
    """By the moving average of the latency, ties as given."""
    assert rank("performance_optimized", healthy(seen(0.5), seen(0.0314, error_rate=0.0), seen(0.5))) == [
        Ranked(index=1, score=0.0314, reason="31 ms on average, 0% errors"),
        Ranked(index=0, score=0.5, reason="500 ms on average, 0% errors"),
        Ranked(index=2, score=0.5, reason="500 ms on average, 0% errors"),
    ]


def test_errors_count_as_the_time_of_repeats() -> None:
    """A provider that fails fast half of the time takes twice as long to an answer."""
    ranked = rank("performance_optimized", healthy(seen(0.3, error_rate=0.5), seen(0.5)))
    assert ranked == [
        Ranked(index=1, score=0.5, reason="500 ms on average, 0% errors"),
        Ranked(index=0, score=0.6, reason="300 ms on average, 50% errors"),
    ]


def test_a_probe_is_not_held_back_by_old_errors() -> None:
    """A target whose circuit is half open stands where its latency puts it: the probe finds out."""
    probe = seen(0.3, error_rate=1.0, circuit="half_open")
    assert indices(rank("performance_optimized", healthy(seen(0.5), probe))) == [1, 0]


def test_the_first_token_counts_where_all_have_streamed() -> None:
    """With three tenths by default; where one was never streamed the latency decides alone."""
    slow_start, fast_start = seen(1.0, first_token_s=0.9), seen(1.2, first_token_s=0.1)
    ranked = rank("performance_optimized", healthy(slow_start, fast_start))
    assert [(r.index, round(r.score, 9)) for r in ranked] == [(1, 0.87), (0, 0.97)]
    assert indices(rank("performance_optimized", healthy(slow_start, fast_start, seen(5.0)))) == [0, 1, 2]
    no_share = RankContext(first_token_share=0.0)
    assert indices(rank("performance_optimized", healthy(slow_start, fast_start), no_share)) == [0, 1]


def test_an_unknown_candidate_leads_once() -> None:
    """While nothing is under way to it; then it waits behind the known for its answer."""
    ranked = rank("performance_optimized", healthy(seen(0.5), UNSEEN, None))
    assert ranked[:2] == [
        Ranked(index=1, score=0.0, reason="not asked yet"),
        Ranked(index=0, score=0.5, reason="500 ms on average, 0% errors"),
    ]
    assert indices(rank("performance_optimized", healthy(seen(0.5), UNSEEN_BUSY, UNSEEN_BUSY))) == [0, 1, 2]


def test_a_burst_at_the_start_is_spread() -> None:
    """When nobody has answered yet, whoever has the fewest calls under way is next."""
    board, firsts = HealthBoard(), []
    for _ in range(7):
        ranked = rank("performance_optimized", healthy(*(board.of((name, "m"), 0.0) for name in NAMES[:3])))
        firsts.append(ranked[0].index)
        board.begin((NAMES[ranked[0].index], "m"))
    assert firsts == [0, 1, 2, 0, 1, 2, 0]


def test_one_that_only_failed_goes_behind_the_known() -> None:
    """It was seen and never answered: it does not lead again by being unknown."""
    ranked = rank("performance_optimized", healthy(seen(None, failures=1), seen(9.0)))
    assert ranked == [
        Ranked(index=1, score=9.0, reason="9000 ms on average, 0% errors"),
        Ranked(index=0, score=math.inf, reason="never answered"),
    ]


def test_some_calls_look_again_at_the_one_not_seen_for_longest() -> None:
    """With the top twentieth of the numbers; not at one that is being asked, nor behind an open circuit."""
    candidates = healthy(
        seen(0.1, idle_s=50.0),
        seen(0.5, idle_s=20.0),
        seen(0.7, idle_s=40.4),
        seen(0.2, idle_s=90.0, in_flight=1),
        seen(0.3, idle_s=99.0, circuit="open", is_usable=False),
    )
    assert indices(rank("performance_optimized", candidates, RankContext(random=0.949))) == [0, 3, 1, 2, 4]
    again = rank("performance_optimized", candidates, RankContext(random=0.95))
    assert again[0] == Ranked(index=2, score=0.0, reason="looked at again after 40 s")
    assert indices(again) == [2, 0, 3, 1, 4]
    never = RankContext(random=0.999, exploration=0.0)
    assert indices(rank("performance_optimized", candidates, never)) == [0, 3, 1, 2, 4]


def test_a_fast_last_answer_is_followed_up() -> None:
    """A fifth of the calls go to whom the last answer came faster from than the leader's average, errors counted."""
    candidates = healthy(
        seen(0.1, last_latency_s=0.3),
        seen(0.5, last_latency_s=0.08),
        seen(0.6, last_latency_s=0.05),
        seen(0.7, last_latency_s=0.04, error_rate=0.5),
        seen(0.8, last_latency_s=0.01, in_flight=1),
        seen(0.05, last_latency_s=0.01, circuit="open", is_usable=False),
    )
    assert indices(rank("performance_optimized", candidates, RankContext(random=0.749))) == [0, 1, 2, 4, 3, 5]
    followed = rank("performance_optimized", candidates, RankContext(random=0.75))
    assert followed[0] == Ranked(index=2, score=0.0, reason="its last answer took 50 ms")
    assert indices(followed) == [2, 0, 1, 4, 3, 5]
    slow = healthy(seen(0.1), seen(0.5, last_latency_s=0.1), UNSEEN_BUSY)
    assert indices(rank("performance_optimized", slow, RankContext(random=0.75))) == [0, 1, 2]
    assert indices(rank("performance_optimized", healthy(UNSEEN_BUSY), RankContext(random=0.75))) == [0]


@pytest.mark.parametrize(
    "before, after, best, calls",
    [((0.1, 0.4, 0.6), (1.0, 0.4, 0.6), 1, 5), ((0.1, 0.4, 0.6), (0.1, 0.4, 0.02), 2, 100)],
)
def test_a_change_of_speed_is_found(before: tuple[float, ...], after: tuple[float, ...], best: int, calls: int) -> None:
    """Nine of ten calls go to the fastest; one that slows down loses them at once, a faster one has them in 100."""
    board, numbers, led = HealthBoard(), random.Random(3), []
    for call in range(1000):
        latencies = before if call < 500 else after
        keys = [(name, "m") for name in NAMES[:3]]
        context = RankContext(random=numbers.random())
        first = rank("performance_optimized", healthy(*(board.of(key, call / 10) for key in keys)), context)[0].index
        board.begin(keys[first])
        board.observe_success(keys[first], call / 10, latencies[first] * numbers.lognormvariate(0, 0.3))
        board.end(keys[first])
        led.append(first)
    assert led[20:500].count(0) >= 0.9 * 480
    assert led[500 + calls :].count(best) >= 0.9 * (500 - calls)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_open_circuits_go_last(strategy: str) -> None:
    """Whatever the strategy, in its own order, and the reason says so."""
    candidates = healthy(OPEN, seen(0.5), OPEN, seen(0.6))
    ranked = rank(strategy, candidates)
    assert set(indices(ranked)[:2]) == {1, 3}
    assert [place.score for place in ranked[2:]] == [math.inf, math.inf]
    assert all(place.reason.startswith("circuit open, asked last; ") for place in ranked[2:])


def test_the_fallback_orders_those_behind_the_first() -> None:
    """Drawn by weight, then cheapest first, then the open circuits."""
    candidates = [
        Option(index=0, provider="openai", model="m", expected_pusd=9, weight=0.7),
        Option(index=1, provider="groq", model="m", expected_pusd=3, weight=0.1, health=OPEN),
        Option(index=2, provider="xai", model="m", expected_pusd=5, weight=0.1),
        Option(index=3, provider="mistral", model="m", expected_pusd=4, weight=0.1),
    ]
    assert indices(rank("weighted", candidates, RankContext(random=0.5), fallback="cost_optimized")) == [0, 3, 2, 1]
    assert rank("weighted", [], fallback="failover") == []


def test_an_unknown_strategy_is_named() -> None:
    """The error says what was asked for and what there is."""
    with pytest.raises(RoutingError, match=r"'fastest': this version has cost_optimized, failover"):
        rank("fastest", options(1))
    with pytest.raises(RoutingError, match="'fastest'"):
        rank("failover", options(1), fallback="fastest")


HEALTHS = st.none() | st.builds(
    HealthStatistics,
    provider=st.just("p"),
    model=st.just("m"),
    circuit=st.sampled_from(["closed", "open", "half_open"]),
    is_usable=st.booleans(),
    error_rate=st.floats(0.0, 1.0),
    latency_s=st.none() | st.floats(0.0, 1e3),
    first_token_s=st.none() | st.floats(0.0, 1e3),
    last_latency_s=st.none() | st.floats(0.0, 1e3),
    idle_s=st.none() | st.floats(0.0, 1e6),
    in_flight=st.integers(0, 3),
)
OPTIONS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 10**15),
        st.floats(1e-9, 1.0),
        st.sampled_from(["gpt-4o", "claude-3-opus", "mixtral-8x7b", "unheard-of"]),
        HEALTHS,
    ),
    max_size=6,
)


@settings(max_examples=250)
@given(
    strategy=st.sampled_from(sorted(STRATEGIES)),
    rows=OPTIONS,
    number=st.floats(0.0, 1.0, exclude_max=True),
    counter=st.integers(0, 10**9),
    fallback=st.none() | st.sampled_from(sorted(STRATEGIES)),
)
def test_every_strategy_returns_a_permutation(
    strategy: str,
    rows: list[tuple[int | None, float, str, HealthStatistics | None]],
    number: float,
    counter: int,
    fallback: str | None,
) -> None:
    """Nobody is left out, nobody is asked twice, the usable come first, and scores never fall."""
    candidates = [
        Option(index=i, provider=NAMES[i % 5], model=model, expected_pusd=cost, weight=weight, health=health)
        for i, (cost, weight, model, health) in enumerate(rows)
    ]
    ranked = rank(strategy, candidates, RankContext(random=number, counter=counter), fallback)
    assert sorted(indices(ranked)) == list(range(len(rows)))
    usable = [candidates[index].is_usable for index in indices(ranked)]
    assert usable == sorted(usable, reverse=True)
    assert all(place.reason for place in ranked)
    if fallback is None:
        scores = [place.score for place in ranked]
        assert scores == sorted(scores)

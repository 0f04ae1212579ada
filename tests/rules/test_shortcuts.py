"""Shortcuts of the usual call: they say what the long way says, and nothing that was put off is missing."""

import random
import threading
from typing import Any

import pytest

from genops_helicone_async._edges.limits import Gate, Slots
from genops_helicone_async._edges.limits.conditions import Conditions
from genops_helicone_async._edges.limits.found import MOST_UNREAD
from genops_helicone_async._flow.tally import Tally
from genops_helicone_async._rules.buckets import Bucket
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.metric_cells import MetricCells
from genops_helicone_async._rules.rate_limits import RateLimits
from genops_helicone_async._wire.openai_shape import decode_chat
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.errors import ConfigurationError

CALLS = 1_000


def row(number: int, **changed: Any) -> LedgerRow:
    """A row of an answered attempt."""
    given: dict[str, Any] = {
        "request_id": str(number), "at_s": 0.0, "provider": "openai", "model": "m", "status": "ok",
        "cost_pusd": number, "input_tokens": 3, "output_tokens": 4, "duration_ms": 10.0, "team": "t",
    }  # fmt: skip
    return LedgerRow(**{**given, **changed})


def test_a_bucket_takes_at_once_what_it_would_take() -> None:
    """Whatever comes before: where the short way takes, the long way does, and both are as full afterwards."""
    draw, now_s, taken = random.Random(1), 0.0, 0
    short, long = Bucket(10.0, 3.0, now_s), Bucket(10.0, 3.0, now_s)
    for _ in range(2_000):
        now_s += draw.choice((0.0, 0.1, 0.4, 9.0))
        amount = draw.choice((0.5, 1.0, 4.0, 12.0))
        if short.take_if_full_enough(amount, now_s):
            taken += 1
            assert long.take(amount, now_s)
        assert short.level(now_s) == long.level(now_s) <= 10.0
    assert 500 < taken < 2_000


def test_a_call_without_its_tokens_takes_no_request() -> None:
    """Five calls that find no tokens leave the two requests that are left for those that need none."""
    limits = RateLimits(requests_per_minute=60, burst=3, tokens_per_minute=6_000)
    conditions = Conditions("openai", limits, lambda: 1_000.0, None)
    assert conditions.begin_nowait("m", limits.token_burst)
    assert [conditions.begin_nowait("m", 500.0) for _ in range(5)] == [False] * 5
    assert [conditions.begin_nowait("m", 0.0) for _ in range(3)] == [True, True, False]
    assert (conditions.in_flight, conditions.entered) == (3, 3)


@pytest.mark.parametrize("used, there", [(0.0, 600.0), (100.0, 600.0), (250.0, 450.0)])
def test_tokens_are_settled_when_the_call_ends(used: float, there: float) -> None:
    """What a call used beyond its hundred is owed from then on, however full the bucket had become meanwhile."""
    now_s = [0.0]
    limits = RateLimits(tokens_per_minute=6_000)
    conditions = Conditions("openai", limits, lambda: now_s[0], None)
    assert conditions.begin_nowait("m", 100.0)
    now_s[0] = 60.0
    conditions.end("m", 100.0, used, unsent=False)
    bucket = conditions._tokens.bucket
    assert bucket is not None
    assert bucket.level(60.0) == there


@pytest.mark.parametrize("under_way, is_limit", [(0, True), (14, False)])
def test_calls_under_way_speak_against_a_hidden_limit(under_way: int, is_limit: bool) -> None:
    """Three refusals are one where nobody else is asking; of seventeen calls they are too few."""
    conditions = Conditions("openai", RateLimits(), lambda: 1_000.0, None)
    for _ in range(under_way + 3):
        assert conditions.begin_nowait("m", 1.0)
    for _ in range(3):
        conditions.end("m", 1.0, 0.0, unsent=False)
        conditions.refused("m", 1_000.0, None)
    assert (conditions.is_plain, conditions.may_go("m", 1.0)) == (not is_limit, not is_limit)


def test_a_gate_counts_accepted_calls_in_before_they_pile_up() -> None:
    """A thousand calls leave no more behind than some hundred do, and all are counted."""
    gate = Gate("openai", RateLimits(), Slots(1), lambda: 1_000.0)
    for _ in range(1_000):
        gate.accepted()
    found = gate._conditions.found
    assert len(found.unread_s) < MOST_UNREAD < 500
    found.catch_up()
    assert found._controller._accepted == 1_000.0


def test_attempts_that_were_put_off_are_counted_before_anybody_reads() -> None:
    """The same sums, histograms and waits as when each is counted at once."""
    at_once, later = MetricCells(), MetricCells()
    for number in range(CALLS):
        with at_once.lock:
            at_once.attempt("chat", row(number))
            at_once.waits_ms.of(("openai",)).add(number)
        later.later(row(number), float(number))
    told = [
        [
            (labels, line.requests, line.cost_pusd, line.duration_s.counts, line.input_usage.total)
            for labels, line in each
        ]
        for each in (at_once.lines(), later.lines())
    ]
    assert told[0] == told[1]
    assert [cell.take() for _, cell in later.waits_ms] == [cell.take() for _, cell in at_once.waits_ms] == [499.5]


def test_sums_put_off_by_several_threads_are_whole() -> None:
    """Every call of every thread is in the summary, whoever added up last."""
    tally = Tally()

    def add() -> None:
        for number in range(CALLS):
            tally.add([row(number)], failed=number % 2 == 0, cached=False)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = tally.summary()
    assert (told.request_count, told.error_count, told.input_tokens) == (4 * CALLS, 2 * CALLS, 12 * CALLS)
    assert told.cost_by_team == {"t": told.total_cost} == {"t": 4 * sum(range(CALLS)) / 1e12}


def test_labels_that_were_right_once_do_not_let_others_pass() -> None:
    """Neither a wrong one beside them, nor one that is no text."""
    ChatRequest(message="Hi", provider="openai", team="t", temperature=1, max_tokens=1)
    with pytest.raises(ConfigurationError, match="`team` is empty"):
        ChatRequest(message="Hi", provider="openai", team=" ")
    with pytest.raises(TypeError, match="`team` must be a string, not list"):
        ChatRequest(message="Hi", provider="openai", team=["t"])  # type: ignore[arg-type]
    for name in ("temperature", "max_tokens"):
        with pytest.raises(TypeError, match=f"`{name}` must be"):
            ChatRequest(message="Hi", provider="openai", team="t", **{name: True})


@pytest.mark.parametrize("content", ["", "Hi", "\ud800"])
def test_plain_messages_are_looked_at_like_any_other(content: str) -> None:
    """A text that is no text is refused, in a plain message and in one with a name."""
    for message in ({"role": "user", "content": content}, {"role": "user", "content": content, "name": "me"}):
        if content == "\ud800":
            with pytest.raises(ConfigurationError, match="unpaired surrogate"):
                ChatRequest(message=[message])
        else:
            assert ChatRequest(message=[message]).messages() == [message]
    with pytest.raises(ConfigurationError, match="has role 'poet'"):
        ChatRequest(message=[{"role": "poet", "content": content}])


@pytest.mark.parametrize("usage", [b"[1]", b'"many"', b'{"prompt_tokens": "three"}'])
def test_a_usage_that_makes_no_sense_loses_no_answer(usage: bytes) -> None:
    """The answer is there, without usage."""
    body = b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": ' + usage + b"}"
    reply = decode_chat(body, gateway=False, provider="openai")
    assert reply is not None
    assert (reply.content, reply.usage) == ("Hello", None)

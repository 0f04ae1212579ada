"""Outages through the whole pipeline: who waits, who probes, who goes elsewhere, and that a probe is never lost."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flow_parts import Rig
from several_parts import after, asked, playing, provider_of
from virtual_time import in_virtual_time, run_virtually

from genops_helicone_async import (
    AllProvidersFailedError,
    BudgetExceededError,
    DeadlineExceededError,
    HeliconeError,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async._rules.rate_limits import LimitPlan, RateLimits
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import (
    Hang,
    Step,
    chat_answer,
    error_answer,
    stream_answer,
)

KEY = ("openai", "gpt-4o-mini")
ONE, TWO = {"provider": "openai"}, {"providers": ["openai", "groq"]}


def now_s() -> float:
    """Seconds since the test began."""
    return asyncio.get_running_loop().time() - 1_000.0


def outage(until_s: float, answer_s: float = 0.0, *, of: str = "openai") -> ScriptedTransport:
    """One provider fails until then, and all answer after `answer_s` otherwise; `sent_s` has when each was asked."""

    def step(request: HttpRequest) -> Step:
        failing = provider_of(request) == of and now_s() < until_s
        made = error_answer(503) if failing else chat_answer(provider_of(request))
        return after(answer_s, made)("") if answer_s else made

    return ScriptedTransport(step)


def open_circuit(rig: Rig, key: tuple[str, str] = KEY) -> None:
    """Five failures in a row, just now: the circuit rests for two seconds."""
    for _ in range(5):
        rig.pipeline.health.observe_failure(key, asyncio.get_running_loop().time())


async def failing(call: Any) -> tuple[HeliconeError, float]:
    """The error a call ends with, and when."""
    with pytest.raises(HeliconeError) as caught:
        await call
    return caught.value, round(now_s(), 6)


def watched(step: Callable[[HttpRequest], Step]) -> tuple[ScriptedTransport, list[tuple[float, str]]]:
    """A transport, and when it was asked for whom."""
    log: list[tuple[float, str]] = []

    def logged(request: HttpRequest) -> Step:
        log.append((round(now_s(), 6), provider_of(request)))
        return step(request)

    return ScriptedTransport(logged), log


@in_virtual_time
async def test_all_wait_for_one_probe_and_go_on_together() -> None:
    """With nobody else to ask: probes after 2, 4 and 8 s more, one at a time, and all answered when one was."""

    def step(request: HttpRequest) -> Step:
        return after(0.5, error_answer(503) if now_s() < 10 else chat_answer())("")

    transport, log = watched(step)
    rig = Rig(transport, random=0.0, retry_attempts=9)
    open_circuit(rig)
    answers = await asyncio.gather(*(rig.chat(**ONE, timeout_seconds=60) for _ in range(200)))
    # 2 + 0.5 failed, 4 more: 6.5 + 0.5 failed, 8 more: 15.0 + 0.5 answered
    assert [at for at, _ in log[:3]] == [2.0, 6.5, 15.0]
    assert Counter(at for at, _ in log[3:]) == {15.5: 199}
    assert (len(answers), round(now_s(), 6), rig.quota.left) == (200, 16.0, 500)
    rig.assert_settled(calls=200)


@in_virtual_time
async def test_an_open_circuit_beyond_the_deadline_is_an_error_at_once() -> None:
    """Nothing is sent, and the error says when the next probe is due."""
    rig = Rig(outage(99))
    open_circuit(rig)
    error, at_s = await failing(rig.chat(**ONE, timeout_seconds=1.5))
    assert (type(error), error.code, error.retry_after_s, at_s) == (ProviderError, "circuit_open", 2.0, 0.0)
    assert (error.retry_safe, error.billed, error.attempts, error.provider) == (True, "no", (), "openai")
    assert "openai failed too often and rests; the next probe is due in 2.0 s" in str(error)
    assert asked(rig) == {}
    rig.assert_settled()


@in_virtual_time
async def test_when_all_rest_the_first_to_recover_is_waited_for() -> None:
    """It is the one whose probe is due first, whoever was named first."""
    rig = Rig(outage(0))
    open_circuit(rig, ("groq", "llama-3.1-8b-instant"))
    await asyncio.sleep(1)
    open_circuit(rig)
    response = await rig.chat(**TWO, timeout_seconds=10)
    assert (response.provider, round(now_s(), 6), asked(rig)) == ("groq", 2.0, {"groq": 1})
    rig.assert_settled()


@in_virtual_time
async def test_when_all_rest_beyond_the_deadline_the_error_names_them() -> None:
    """One error for all, at once, with the shortest wait."""
    rig = Rig(outage(0))
    open_circuit(rig, ("groq", "llama-3.1-8b-instant"))
    await asyncio.sleep(1)
    open_circuit(rig)
    error, at_s = await failing(rig.chat(**TWO, timeout_seconds=0.9))
    assert (type(error), error.code, error.retry_after_s, at_s) == (AllProvidersFailedError, "circuit_open", 1.0, 1.0)
    assert "openai and groq" in str(error) or "groq and openai" in str(error)


@in_virtual_time
async def test_a_probe_under_way_is_waited_for_up_to_the_deadline() -> None:
    """Nobody knows how long it takes: who has less time than it should take may still be served."""
    rig = Rig(playing(openai=[after(0.4), chat_answer(), chat_answer()]))
    for _ in range(30):
        rig.pipeline.health.observe_success(KEY, asyncio.get_running_loop().time(), 5.0)
    open_circuit(rig)
    await asyncio.sleep(2)
    probe = asyncio.create_task(rig.chat(**ONE))
    await asyncio.sleep(0.1)
    await rig.chat(**ONE, timeout_seconds=1)
    assert round(now_s(), 6) == 2.4
    await probe
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_a_probe_that_outlasts_the_deadline_ends_the_wait_there() -> None:
    """The call ends at its deadline, not when the probe does."""
    rig = Rig(playing(openai=after(9.0)))
    open_circuit(rig)
    await asyncio.sleep(2)
    probe = asyncio.create_task(rig.chat(**ONE))
    await asyncio.sleep(0.1)
    error, at_s = await failing(rig.chat(**ONE, timeout_seconds=0.7))
    assert (error.code, at_s) == ("circuit_open", 2.8)
    await probe
    rig.assert_settled(calls=2)


async def _cancelled(rig: Rig) -> None:
    probe = asyncio.create_task(rig.chat(**ONE))
    await asyncio.sleep(0.5)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe


async def _out_of_time(rig: Rig) -> None:
    with pytest.raises(DeadlineExceededError):
        await rig.chat(**ONE, timeout_seconds=0.5)


async def _refused_by_the_budget(rig: Rig) -> None:
    async def refuse(total_pusd: int) -> None:
        raise BudgetExceededError("no money")

    opened = rig.budget.open

    def poor(attribution: Any, *, enforce: bool | None) -> Any:
        hold = opened(attribution, enforce=enforce)
        hold.raise_to = refuse  # type: ignore[method-assign]
        return hold

    rig.budget.open = poor  # type: ignore[method-assign]
    with pytest.raises(BudgetExceededError):
        await rig.chat(**ONE)
    rig.budget.open = opened  # type: ignore[method-assign]
    await asyncio.sleep(0.5)


async def _waiting_in_the_limiter(rig: Rig) -> None:
    rig.limits.configure(LimitPlan(everyone=RateLimits(max_concurrency=1, adaptive=True)))
    gate = rig.limits.gate("openai")
    await gate.enter("gpt-4o-mini", 0.0, priority=0, tenant=None, deadline=asyncio.get_running_loop().time() + 9)
    with pytest.raises(DeadlineExceededError):
        await rig.chat(**ONE, timeout_seconds=0.5)
    gate.leave("gpt-4o-mini", 0.0, 0.0, unsent=True)


async def _a_bad_request(rig: Rig) -> None:
    with pytest.raises(ProviderError):
        await rig.chat(**ONE)
    await asyncio.sleep(0.5)


async def _an_abandoned_stream(rig: Rig) -> None:
    async with rig.stream(**ONE) as stream:
        await anext(stream)
    await asyncio.sleep(0.5)


async def _a_stream_cancelled_while_it_opens(rig: Rig) -> None:
    async def read() -> None:
        async with rig.stream(**ONE):
            pass

    probe = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe


FATES: dict[str, tuple[Callable[[Rig], Any], list[Step]]] = {
    "cancelled": (_cancelled, [Hang()]),
    "refused by a budget": (_refused_by_the_budget, []),
    "waiting in the limiter": (_waiting_in_the_limiter, []),
    "a bad request": (_a_bad_request, [error_answer(400)]),
    "an abandoned stream": (_an_abandoned_stream, [stream_answer("Hel", "lo")]),
    "a stream cancelled as it opens": (_a_stream_cancelled_while_it_opens, [Hang()]),
}


@pytest.mark.parametrize(("fate", "steps"), FATES.values(), ids=FATES.keys())
def test_whatever_becomes_of_a_probe_another_may_follow(fate: Callable[[Rig], Any], steps: list[Step]) -> None:
    """A probe that told nothing is over when it is over: the next call goes there at once and closes the circuit."""

    async def play() -> None:
        rig = Rig(ScriptedTransport([*steps, chat_answer()]))
        open_circuit(rig)
        await asyncio.sleep(2)
        await fate(rig)
        assert (await rig.chat(**ONE, timeout_seconds=1)).content == "Hello"
        assert round(now_s(), 6) == 2.5
        assert rig.pipeline.health.is_closed(KEY)

    run_virtually(play())


@in_virtual_time
async def test_a_probe_that_hangs_speaks_against_the_provider() -> None:
    """Its time is up: the circuit opens again, for twice as long."""
    rig = Rig(ScriptedTransport([Hang(), chat_answer()]))
    open_circuit(rig)
    await asyncio.sleep(2)
    await _out_of_time(rig)
    await rig.chat(**ONE, timeout_seconds=10)
    assert round(now_s(), 6) == 2.5 + 4.0


@in_virtual_time
async def test_the_first_content_of_a_stream_closes_the_circuit() -> None:
    """Who waits need not wait until a probe that is a long stream has ended."""
    rig = Rig(playing(openai=[after(0.5, stream_answer("Hel", "lo")), *[after(1.0)] * 3]))
    open_circuit(rig)
    await asyncio.sleep(2)

    async def wait_for_it() -> None:
        await asyncio.sleep(0.1)
        await rig.chat(**ONE)

    waiting = [asyncio.create_task(wait_for_it()) for _ in range(3)]
    async with rig.stream(**ONE) as stream:
        assert rig.pipeline.health.is_closed(KEY)
        await asyncio.gather(*waiting)
        assert round(now_s(), 6) == 3.5
        assert [chunk.content async for chunk in stream if chunk.content] == ["Hel", "lo"]
    rig.assert_settled(calls=4)


@in_virtual_time
async def test_calls_in_the_queue_of_a_provider_that_fails_go_elsewhere() -> None:
    """One at a time may go to the first; when its circuit opens, those that wait there move on at once."""
    rig = Rig(playing(openai=lambda _: after(1.0, error_answer(503))(""), groq=chat_answer()))
    limits = RateLimits(max_concurrency=1)
    rig.limits.configure(LimitPlan(per_provider={"openai": limits}))
    answers = await asyncio.gather(*(rig.chat(**TWO, timeout_seconds=60) for _ in range(100)))
    assert {answer.provider for answer in answers} == {"groq"}
    assert (asked(rig), round(now_s(), 6)) == ({"openai": 5, "groq": 100}, 5.0)
    assert Counter(len(answer.attempts) for answer in answers) == {2: 5, 1: 95}
    rig.assert_settled(calls=100)


@in_virtual_time
async def test_an_outage_with_five_hundred_in_flight_does_not_multiply_calls() -> None:
    """Of 2,000 calls, 500 are on their way when the first provider fails: fewer than 1.5 requests for each call."""
    rig = Rig(outage(1e9, 1.0), max_connections=500, random=0.5)
    answers = await asyncio.gather(*(rig.chat(**TWO, timeout_seconds=60) for _ in range(2000)))
    assert {answer.provider for answer in answers} == {"groq"}
    upstream = asked(rig)
    assert upstream["groq"] == 2000
    assert 500 <= upstream["openai"] < 510
    rig.assert_settled(calls=2000)


@in_virtual_time
async def test_while_one_is_paused_the_others_are_asked() -> None:
    """A Retry-After pauses that provider for every call, and only that provider."""
    limited = error_answer(429, headers={"Retry-After": "20"})
    rig = Rig(playing(openai=[limited, chat_answer()], groq=chat_answer()))
    answers = [await rig.chat(**TWO) for _ in range(3)]
    assert [[a.provider for a in answer.attempts] for answer in answers] == [["openai", "groq"], ["groq"], ["groq"]]
    await asyncio.sleep(20)
    assert (await rig.chat(**TWO)).provider == "openai"
    rig.assert_settled(calls=4)


@in_virtual_time
async def test_calls_in_the_queue_of_a_provider_that_is_paused_go_elsewhere() -> None:
    """One at a time may go to the first; when it asks for a pause, those that wait there do not wait for its end."""
    limited = error_answer(429, headers={"Retry-After": "20"})
    rig = Rig(playing(openai=lambda _: after(1.0, limited)(""), groq=chat_answer()))
    rig.limits.configure(LimitPlan(per_provider={"openai": RateLimits(max_concurrency=1)}))
    answers = await asyncio.gather(*(rig.chat(**TWO, timeout_seconds=60) for _ in range(100)))
    assert {answer.provider for answer in answers} == {"groq"}
    assert (asked(rig), round(now_s(), 6)) == ({"openai": 1, "groq": 100}, 1.0)
    rig.assert_settled(calls=100)
    assert repr(rig.pipeline.failover._queues) == "Queues(0 calls could go elsewhere)"


@in_virtual_time
async def test_who_has_nobody_else_keeps_its_place_through_a_pause() -> None:
    """Those with one provider wait for the end of the pause in the order in which they came."""
    order: list[int] = []
    limited = error_answer(429, headers={"Retry-After": "20"})
    rig = Rig(playing(openai=[after(1.0, limited), *[chat_answer()] * 4]))
    rig.limits.configure(LimitPlan(per_provider={"openai": RateLimits(max_concurrency=1)}))

    async def call(number: int) -> None:
        await rig.chat(**ONE, timeout_seconds=60)
        order.append(number)

    await asyncio.gather(*(call(number) for number in range(4)))
    assert (sorted(order), order[1:] if order[0] == 0 else order[:3], round(now_s(), 6)) == (
        [0, 1, 2, 3],
        [1, 2, 3],
        21.0,
    )
    rig.assert_settled(calls=4)


@in_virtual_time
async def test_when_all_are_paused_the_first_to_end_is_waited_for() -> None:
    """To the moment, if that is before the deadline, though it is more than a candidate's share of the time."""
    rig = Rig(
        playing(
            openai=[error_answer(429, headers={"Retry-After": "28"}), chat_answer()],
            groq=[error_answer(429, headers={"Retry-After": "25"}), chat_answer()],
        )
    )
    error, at_s = await failing(rig.chat(**TWO, timeout_seconds=20))
    assert (type(error), error.retry_after_s, at_s, error.throttled) == (AllProvidersFailedError, 25.0, 0.0, True)
    response = await rig.chat(**TWO, timeout_seconds=30)
    assert (response.provider, round(now_s(), 6), len(response.attempts)) == ("groq", 25.0, 1)
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_when_all_are_paused_beyond_the_deadline_it_is_an_error_at_once() -> None:
    """Nothing is sent, and the error says how long the pause is."""
    rig = Rig(playing(openai=error_answer(429, headers={"Retry-After": "20"})), retry_attempts=0)
    await failing(rig.chat(**ONE))
    error, at_s = await failing(rig.chat(**ONE, timeout_seconds=10))
    assert (type(error), error.code, error.retry_after_s, at_s) == (RateLimitExceededError, "paused", 20.0, 0.0)
    assert (error.attempts, error.billed, asked(rig)) == ((), "no", {"openai": 1})


@in_virtual_time
async def test_a_probe_due_before_a_pause_ends_is_waited_for_first() -> None:
    """One rests for two seconds, the other is paused for twenty: the probe comes first."""
    rig = Rig(playing(groq=[error_answer(429, headers={"Retry-After": "20"})]), retry_attempts=0)
    await failing(rig.chat(provider="groq"))
    open_circuit(rig)
    response = await rig.chat(**TWO, timeout_seconds=60)
    assert (response.provider, round(now_s(), 6)) == ("openai", 2.0)


@in_virtual_time
async def test_impatience_does_not_open_a_circuit() -> None:
    """Twenty callers with less time than answers take: the provider stays open to those who have it."""
    rig = Rig(playing(openai=after(1.0)))
    await rig.chat(**ONE)
    for _ in range(20):
        error, _ = await failing(rig.chat(**ONE, timeout_seconds=0.2))
        assert isinstance(error, DeadlineExceededError)
    assert rig.pipeline.health.is_closed(KEY)
    assert (await rig.chat(**ONE)).content == "openai"
    rig.assert_settled(calls=22)


@in_virtual_time
async def test_silence_opens_a_circuit() -> None:
    """Five callers who waited longer than answers take, in vain."""
    rig = Rig(playing(openai=[after(1.0), *[Hang()] * 5]))
    await rig.chat(**ONE)
    await asyncio.gather(*(failing(rig.chat(**ONE, timeout_seconds=2)) for _ in range(5)))
    assert not rig.pipeline.health.is_closed(KEY)


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_what_a_provider_refuses_does_not_open_its_circuit(status: int) -> None:
    """Who refuses is alive."""

    async def play() -> bool:
        rig = Rig(ScriptedTransport(lambda _: error_answer(status, headers={"retry-after-ms": "1"})), retry_attempts=0)
        for _ in range(20):
            await failing(rig.chat(**ONE))
            await asyncio.sleep(1)
        return rig.pipeline.health.is_closed(KEY)

    assert run_virtually(play())[0]


@in_virtual_time
async def test_a_repeat_goes_to_whoever_recovers() -> None:
    """Both have failed once; the one to be repeated has opened its circuit meanwhile, so the other is repeated."""
    rig = Rig(playing(openai=[error_answer(503)], groq=[error_answer(503), chat_answer()]), random=0.5)
    for _ in range(4):
        rig.pipeline.health.observe_failure(KEY, asyncio.get_running_loop().time())
    response = await rig.chat(**TWO, timeout_seconds=30)
    assert [attempt.provider for attempt in response.attempts] == ["openai", "groq", "groq"]
    assert round(now_s(), 6) == 0.25
    rig.assert_settled()


@in_virtual_time
async def test_a_wait_that_would_outlast_the_deadline_ends_with_the_providers_own_error() -> None:
    """The circuit opens by this very call: what the caller gets is why, with its cause."""
    rig = Rig(ScriptedTransport(lambda _: error_answer(503)), random=0.0)
    for _ in range(4):
        rig.pipeline.health.observe_failure(KEY, asyncio.get_running_loop().time())
    error, at_s = await failing(rig.chat(**ONE, timeout_seconds=1))
    assert (error.status_code, len(error.attempts), at_s) == (503, 1, 0.0)
    rig.assert_settled()


@pytest.mark.parametrize("strategy", ["exponential", "linear", "constant"])
def test_the_backoff_strategy_sets_the_waits(strategy: Any) -> None:
    """As configured, to the moment; a change holds for calls under way."""
    waits = {"exponential": [0.25, 0.5, 1.0], "linear": [0.5, 1.0, 1.5], "constant": [0.5, 0.5, 0.5]}[strategy]

    async def play() -> list[float]:
        rig = Rig(ScriptedTransport([*[error_answer(503)] * 3, chat_answer()]), random=0.5)
        rig.limits.configure(LimitPlan(backoff_strategy=strategy))
        response = await rig.chat(**ONE)
        started = [round(attempt.started_s, 6) for attempt in response.attempts]
        return [round(b - a, 6) for a, b in itertools.pairwise(started)]

    assert run_virtually(play())[0] == waits

"""A provider's gate when things change under it: other limits, cancellation anywhere, a store that fails or is slow."""

import asyncio
import itertools
import logging
from typing import Any, get_args

import pytest
from gate_parts import Rig, assert_within, turn
from stepping import Stepped, When
from virtual_time import in_virtual_time, run_virtually

from genops_helicone_async._edges.limits.conditions import Conditions
from genops_helicone_async._edges.limits.shared import SLICE_S, SharedRate
from genops_helicone_async._rules.buckets import Bucket
from genops_helicone_async.errors import LedgerError

ONE_PER_S: dict[str, Any] = {"requests_per_minute": 60.0, "burst": 1}
LIMITS: list[dict[str, Any]] = [
    {},
    ONE_PER_S,
    {"requests_per_minute": 6000.0, "burst": 7},
    {"tokens_per_minute": 600.0},
    {"tokens_per_minute": 60.0, "requests_per_minute": 120.0, "burst": 2},
    {"max_concurrency": 1},
    {"max_concurrency": 3, "requests_per_minute": 30.0, "burst": 1},
]


class Store:
    """What several processes share, in this one: a bucket per name; each answer takes `delay_s`."""

    def __init__(self, delay_s: float = 0.001) -> None:
        self.delay_s = delay_s
        self.is_away = False
        self.asked: list[tuple[str, float]] = []
        self.returned: list[tuple[str, float]] = []
        self._buckets: dict[str, Bucket] = {}

    async def reserve(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> float:
        """Reserves in order, as the script does."""
        await asyncio.sleep(self.delay_s)
        if self.is_away:
            raise LedgerError("the store is away")
        now_s = asyncio.get_running_loop().time()
        self.asked.append((name, amount))
        bucket = self._buckets.setdefault(name, Bucket(capacity, rate_per_s, now_s))
        bucket.set_limit(capacity, rate_per_s, now_s)
        bucket.settle(0.0, amount, now_s)
        return max(0.0, -bucket.level(now_s) / rate_per_s)

    def return_later(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> None:
        """Notes it."""
        self.returned.append((name, amount))


# other limits at run time


@pytest.mark.parametrize("before, after", list(itertools.permutations(LIMITS, 2)))
def test_other_limits_keep_the_order_of_who_waits(before: dict[str, Any], after: dict[str, Any]) -> None:
    """From any limit to any other, while they wait: all go on, in the order in which they came."""

    @in_virtual_time
    async def run() -> None:
        rig = Rig(**before)
        calls = rig.start(12, tokens=5.0, lasts_s=0.7)
        await asyncio.sleep(0.3)
        rig.configure(**after)
        await asyncio.sleep(0.3)
        rig.configure(**before)
        await asyncio.sleep(0.3)
        rig.configure(**after)
        await asyncio.gather(*calls)
        assert rig.names == [str(number) for number in range(12)]
        rig.assert_empty()

    run()


@in_virtual_time
async def test_another_rate_takes_over_what_is_left_of_the_burst() -> None:
    """Of 20 a third was left: so many go at once under the new rate, then evenly; None lets all go at once."""
    rig = Rig(requests_per_minute=60.0, burst=6)
    await asyncio.gather(*rig.start(4))
    rig.went.clear()
    rig.configure(requests_per_minute=600.0, burst=20)
    calls = rig.start(10)
    await asyncio.sleep(0.55)
    assert rig.moments_s == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-5)
    rig.configure()
    await asyncio.gather(*calls)
    assert rig.moments_s[7:] == [0.55] * 3
    rig.assert_empty()


@in_virtual_time
async def test_changing_the_rate_again_and_again_loses_nothing() -> None:
    """Every 50 ms another limit of about one a second: after ten seconds ten calls have gone on, not none."""
    rig = Rig(**ONE_PER_S)
    calls = rig.start(12)
    for number in range(201):
        rig.configure(requests_per_minute=60.0 + number % 2 * 1e-6, burst=1)
        await asyncio.sleep(0.05)
    assert len(rig.went) == 11
    assert_within(rig.moments_s, 1, 1.0)
    await asyncio.gather(*calls)
    rig.assert_empty()


# cancellation


def run_cancelled(limits: dict[str, Any], at: int, when: When) -> bool:
    """A call is cancelled at its `at`-th suspension, beside others; whether it came that far. Nothing may be left."""

    async def main() -> bool:
        rig = Rig(slots=2, **limits)
        stepped = Stepped(at, when)
        others = rig.start(3, tokens=5.0, lasts_s=0.4)
        await turn()

        async def cancelled() -> None:
            await stepped.run(rig.call("cancelled", 5.0, lasts_s=0.4))

        victim = rig.loop.create_task(cancelled())
        others += rig.start(3, "late", tokens=5.0, lasts_s=0.4)
        told = await asyncio.gather(victim, *others, return_exceptions=True)
        assert told[1:] == [None] * 6
        assert isinstance(told[0], asyncio.CancelledError) == stepped.struck
        await turn()
        rig.assert_empty()
        return stepped.struck

    return run_virtually(main())[0]


@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("limits", LIMITS)
def test_a_call_can_be_cancelled_at_every_await(limits: dict[str, Any], when: When) -> None:
    """Wherever it stands: the others go on, and no slot, permit, token or task is left."""
    struck = [run_cancelled(limits, at, when) for at in range(1, 6)]
    assert struck[0] is True
    assert struck[-1] is False


@pytest.mark.parametrize("after_s", [number * 0.05 for number in range(25)])
def test_everybody_can_be_cancelled_at_any_moment(after_s: float) -> None:
    """Whatever the pump waits for then: the limiter, a slot, the store; and the next call finds everything free."""

    @in_virtual_time
    async def run() -> None:
        for limits in LIMITS:
            rig = Rig(slots=2, store=Store(0.03), **limits)
            calls = rig.start(8, tokens=5.0, lasts_s=0.2)
            await asyncio.sleep(after_s)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await turn()
            rig.assert_empty()
            await rig.call("next", 5.0)

    run()


# the pump


class Counted(Conditions):
    """Conditions that count how often they are looked at."""

    __slots__ = ()
    looks = 0

    def held_s(self, model: str, tokens: float) -> float | None:
        """As it was."""
        Counted.looks += 1
        return super().held_s(model, tokens)


@in_virtual_time
async def test_the_pump_looks_about_once_a_call() -> None:
    """It sleeps while nobody may go: it never spins, whatever holds the calls."""
    for limits in LIMITS[1:]:
        rig = Rig(**limits)
        Counted.looks = 0
        rig.gate._conditions.__class__ = Counted
        await asyncio.gather(*rig.start(40, tokens=5.0, lasts_s=0.01))
        assert Counted.looks <= 40 * 5, limits
        rig.assert_empty()


@in_virtual_time
async def test_a_defect_in_the_pump_reaches_who_waits_and_the_next_call_starts_anew() -> None:
    """Nobody hangs, and it is not the end of the gate."""
    rig = Rig(store=Store(0.0), **ONE_PER_S)

    async def fail(*_: object, **__: object) -> float:
        raise ZeroDivisionError("a defect")

    store, rig.gate._conditions._requests._shared._store = rig.gate._conditions._requests._shared._store, None  # type: ignore[union-attr]
    rig.gate._conditions._requests._shared._store = type("Broken", (), {"reserve": fail})()  # type: ignore[union-attr]
    seen: list[Any] = []
    rig.loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    told = await asyncio.gather(*rig.start(3), return_exceptions=True)
    assert [type(each) for each in told] == [ZeroDivisionError] * 3
    rig.gate._conditions._requests._shared._store = store  # type: ignore[union-attr]
    await rig.call("next")
    rig.assert_empty()


# a store that several processes share


@in_virtual_time
async def test_two_gates_with_one_store_keep_to_one_limit() -> None:
    """600 a minute with a burst of 20: what both send together is never more."""
    store = Store()
    rigs = [Rig(store=store, requests_per_minute=600.0, burst=20) for _ in range(2)]
    await asyncio.gather(*(call for rig in rigs for call in rig.start(60, lasts_s=0.37)))
    moments_s = sorted(rigs[0].moments_s + rigs[1].moments_s)
    assert_within(moments_s, 20, 10.0)
    assert moments_s[-1] < 11.5
    assert all(len(rig.went) == 60 for rig in rigs)


@in_virtual_time
async def test_a_slice_is_reserved_once_however_often_the_pump_is_woken() -> None:
    """Calls that end wake it; it must not reserve another slice each time, while it waits for the first."""
    store = Store()
    rig = Rig(store=store, tokens_per_minute=6000.0)
    await asyncio.gather(*rig.start(60, tokens=10.0, lasts_s=0.0))
    calls = [rig.start(1, tokens=100.0)[0]]
    for _ in range(50):
        await rig.gate.enter("model", 0.0, priority=9, tenant=None, deadline=rig.loop.time() + 9)
        rig.leave()
        await asyncio.sleep(0.003)
    await asyncio.gather(*calls)
    assert sum(amount for _, amount in store.asked) <= 600 + 100 + 2 * 6000 / 60 * SLICE_S
    rig.assert_empty()


@in_virtual_time
async def test_without_the_store_each_keeps_to_its_own_limit_and_says_so_once() -> None:
    """Calls go on under the process's own limit; five seconds later the store is asked again."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log = logging.getLogger("genops_helicone_async.limits")
    log.addHandler(handler)
    try:
        store = Store()
        rig = Rig(store=store, requests_per_minute=600.0, burst=5)
        calls = rig.start(100)
        await asyncio.sleep(1.0)
        store.is_away, asked = True, len(store.asked)
        await asyncio.sleep(3.0)
        store.is_away = False
        assert len(store.asked) <= asked + 1
        await asyncio.gather(*calls)
        assert_within(rig.moments_s, 5, 10.0)
        assert rig.moments_s[-1] < 10.5
        assert len(store.asked) > asked + 30
        assert [record.getMessage() for record in records] == [
            "limits are kept by this process alone for 5 s: the store is away"
        ]
    finally:
        log.removeHandler(handler)
    rig.assert_empty()


@in_virtual_time
async def test_the_store_gets_back_what_was_not_used_and_hears_of_what_was_used_more() -> None:
    """A call that took fewer tokens returns them; one that took more is made up for by the next reservation."""
    store = Store()
    rig = Rig(store=store, tokens_per_minute=60_000.0)
    await rig.call(tokens=500.0, used=200.0, lasts_s=2.0)
    assert (store.asked, store.returned) == ([("openai:tokens", 500.0)], [("openai:tokens", 300.0)])
    await rig.call(tokens=500.0, used=900.0, lasts_s=2.0)
    await rig.call(tokens=500.0, used=500.0, lasts_s=2.0)
    assert [amount for _, amount in store.asked] == [500.0, 500.0, 900.0]
    assert len(store.returned) == 1
    await rig.call(tokens=100.0, used=140.0, lasts_s=2.0)
    calls = [
        rig.loop.create_task(rig.call(tokens=100.0, used=used, lasts_s=1.0 + used / 100)) for used in (150.0, 20.0)
    ]
    await asyncio.gather(*calls)  # 50 too many after the return of 80: nothing is returned that was used
    assert sum(amount for _, amount in store.returned) == 300.0 + 80.0


@in_virtual_time
async def test_a_shared_rate_of_less_than_a_call_a_slice() -> None:
    """It is reserved call by call, waits for its moment a second, and what was not used by then is lost."""
    store = Store(0.0)
    rate = SharedRate(store, "calls", 1.0, 1.0, asyncio.get_running_loop().time)
    assert await rate.reserve(1.0) == 0.0
    assert rate.has(1.0)
    assert await rate.reserve(1.0) == 0.0  # it is here already
    await asyncio.sleep(1.01)
    assert not rate.has(1.0)


@in_virtual_time
async def test_a_slice_that_is_still_to_come_is_not_reserved_again() -> None:
    """Whoever asks before its moment is told how long it still takes."""
    store = Store(0.0)
    rate = SharedRate(store, "calls", 1.0, 1.0, asyncio.get_running_loop().time)
    await store.reserve("calls", 3.0, capacity=1.0, rate_per_s=1.0)
    assert [await rate.reserve(1.0), await rate.reserve(1.0)] == [3.0, 3.0]
    assert len(store.asked) == 2

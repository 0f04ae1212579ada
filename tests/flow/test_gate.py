"""A provider's gate in virtual time: exact grants, order, concurrency, deadlines, pauses, and what it tells."""

import asyncio

import pytest
from gate_parts import Rig, assert_within, turn
from virtual_time import in_virtual_time

from genops_helicone_async._edges.limits import GateStatistics
from genops_helicone_async._edges.limits.found import LONGEST_PAUSE_S
from genops_helicone_async._rules.rate_limits import NO_LIMITS, RateLimits
from genops_helicone_async.errors import ConfigurationError, DeadlineExceededError, RateLimitExceededError

TEN_PER_S = {"requests_per_minute": 600.0, "burst": 20}


# requests a minute


@in_virtual_time
async def test_a_burst_goes_at_once_and_the_rest_evenly() -> None:
    """600 a minute with a burst of 20: 20 at once, then one each 0.1 s, in order."""
    rig = Rig(**TEN_PER_S)
    await asyncio.gather(*rig.start(60))
    assert rig.names == [str(number) for number in range(60)]
    assert rig.moments_s == pytest.approx([0.0] * 20 + [0.1 * number for number in range(1, 41)], abs=1e-5)
    rig.assert_empty()


@in_virtual_time
async def test_the_burst_comes_back_while_nobody_calls() -> None:
    """After half a second five more may go at once, after ten seconds twenty, never more."""
    rig = Rig(**TEN_PER_S)
    await asyncio.gather(*rig.start(20))
    for rest_s, at_once in [(0.5, 5), (10.0, 20), (3600.0, 20)]:
        await asyncio.sleep(rest_s)
        rig.went.clear()
        began_s = rig.now_s
        await asyncio.gather(*rig.start(21))
        assert sum(moment_s < began_s + 0.05 for moment_s in rig.moments_s) == at_once


@in_virtual_time
async def test_calls_that_were_cancelled_before_they_went_out_cost_nothing() -> None:
    """What they had taken is there for the next ones."""
    rig = Rig(requests_per_minute=1.0, burst=3)
    for _ in range(3):
        await rig.enter("unsent")
        rig.leave(unsent=True)
    rig.went.clear()
    calls = rig.start(4)
    await turn()
    assert rig.moments_s == [0.0] * 3
    await asyncio.gather(*calls)
    assert rig.moments_s[3] == pytest.approx(60.0, abs=1e-3)


@in_virtual_time
async def test_what_is_given_back_never_makes_a_larger_burst() -> None:
    """Twenty given back do not add to a burst that has come back by itself: nor a part of it."""
    rig = Rig(**TEN_PER_S)
    for rest_s in (10.0, 1.0, 0.55, 0.0):
        for _ in range(20):
            await rig.enter()
        for _ in range(20):
            rig.leave(unsent=True)
        await asyncio.sleep(rest_s)
        rig.went.clear()
        await asyncio.gather(*rig.start(60))
        assert_within(rig.moments_s, 20, 10.0)
        assert rig.moments_s[19] == pytest.approx(rig.moments_s[0], abs=1e-5)
        await asyncio.sleep(2.0)


@pytest.mark.parametrize("pause_s", [0.05, 0.99, 1.5, 30.0])
@pytest.mark.parametrize("burst", [1, 3])
def test_a_pause_does_not_add_the_call_that_was_about_to_go(pause_s: float, burst: int) -> None:
    """The provider asks for a pause while one waits for the rate: afterwards the limit holds as ever."""

    @in_virtual_time
    async def run() -> None:
        rig = Rig(requests_per_minute=60.0, burst=burst)
        calls = rig.start(burst + 8)
        await asyncio.sleep(0.7)
        rig.gate.refused("model", 0.0, 0.4)  # over 1.1 s, when the next call's turn at the limiter is over
        await asyncio.sleep(0.39)
        rig.gate.refused("model", 0.0, pause_s)
        await asyncio.gather(*calls)
        assert_within(rig.moments_s, burst, 1.0)
        assert rig.moments_s[burst] >= 1.0899 + pause_s
        rig.assert_empty()

    run()


# order


@in_virtual_time
async def test_higher_priorities_go_first_and_repeats_before_their_equals() -> None:
    """A repeat stands before its own priority and behind the next higher one, however late it comes."""
    rig = Rig(requests_per_minute=60.0, burst=1)
    calls = rig.start(1, "first")
    for name, options in {
        "low": {"priority": -1}, "low again": {"priority": -1, "again": True}, "usual": {},
        "again": {"again": True}, "high": {"priority": 1},
    }.items():  # fmt: skip
        calls.append(rig.loop.create_task(rig.call(name, **options)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*calls)
    assert rig.names == ["first0", "high", "again", "usual", "low again", "low"]


@in_virtual_time
async def test_a_small_tenant_beside_a_large_one_waits_for_one_call_each() -> None:
    """20 calls of one team behind 2,000 of another: they alternate, so they are through after 40."""
    rig = Rig(requests_per_minute=6000.0, burst=1)
    calls = rig.start(2000, "large", tenant=("large", None))
    await asyncio.sleep(0.005)
    calls += rig.start(20, "small", tenant=("small", None))
    await asyncio.gather(*calls)
    places = [place for place, name in enumerate(rig.names) if name.startswith("small")]
    assert places[-1] <= 41
    assert [name for name in rig.names if name.startswith("large")] == [f"large{number}" for number in range(2000)]
    rig.assert_empty()


# concurrency and slots


@in_virtual_time
async def test_so_many_at_once_and_no_more() -> None:
    """With three at once, ten calls of a second each take four seconds, in order."""
    rig = Rig(max_concurrency=3)
    await asyncio.gather(*rig.start(10, lasts_s=1.0))
    assert rig.moments_s == [0.0] * 3 + [1.0] * 3 + [2.0] * 3 + [3.0]
    rig.assert_empty()


@in_virtual_time
async def test_who_waits_for_the_rate_holds_no_slot() -> None:
    """A hundred calls wait for a slow provider: the one slot is free for another."""
    rig = Rig(slots=1, requests_per_minute=1.0, burst=1)
    calls = rig.start(100, within_s=59.0)
    other = rig.limits.gate("groq")
    other.configure(NO_LIMITS)
    await turn()
    for _ in range(5):
        await other.enter("model", 0.0, priority=0, tenant=None, deadline=rig.loop.time() + 1)
        await asyncio.sleep(0.5)
        other.leave("model", 0.0, 0.0)
    assert (rig.now_s, len(rig.went)) == (2.5, 1)
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in told] == [type(None)] + [DeadlineExceededError] * 99
    rig.assert_empty()


@in_virtual_time
async def test_providers_take_turns_at_the_slots() -> None:
    """Beside a provider with a thousand calls in its queue, one with three gets every second slot."""
    rig = Rig(slots=1)
    other = rig.limits.gate("groq")

    async def call_other() -> None:
        await other.enter("model", 0.0, priority=0, tenant=None, deadline=rig.loop.time() + 1e6)
        rig.went.append(("other", rig.now_s))
        await asyncio.sleep(1.0)
        other.leave("model", 0.0, 0.0)

    calls = rig.start(1000, "one", lasts_s=1.0)
    await turn()
    calls += [rig.loop.create_task(call_other()) for _ in range(3)]
    await asyncio.sleep(7.5)
    assert [place for place, name in enumerate(rig.names) if name == "other"] == [2, 4, 6]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    rig.assert_empty()


# tokens


@in_virtual_time
async def test_tokens_are_reserved_before_and_corrected_after() -> None:
    """600 a minute, so 60 at once and ten a second: what was not used is there at once, what was used more is not."""
    rig = Rig(tokens_per_minute=600.0)
    await rig.enter("first", 60.0)
    waiting = rig.start(1, "next", tokens=30.0)
    await asyncio.sleep(1.0)
    rig.leave(60.0, 35.0)
    await asyncio.gather(*waiting)
    assert rig.went[-1] == ("next0", 1.0)
    rig.went.clear()
    await rig.call("short", 1.0, used=51.0)  # 5 are left, it takes 51
    await rig.call("after", 4.0)
    assert rig.moments_s == pytest.approx([1.0, 6.0], abs=1e-4)
    rig.assert_empty()


@in_virtual_time
async def test_a_large_request_is_not_overtaken_for_ever() -> None:
    """Small calls that keep coming do not starve one that needs all; nor is one stuck that needs more than all."""
    rig = Rig(tokens_per_minute=600.0)
    calls = rig.start(6, "small", tokens=10.0)
    calls += rig.start(1, "large", tokens=60.0)
    calls += rig.start(1, "huge", tokens=90.0)
    for number in range(30):
        calls += rig.start(1, f"late{number}-", tokens=10.0)
        await asyncio.sleep(0.1)
    await asyncio.gather(*calls)
    assert rig.went[6:8] == [("large0", 6.0), ("huge0", 12.0)]
    assert rig.went[8] == ("late0-0", pytest.approx(16.0, abs=1e-4))
    rig.assert_empty()


@in_virtual_time
async def test_the_next_one_goes_when_a_larger_one_gives_up() -> None:
    """The head of the queue needs more than is there and is cancelled: who needs less goes at once."""
    rig = Rig(tokens_per_minute=60.0)
    await rig.enter("first", 5.0)
    large, small = rig.start(1, "large", tokens=6.0) + rig.start(1, "small", tokens=1.0)
    await asyncio.sleep(0.5)
    large.cancel()
    await small
    assert rig.went[-1] == ("small0", 0.5)
    rig.leave(5.0)
    rig.assert_empty()


# deadlines, ends, and what is told


@in_virtual_time
async def test_a_deadline_in_the_queue_is_kept_to_the_moment_and_says_why() -> None:
    """The message names the provider, who else waits, and the limits, and nothing stays taken."""
    rig = Rig(requests_per_minute=1.0, burst=1, tokens_per_minute=600.0, max_concurrency=9)
    await rig.enter("first", 1.0)
    with pytest.raises(DeadlineExceededError) as caught:
        await rig.enter("late", 1.0, within_s=2.5)
    assert rig.now_s == 2.5
    assert caught.value.message == (
        "the deadline passed while this call waited for its turn at openai (0 others wait, 1 requests a minute, "
        "600 tokens a minute, 9 at once, 1 are on their way): raise timeout_seconds, the limits or max_connections"
    )
    rig.leave(1.0)
    rig.assert_empty()


@in_virtual_time
async def test_closing_tells_who_waits() -> None:
    """Whatever they wait for: each gets the error, and those under way can still end."""
    rig = Rig(max_concurrency=1)
    under_way, *waiting = rig.start(4, lasts_s=1.0)
    await turn()
    rig.limits.close()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in told] == [ConfigurationError] * 3
    await under_way
    rig.assert_empty()


@in_virtual_time
async def test_a_full_queue_refuses() -> None:
    """A million wait: the next is told at once, with a remedy, and the others do not notice."""
    rig = Rig(max_concurrency=1)
    rig.gate._queue._limit = 2
    calls = rig.start(3, lasts_s=1.0)
    await turn()
    with pytest.raises(RateLimitExceededError, match="chat_many") as caught:
        await rig.enter("one too many")
    assert (caught.value.limited_by, caught.value.provider) == ("client", "openai")
    await asyncio.gather(*calls)
    rig.assert_empty()


@in_virtual_time
async def test_a_pause_holds_everybody_and_is_never_longer_than_five_minutes() -> None:
    """A Retry-After of a week is one of five minutes; a shorter one does not end a longer."""
    rig = Rig()
    rig.gate.refused("model", 0.0, 7 * 86400.0)
    rig.gate.refused("model", 0.0, 1.0)
    assert rig.gate.paused_s() == LONGEST_PAUSE_S == 300.0
    assert repr(rig.gate) == "Gate(openai, 0 in flight, 0 waiting, paused for 300.0 s)"
    await asyncio.gather(*rig.start(5))
    assert rig.moments_s == [300.0] * 5
    assert rig.gate.paused_s() == 0.0
    rig.assert_empty()


@in_virtual_time
async def test_what_it_tells_is_exact() -> None:
    """Statistics, repr, and whether a call would have to wait."""
    rig = Rig(slots=9, requests_per_minute=60.0, burst=2)
    assert rig.gate.is_short() is False
    calls = rig.start(4, lasts_s=10.0)
    await turn()
    assert rig.gate.is_short() is True
    assert repr(rig.limits) == "Limits(Slots(2/9 taken, 0 waiting), Gate(openai, 2 in flight, 2 waiting))"
    await asyncio.gather(*calls)
    assert rig.gate.statistics() == GateStatistics(
        provider="openai",
        limits=RateLimits(requests_per_minute=60.0, burst=2),
        entered=4,
        queued=2,
        queue_wait_s=pytest.approx(3.0, abs=1e-4),
    )
    assert rig.gate.is_short() is False
    full = Rig(slots=1)
    await full.enter()
    assert full.gate.is_short() is True
    full.leave()

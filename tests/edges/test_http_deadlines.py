"""Deadlines of many waits on one timer: each ends its own task at its time, and what is over costs nothing."""

import asyncio

import pytest

from genops_helicone_async._edges.http.deadlines import Deadlines

pytestmark = pytest.mark.anyio


async def until(deadlines: Deadlines, deadline: float, order: list[float]) -> None:
    """Waits for ever, and notes when a deadline ended that."""
    wait = deadlines.add(deadline)
    wait.begin()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not wait.end():
            raise
        order.append(deadline)
        assert asyncio.get_running_loop().time() >= deadline
        raise TimeoutError from None
    finally:
        deadlines.drop(wait)


async def test_the_nearest_deadline_comes_first() -> None:
    """In whatever order deadlines are set, each is kept, and none early."""
    loop = asyncio.get_running_loop()
    deadlines, order, start = Deadlines(loop), list[float](), loop.time()
    deadlines.add(start + 1000)
    after = [0.03, 0.01, 0.05, 0.02, 0.04]
    tasks = [asyncio.ensure_future(until(deadlines, start + each, order)) for each in after]
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [TimeoutError] * 5
    assert order == sorted(start + each for each in after)


async def test_a_cancelled_task_stays_cancelled() -> None:
    """A cancellation from outside is not taken for the deadline, before it and in the same moment."""
    loop = asyncio.get_running_loop()
    deadlines, order = Deadlines(loop), list[float]()
    early = asyncio.ensure_future(until(deadlines, loop.time() + 20, order))
    both = asyncio.ensure_future(until(deadlines, deadline := loop.time() + 0.02, order))
    await asyncio.sleep(0)
    early.cancel()
    loop.call_at(deadline, both.cancel)
    ends = await asyncio.gather(early, both, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
    assert order == []


async def test_a_future_gets_its_deadline_as_an_error() -> None:
    """Where it has no result yet; one that was cancelled in the same moment stays so, nobody is told of one let go."""
    loop = asyncio.get_running_loop()
    deadlines, now = Deadlines(loop), loop.time()
    late, answered, cancelled, let_go = (loop.create_future() for _ in range(4))
    for future in (late, answered, cancelled):
        deadlines.add(now, future)
    wait = deadlines.add(now, let_go)
    wait.over, wait.answer = True, None
    answered.set_result("in time")
    cancelled.cancel()
    with pytest.raises(TimeoutError):
        await late
    assert (answered.result(), cancelled.cancelled(), let_go.done()) == ("in time", True, False)


async def test_a_wait_nobody_is_in_is_only_told() -> None:
    """Between two reads of a stream a deadline cancels nobody."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    wait = deadlines.add(loop.time())
    wait.begin()
    assert wait.end() is False
    with pytest.raises(TimeoutError):
        await until(deadlines, loop.time() + 0.01, [])
    assert wait.due is True


async def test_what_is_over_is_forgotten() -> None:
    """Calls that end long before their deadline leave nothing behind, however many there were."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    open_waits = [deadlines.add(loop.time() + 1000) for _ in range(10)]
    for number in range(5000):
        wait = deadlines.add(loop.time() + 900 + number)
        deadlines.drop(wait)
        deadlines.drop(wait)
    assert len(deadlines) < 100
    assert not any(wait.over for wait in open_waits)

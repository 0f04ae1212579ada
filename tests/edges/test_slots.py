"""Slots: first come, first served, none lost and none given twice, however waiting ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import DeadlineExceededError
from genops_helicone_async._edges.limits.slots import Slots, SlotStatistics

pytestmark = pytest.mark.anyio

FAR_S = 3600.0


def told(slots: Slots) -> tuple[int, int]:
    """Taken and waiting."""
    statistics = slots.statistics()
    return statistics.taken, statistics.waiting


async def turn() -> None:
    """Lets everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Waiters:
    """Tasks that wait for a slot; `served` tells in which order they got one."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.served: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, deadline: float | None = None) -> asyncio.Task[None]:
        """One more, already waiting when this returns."""
        until = asyncio.get_running_loop().time() + FAR_S if deadline is None else deadline
        task = asyncio.ensure_future(self._wait(len(self.tasks), until))
        self.tasks.append(task)
        await turn()
        return task

    async def _wait(self, number: int, until: float) -> None:
        await self.slots.take(until)
        self.served.append(number)


async def test_slots_are_taken_at_once_up_to_the_limit() -> None:
    """As long as there are slots nobody waits; then `take_nowait` says no."""
    slots = Slots(2)
    assert [slots.take_nowait() for _ in range(3)] == [True, True, False]
    assert slots.statistics() == SlotStatistics(limit=2, taken=2, waiting=0)
    slots.release()
    assert slots.take_nowait() is True
    assert repr(slots) == "Slots(2/2 taken, 0 waiting)"


async def test_waiters_are_served_in_the_order_they_came() -> None:
    """A released slot goes to the longest waiter, one slot to one waiter."""
    slots, waiters = Slots(1), None
    assert slots.take_nowait()
    waiters = Waiters(slots)
    for _ in range(3):
        await waiters.add()
    assert told(slots) == (1, 3)
    for served in ([0], [0, 1], [0, 1, 2]):
        slots.release()
        await turn()
        assert waiters.served == served
        assert told(slots) == (1, 3 - len(served))
    slots.release()
    assert told(slots) == (0, 0)


async def test_nobody_overtakes_a_waiter() -> None:
    """A slot that has just been released to a waiter cannot be taken by somebody who comes later."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    await waiters.add()
    slots.release()
    assert slots.take_nowait() is False
    await turn()
    assert waiters.served == [0]


async def test_waiting_ends_at_the_deadline() -> None:
    """Whose turn does not come in time gets a `DeadlineExceededError` that says nothing was billed."""
    slots = Slots(1)
    assert slots.take_nowait()
    with pytest.raises(DeadlineExceededError, match=r"while 1 calls were on their way.*max_connections") as caught:
        await slots.take(asyncio.get_running_loop().time() + 0.001)
    assert caught.value.billed == "no"
    assert told(slots) == (1, 0)
    slots.release()
    assert told(slots) == (0, 0)


async def test_a_deadline_that_has_passed_takes_no_turn_from_others() -> None:
    """A waiter without time is refused, and the slot goes on to the next."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    late = await waiters.add(deadline=asyncio.get_running_loop().time() - 1)
    await waiters.add()
    assert isinstance(late.exception(), DeadlineExceededError)
    slots.release()
    await turn()
    assert waiters.served == [1]


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """The one in the middle goes; the others keep their order."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    for _ in range(3):
        await waiters.add()
    waiters.tasks[1].cancel()
    await turn()
    assert told(slots) == (1, 2)
    slots.release()
    await turn()
    slots.release()
    await turn()
    assert waiters.served == [0, 2]
    slots.release()
    assert told(slots) == (0, 0)


async def test_a_slot_handed_to_a_waiter_that_is_cancelled_goes_on() -> None:
    """Cancelled between the hand-over and its own turn, a waiter passes the slot on instead of losing it."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    first = await waiters.add()
    await waiters.add()
    slots.release()
    first.cancel()
    await turn()
    assert first.cancelled()
    assert waiters.served == [1]
    assert told(slots) == (1, 0)
    slots.release()
    assert told(slots) == (0, 0)


async def test_a_slot_handed_to_the_last_waiter_that_is_cancelled_is_free() -> None:
    """With nobody left to pass it on to, the slot is free again."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    only = await waiters.add()
    slots.release()
    only.cancel()
    await turn()
    assert told(slots) == (0, 0)
    assert slots.take_nowait() is True


async def test_those_who_gave_up_are_forgotten_behind_one_who_waits() -> None:
    """However many give up behind a patient waiter, they do not pile up."""
    slots = Slots(1)
    assert slots.take_nowait()
    waiters = Waiters(slots)
    patient = await waiters.add()
    for _ in range(20):
        impatient = await waiters.add()
        impatient.cancel()
        await turn()
    assert told(slots) == (1, 1)
    assert len(slots.waiters) == 1
    patient.cancel()
    await turn()


@given(
    limit=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from(["come", "cancel", "release"]), st.integers(0, 5)), max_size=25),
)
def test_no_slot_is_lost_and_none_given_twice(limit: int, steps: list[tuple[str, int]]) -> None:
    """Whatever comes, is cancelled and is released in whatever order: taken slots are those that are held."""

    async def play() -> None:
        slots = Slots(limit)
        waiters = Waiters(slots)
        released = 0
        for step, number in steps:
            if step == "come":
                waiters.tasks.append(asyncio.ensure_future(waiters._wait(len(waiters.tasks), 1e9)))
                await asyncio.sleep(0)
            elif step == "cancel" and waiters.tasks:
                waiters.tasks[number % len(waiters.tasks)].cancel()
            elif step == "release" and len(waiters.served) > released:
                slots.release()
                released += 1
        await turn()
        held = len(waiters.served) - released
        waiting = sum(not task.done() for task in waiters.tasks)
        assert told(slots) == (held, waiting)
        assert held <= limit
        assert held == limit or not waiting
        for _ in range(len(waiters.tasks)):
            if len(waiters.served) > released:
                slots.release()
                released += 1
            await turn()
        assert told(slots) == (0, 0)
        await asyncio.gather(*waiters.tasks, return_exceptions=True)

    asyncio.run(play())

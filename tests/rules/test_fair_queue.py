"""Who is next: priorities, fair turns of tenants, order within a tenant, and nobody lost however waiting ends."""

import math
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.fair_queue import FairQueue, Place, QueueStatistics


def order(queue: FairQueue[Any]) -> list[Any]:
    """All items in the order in which they come out."""
    return [place.item for place in queue.drain()]


def filled(*rows: str, **settings: Any) -> FairQueue[str]:
    """A queue with items such as `a1`, whose tenant is the letter."""
    queue: FairQueue[str] = FairQueue(**settings)
    for row in rows:
        for item in row.split():
            queue.push(item, tenant=item[0])
    return queue


def test_one_tenant_is_served_in_order() -> None:
    """First come, first served."""
    assert order(filled("a1 a2 a3")) == ["a1", "a2", "a3"]


def test_tenants_take_turns() -> None:
    """Two items beside many wait for one of the others each, not for all."""
    assert order(filled("a1 a2 a3 a4 a5", "b1 b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"]


def test_a_larger_quantum_serves_several_in_a_turn() -> None:
    """Two of each at a time."""
    assert order(filled("a1 a2 a3 a4", "b1 b2 b3", quantum=2.0)) == ["a1", "a2", "b1", "b2", "a3", "a4", "b3"]


def test_costs_share_the_quantum() -> None:
    """A tenant of large items gets as much by cost, so fewer of them."""
    queue: FairQueue[str] = FairQueue(quantum=100.0)
    for number in range(1, 4):
        queue.push(f"large{number}", tenant="large", cost=100.0)
    for number in range(1, 10):
        queue.push(f"small{number}", tenant="small", cost=25.0)
    assert [item[:5] for item in order(queue)] == ["large", *["small"] * 4, "large", *["small"] * 4, "large", "small"]


def test_what_is_left_of_a_turn_is_kept() -> None:
    """With a quantum of 100 and items of 60 a tenant gets one, then two, then two: five in three turns."""
    queue: FairQueue[str] = FairQueue(quantum=100.0)
    for number in range(6):
        queue.push(f"a{number}", tenant="a", cost=60.0)
        queue.push(f"b{number}", tenant="b", cost=100.0)
    assert "".join(item[0] for item in order(queue)) == "abaabaababbb"


def test_an_item_above_the_quantum_raises_it() -> None:
    """A request of a million tokens is served in its tenant's next turn, not after ten thousand empty ones."""
    queue: FairQueue[str] = FairQueue(quantum=1.0)
    queue.push("small", tenant="a", cost=1.0)
    queue.push("huge", tenant="b", cost=1e6)
    assert order(queue) == ["small", "huge"]


def test_higher_priorities_go_first() -> None:
    """Strictly, whoever the tenants are; within one priority the tenants take turns."""
    queue: FairQueue[str] = FairQueue()
    for item, tenant, priority in [
        ("low", "a", -1),
        ("a1", "a", 0),
        ("a2", "a", 0),
        ("b1", "b", 0),
        ("high1", "b", 7),
        ("high2", "b", 7),
    ]:
        queue.push(item, tenant=tenant, priority=priority)
    assert queue.statistics() == QueueStatistics(waiting=6, tenants=4, by_priority={7: 2, 0: 3, -1: 1})
    assert repr(queue) == "FairQueue(6 waiting at 3 priorities)"
    assert order(queue) == ["high1", "high2", "a1", "b1", "a2", "low"]


def test_the_head_is_who_comes_out_next() -> None:
    """Looking does not take, and looking twice sees the same."""
    queue = filled("a1 a2", "b1")
    seen = []
    while (head := queue.head()) is not None:
        assert queue.head() is head
        assert queue.pop() is head
        seen.append(head.item)
    assert seen == ["a1", "b1", "a2"]
    assert queue.pop() is None


def test_a_cancelled_item_is_gone() -> None:
    """From anywhere in the queue, once; what came out cannot be cancelled any more."""
    queue: FairQueue[str] = FairQueue()
    places = {item: queue.push(item, tenant=item[0]) for item in ("a1", "a2", "a3", "b1")}
    assert [queue.cancel(places[item]) for item in ("a2", "b1", "a2")] == [True, True, False]
    first = queue.pop()
    assert first is places["a1"]
    assert (queue.cancel(first), len(queue), order(queue)) == (False, 1, ["a3"])


def test_a_tenant_without_items_saves_up_nothing() -> None:
    """What was left of its turn is gone with its last item: it comes back at the end, with no more than the others."""
    queue = filled("a1", "b1 b2 b3", quantum=1.0)
    assert [getattr(queue.pop(), "item", None) for _ in range(2)] == ["a1", "b1"]
    queue.push("a2", tenant="a")
    assert order(queue) == ["a2", "b2", "b3"]


def test_what_is_put_back_is_next_again() -> None:
    """An item that could not be served comes out again at once, and the others' turns stay as they were."""
    queue = filled("a1 a2", "b1 b2")
    place = queue.pop()
    assert place is not None
    queue.requeue(place)
    queue.requeue(place)  # already there: nothing happens
    assert (len(queue), order(queue)) == (4, ["a1", "b1", "a2", "b2"])


def test_putting_back_the_last_first_restores_the_order() -> None:
    """Three taken and put back in reverse come out as if nothing had been."""
    queue = filled("a1 a2", "b1", "c1")
    taken = [queue.pop() for _ in range(3)]
    for place in reversed(taken):
        assert place is not None
        queue.requeue(place)
    assert order(queue) == ["a1", "b1", "c1", "a2"]


def test_a_full_queue_refuses() -> None:
    """Up to the limit and no further; a place that becomes free can be taken."""
    queue = filled("a1 a2", limit=2)
    assert queue.is_full
    with pytest.raises(OverflowError, match="2 items are waiting"):
        queue.push("a3")
    queue.pop()
    assert queue.push("a3").is_waiting


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan])
def test_costs_are_finite_and_above_zero(cost: float) -> None:
    """An item that costs nothing would be served for ever."""
    with pytest.raises(ValueError, match="`cost` is"):
        FairQueue[str]().push("a", cost=cost)


def test_a_place_tells_its_state() -> None:
    """Waiting, then not."""
    queue: FairQueue[str] = FairQueue()
    place = queue.push("a", tenant="team", priority=2, cost=3.0)
    assert repr(place) == "Place(waiting, tenant='team', priority=2, cost=3)"
    queue.pop()
    assert repr(place) == "Place(not waiting, tenant='team', priority=2, cost=3)"


class Model:
    """A queue beside plain lists of what must be in it; checks after every step what must hold."""

    def __init__(self, quantum: float) -> None:
        self.queue: FairQueue[int] = FairQueue(quantum=quantum)
        self.places: list[Place[int]] = []
        self.waiting: dict[tuple[int, str], list[int]] = {}
        self.taken: list[Place[int]] = []

    def push(self, tenant: str, priority: int, cost: float) -> None:
        number = len(self.places)
        self.places.append(self.queue.push(number, tenant=tenant, priority=priority, cost=cost))
        self.waiting.setdefault((priority, tenant), []).append(number)

    def pop(self) -> None:
        head = self.queue.head()
        place = self.queue.pop()
        assert place is head
        if place is None:
            assert not self.waiting
            return
        assert place.priority == max(priority for priority, _ in self.waiting)
        own = self.waiting[place.priority, str(place.tenant)]
        assert own[0] == place.item
        self.forget(place)
        self.taken.append(place)

    def forget(self, place: Place[int]) -> None:
        own = self.waiting[place.priority, str(place.tenant)]
        own.remove(place.item)
        if not own:
            del self.waiting[place.priority, str(place.tenant)]

    def cancel(self, number: int) -> None:
        if self.places:
            place = self.places[number % len(self.places)]
            was_waiting = place.item in self.waiting.get((place.priority, str(place.tenant)), [])
            assert self.queue.cancel(place) is was_waiting
            if was_waiting:
                self.forget(place)

    def requeue(self, number: int) -> None:
        if self.taken:
            place = self.taken.pop(number % len(self.taken))
            self.queue.requeue(place)
            own = self.waiting.setdefault((place.priority, str(place.tenant)), [])
            own.append(place.item)
            own.sort()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from("abc"), st.integers(0, 2), st.sampled_from([1.0, 2.5, 10.0])),
        st.tuples(st.just("pop")),
        st.tuples(st.just("cancel"), st.integers(0, 99)),
        st.tuples(st.just("requeue"), st.integers(0, 9)),
    ),
    max_size=80,
)


@given(steps=STEPS, quantum=st.sampled_from([1.0, 4.0]))
def test_any_story_keeps_priority_and_order(steps: list[tuple[Any, ...]], quantum: float) -> None:
    """The highest priority first, each tenant in its order, nothing lost, nothing twice, whatever comes back."""
    model = Model(quantum)
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        assert len(model.queue) == sum(map(len, model.waiting.values()))
    while model.waiting:
        model.pop()
    assert model.queue.statistics() == QueueStatistics(waiting=0, tenants=0, by_priority={})


@given(
    costs=st.lists(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30), min_size=2, max_size=6),
    quantum=st.floats(10.0, 40.0),
)
def test_each_tenants_share_is_within_one_quantum(costs: list[list[float]], quantum: float) -> None:
    """While all have items, two tenants differ by less than a turn and what the other has saved of its own.

    That is the bound of deficit round robin: at most one turn more, and in each less than a quantum kept.
    """
    queue: FairQueue[float] = FairQueue(quantum=quantum)
    for position in range(max(map(len, costs))):
        for tenant, own in enumerate(costs):
            if position < len(own):
                queue.push(own[position], tenant=tenant, cost=own[position])
    left = Counter({tenant: len(own) for tenant, own in enumerate(costs)})
    served = dict.fromkeys(range(len(costs)), 0.0)
    for place in queue.drain():
        assert isinstance(place.tenant, int)
        served[place.tenant] += place.cost
        left[place.tenant] -= 1
        if not left[place.tenant]:
            break
        assert max(served.values()) - min(served.values()) < 2 * quantum + 1e-9


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    quantum=st.integers(1, 5),
)
def test_of_equal_calls_no_tenant_gets_a_quantum_more(counts: list[int], quantum: int) -> None:
    """While all have calls, the one served most is at most one quantum ahead of the one served least."""
    queue: FairQueue[None] = FairQueue(quantum=quantum)
    for tenant, count in enumerate(counts):
        for _ in range(count):
            queue.push(None, tenant=tenant)
    served = dict.fromkeys(range(len(counts)), 0)
    for place in queue.drain():
        assert isinstance(place.tenant, int)
        served[place.tenant] += 1
        assert max(served.values()) - min(served.values()) <= quantum
        if served[place.tenant] == counts[place.tenant]:
            break


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_nobody_waits_longer_than_the_others_turns(counts: list[int]) -> None:
    """The n-th item of any tenant is served after at most n items of each other tenant: nobody starves."""
    queue: FairQueue[int] = FairQueue()
    for tenant, count in enumerate(counts):
        for number in range(1, count + 1):
            queue.push(number, tenant=tenant)
    for position, place in enumerate(queue.drain(), 1):
        number = place.item
        assert position <= sum(min(count, number) for count in counts)


def test_a_waiting_item_takes_little_memory() -> None:
    """Under 200 bytes each, ten thousand of them for a hundred tenants."""
    queue: FairQueue[None] = FairQueue()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(10_000):
            queue.push(None, tenant=number % 100)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 10_000 < 200

"""Who is next: higher priority first, tenants of one priority take fair turns, each tenant's calls in order.

Between tenants it is deficit round robin (Shreedhar and Varghese, 1995): a turn gives a tenant a quantum to spend, and
what is left when its next item costs more is kept for its next turn. The quantum is never smaller than the largest
cost seen at that priority, so each turn serves at least one item and no step looks at more than two tenants.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class QueueStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How many items wait, of how many tenants (each counted once per priority), and how many by priority."""

    waiting: int
    tenants: int
    by_priority: dict[int, int]


class _Link:
    """A member of a ring, or of none: it can leave from wherever it is, without a search."""

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: Any = None
        self.after: Any = None

    def put_before(self, other: _Link) -> None:
        self.before, self.after = other.before, other
        self.before.after = other.before = self

    def take_out(self) -> None:
        """Leaves its ring, and lets go of its neighbours, so that no cycle keeps it in memory."""
        self.before.after, self.after.before = self.after, self.before
        self.before = self.after = None


class _Ring(_Link):
    """Beginning and end of a ring."""

    __slots__ = ()

    def __init__(self) -> None:
        self.before = self.after = self

    @property
    def is_empty(self) -> bool:
        return self.after is self

    def close(self) -> None:
        self.before = self.after = None


class Place(_Link, Generic[Item]):
    """An item's place in the queue."""

    __slots__ = ("cost", "item", "number", "priority", "tenant")

    def __init__(self, item: Item, tenant: Hashable, priority: int, cost: float, number: int) -> None:
        super().__init__()
        self.item = item
        self.tenant = tenant
        self.priority = priority
        self.cost = cost
        self.number = number

    def __repr__(self) -> str:
        state = "waiting" if self.is_waiting else "not waiting"
        return f"Place({state}, tenant={self.tenant!r}, priority={self.priority}, cost={self.cost:g})"

    @property
    def is_waiting(self) -> bool:
        """Whether it is in the queue, neither served nor cancelled."""
        return self.before is not None


class _Tenant(_Link):
    """One tenant's items of one priority. `has_turn` says that it has got its quantum for the turn it is having."""

    __slots__ = ("deficit", "has_turn", "items", "key")

    def __init__(self, key: Hashable) -> None:
        super().__init__()
        self.key = key
        self.items = _Ring()
        self.deficit = 0.0
        self.has_turn = False


class _Level:
    """The tenants of one priority; the first in the ring has its turn."""

    __slots__ = ("quantum", "ring", "tenants", "waiting")

    def __init__(self, quantum: float) -> None:
        self.quantum = quantum
        self.ring = _Ring()
        self.tenants: dict[Hashable, _Tenant] = {}
        self.waiting = 0

    def tenant(self, key: Hashable) -> _Tenant:
        """This tenant, at the end of the ring if it is new."""
        tenant = self.tenants.get(key)
        if tenant is None:
            tenant = self.tenants[key] = _Tenant(key)
            tenant.put_before(self.ring)
        return tenant

    def head(self) -> Place[Any]:
        """Whose turn it is; gives out quanta on the way."""
        while True:
            tenant: _Tenant = self.ring.after
            if not tenant.has_turn:
                tenant.has_turn = True
                tenant.deficit += self.quantum
            place: Place[Any] = tenant.items.after
            if place.cost <= tenant.deficit:
                return place
            tenant.has_turn = False
            tenant.take_out()
            tenant.put_before(self.ring)

    def remove(self, place: Place[Any]) -> _Tenant:
        """Takes an item out; a tenant without items leaves, and what it had left to spend is gone."""
        tenant = self.tenants[place.tenant]
        place.take_out()
        self.waiting -= 1
        if tenant.items.is_empty:
            tenant.take_out()
            tenant.items.close()
            del self.tenants[tenant.key]
        return tenant


class FairQueue(Generic[Item]):
    """A queue of items that wait their turn; every step is O(1), but for a new priority.

    Higher `priority` goes first, strictly: lower ones wait as long as there are higher. `cost` is in any unit, one
    for all (calls, or tokens). `quantum` is what a tenant may spend in a turn.
    """

    __slots__ = ("_levels", "_limit", "_number", "_order", "_quantum", "_waiting")

    def __init__(self, quantum: float = 1.0, limit: int = 1_000_000) -> None:
        self._quantum = quantum
        self._limit = limit
        self._levels: dict[int, _Level] = {}
        self._order: list[int] = []  # of the levels' priorities, negated: the highest is first
        self._number = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"FairQueue({self._waiting} waiting at {len(self._levels)} priorities)"

    @property
    def is_full(self) -> bool:
        """Whether another `push` would be refused."""
        return self._waiting >= self._limit

    def push(self, item: Item, *, tenant: Hashable = None, priority: int = 0, cost: float = 1.0) -> Place[Item]:
        """Puts an item at the end of its tenant's items.

        Raises:
            OverflowError: the queue is full.
            ValueError: a cost that is not a finite number above 0.
        """
        if self._waiting >= self._limit:
            raise OverflowError(f"{self._waiting} items are waiting, which is the limit")
        if not 0 < cost < math.inf:
            raise ValueError(f"`cost` is {cost!r}: it must be a finite number above 0")
        self._number += 1
        place = Place(item, tenant, priority, cost, self._number)
        level = self._level(priority)
        level.quantum = max(level.quantum, cost)
        place.put_before(level.tenant(tenant).items)
        level.waiting += 1
        self._waiting += 1
        return place

    def head(self) -> Place[Item] | None:
        """Who is next; stays in the queue."""
        return self._levels[-self._order[0]].head() if self._order else None

    def pop(self) -> Place[Item] | None:
        """Takes out who is next; None when nobody waits."""
        if not self._order:
            return None
        level = self._levels[-self._order[0]]
        place = level.head()
        tenant = level.remove(place)
        tenant.deficit -= place.cost
        self._one_left(level, place.priority)
        return place

    def cancel(self, place: Place[Item]) -> bool:
        """Takes an item out wherever it stands; False if it was not waiting any more."""
        if not place.is_waiting:
            return False
        level = self._levels[place.priority]
        level.remove(place)
        self._one_left(level, place.priority)
        return True

    def requeue(self, place: Place[Item]) -> None:
        """Puts back what was taken out and could not be served: first in its tenant's order, and its tenant's turn.

        Items of one tenant keep their order however they come back. Between tenants the order is the old one if the
        last one taken is put back first.
        """
        if place.is_waiting:
            return
        level = self._level(place.priority)
        tenant = level.tenant(place.tenant)
        follower = tenant.items.after
        while follower is not tenant.items and follower.number < place.number:
            follower = follower.after
        place.put_before(follower)
        tenant.deficit += place.cost
        tenant.has_turn = True
        if level.ring.after is not tenant:
            tenant.take_out()
            tenant.put_before(level.ring.after)
        level.waiting += 1
        self._waiting += 1

    def drain(self) -> Iterator[Place[Item]]:
        """Takes everything out, in order."""
        while (place := self.pop()) is not None:
            yield place

    def statistics(self) -> QueueStatistics:
        """How full it is."""
        return QueueStatistics(
            waiting=self._waiting,
            tenants=sum(len(level.tenants) for level in self._levels.values()),
            by_priority={-priority: self._levels[-priority].waiting for priority in self._order},
        )

    def _level(self, priority: int) -> _Level:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level(self._quantum)
            self._order.insert(bisect_left(self._order, -priority), -priority)
        return level

    def _one_left(self, level: _Level, priority: int) -> None:
        self._waiting -= 1
        if not level.waiting:
            level.ring.close()
            del self._levels[priority]
            del self._order[bisect_left(self._order, -priority)]


__all__ = ["FairQueue", "Place", "QueueStatistics"]

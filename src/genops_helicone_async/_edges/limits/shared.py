"""A rate that several processes keep together: slices of it are reserved in their store and used up here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

SLICE_S = 0.1
"""A slice is what comes in within this time, at least what is needed; it is used within it or lost."""
_ONE_S = 1.0
"""What was reserved for one call alone waits for it so long, should the event loop be late."""


class Store(Protocol):
    """Where the rates are kept."""

    async def reserve(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> float:
        """Takes the amount and gives the seconds until it may be used."""
        ...

    def return_later(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> None:
        """Returns what was not used of a reservation whose moment has come, in the background."""
        ...


class SharedRate:
    """One rate. What several processes use of it together keeps to `capacity` at once and `rate_per_s` after that.

    A slice is used up to `SLICE_S` after it has come in, so that much less is asked for at once. Where calls use slices
    up, the next is larger; a process that makes few calls takes no more than they need, for others have use for it.
    """

    __slots__ = ("_capacity", "_clock", "_expires_s", "_left", "_name", "_rate_per_s", "_ready_s", "_store", "_taken")

    def __init__(self, store: Store, name: str, capacity: float, rate_per_s: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._name = name
        self._capacity = capacity
        self._rate_per_s = rate_per_s
        self._clock = clock
        self._left = self._taken = 0.0
        self._ready_s = self._expires_s = -math.inf

    def has(self, amount: float) -> bool:
        """Whether so much is here, reserved and come in."""
        return self._left >= amount and self._ready_s <= self._clock() < self._expires_s

    def take(self, amount: float) -> None:
        """Uses what is here; without effect where the store is away and nothing is."""
        if self._left > 0:
            self._left = max(0.0, self._left - amount)
            self._taken += amount

    def give_back(self, amount: float) -> None:
        """Was not used: stays here while the slice lasts, then the store has it back.

        Below 0 it is what was used beyond the reservation; the next one takes it, too.
        """
        if self._clock() < self._expires_s or amount < 0:
            self._left += amount
            return
        rest = min(0.0, self._left) + amount
        self._left = min(0.0, rest)
        if rest > 0:
            self._store.return_later(self._name, rest, capacity=self._capacity, rate_per_s=self._rate_per_s)

    async def reserve(self, amount: float) -> float:
        """Reserves what is missing to this amount, a slice at least; gives the seconds until it may be used.

        Raises:
            LedgerError: the store cannot be used.
        """
        now_s = self._clock()
        demand = 2 * self._taken
        if now_s >= self._expires_s:
            demand = self._taken
            self._left = min(0.0, self._left)
        missing = max(0.0, amount - self._left)
        if not missing and now_s < self._ready_s:  # asked again before its moment
            return self._ready_s - now_s
        wanted = max(missing, min(float(int(demand)), float(int(self._rate_per_s * SLICE_S))))
        is_slice = wanted > missing
        capacity = max(wanted, self._capacity - (self._rate_per_s * SLICE_S if is_slice else 0.0))
        wait_s = await self._store.reserve(self._name, wanted, capacity=capacity, rate_per_s=self._rate_per_s)
        self._left += wanted
        self._taken = 0.0
        self._ready_s = self._clock() + wait_s
        self._expires_s = self._ready_s + (SLICE_S if is_slice else _ONE_S)
        return wait_s


__all__ = ["SLICE_S", "SharedRate", "Store"]

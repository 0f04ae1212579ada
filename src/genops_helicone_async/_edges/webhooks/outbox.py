"""Alerts that wait to be delivered, in memory: gone with the process. The file beside a ledger has the same verbs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from ..._wire.webhooks import Alert

MOST_WAITING = 1_000
"""Alerts fire once per crossing, so that a receiver has to be away for very long before one is dropped."""


class Waiting(msgspec.Struct, kw_only=True):
    """An alert in an outbox: when it is due next (Unix seconds), and how often it has been tried."""

    alert: Alert
    due_s: float
    attempts: int = 0


class Outbox(Protocol):
    """Where alerts wait. Used by one thread only."""

    is_durable: bool

    def add(self, alert: Alert) -> bool:
        """Takes an alert; False where there is no room."""
        ...

    def take(self, channel: str, now_s: float, *, due_by_s: float, besides: Collection[str]) -> Waiting | None:
        """The alert of a channel that is due first, by `due_by_s`, and none of `besides`; nobody else gets it."""
        ...

    def put_back(self, waiting: Waiting) -> None:
        """Gives a taken alert back, to be taken when it is due."""
        ...

    def remove(self, alert_id: str) -> None:
        """An alert that is done with."""
        ...

    def next_due_s(self, channels: Collection[str]) -> float | None:
        """When the next alert of these channels may be taken, None where there is none."""
        ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Closes what is open."""
        ...


class MemoryOutbox:
    """Alerts in order of arrival."""

    __slots__ = ("_most", "_taken", "_waiting")
    is_durable = False

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: dict[str, Waiting] = {}
        self._taken: set[str] = set()

    def __repr__(self) -> str:
        return f"MemoryOutbox({len(self)} waiting)"

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, alert: Alert) -> bool:
        """Takes an alert, due at once; False where there is no room."""
        if len(self._waiting) >= self._most:
            return False
        self._waiting[alert.id] = Waiting(alert=alert, due_s=alert.created_s)
        return True

    def take(self, channel: str, now_s: float, *, due_by_s: float, besides: Collection[str]) -> Waiting | None:
        """The alert of the channel that is due first."""
        found = [each for each in self._free([channel]) if each.due_s <= due_by_s and each.alert.id not in besides]
        if not found:
            return None
        first = min(found, key=lambda each: each.due_s)
        self._taken.add(first.alert.id)
        return first

    def put_back(self, waiting: Waiting) -> None:
        """Gives a taken alert back."""
        self._taken.discard(waiting.alert.id)

    def remove(self, alert_id: str) -> None:
        """An alert that is done with."""
        self._waiting.pop(alert_id, None)
        self._taken.discard(alert_id)

    def next_due_s(self, channels: Collection[str]) -> float | None:
        """When the next alert of these channels is due."""
        return min((each.due_s for each in self._free(channels)), default=None)

    def close(self) -> None:
        """Nothing is open."""

    def _free(self, channels: Collection[str]) -> list[Waiting]:
        return [
            each
            for each in self._waiting.values()
            if each.alert.channel in channels and each.alert.id not in self._taken
        ]


__all__ = ["MOST_WAITING", "MemoryOutbox", "Outbox", "Waiting"]

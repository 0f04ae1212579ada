"""Limits on one event loop: a gate for each provider, in front of the slots that all share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..._rules.rate_limits import LimitPlan
from .gate import Gate, GateStatistics
from .shared import Store
from .slots import Slots, SlotStatistics

_MOST_GATES = 1024


class LimitStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The slots all calls share, and the gate of each provider that has been called."""

    slots: SlotStatistics
    gates: tuple[GateStatistics, ...]


class Limits:
    """The gates of one event loop. With a store, what several processes send together keeps to the limits."""

    __slots__ = ("_clock", "_gates", "_slots", "_store", "plan")

    def __init__(self, plan: LimitPlan, slots: Slots, clock: Callable[[], float], store: Store | None = None) -> None:
        self.plan = plan
        self._slots = slots
        self._clock = clock
        self._store = store
        self._gates: dict[str, Gate] = {}

    def __repr__(self) -> str:
        return f"Limits({self._slots!r}, {', '.join(map(repr, self._gates.values())) or 'no gates yet'})"

    def gate(self, provider: str) -> Gate:
        """The provider's gate, made when it is first asked for."""
        gate = self._gates.get(provider)
        if gate is None:
            gate = Gate(provider, self.plan.of(provider), self._slots, self._clock, self._store)
            if len(self._gates) < _MOST_GATES:
                self._gates[provider] = gate
        return gate

    def configure(self, plan: LimitPlan) -> None:
        """Other limits from now on; who waits keeps its place."""
        self.plan = plan
        for provider, gate in self._gates.items():
            gate.configure(plan.of(provider))

    def close(self) -> None:
        """Whoever waits is told that the adapter is closed."""
        for gate in self._gates.values():
            gate.close()

    def statistics(self) -> LimitStatistics:
        """Slots and gates as they stand."""
        gates = tuple(gate.statistics() for gate in self._gates.values())
        return LimitStatistics(slots=self._slots.statistics(), gates=gates)


__all__ = ["Gate", "GateStatistics", "LimitStatistics", "Limits", "SlotStatistics", "Slots"]

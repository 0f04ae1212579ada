"""Who hears of an ended call: each sink gets the one record; a sink that fails is reported once and breaks nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..models import BudgetAlert, BudgetOverrun
from .ticket import RequestRecord

Sink = Callable[[RequestRecord], None]
BudgetEvent = BudgetAlert | BudgetOverrun
Listener = Callable[[BudgetEvent], None]
_log = logging.getLogger("genops_helicone_async")


class Sinks:
    """The sinks of one adapter, called in the order in which they were added."""

    __slots__ = ("_listeners", "_reported", "_sinks")

    def __init__(self) -> None:
        self._sinks: tuple[Sink, ...] = ()
        self._listeners: tuple[Listener, ...] = ()
        self._reported: set[int] = set()

    def add(self, sink: Sink) -> None:
        """Adds a sink; calls in flight reach it too."""
        self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        """Takes a sink away; one that is not there is no error."""
        self._sinks = tuple(known for known in self._sinks if known != sink)

    def listen(self, listener: Listener) -> None:
        """Adds somebody who is told of budgets passing their thresholds, and of calls dearer than their hold."""
        self._listeners = (*self._listeners, listener)

    def emit(self, record: RequestRecord) -> None:
        """Hands the record to every sink."""
        for sink in self._sinks:
            try:
                sink(record)
            except Exception:  # noqa: BLE001  whatever a sink does, the call is unharmed
                self._report(sink)

    def tell(self, event: BudgetEvent) -> None:
        """Hands an event to every listener."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001  nor whatever a listener does
                self._report(listener)

    def _report(self, failed: Sink | Listener) -> None:
        if id(failed) not in self._reported:
            self._reported.add(id(failed))
            _log.exception("a sink failed; this is reported once for %r", failed)


__all__ = ["BudgetEvent", "Listener", "Sink", "Sinks"]

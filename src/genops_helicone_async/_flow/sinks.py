"""Who hears of an ended call: each sink gets the one record; a sink that fails is reported once and breaks nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .ticket import RequestRecord

Sink = Callable[[RequestRecord], None]
_log = logging.getLogger("genops_helicone_async")


class Sinks:
    """The sinks of one adapter, called in the order in which they were added."""

    __slots__ = ("_reported", "_sinks")

    def __init__(self) -> None:
        self._sinks: tuple[Sink, ...] = ()
        self._reported: set[int] = set()

    def add(self, sink: Sink) -> None:
        """Adds a sink; calls in flight reach it too."""
        self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        """Takes a sink away; one that is not there is no error."""
        self._sinks = tuple(known for known in self._sinks if known is not sink)

    def emit(self, record: RequestRecord) -> None:
        """Hands the record to every sink."""
        for sink in self._sinks:
            try:
                sink(record)
            except Exception:  # noqa: BLE001  whatever a sink does, the call is unharmed
                if id(sink) not in self._reported:
                    self._reported.add(id(sink))
                    _log.exception("a sink failed; this is reported once for %r", sink)


__all__ = ["Sink", "Sinks"]

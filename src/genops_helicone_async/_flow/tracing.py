"""The sink that turns records into spans, and the span around a call that asks several providers at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import Protocol

from .._rules.spans import Attributes, CallSpans, MakeSpan, SpanContent
from .._rules.telemetry_names import MULTI_PROVIDER_CHAT
from ..errors import Attempt
from ..models import RoutingDecision
from .call_spans import CallTelemetry
from .ticket import RequestRecord

_log = logging.getLogger("genops_helicone_async")


class OpenSpan(Protocol):
    """A span that is current until it ends."""

    def end(self, content: Callable[[], SpanContent]) -> None:
        """Ends it now."""
        ...


class SpanOutlet(Protocol):
    """Where an adapter's spans leave the process."""

    resource: Mapping[str, object]
    """What the other side knows of this program."""

    def is_on(self) -> bool:
        """Whether anybody may see a span; looks for that anew."""
        ...

    def export(self, call: CallSpans, caller: Context) -> None:
        """Makes the spans of a call that has ended, under what was current in the caller's context."""
        ...

    def export_one(self, name: str, asked: Attributes, caller: Context, make: MakeSpan) -> None:
        """The same for a call whose one span is a client's; `make` is only asked for what is needed."""
        ...

    def open(self, name: str) -> OpenSpan:
        """Begins a span and makes it current, so that what begins until its end is under it."""
        ...


class Decision:
    """What a call to several providers came to; `routing` stays None where nobody answered."""

    __slots__ = ("routing",)

    def __init__(self) -> None:
        self.routing: RoutingDecision | None = None


class Tracing:
    """Spans of one adapter's calls."""

    __slots__ = ("_is_reported", "_outlet", "_telemetry")

    def __init__(self, outlet: SpanOutlet, telemetry: CallTelemetry) -> None:
        self._outlet = outlet
        self._telemetry = telemetry
        self._is_reported = False

    def __call__(self, record: RequestRecord) -> None:
        """Exports the spans of an ended call, where anybody may see them."""
        outlet = self._outlet
        if not outlet.is_on():
            return
        routing = record.routing
        if record.is_plain and (routing is None or len(routing.candidates) < 2):
            attempt = record.attempts[0]
            name, asked, told = self._telemetry.target_of(attempt)
            outlet.export_one(name, asked, record.context, partial(self._only_span, record, attempt, told))
        else:
            outlet.export(self._telemetry.spans_of(record, outlet.resource, time.time_ns()), record.context)

    def _only_span(
        self, record: RequestRecord, attempt: Attempt, told: Attributes
    ) -> tuple[int, int, Callable[[], SpanContent]]:
        self._telemetry.look_at(self._outlet.resource)
        return self._telemetry.only_span_of(record, attempt, told, time.time_ns())

    def is_on(self) -> bool:
        """Whether telemetry wants to know what is set aside for each attempt."""
        try:
            return self._outlet.is_on()
        except Exception:  # noqa: BLE001  as below
            self._report()
            return False

    @contextmanager
    def several(self, attribution: Mapping[str, str]) -> Iterator[Decision]:
        """A span around a call to several providers at once; who runs it says what was decided.

        Samplers and processors are the program's own: whatever they raise, the call is unharmed.
        """
        decision, error = Decision(), None
        span = self._open() if self.is_on() else None
        if span is None:
            yield decision
            return
        try:
            yield decision
        except BaseException as exc:
            error = type(exc).__name__
            raise
        finally:
            self._end(span, attribution, decision.routing, error)

    def _open(self) -> OpenSpan | None:
        try:
            return self._outlet.open(MULTI_PROVIDER_CHAT)
        except Exception:  # noqa: BLE001  a foreign sampler's failure is not the call's
            self._report()
            return None

    def _end(
        self, span: OpenSpan, attribution: Mapping[str, str], routing: RoutingDecision | None, error: str | None
    ) -> None:
        telemetry = self._telemetry
        try:
            telemetry.look_at(self._outlet.resource)
            span.end(partial(telemetry.decision_content, attribution, routing, error))
        except Exception:  # noqa: BLE001  a foreign processor's failure is not the call's
            self._report()

    def _report(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            _log.exception("a span could not be made; this is reported once for each adapter")


class NoTracing:
    """The tracing of a pipeline that has none."""

    __slots__ = ()

    def is_on(self) -> bool:
        """Nobody looks."""
        return False

    @contextmanager
    def several(self, attribution: Mapping[str, str]) -> Iterator[Decision]:
        """No span at all."""
        yield Decision()


__all__ = ["Decision", "NoTracing", "OpenSpan", "SpanOutlet", "Tracing"]

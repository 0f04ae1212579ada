"""Gives the spans of ended calls to a tracer provider, and content that was opted for to a logger provider.

The provider is asked for at every call where none was given, for programs set theirs up when they like. Without an SDK
that look is all there is. Spans get the times the call had, and as their parent what was current when it began.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import Context as CallerContext
from functools import cache
from inspect import signature
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from ..._rules.spans import CallSpans, MakeSpan, Span, SpanContent, SpanEvent
from ..._rules.telemetry_names import SCOPE
from .direct import Asked, Direct, never_samples

_KINDS = {"client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_log = logging.getLogger("genops_helicone_async.telemetry")
_NONE = trace.NoOpTracerProvider()
_UNKNOWN = object()
_NAMED_IN_ENVIRONMENT = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ


class SpanExport:
    """Where an adapter's spans leave it. The given providers are used, or else the global ones."""

    __slots__ = ("_direct", "_given", "_is_settled", "_known", "_logger_provider", "_tracer", "resource")

    def __init__(self, tracer_provider: Any | None, logger_provider: Any | None) -> None:
        self._given = tracer_provider
        self._logger_provider = logger_provider
        self.resource: Mapping[str, object] = {}
        self._known: Any = None
        self._is_settled = False  # whose spans they are: a provider that was given is looked at once
        self._tracer: Tracer | None = None
        self._direct: Direct | None = None

    def __repr__(self) -> str:
        if self.tracer() is None:
            return "SpanExport(off)"
        is_direct = self._direct is not None and self._direct.is_allowed()
        return f"SpanExport({'direct' if is_direct else 'through the tracer'})"

    def tracer(self) -> Tracer | None:
        """The tracer to use now; None where nobody would ever see a span."""
        provider = self._given if self._given is not None else _global_provider()
        if provider is not self._known:
            self._known, self._is_settled = provider, self._given is not None
            self._tracer, self._direct, self.resource = None, None, _resource_of(provider)
            if not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
                tracer = provider.get_tracer(SCOPE, _version())
                is_none = isinstance(tracer, trace.NoOpTracer)  # an SDK that is disabled gives one
                if not is_none and not never_samples(tracer):
                    self._tracer, self._direct = tracer, Direct.of(tracer)
        return self._tracer

    def is_on(self) -> bool:
        """Whether anybody may see a span."""
        if not self._is_settled:
            self.tracer()
        return self._tracer is not None

    def export(self, call: CallSpans, caller: CallerContext) -> None:
        """Makes the spans of a call that has ended, under what was current in the caller's context."""
        tracer = self.tracer()
        if tracer is None:
            return
        context = caller.run(get_current)
        direct = self._direct
        if direct is not None and direct.is_allowed():
            for span, made, within in direct.export(call, context):
                self._log(span, made, within)
            return
        parent = call.parent
        if parent is None:
            for unit in call.units:
                self._end(unit, self._start(tracer, unit, context), context)
            return
        above = self._start(tracer, parent, context)
        within = set_span_in_context(above, context)
        for unit in call.units:
            self._end(unit, self._start(tracer, unit, within), within)
        self._end(parent, above, context)

    def export_one(self, name: str, asked: Mapping[str, Any], caller: CallerContext, make: MakeSpan) -> None:
        """The same of a call whose one span is a client's, after `is_on`; it is made only where it is recorded."""
        direct = self._direct
        if direct is not None and direct.is_allowed():
            made = direct.export_one(name, asked, caller.run(get_current), make)
            if made is not None:
                self._log(*made)
            return
        start_ns, end_ns, content = make()
        span = Span(name=name, kind="client", start_ns=start_ns, end_ns=end_ns, asked=asked, content=content)
        self.export(CallSpans(parent=None, units=(span,)), caller)

    def open(self, name: str) -> OpenSpan:
        """Begins a span and makes it current, so that what begins until its end is under it."""
        return OpenSpan(name, self.tracer(), self._direct, get_current())

    @staticmethod
    def _start(tracer: Tracer, span: Span, context: Context) -> trace.Span:
        return tracer.start_span(
            span.name, context=context, kind=_KINDS[span.kind], attributes=span.asked, start_time=span.start_ns
        )

    def _end(self, span: Span, made: trace.Span, context: Context) -> None:
        content = fill(made, span)
        if content is not None:
            self._log(content, made, context)
        made.end(span.end_ns)

    def _log(self, content: SpanContent, made: trace.Span, context: Context) -> None:
        if content.log is not None:
            emit_event(self._logger_provider, content.log, set_span_in_context(made, context))


class OpenSpan:
    """A span that is current from the moment it is made until it ends."""

    __slots__ = ("_asked", "_direct", "_made", "_name", "_start_ns", "_token")

    def __init__(self, name: str, tracer: Tracer | None, direct: Direct | None, context: Context) -> None:
        self._name = name
        self._start_ns = time.time_ns()
        self._direct = direct if direct is not None and direct.is_allowed() else None
        self._made: trace.Span | None = None
        self._asked: Asked | None = None
        if self._direct is not None:
            self._asked = self._direct.ask(name, SpanKind.INTERNAL, {}, context)
            current: trace.Span = NonRecordingSpan(self._asked.own)
        elif tracer is not None:
            current = self._made = tracer.start_span(name, context=context, start_time=self._start_ns)
        else:
            current = trace.get_current_span(context)
        self._token = attach(set_span_in_context(current, context))

    def end(self, content: Callable[[], SpanContent]) -> None:
        """Ends it now."""
        detach(self._token)
        span = Span(
            name=self._name, kind="internal", start_ns=self._start_ns, end_ns=time.time_ns(), asked={}, content=content
        )
        if self._direct is not None and self._asked is not None:
            self._direct.finish(span, self._asked)
        elif self._made is not None:
            fill(self._made, span)
            self._made.end(span.end_ns)


def fill(made: trace.Span, span: Span) -> SpanContent | None:
    """Puts the content into a span of OpenTelemetry's, where anybody records it."""
    if not made.is_recording():
        return None
    content = span.content()
    made.set_attributes(content.attributes)
    for event in content.events:
        made.add_event(event.name, dict(event.attributes), event.at_ns)
    if content.error_type is not None:
        made.set_status(Status(StatusCode.ERROR))
    return content


def emit_event(logger_provider: Any | None, event: SpanEvent, context: Context) -> None:
    """Emits a log record that is an event, within the span of the context."""
    from opentelemetry._logs import Logger, SeverityNumber, get_logger_provider

    if "event_name" not in signature(Logger.emit).parameters:
        _say_once("events with prompts and answers need a newer opentelemetry-api than this one: none are emitted")
        return
    provider = logger_provider if logger_provider is not None else get_logger_provider()
    logger = provider.get_logger(SCOPE, _version())
    logger.emit(
        timestamp=event.at_ns,
        context=context,
        severity_number=SeverityNumber.INFO,
        attributes=event.attributes,
        event_name=event.name,
    )


@cache
def _say_once(what: str) -> None:
    _log.warning(what)


def _global_provider() -> Any:
    """The process's tracer provider; as the API finds it, without its look into the environment at every call."""
    known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
    if known is None:
        return trace.get_tracer_provider() if _NAMED_IN_ENVIRONMENT else _NONE
    return trace.get_tracer_provider() if known is _UNKNOWN else known


def _resource_of(provider: Any) -> Mapping[str, object]:
    """The attributes of the provider's resource; none where it has no resource, as without an SDK."""
    attributes = getattr(getattr(provider, "resource", None), "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


def _version() -> str:
    return str(sys.modules[SCOPE].__version__)  # the scope is the package


__all__ = ["SpanExport", "emit_event"]

"""Spans built once, at their end, and handed to the processors: a tenth of what the SDK's own way costs.

Allowed only where nobody could tell the difference: OpenTelemetry's own tracer, its plain list of processors, none of
which does anything at a span's start, limits that our spans never meet, and no metrics of the SDK about itself. The
sampler is asked as the tracer would ask it, unless it is the SDK's own by ratio and surely drops the span; ids come
from the tracer's generator. All this is looked at again whenever the processors change; whatever is not as expected
leads back to the ordinary way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any, NamedTuple, overload

from msgspec.structs import astuple
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from ..._rules.spans import CallSpans, MakeSpan, Span, SpanContent

_KINDS = {"client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_CLIENT = SpanKind.CLIENT
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_RANDOM = 0x02
_FLAGS = {
    (is_sampled, is_random): TraceFlags(TraceFlags.SAMPLED * is_sampled | _RANDOM * is_random)
    for is_sampled in (False, True)
    for is_random in (False, True)
}
_LOW = (1 << 64) - 1
_BEYOND = 1 << 64
_MOST_ATTRIBUTES = 64
"""More than a span of ours ever has."""
_MOST_EVENTS = 16


class Asked(NamedTuple):
    """A span that may be: its identity, its parent's, and what the sampler says."""

    own: SpanContext
    parent: SpanContext | None
    result: Any


Made = tuple[SpanContent, NonRecordingSpan, Context]


class Direct:
    """The direct way to the processors of one tracer."""

    __slots__ = (
        *("_drop", "_drops_from", "_is_allowed", "_is_enabled", "_processors", "_random", "_sampler", "_sdk"),
        "_tracer",
    )

    def __init__(self, tracer: Any, sdk: Any) -> None:
        self._tracer = tracer
        self._sdk = sdk
        self._drop = sdk.sampling.Decision.DROP
        self._sampler = tracer.sampler
        self._drops_from = _dropped_from(tracer.sampler, sdk.sampling)
        self._processors: tuple[Any, ...] | None = None
        self._is_allowed = False
        self._is_enabled = getattr(tracer, "_is_enabled", _always)  # an SDK of 2026 can switch single tracers off
        is_random = getattr(tracer.id_generator, "is_trace_id_random", None)
        self._random = bool(is_random()) if is_random is not None else False

    @classmethod
    def of(cls, tracer: Tracer) -> Direct | None:
        """The direct way for a tracer; None where it is not the SDK's own."""
        module = type(tracer).__module__
        if module != "opentelemetry.sdk.trace":
            return None
        from opentelemetry.sdk import trace as sdk

        try:
            return cls(tracer, sdk) if type(tracer) is sdk.Tracer and _plain(tracer) else None
        except AttributeError:  # an SDK that is built otherwise
            return None

    def is_allowed(self) -> bool:
        """Whether spans may be built at once, with the processors there are now."""
        if self._tracer.span_processor._span_processors is not self._processors:
            self._look_at_processors()
        return self._is_allowed and bool(self._is_enabled())

    def _look_at_processors(self) -> None:
        self._processors = processors = self._tracer.span_processor._span_processors
        self._is_allowed = all(_sees_ends_only(type(each)) for each in processors)

    def export(self, call: CallSpans, context: Context) -> Iterator[Made]:
        """Builds the spans of a call; gives those whose content has a log record."""
        if not self._processors:
            return
        parent, within = call.parent, context
        above = None
        if parent is not None:
            above = self.ask(parent.name, _KINDS[parent.kind], parent.asked, context)
            within = set_span_in_context(NonRecordingSpan(above.own), context)
        for unit in call.units:
            asked = self.ask(unit.name, _KINDS[unit.kind], unit.asked, within, is_leaf=True)
            content = self.finish(unit, asked) if asked is not None else None
            if asked is not None and content is not None and content.log is not None:
                yield content, NonRecordingSpan(asked.own), within
        if parent is not None and above is not None:
            self.finish(parent, above)

    def export_one(self, name: str, asked: Mapping[str, Any], context: Context, make: MakeSpan) -> Made | None:
        """The same of a call's only span, which is a client's and is made only where it is recorded."""
        leaf = self.ask(name, _CLIENT, asked, context, is_leaf=True) if self._processors else None
        if leaf is None:
            return None
        start_ns, end_ns, content_of = make()
        content = content_of()
        self._build(name, _CLIENT, start_ns, end_ns, content, leaf)
        return None if content.log is None else (content, NonRecordingSpan(leaf.own), context)

    @overload
    def ask(self, name: str, kind: SpanKind, attributes: Mapping[str, Any], context: Context) -> Asked: ...
    @overload
    def ask(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Any], context: Context, *, is_leaf: bool
    ) -> Asked | None: ...
    def ask(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Any], context: Context, *, is_leaf: bool = False
    ) -> Asked | None:
        """Gives a span its identity, and asks the sampler about it as the tracer would.

        None for a leaf that is not recorded: nobody would ever see it.
        """
        tracer = self._tracer
        above: SpanContext | None = get_current_span(context).get_span_context() if context else None
        ids = tracer.id_generator
        if above is None or not above.is_valid:
            above, trace_id, random = None, ids.generate_trace_id(), self._random
            if is_leaf and trace_id & _LOW >= self._drops_from and tracer.sampler is self._sampler:
                return None  # it would say so, and a good deal later
        else:
            trace_id, random = above.trace_id, bool(above.trace_flags & _RANDOM)
        result = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, ())
        decision = result.decision
        if is_leaf and (decision is self._drop or not decision.is_recording()):
            return None
        flags = _FLAGS[decision.is_sampled(), random]
        own = SpanContext(
            trace_id, ids.generate_span_id(), is_remote=False, trace_flags=flags, trace_state=result.trace_state
        )
        return Asked(own, above, result)

    def finish(self, span: Span, asked: Asked) -> SpanContent | None:
        """Builds the span and hands it to the processors; gives its content, where it is recorded."""
        if not asked.result.decision.is_recording():
            return None
        content = span.content()
        self._build(span.name, _KINDS[span.kind], span.start_ns, span.end_ns, content, asked)
        return content

    def _build(self, name: str, kind: SpanKind, start_ns: int, end_ns: int, content: SpanContent, asked: Asked) -> None:
        """The span of that content, given to the processors."""
        sdk, tracer, attributes = self._sdk, self._tracer, content.attributes
        own, above, result = asked
        if result.attributes:
            attributes = {**result.attributes, **attributes}
        built = sdk.ReadableSpan(
            name=name,
            context=own,
            parent=above,
            resource=tracer.resource,
            attributes=attributes,
            events=list(starmap(sdk.Event, map(astuple, content.events))),
            kind=kind,
            instrumentation_info=tracer.instrumentation_info,
            status=_UNSET if content.error_type is None else _ERROR,
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=tracer._instrumentation_scope,
        )
        for processor in self._processors or ():
            processor.on_end(built)


def _dropped_from(sampler: Any, sampling: Any) -> int:
    """From which low half of its trace id on a span without a parent is dropped, where a ratio decides; else beyond.

    Only of the SDK's own samplers by ratio, and where they do decide like that: other SDKs may do it otherwise.
    """
    by_parent = type(sampler) in (sampling.ParentBased, sampling.ParentBasedTraceIdRatio)
    root: Any = getattr(sampler, "_root", None) if by_parent else sampler
    if type(root) is not sampling.TraceIdRatioBased:
        return _BEYOND
    bound: int = root.bound
    for low in (0, max(0, bound - 1), min(bound, _LOW), _LOW):
        for trace_id in (low, low | 1 << 127):
            decision = sampler.should_sample(Context(), trace_id, "", _CLIENT, {}, ()).decision
            if (decision is sampling.Decision.DROP) != (low >= bound):
                return _BEYOND
    return bound


def _always() -> bool:
    return True


def never_samples(tracer: Tracer) -> bool:
    """Whether its sampler is the SDK's `ALWAYS_OFF`: then nobody will ever see a span of it."""
    sampling = sys.modules.get("opentelemetry.sdk.trace.sampling")
    return sampling is not None and getattr(tracer, "sampler", None) is sampling.ALWAYS_OFF


def _plain(tracer: Any) -> bool:
    """Whether nothing besides the processors would see a span begin or cut it short."""
    from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor

    limits = tracer._span_limits
    for part in ("id_generator", "sampler", "resource", "instrumentation_info", "_instrumentation_scope"):
        getattr(tracer, part)  # what the direct way uses; an AttributeError leads to the ordinary one
    if limits.max_attribute_length is not None or limits.max_span_attribute_length is not None:
        return False
    enough = (
        (limits.max_span_attributes, _MOST_ATTRIBUTES),
        (limits.max_event_attributes, _MOST_ATTRIBUTES),
        (limits.max_events, _MOST_EVENTS),
    )
    if any(limit is not None and limit < least for limit, least in enough):
        return False
    own_metrics = getattr(tracer, "_tracer_metrics", None)
    if own_metrics is not None and type(own_metrics).__name__ != "NoOpTracerMetrics":
        return False
    return type(tracer.span_processor) is SynchronousMultiSpanProcessor


def _sees_ends_only(kind: Any) -> bool:
    """Whether processors of this class do nothing when a span begins, or just before it ends."""
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    idle = (SpanProcessor, SimpleSpanProcessor, BatchSpanProcessor)
    ending = getattr(kind, "_on_ending", None)
    return kind.on_start in [each.on_start for each in idle] and (
        ending is None or ending in [getattr(each, "_on_ending", None) for each in idle]
    )


__all__ = ["Asked", "Direct", "never_samples"]

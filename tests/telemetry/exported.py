"""What the tests of telemetry look at: the spans of OpenTelemetry's own SDK, kept in memory."""

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from genops_helicone_async.testing import awu_spans, validate_awu


class Watcher(SpanProcessor):
    """A processor that wants to see spans begin, so that none may be built at once."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Notes the name."""
        self.begun.append(span.name)


class Ends(SpanProcessor):
    """Counts every span that is handed over, sampled or not."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Counts it."""
        self.count += 1


class Spans:
    """A tracer provider and all that was exported through it; `watched` takes the SDK's ordinary way."""

    def __init__(self, *, watched: bool = False, **settings: Any) -> None:
        settings.setdefault("resource", Resource({"service.name": "shop"}))
        self.provider = TracerProvider(shutdown_on_exit=False, **settings)
        self.watcher = Watcher()
        if watched:
            self.provider.add_span_processor(self.watcher)
        self.ends = Ends()
        self.provider.add_span_processor(self.ends)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """Every span, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def awus(self) -> list[ReadableSpan]:
        """The AWUs; every one of them complies."""
        units: list[ReadableSpan] = awu_spans(self.all)
        assert validate_awu(units) == ()
        assert {span.kind for span in units} <= {SpanKind.CLIENT}
        return units

    def one(self) -> ReadableSpan:
        """The only AWU."""
        (unit,) = self.awus()
        return unit

    def parents(self) -> list[ReadableSpan]:
        """The spans above several attempts."""
        return [
            span for span in self.all if span.kind is SpanKind.INTERNAL and "genops.team" in (span.attributes or {})
        ]


def told(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes, which are there."""
    return dict(span.attributes or {})


def events(span: ReadableSpan) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]

"""How spans leave: built at once or through the tracer, with the same content; samplers, parents, threads, no SDK."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from exported import Spans, events, told
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from genops_helicone_async import (
    BudgetExceededError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
)
from genops_helicone_async._edges.otel_spans import SpanExport
from genops_helicone_async._flow.call_spans import CallTelemetry
from genops_helicone_async._flow.ticket import RequestRecord
from genops_helicone_async._rules.spans import SpanContent
from genops_helicone_async._values import Currency
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter_for(gateway: SandboxGateway, provider: Any, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that exports its spans through the provider."""
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, tracer_provider=provider, **settings)


async def records_of(gateway: SandboxGateway) -> list[RequestRecord]:
    """What sinks get of answers, failover, a stream, a fan-out and a refusal."""
    records: list[RequestRecord] = []
    gateway.faults.add(Fault(kind="status", provider="openai", status=500, times=1))
    async with adapter_for(gateway, Spans().provider) as adapter:
        adapter._parts.shared.sinks.add(records.append)
        await adapter.chat_async("Hello", providers=["openai", "groq"], routing_strategy="failover", stop=["a", "b"])
        async with adapter.stream_async("Hello", provider="anthropic", session_id="s") as stream:
            _ = [chunk async for chunk in stream]
        await adapter.multi_provider_chat_async("Hello", ["groq", "anthropic"])
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async("Hello", provider="openai", max_cost=1e-9)
    return records


def shown(span: ReadableSpan) -> tuple[Any, ...]:
    """All of a span but its identity."""
    happened = [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events]
    return (
        span.name, span.kind, span.status.status_code, span.start_time, span.end_time, told(span), happened,
        span.instrumentation_scope, span.resource, span.parent is None, span.links,
        span.context.trace_flags, span.dropped_attributes, span.dropped_events,
    )  # fmt: skip


async def test_both_ways_tell_the_same(gateway: SandboxGateway) -> None:
    """A span built at once has every attribute, event, time, status and scope of one made through the tracer."""
    direct, watched = Spans(), Spans(watched=True)
    telemetry = CallTelemetry(Currency(), "NO_CONTENT", "test")
    for record in await records_of(gateway):
        for spans in (direct, watched):
            export = SpanExport(spans.provider, None)
            assert export.is_on()
            export.export(telemetry.spans_of(record, {}, 10**18), record.context)
    assert list(map(shown, direct.all)) == list(map(shown, watched.all))
    assert (len(direct.awus()), len(watched.awus()), len(watched.parents())) == (6, 6, 1)
    assert len(watched.watcher.begun) == len(watched.all)
    assert direct.watcher.begun == []


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
async def test_a_plain_call_has_the_span_of_any_other(gateway: SandboxGateway, watched: bool) -> None:
    """The short way of calls with one attempt and nothing else to tell makes the same span as the long one."""
    records: list[RequestRecord] = []
    async with adapter_for(gateway, Spans().provider) as adapter:
        adapter.set_budget_limits(daily_limit=5.0)
        adapter._parts.shared.sinks.add(records.append)
        await adapter.chat_async("Hello", provider="groq", team="t", max_tokens=9, temperature=1)
    (record,), telemetry = records, CallTelemetry(Currency(), "NO_CONTENT", "test")
    long, short = Spans(watched=watched), Spans(watched=watched)
    SpanExport(long.provider, None).export(telemetry.spans_of(record, {}, 10**18), record.context)
    (attempt,) = record.attempts
    name, asked, told = telemetry.target_of(attempt)
    export = SpanExport(short.provider, None)
    assert (record.is_plain, export.is_on()) == (True, True)
    export.export_one(name, asked, record.context, lambda: telemetry.only_span_of(record, attempt, told, 10**18))
    assert list(map(shown, short.all)) == list(map(shown, long.all))
    assert len(short.awus()) == 1


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
@pytest.mark.parametrize("decision", Decision)
def test_what_is_not_recorded_has_its_content_never_made(decision: Decision, watched: bool) -> None:
    """Whichever way a plain call's span goes, the sampler is asked first, with what it is always told."""
    asked, made = list[object](), list[str]()

    class Deciding(Sampler):
        def should_sample(self, context: Any, trace_id: int, name: str, kind: Any, attributes: Any, links: Any) -> Any:
            asked.append((name, kind, dict(attributes)))
            return SamplingResult(decision)

        def get_description(self) -> str:
            return "as decided"

    def content() -> SpanContent:
        made.append("content")
        return SpanContent({"told": 1})

    export = SpanExport(Spans(watched=watched, sampler=Deciding()).provider, None)
    assert export.is_on()
    export.export_one("chat m", {"model": "m"}, contextvars.Context(), lambda: (1, 2, content))
    assert asked == [("chat m", SpanKind.CLIENT, {"model": "m"})]
    assert made == ([] if decision is Decision.DROP else ["content"])


def test_a_sampler_that_is_always_off_is_as_no_tracing() -> None:
    """Nothing is prepared for spans that nobody will ever see; with any other sampler it is."""
    on = [SpanExport(TracerProvider(sampler=s), None).is_on() for s in (ALWAYS_OFF, ParentBased(ALWAYS_OFF))]
    assert on == [False, True]


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
async def test_the_caller_s_span_is_the_parent(gateway: SandboxGateway, watched: bool) -> None:
    """Whatever is current when a call begins is above its spans: in tasks, in streams, also one that is over."""
    spans = Spans(watched=watched)
    tracer = spans.provider.get_tracer("test")
    async with adapter_for(gateway, spans.provider) as adapter:

        async def under(name: str) -> None:
            with tracer.start_as_current_span(name):
                await asyncio.sleep(0)
                await adapter.chat_async("Hello", provider="groq", feature=name)

        await asyncio.gather(*(under(f"task {number}") for number in range(5)))
        with tracer.start_as_current_span("stream"):
            stream = await adapter.stream_async("Hello", provider="groq", feature="stream").__aenter__()
        with tracer.start_as_current_span("somebody else"):
            _ = [chunk async for chunk in stream]
        await adapter.chat_async("Hello", provider="groq", feature="alone")
    outer = {span.name: span.context for span in spans.all if span.name[:4] in ("task", "stre")}
    units = {told(unit)["genops.feature"]: unit for unit in spans.awus()}
    assert units.pop("alone").parent is None
    assert len(units) == 6
    assert {name: unit.parent for name, unit in units.items()} == outer
    assert [unit.context.trace_id for unit in units.values()] == [outer[name].trace_id for name in units]


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
def test_synchronous_calls_keep_their_parents(watched: bool) -> None:
    """Through the loop's thread, from several threads at once, each call is under the span of its own caller."""
    spans = Spans(watched=watched)
    tracer = spans.provider.get_tracer("test")

    def under(name: str) -> None:
        with tracer.start_as_current_span(name):
            adapter.chat("Hello", provider="groq", feature=name)
            with adapter.stream("Hello", provider="groq", feature=name) as stream:
                list(stream)

    with (
        SandboxGateway.in_thread(latency_scale=0) as gateway,
        GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider) as adapter,
    ):
        with tracer.start_as_current_span("main"):
            adapter.chat("Hello", provider="groq", feature="main")
            context = contextvars.copy_context()
            with ThreadPoolExecutor(1) as pool:  # a thread that was handed the context
                pool.submit(context.run, adapter.chat, "Hello", provider="groq", feature="main").result()
        threads = [threading.Thread(target=under, args=(f"thread {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    outer = {span.name: span.context for span in spans.all if "genops.team" not in told(span)}
    units = spans.awus()
    assert len(units) == 10
    assert [unit.parent for unit in units] == [outer[told(unit)["genops.feature"]] for unit in units]


async def test_a_remote_parent_is_continued(gateway: SandboxGateway) -> None:
    """A trace that began elsewhere goes on, whether it was sampled there or not."""
    spans = Spans(sampler=ParentBased(ALWAYS_OFF))
    async with adapter_for(gateway, spans.provider) as adapter:
        for span_id, flags in ((1, TraceFlags.SAMPLED), (2, TraceFlags.DEFAULT)):
            remote = SpanContext(7, span_id, is_remote=True, trace_flags=TraceFlags(flags))
            token = attach(set_span_in_context(NonRecordingSpan(remote)))
            await adapter.chat_async("Hello", providers=["openai", "groq"])
            detach(token)
        await adapter.chat_async("Hello", provider="groq")
    (parent,) = spans.parents()
    assert parent.parent is not None
    assert (parent.parent.span_id, parent.context.trace_id) == (1, 7)
    assert spans.one().parent == parent.context


class Picky(Sampler):
    """Samples what it is told to by the first attributes, and adds one of its own."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *rest: Any, **named: Any) -> SamplingResult:
        """Drops groq."""
        attributes = dict((rest[1] if len(rest) > 1 else named.get("attributes")) or {})
        self.asked.append({"name": name, **attributes})
        if attributes.get("gen_ai.provider.name") == "groq":
            return SamplingResult(Decision.DROP)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {**attributes, "sampled.by": "picky"})

    def get_description(self) -> str:
        """Its name."""
        return "picky"


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
async def test_the_sampler_decides(gateway: SandboxGateway, watched: bool) -> None:
    """It is asked once for each span with the conventions' attributes, and what it adds or drops counts."""
    sampler = Picky()
    spans = Spans(watched=watched, sampler=sampler)
    async with adapter_for(gateway, spans.provider) as adapter:
        await adapter.chat_async("Hello", provider="openai")
        await adapter.chat_async("Hello", provider="groq")
    assert [asked.pop("server.port") > 0 for asked in sampler.asked] == [True, True]
    assert sampler.asked == [
        {
            "name": f"chat {model}",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "server.address": "127.0.0.1",
        }
        for provider, model in (("openai", "gpt-4o-mini"), ("groq", "llama-3.1-8b-instant"))
    ]
    assert told(spans.one())["sampled.by"] == "picky"
    assert spans.ends.count == 1


def direct_or_not(provider: TracerProvider) -> str:
    """The way an adapter would take."""
    export = SpanExport(provider, None)
    export.is_on()
    return repr(export)


async def test_spans_are_built_at_once_only_where_nobody_could_tell() -> None:
    """Limits that could cut a span, a processor that sees beginnings, or no SDK at all lead the ordinary way."""
    assert direct_or_not(Spans().provider) == "SpanExport(direct)"
    assert direct_or_not(Spans(watched=True).provider) == "SpanExport(through the tracer)"
    short = SpanLimits(max_attribute_length=10)
    assert direct_or_not(Spans(span_limits=short).provider) == "SpanExport(through the tracer)"
    few = SpanLimits(max_span_attributes=10)
    assert direct_or_not(Spans(span_limits=few).provider) == "SpanExport(through the tracer)"
    assert repr(SpanExport(trace.NoOpTracerProvider(), None)) == "SpanExport(off)"


async def test_a_processor_that_comes_later_is_seen(gateway: SandboxGateway) -> None:
    """A processor that is added while calls are made sees the next span begin."""
    spans = Spans()
    async with adapter_for(gateway, spans.provider) as adapter:
        await adapter.chat_async("Hello", provider="groq")
        spans.provider.add_span_processor(spans.watcher)
        await adapter.chat_async("Hello", provider="groq")
    assert spans.watcher.begun == ["chat llama-3.1-8b-instant"]
    assert len(spans.awus()) == 2


async def test_a_processor_gets_the_caller_s_context(gateway: SandboxGateway) -> None:
    """Who copies baggage to spans when they begin finds the caller's baggage there."""
    spans, seen = Spans(watched=True), []

    class Baggage(type(spans.watcher)):  # type: ignore[misc]
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            seen.append(baggage.get_baggage("tenant", parent_context))

    spans.provider.add_span_processor(Baggage())
    async with adapter_for(gateway, spans.provider) as adapter:
        token = attach(baggage.set_baggage("tenant", "acme"))
        await adapter.chat_async("Hello", provider="groq")
        detach(token)
    assert seen == ["acme"]


async def test_limits_of_the_sdk_are_kept(gateway: SandboxGateway) -> None:
    """Where the program limits its spans, ours are no exception."""
    spans = Spans(span_limits=SpanLimits(max_span_attributes=10, max_events=2))
    async with adapter_for(gateway, spans.provider) as adapter:
        await adapter.chat_async("Hello", provider="groq")
    (span,) = spans.all
    assert (len(told(span)), len(events(span))) == (10, 2)


async def test_attribution_that_nobody_gave_comes_from_the_resource(gateway: SandboxGateway) -> None:
    """Team, project and environment are never missing: the resource says what the caller did not."""
    resource = Resource({
        "service.name": "checkout", "service.namespace": "payments", "deployment.environment.name": "staging",
    })  # fmt: skip
    spans = Spans(resource=resource)
    async with adapter_for(gateway, spans.provider) as adapter:
        await adapter.chat_async("Hello", provider="groq")
        await adapter.chat_async("Hello", provider="groq", team="fraud", environment="production")
    assert [[told(unit)[f"genops.{name}"] for name in ("team", "project", "environment")] for unit in spans.awus()] == [
        ["payments", "checkout", "staging"],
        ["fraud", "checkout", "production"],
    ]


PROGRAM = """
import asyncio, sys
from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

async def main():
    async with SandboxGateway(latency_scale=0) as gateway:
        adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url)
        response = await adapter.chat_async("Hello", provider="groq")
        late = sys.argv[1:] and setup()
        again = await adapter.chat_async("Hello", provider="groq")
        await adapter.aclose()
        print(response.attempts[0].reserved > 0, again.attempts[0].reserved > 0)
        print("opentelemetry.sdk.trace" in sys.modules, len(late.get_finished_spans()) if late else None)

def setup():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("arguments", "environment", "output"),
    [
        ([], {}, "False False\nFalse None\n"),
        (["late"], {}, "False True\nTrue 1\n"),
        (["late"], {"OTEL_SDK_DISABLED": "true"}, "False False\nTrue 0\n"),
    ],
    ids=["no SDK", "an SDK that comes late", "a disabled SDK"],
)
def test_without_an_sdk_nothing_happens(
    arguments: list[str], environment: dict[str, str], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No SDK is loaded and nothing reckoned; one that is set up later gets the next call; a disabled one gets none."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == output

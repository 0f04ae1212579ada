"""Microseconds that spans add to a call: built at once, through the tracer, not sampled, and without an SDK.

    python benchmarks/telemetry.py [--json] [--rounds 7]

Timed is all that telemetry does for an answered chat: looking for a tracer when the attempt begins, noting what is
reserved, and turning the call's record into its span with some 35 attributes and four events. The record is that of a
real call to the sandbox gateway. The span goes to a `BatchSpanProcessor` whose exporter drops it. The limits are 35 µs
with spans and 2 µs without an SDK. Figures are CPU time of the calling thread, the median of rounds in turns.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.otel_spans import SpanExport
from genops_helicone_async._edges.token_counter import counter
from genops_helicone_async._flow.call_spans import CallTelemetry
from genops_helicone_async._flow.estimates import Estimates
from genops_helicone_async._flow.ticket import RequestRecord, Target
from genops_helicone_async._flow.tracing import Tracing
from genops_helicone_async._values import Currency
from genops_helicone_async.testing import SandboxGateway

LIMITS_US = {"span built at once": 35.0, "no SDK": 2.0}
WHO = {"team": "research", "project": "atlas", "environment": "production", "customer_id": "c-1"}


class Dropped(SpanExporter):
    """Exports to nowhere."""

    def export(self, spans: Any) -> SpanExportResult:
        """Counts as done."""
        return SpanExportResult.SUCCESS


class Watcher(SpanProcessor):
    """Wants to see spans begin, so that they are made through the tracer."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Sees it."""


def provider(*, watched: bool = False, sampler: Any = None) -> TracerProvider:
    """An SDK as programs set it up."""
    made = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    if watched:
        made.add_span_processor(Watcher())
    made.add_span_processor(BatchSpanProcessor(Dropped()))
    return made


async def one_call() -> tuple[RequestRecord, Target, Estimates]:
    """The record of a real call, its target, and an adapter's estimates."""
    records: list[RequestRecord] = []
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, default_attributes=WHO) as adapter,
    ):
        adapter._parts.shared.sinks.add(records.append)
        await adapter.chat_async("Why is the sky blue? " * 20, provider="openai", max_tokens=200, session_id="s-1")
        request = records[0].request
        (target,) = await adapter._pipeline().candidates.of(request, asyncio.get_running_loop().time() + 10)
    return records[0], target, Estimates(counter(), {})


Figure = tuple[str, Callable[[], None]]


def figures(repeats: int) -> list[Figure]:
    """What is timed: a name and a loop over the calls."""
    record, target, estimates = asyncio.run(one_call())

    def loop_of(tracer_provider: Any) -> Callable[[], None]:
        telemetry = CallTelemetry(Currency(), "NO_CONTENT", "benchmark")
        tracing = Tracing(SpanExport(tracer_provider, None), telemetry)

        def loop() -> None:
            for _ in range(repeats):
                if tracing.is_on():
                    estimates.worst_case_pusd(record.request, target)
                tracing(record)

        return loop

    def bare() -> None:
        tracer = plain.get_tracer("bare")
        for _ in range(repeats):
            span = tracer.start_span("chat gpt-4o-mini", kind=trace.SpanKind.CLIENT)
            span.set_attributes(told)
            span.end()

    plain = provider()
    told = {f"attribute.{number}": "a value" for number in range(15)}
    return [
        ("span built at once", loop_of(provider())),
        ("span through the tracer", loop_of(provider(watched=True))),
        ("span not sampled", loop_of(provider(sampler=ALWAYS_OFF))),
        ("no SDK", loop_of(None)),
        ("an SDK span with 15 attributes", bare),
    ]


def measure(rounds: int, repeats: int) -> dict[str, float]:
    """Median CPU µs a call of every figure, the figures taking turns."""
    todo = figures(repeats)
    samples: dict[str, list[float]] = {name: [] for name, _ in todo}
    for _, loop in todo:  # the processors' queues fill once: from then on memory is used again
        loop()
    for _ in range(rounds):
        for name, loop in todo:
            started_s = time.thread_time()
            loop()
            samples[name].append((time.thread_time() - started_s) * 1e6 / repeats)
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where a figure is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=2_000, help="calls in a round")
    arguments = parser.parse_args()
    medians_us = measure(arguments.rounds, arguments.repeats)
    if arguments.json:
        print(json.dumps({"us_per_call": medians_us, "limits_us": LIMITS_US}, indent=2))
    else:
        for name, value_us in medians_us.items():
            limit = f"   limit {LIMITS_US[name]:.0f}" if name in LIMITS_US else ""
            print(f"{name:<32} {value_us:7.2f} µs{limit}")
    return 0 if all(medians_us[name] <= limit for name, limit in LIMITS_US.items()) else 1


if __name__ == "__main__":
    sys.exit(main())

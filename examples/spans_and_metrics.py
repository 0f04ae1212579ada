"""Every attempt as an OpenTelemetry span, and metrics of your own; here printed instead of exported."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from genops_helicone_async.testing import validate_awu

SHOWN = ("genops.team", "genops.cost.total", "genops.policy.result", "gen_ai.usage.output_tokens")


async def main() -> None:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))  # an OTLP exporter in production
    async with adapter_to_talk_to(tracer_provider=tracing, meter_provider=MeterProvider([reader])) as adapter:
        adapter.register_custom_metrics([{"name": "business_value_score", "type": "gauge"}])
        await adapter.chat_async(
            "Hello",
            provider="openai",
            team="research",
            project="demo",
            environment="test",
            custom_metrics={"business_value_score": 0.95},
        )
        data = reader.get_metrics_data()
    for span in spans.get_finished_spans():
        print(span.name, {name: span.attributes[name] for name in SHOWN if span.attributes and name in span.attributes})
    print(f"{len(validate_awu(spans.get_finished_spans()))} violations of the GenOps specification")
    assert data is not None
    metrics = [metric for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics]
    print(", ".join(sorted(metric.name for metric in metrics)))


asyncio.run(main())

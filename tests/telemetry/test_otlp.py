"""OTLP to a collector: what arrives there, decoded from the protobuf, is what the gateway billed."""

import asyncio
import math

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otlp_receiver import OtlpReceiver, plain

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip], ids=lambda each: each.value)
async def test_metrics_and_spans_arrive_and_equal_the_bill(compression: Compression) -> None:
    """Cost to the pico-dollar, requests and tokens, in both; closing the adapter is what sends the metrics."""
    async with OtlpReceiver() as receiver, SandboxGateway(latency_scale=0) as gateway:
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{receiver.url}/v1/metrics", compression=compression), math.inf
        )
        meters = MeterProvider([reader], shutdown_on_exit=False)
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces", compression=compression))
        )
        async with GenOpsHeliconeAsyncAdapter(
            gateway.api_key, gateway_url=gateway.url, meter_provider=meters, tracer_provider=tracers
        ) as adapter:
            gateway.faults.add(Fault(kind="status", status=503, provider="anthropic", times=1, retry_after_ms=1))
            for provider in ("openai", "anthropic", "groq"):
                await adapter.chat_async("Hello", provider=provider, team="research")
                async with adapter.stream_async("Hello", provider=provider) as stream:
                    [chunk async for chunk in stream]
        await asyncio.to_thread(tracers.shutdown)
        await asyncio.to_thread(meters.shutdown)

        bill, attempts = gateway.bill, len(gateway.requests)
        assert receiver.refused == []
        assert round(receiver.total("genops_helicone_cost_usd") * 1e12) == bill.total_pusd > 0
        assert (receiver.total("genops_helicone_requests"), attempts, len(bill)) == (7, 7, 6)
        tokens = sum(row.input_tokens + row.output_tokens for row in bill.rows)
        assert receiver.total("genops_helicone_tokens_total") == tokens
        durations = receiver.metrics["gen_ai.client.operation.duration"].values()
        assert sum(point.count for point in durations) == sum(sum(point.bucket_counts) for point in durations) == 7
        assert {receiver.kinds[name] for name in ("genops_helicone_requests", "genops_helicone_cost_usd")} == {"sum"}
        assert receiver.kinds["genops_helicone_in_flight"] == "gauge"

        spans = [plain(span.attributes) for span in receiver.spans]
        awus = [span for span in spans if "genops.operation.type" in span and "genops.cost.total" in span]
        assert round(sum(span["genops.cost.total"] for span in awus) * 1e12) == bill.total_pusd
        billed = {row.request_id for row in bill.rows}
        assert billed <= {span.get("genops_helicone.request_id") for span in spans}

"""Whatever a program plugs into its telemetry, or gives in its calls, neither calls nor exports come to harm."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from exported import Spans, told
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio


class FailingProcessor(SpanProcessor):
    """Raises whenever a span ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Fails."""
        raise RuntimeError("no room on the disk")


class FailingSampler(Sampler):
    """Raises whenever it is asked."""

    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        """Fails."""
        raise RuntimeError("no rules")

    def get_description(self) -> str:
        """Its name."""
        return "failing"


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("failing", ["processor", "sampler"])
async def test_failing_telemetry_fails_no_call(
    gateway: SandboxGateway, caplog: pytest.LogCaptureFixture, failing: str, watched: bool
) -> None:
    """Answers that were paid for arrive, of one provider and of several; what went wrong is logged once."""
    spans = Spans(watched=watched, **({"sampler": FailingSampler()} if failing == "sampler" else {}))
    if failing == "processor":
        spans.provider.add_span_processor(FailingProcessor())
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider
    ) as adapter:
        for _ in range(2):
            one = await adapter.chat_async("Hello", provider="openai")
            several = await adapter.multi_provider_chat_async("Hello", ["openai", "groq"])
    assert (bool(one.content), sorted(several.responses)) == (True, ["groq", "openai"])
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "a sink failed",
        "a span could not be made",
    ]


async def test_numbers_have_the_types_of_the_conventions(gateway: SandboxGateway) -> None:
    """Temperature and top_p are doubles where a caller wrote whole numbers; an empty list of stops is left out."""
    spans = Spans()
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider
    ) as adapter:
        await adapter.chat_async("Hello", provider="openai", temperature=1, top_p=1, seed=7, max_tokens=5, stop=[])
    sent = {name: value for name, value in told(spans.one()).items() if name.startswith("gen_ai.request.")}
    assert {name: (type(value), value) for name, value in sent.items()} == {
        "gen_ai.request.model": (str, "gpt-4o-mini"),
        "gen_ai.request.temperature": (float, 1.0),
        "gen_ai.request.top_p": (float, 1.0),
        "gen_ai.request.seed": (int, 7),
        "gen_ai.request.max_tokens": (int, 5),
    }


async def test_a_target_beyond_all_numbers_is_exported(
    gateway: SandboxGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """OTLP has integers of 64 bits: a target that means "never mind" is told as the largest of them."""
    spans = Spans()
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider
    ) as adapter:
        await adapter.chat_async("Hello", provider="openai", sla_tier="bronze", sla_latency_ms=1e30)
    assert told(spans.one())["genops.sla.latency_target_ms"] == 2**63 - 1
    assert b"genops.sla.met" in encode_spans(spans.all).SerializeToString()
    assert caplog.records == []

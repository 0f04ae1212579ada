"""Metrics that a user registers: the guide's block as written, the three kinds, and what is refused before sending."""

from collections.abc import AsyncIterator

import pytest
from metric_points import metrics_of, named, points
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from genops_helicone_async import (
    ConfigurationError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    ProviderError,
)
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

TARGET = {"provider": "openai", "model": "gpt-4o-mini"}
KINDS = [
    {"name": "score", "type": "gauge"},
    {"name": "documents", "type": "counter", "unit": "1"},
    {"name": "pages", "type": "histogram", "buckets": [1, 10]},
]


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """A reader that collects when it is asked."""
    return InMemoryMetricReader()


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
async def adapter(gateway: SandboxGateway, reader: InMemoryMetricReader) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter whose metrics go to the reader."""
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as made:
        yield made
    provider.shutdown()


async def test_the_three_kinds_keep_what_they_are_for(
    adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """A gauge keeps the latest value, a counter the sum, a histogram each one in its bucket; by model and team."""
    adapter.register_custom_metrics(KINDS)
    for score, pages in ((0.9, 3), (-0.5, 30)):
        values = {"score": score, "documents": 2, "pages": pages}
        await adapter.chat_async("Hi", provider="openai", team="a", custom_metrics=values)
    await adapter.chat_async("Hi", provider="openai", custom_metrics={"documents": 0.5})
    labels = named(**TARGET, team="a")
    assert points(reader, "score") == {labels: -0.5}
    assert points(reader, "documents") == {labels: 4, named(**TARGET): 0.5}
    (pages_point,) = points(reader, "pages").values()
    assert (pages_point.bucket_counts, pages_point.sum) == ((0, 1, 1), 33)
    assert {name: metric.unit for name, metric in metrics_of(reader).items() if name in ("score", "documents")} == {
        "score": "",
        "documents": "1",
    }


async def test_a_stream_counts_too_and_a_failed_call_does_not(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Values belong to answers."""
    adapter.register_custom_metrics(KINDS)
    async with adapter.stream_async("Hi", provider="openai", custom_metrics={"documents": 1}) as stream:
        [chunk async for chunk in stream]
    gateway.faults.add(Fault(kind="status", status=400))
    with pytest.raises(ProviderError):
        await adapter.chat_async("Hi", provider="openai", custom_metrics={"documents": 10})
    assert points(reader, "documents") == {named(**TARGET): 1}


async def test_what_is_wrong_is_refused_before_anything_is_sent(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter
) -> None:
    """A name that nobody registered, and a value that the metric does not take."""
    adapter.register_custom_metrics(KINDS)
    for values, told in (({"scor": 1}, "did you mean 'score'"), ({"documents": -1}, "a counter takes 0 or more")):
        with pytest.raises(ConfigurationError, match=told):
            await adapter.chat_async("Hi", provider="openai", custom_metrics=values)
    with pytest.raises(ConfigurationError, match="the type 'rate'"):
        adapter.register_custom_metrics([{"name": "fine", "type": "gauge"}, {"name": "bad", "type": "rate"}])
    with pytest.raises(ConfigurationError, match="names 'fine', which no one has registered"):
        await adapter.chat_async("Hi", provider="openai", custom_metrics={"fine": 1})
    assert list(gateway.requests) == []


async def test_registering_again_is_harmless_unless_it_differs(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """The same metrics may be registered by every part of a program."""
    adapter.register_custom_metrics(KINDS)
    adapter.register_custom_metrics(KINDS)
    with pytest.raises(ConfigurationError, match="'score' is there already and differs: gauge 'score'"):
        adapter.register_custom_metrics([{"name": "score", "type": "counter"}])


def test_the_guide_s_block_runs_without_an_sdk() -> None:
    """Registering is fine where nobody reads metrics, and a wrong name is still refused."""
    with GenOpsHeliconeAdapter("k", gateway_url="http://127.0.0.1:9") as adapter:
        adapter.register_custom_metrics(
            [{"name": "business_value_score", "type": "gauge", "description": "Business value score for AI responses"}]
        )
        with pytest.raises(ConfigurationError, match="there already and differs"):
            adapter.register_custom_metrics([{"name": "business_value_score", "type": "counter"}])
        with pytest.raises(ConfigurationError, match="names 'value'"):
            adapter.chat("Hi", provider="openai", custom_metrics={"value": 1.0})

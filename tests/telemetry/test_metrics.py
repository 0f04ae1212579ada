"""Metrics of a running adapter, read through the real SDK: names, kinds, units, attributes, and every figure."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from metric_points import metrics_of, named, points, total
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

from genops_helicone_async import (
    BudgetExceededError,
    GatewayCache,
    GatewayError,
    GatewayOptions,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

CHAT = {"gen_ai.operation.name": "chat"}
OPENAI = {"provider": "openai", "model": "gpt-4o-mini"}
WHO = {"team": "research", "project": "atlas", "environment": "test"}


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """A reader that collects when it is asked."""
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """A meter provider with that reader."""
    made = MeterProvider([reader], shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
async def adapter(gateway: SandboxGateway, provider: MeterProvider) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter whose metrics go to the reader."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as made:
        yield made


def shape(metric: Metric) -> tuple[str, str, bool | None]:
    """A metric's kind, unit, and whether it only grows."""
    return type(metric.data).__name__, metric.unit, getattr(metric.data, "is_monotonic", None)


async def test_names_kinds_and_units_are_those_of_the_contract(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Every instrument of the table is there, once something has happened that it counts."""
    gateway.faults.add(Fault(kind="status", status=429, provider="openai", times=1, retry_after_ms=1))
    gateway.faults.add(Fault(kind="status", status=503, provider="groq", times=1, retry_after_ms=1))
    adapter.set_budget_limits(daily_limit=1.0, per_team_limits={"poor": 1e-12})
    await adapter.chat_async("Hi", provider="openai")
    await adapter.chat_async("Hi", providers=["groq", "openai"], routing_strategy="failover")
    async with adapter.stream_async("Hi", provider="openai") as stream:
        [chunk async for chunk in stream]
    with pytest.raises(BudgetExceededError):
        await adapter.chat_async("Hi", provider="openai", team="poor")
    assert {name: shape(metric) for name, metric in metrics_of(reader).items()} == {
        "gen_ai.client.operation.duration": ("Histogram", "s", None),
        "gen_ai.client.token.usage": ("Histogram", "{token}", None),
        "gen_ai.client.operation.time_to_first_chunk": ("Histogram", "s", None),
        "genops_helicone_requests": ("Sum", "", True),
        "genops_helicone_cost_usd": ("Sum", "", False),
        "genops_helicone_tokens_total": ("Sum", "", True),
        "genops_helicone_retries_total": ("Sum", "", True),
        "genops_helicone_failovers_total": ("Sum", "", True),
        "genops_helicone_budget_blocked_total": ("Sum", "", True),
        "genops_helicone_rate_limited_total": ("Sum", "", True),
        "genops_helicone_request_duration_ms": ("Gauge", "", None),
        "genops_helicone_budget_remaining_usd": ("Gauge", "", None),
        "genops_helicone_in_flight": ("Gauge", "", None),
        "genops_helicone_queue_wait_ms": ("Gauge", "", None),
    }


async def test_cost_requests_and_tokens_equal_the_bill(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Chats, streams and several teams: the sums are the gateway's own, to the pico-dollar and the token."""
    for team in ("a", "b", None):
        await adapter.chat_async("Hello", provider="openai", team=team)
        await adapter.chat_async("Hello", provider="anthropic", team=team)
        async with adapter.stream_async("Hello", provider="groq", team=team) as stream:
            [chunk async for chunk in stream]
    bill = gateway.bill
    assert round(total(reader, "genops_helicone_cost_usd") * 1e12) == bill.total_pusd > 0
    assert total(reader, "genops_helicone_requests") == len(bill) == 9
    tokens = sum(row.input_tokens + row.output_tokens for row in bill.rows)
    assert total(reader, "genops_helicone_tokens_total") == tokens > 0
    usage = points(reader, "gen_ai.client.token.usage")
    assert sum(point.sum for point in usage.values()) == tokens
    durations = points(reader, "gen_ai.client.operation.duration")
    assert sum(point.count for point in durations.values()) == 9


async def test_attributes_are_those_of_the_contract(
    adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Governance's own for what is ours, the GenAI conventions' for what is theirs; what nobody set is left out."""
    await adapter.chat_async("Hello", provider="openai", **WHO)
    await adapter.chat_async("Hello", provider="vertex")
    requests = points(reader, "genops_helicone_requests")
    (vertex,) = [dict(labels)["model"] for labels in requests if ("provider", "vertex") in labels]
    assert requests == {
        named(**OPENAI, **WHO, status="ok"): 1,
        named(provider="vertex", model=vertex, status="ok"): 1,
    }
    assert named(**OPENAI, **WHO) in points(reader, "genops_helicone_cost_usd")
    assert {named(**OPENAI, **WHO, type="input"), named(**OPENAI, **WHO, type="output")} < set(
        points(reader, "genops_helicone_tokens_total")
    )
    assert named(**OPENAI, team="research") in points(reader, "genops_helicone_request_duration_ms")
    told = {**CHAT, "gen_ai.provider.name": "gcp.vertex_ai", "gen_ai.request.model": vertex}
    assert named(**told) in points(reader, "gen_ai.client.operation.duration")
    assert named(**told, **{"gen_ai.token.type": "output"}) in points(reader, "gen_ai.client.token.usage")


async def test_customers_users_and_sessions_are_no_labels(
    adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Neither of a call, nor of a refusal, nor of a budget that was set for a customer."""
    adapter.set_budget_limits(daily_limit=1.0, per_customer_limits={"acme": 1e-12})
    await adapter.chat_async("Hi", provider="openai", user_id="u-17", session_id="s-23")
    with pytest.raises(BudgetExceededError):
        await adapter.chat_async("Hi", provider="openai", customer_id="acme")
    told = repr([(name, list(points(reader, name))) for name in metrics_of(reader)])
    assert [name for name in ("acme", "u-17", "s-23") if name in told] == []
    assert points(reader, "genops_helicone_budget_blocked_total") == {named(scope="customer"): 1}
    assert list(points(reader, "genops_helicone_budget_remaining_usd")) == [named(scope="daily")]


async def test_retries_failovers_and_limits_are_counted(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """A repeat at the same provider is a retry, going to another one a failover, and a 429 is a rate limit's."""
    gateway.faults.add(Fault(kind="status", status=429, provider="openai", times=1, retry_after_ms=1))
    await adapter.chat_async("Hi", provider="openai", team="a")
    gateway.faults.add(Fault(kind="status", status=503, provider="groq"))
    answer = await adapter.chat_async("Hi", providers=["groq", "openai"], routing_strategy="failover", team="a")
    failed_over = points(reader, "genops_helicone_failovers_total")
    assert points(reader, "genops_helicone_retries_total")[named(**OPENAI, team="a")] == 1
    assert failed_over == {named(provider="groq", to_provider="openai", team="a"): 1}
    assert points(reader, "genops_helicone_rate_limited_total") == {named(**OPENAI, team="a"): 1}
    statuses = {dict(labels)["status"] for labels in points(reader, "genops_helicone_requests")}
    assert statuses == {"ok", "RateLimitExceededError", answer.attempts[0].error}
    errors = {dict(labels).get("error.type") for labels in points(reader, "gen_ai.client.operation.duration")}
    assert errors == {None, "RateLimitExceededError", answer.attempts[0].error}


async def test_a_call_that_a_limit_ended_is_counted_once(
    gateway: SandboxGateway, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """Its last attempt is the refusal; the call's error is the same one."""
    gateway.faults.add(Fault(kind="status", status=429, retry_after_ms=1))
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, retry_attempts=0, meter_provider=provider
    ) as adapter:
        with pytest.raises(RateLimitExceededError):
            await adapter.chat_async("Hello", provider="openai")
    assert points(reader, "genops_helicone_rate_limited_total") == {named(**OPENAI): 1}


async def test_a_budget_of_several_adapters_is_as_much_as_the_least(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """Whoever watches it wants to know of the first that runs dry."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as other:
        for first, second in ((1.0, 2.0), (2.0, 1.0)):
            adapter.set_budget_limits(daily_limit=first)
            other.set_budget_limits(daily_limit=second)
            assert points(reader, "genops_helicone_budget_remaining_usd") == {named(scope="daily"): 1.0}


async def test_a_hit_of_a_cache_is_counted_and_costs_nothing(
    gateway: SandboxGateway, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """The second of two identical calls is a hit, and the cost is that of one."""
    options = GatewayOptions(cache=GatewayCache())
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, gateway_options=options, meter_provider=provider
    ) as adapter:
        answers = [await adapter.chat_async("Hello", provider="openai") for _ in range(2)]
    assert [answer.cached for answer in answers] == [False, True]
    assert points(reader, "genops_helicone_cache_hits_total") == {named(**OPENAI): 1}
    assert round(total(reader, "genops_helicone_cost_usd") * 1e12) == gateway.bill.total_pusd


async def test_gauges_tell_how_things_stand_when_they_are_read(
    gateway: SandboxGateway, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """A budget's rest and the calls under way are those of the moment; a closed adapter has none."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as adapter:
        adapter.set_budget_limits(daily_limit=2.0)
        gateway.faults.add(Fault(kind="hang", times=1))
        hanging = asyncio.ensure_future(adapter.chat_async("Hello", provider="openai"))
        while not gateway.requests:
            await asyncio.sleep(0)
        assert points(reader, "genops_helicone_in_flight") == {named(provider="openai"): 1}
        (status,) = adapter.get_budget_status()
        assert points(reader, "genops_helicone_budget_remaining_usd") == {
            named(scope="daily"): pytest.approx(status.remaining, abs=1e-12)
        }
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        assert points(reader, "genops_helicone_in_flight") == {named(provider="openai"): 0}
    assert points(reader, "genops_helicone_in_flight") == {}


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "left"])
async def test_a_stream_is_in_flight_until_its_end(
    adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader, is_read: bool
) -> None:
    """While it is read its provider is busy, and no longer once it was read or left."""
    busy = []
    async with adapter.stream_async("Hello", provider="openai") as stream:
        async for _ in stream:
            busy.append(total(reader, "genops_helicone_in_flight"))
            if not is_read:
                break
    assert set(busy) == {1}
    assert points(reader, "genops_helicone_in_flight") == {named(provider="openai"): 0}


async def test_the_mean_duration_stays_until_there_is_another(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """A slow call is seen, and a reading without calls since repeats the one before."""
    gateway.faults.add(Fault(kind="delay", delay_s=0.1, times=1))
    await adapter.chat_async("Hello", provider="openai")
    readings = [total(reader, "genops_helicone_request_duration_ms") for _ in range(2)]
    assert readings[0] == readings[1] >= 100


async def test_a_failed_call_counts_as_what_it_was(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAsyncAdapter, reader: InMemoryMetricReader
) -> None:
    """Its status is the error's class; nothing that the provider did not count is told as its count."""
    gateway.faults.add(Fault(kind="status", status=400, body="no"))
    with pytest.raises(ProviderError):
        await adapter.chat_async("Hello", provider="openai")
    assert points(reader, "genops_helicone_requests") == {named(**OPENAI, status="ProviderError"): 1}
    assert total(reader, "genops_helicone_tokens_total") == 0
    assert points(reader, "gen_ai.client.token.usage") == {}


async def test_adapters_of_one_provider_share_their_series(
    gateway: SandboxGateway, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """Two at once, one after the other, a closed one and a lost one: what they did stays counted."""
    for _ in range(2):
        async with (
            GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as one,
            GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as other,
        ):
            await one.chat_async("Hello", provider="openai")
            await other.chat_async("Hello", provider="openai")
    del one, other
    gc.collect()
    assert points(reader, "genops_helicone_requests") == {named(**OPENAI, status="ok"): 4}
    assert round(total(reader, "genops_helicone_cost_usd") * 1e12) == gateway.bill.total_pusd


def test_a_synchronous_adapter_counts_as_well(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    """Calls of the synchronous adapter are in the same series, with the class of what went wrong."""
    with (
        GenOpsHeliconeAdapter("k", gateway_url="http://127.0.0.1:9", meter_provider=provider, retry_attempts=0) as one,
        pytest.raises(GatewayError),
    ):
        one.chat("Hello", provider="openai")
    assert points(reader, "genops_helicone_requests") == {named(**OPENAI, status="GatewayError"): 1}


def test_a_meter_provider_is_one() -> None:
    """Anything that gives no meters is refused by name."""
    with pytest.raises(TypeError, match=r"`meter_provider` must be a provider of OpenTelemetry with `get_meter\(\)`"):
        GenOpsHeliconeAdapter("k", meter_provider="otlp")

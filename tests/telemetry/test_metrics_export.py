"""How cells reach an SDK: exactly, once, to every reader, within the cap; and what happens where there is no SDK."""

import asyncio
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_points import metrics_of, named, points, points_of, total
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.otel_metrics import OtelMetrics
from genops_helicone_async._edges.otel_metrics.histograms import drains_exactly
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.testing import SandboxGateway

DURATION, USAGE = "gen_ai.client.operation.duration", "gen_ai.client.token.usage"
DELTA = {Histogram: AggregationTemporality.DELTA}


class Standing:
    """An adapter without budgets and calls under way."""

    def budgets_remaining_usd(self) -> Mapping[str, float]:
        """There is none."""
        return {}

    def in_flight(self) -> Mapping[str, int]:
        """There is none."""
        return {}


class Exporter(MetricExporter):
    """Keeps what is exported; waits for `may_go` before each."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[MetricsData] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Keeps them."""
        self.may_go.wait()
        self.batches.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is to be closed."""


def row(
    *, team: str = "", model: str = "m", duration_ms: float = 10.0, tokens: int = 5, status: str = "ok"
) -> LedgerRow:
    """An attempt at openai."""
    return LedgerRow(
        request_id="r", at_s=0.0, provider="openai", model=model, status=status, cost_pusd=7, input_tokens=tokens,
        output_tokens=tokens, duration_ms=duration_ms, team=team,
    )  # fmt: skip


def bound(readers: Sequence[InMemoryMetricReader], views: Sequence[View] = (), **options: Any) -> OtelMetrics:
    """The metrics of an adapter, on a provider with these readers."""
    provider = MeterProvider(readers, views=views, shutdown_on_exit=False)
    return OtelMetrics(provider, Standing(), **options)


def count(metrics: OtelMetrics, *rows: LedgerRow) -> None:
    """Counts attempts as a sink does."""
    cells = metrics.cells()
    assert cells is not None
    with cells.lock:
        for each in rows:
            cells.attempt("chat", each)


def told(reader: InMemoryMetricReader, name: str) -> dict[Any, Any]:
    """What a histogram's points say, but for their times."""
    return {
        labels: (each.bucket_counts, each.explicit_bounds, each.count, each.min, each.max, pytest.approx(each.sum))
        for labels, each in points(reader, name).items()
    }


def test_counts_can_be_added_to_the_installed_sdk() -> None:
    """The cheap way is the one in use: the trial that decides it has passed."""
    assert drains_exactly()


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 200_000), st.integers(0, 10**9)), max_size=8)))
def test_draining_gives_what_recording_gives(rounds: list[list[tuple[str, float, int]]]) -> None:
    """For any values in any number of collections, cumulative and delta, and under views."""
    views = [View(instrument_name=USAGE, attribute_keys={"gen_ai.token.type"})]
    sides = []
    for record in (False, True):
        readers = [InMemoryMetricReader(), InMemoryMetricReader(preferred_temporality=DELTA)]
        sides.append((bound(readers, views, record_histograms=record), readers))
    for values in rounds:
        readings = []
        for metrics, readers in sides:
            count(metrics, *(row(status=s, duration_ms=ms, tokens=n) for s, ms, n in values))
            readings.append([told(reader, name) for reader in readers for name in (DURATION, USAGE)])
        assert readings[0] == readings[1]


@pytest.mark.parametrize("cheap", [True, False])
def test_a_view_with_other_buckets_is_obeyed(cheap: bool) -> None:
    """Counts cannot be added there, so its values are recorded one by one; a dropped histogram stays dropped."""
    reader = InMemoryMetricReader()
    views = [
        View(instrument_name=DURATION, aggregation=ExplicitBucketHistogramAggregation([0.0125])),
        View(instrument_name=USAGE, aggregation=DropAggregation()),
    ]
    metrics = bound([reader], views, record_histograms=not cheap)
    count(metrics, row(duration_ms=12), row(duration_ms=13), row(duration_ms=30))
    (point,) = points(reader, DURATION).values()
    assert (point.bucket_counts, point.sum) == ((1, 2), pytest.approx(0.055))
    assert USAGE not in metrics_of(reader)


@pytest.mark.skipif(not hasattr(MeterProvider, "add_metric_reader"), reason="this SDK takes no reader later")
def test_a_later_reader_with_other_buckets_gets_every_value() -> None:
    """At the resolution of our buckets, for what was counted cannot be told apart any more."""
    first = InMemoryMetricReader()
    provider = MeterProvider([first], shutdown_on_exit=False)
    metrics = OtelMetrics(provider, Standing())
    later = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    provider.add_metric_reader(later)
    count(metrics, row(duration_ms=15), row(duration_ms=30), row(duration_ms=200_000))
    (exponential,) = points(later, DURATION).values()
    (explicit,) = points(first, DURATION).values()
    assert (exponential.count, exponential.min, exponential.max) == (3, 0.02, 200)
    assert (explicit.count, explicit.bucket_counts[1:3], explicit.bucket_counts[-1]) == (3, (1, 1), 1)


def test_a_histogram_has_the_contract_s_buckets() -> None:
    """Doubling from 10 ms to 81.92 s, and powers of four up to 67,108,864 tokens."""
    reader = InMemoryMetricReader()
    count(bound([reader]), row())
    (seconds,), (tokens, _) = points(reader, DURATION).values(), points(reader, USAGE).values()
    assert seconds.explicit_bounds == tuple(0.01 * 2**k for k in range(14))
    assert seconds.explicit_bounds[-1] == 81.92
    assert tokens.explicit_bounds == tuple(4.0**k for k in range(14))
    assert tokens.explicit_bounds[-1] == 67_108_864


def test_label_sets_beyond_the_cap_share_one_that_says_so() -> None:
    """2,000 series at most of each instrument, nothing lost, and nobody's figures move once they are told."""
    reader = InMemoryMetricReader()
    metrics = bound([reader])
    for _ in range(2):
        count(metrics, *(row(team=f"team-{number}") for number in range(2_500)))
        requests = points(reader, "genops_helicone_requests")
        tokens = points(reader, "genops_helicone_tokens_total")
        assert len(requests) == 2_000
        assert len(tokens) <= 2_000
    overflow = {"otel.metric.overflow": True}
    assert requests[named(**overflow)] == 2 * 501
    assert sum(requests.values()) == 5_000
    assert sum(tokens.values()) == 5_000 * 10
    assert tokens[named(**overflow, type="input")] == 2 * 5 * (2_500 - 999)
    assert round(total(reader, "genops_helicone_cost_usd") * 1e12) == 5_000 * 7
    count(metrics, *(row(team="another", model=model) for model in ("one", "two", "one")))
    seconds = points(reader, DURATION).values()  # it has no teams: none of its label sets is one too many
    assert sorted(point.count for point in seconds) == [1, 2, 5_000]


def test_histograms_have_a_cap_of_their_own() -> None:
    """Two series of tokens come of each model, and 2,000 are the most that an SDK keeps apart."""
    reader = InMemoryMetricReader()
    count(bound([reader]), *(row(model=f"model-{number}") for number in range(1_500)))
    usage = points(reader, USAGE)
    assert len(usage) == 2_000
    assert sum(point.count for point in usage.values()) == 2 * 1_500
    assert usage[named(**{"otel.metric.overflow": True, "gen_ai.token.type": "input"})].count == 501


def test_threads_lose_no_count() -> None:
    """Several loops in several threads count in the same cells while a reader collects."""
    reader = InMemoryMetricReader()
    metrics = bound([reader])
    attempt = row()
    threads = [threading.Thread(target=lambda: [count(metrics, attempt) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reader.collect()
    assert total(reader, "genops_helicone_requests") == 8_000
    (point,) = points(reader, DURATION).values()
    assert (point.count, sum(point.bucket_counts)) == (8_000, 8_000)


@pytest.mark.anyio
async def test_closing_exports_what_was_counted() -> None:
    """A reader that would push in an hour has everything once the adapter is closed."""
    exporter = Exporter()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, math.inf)], shutdown_on_exit=False)
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, meter_provider=provider) as adapter,
    ):
        await adapter.chat_async("Hello", provider="openai")
        await adapter.aclose()
        scopes = exporter.batches[-1].resource_metrics[0].scope_metrics
        told = {metric.name: points_of(metric) for scope in scopes for metric in scope.metrics}
        (cost,) = told["genops_helicone_cost_usd"].values()
        assert round(cost * 1e12) == gateway.bill.total_pusd
        assert [point.count for point in told[DURATION].values()] == [1]
    provider.shutdown()


@pytest.mark.anyio
async def test_a_slow_exporter_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """Closing waits for it as long as it may, says so, and leaves the rest to the exporter."""
    exporter = Exporter()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, math.inf)], shutdown_on_exit=False)
    metrics = OtelMetrics(provider, Standing(), flush_s=0.3)
    count(metrics, row())
    exporter.may_go.clear()
    await metrics.aclose()
    assert exporter.batches == []
    assert "took longer than 0.3 s" in caplog.text
    exporter.may_go.set()
    while not exporter.batches:
        await asyncio.sleep(0)
    provider.shutdown()


@pytest.mark.anyio
async def test_a_reader_that_is_asked_is_not_flushed() -> None:
    """A Prometheus reader would tell everything twice at its next scrape."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import generate_latest

    provider = MeterProvider([PrometheusMetricReader()], shutdown_on_exit=False)
    metrics = OtelMetrics(provider, Standing())
    count(metrics, row())
    await metrics.aclose()
    assert generate_latest().decode().count("\ngenops_helicone_requests_total{") == 1
    provider.shutdown()


def test_a_disabled_sdk_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED nothing is counted at all."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert bound([]).cells() is None


PROGRAM = """
import asyncio, sys
from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

async def main():
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter,
    ):
        adapter.register_custom_metrics([{"name": "score", "type": "gauge"}])
        await adapter.chat_async("Hello", provider="openai", custom_metrics={"score": 1})
        print("opentelemetry.metrics" in sys.modules, "opentelemetry.sdk.metrics" in sys.modules)
        if "late" not in sys.argv:
            return
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        await adapter.chat_async("Hello", provider="openai", custom_metrics={"score": 0.5})
        found = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        print({m.name: m.data.data_points[0].value for m in found if m.name in ("genops_helicone_requests", "score")})

asyncio.run(main())
"""


def run(*arguments: str) -> list[str]:
    """What the program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_without_an_sdk_not_even_its_interface_is_imported() -> None:
    """Nobody listens, so nothing is counted and nothing loaded."""
    assert run() == ["False False"]


def test_a_process_s_provider_may_come_later() -> None:
    """What happens from then on is counted, in metrics that were registered before, too."""
    assert run("late") == ["False False", "{'genops_helicone_requests': 1, 'score': 0.5}"]

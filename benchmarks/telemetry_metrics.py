"""Microseconds a call for metrics: own cells against the SDK's synchronous instruments, in the same run.

    python benchmarks/telemetry_metrics.py [--json] [--rounds 7]

What is timed is the sink that gets each ended call's record: with a meter provider and a reader (limit 5 µs), with
every histogram value recorded synchronously instead, and without any SDK (limit 2 µs). The figure with a provider is
given again with a collection after every 10,000 calls shared out among them, and collections are timed by the number
of their label sets. Figures are CPU time, the median of the rounds, which take turns.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from genops_helicone_async._edges.otel_metrics import OtelMetrics
from genops_helicone_async._edges.otel_metrics.histograms import drains_exactly
from genops_helicone_async._flow.metering import CustomMetrics, Metering, Silent
from genops_helicone_async._flow.ticket import RequestRecord
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.metric_cells import DURATION_BOUNDS_S, Buckets
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.errors import Attempt
from genops_helicone_async.models import HeliconeResponse, HeliconeUsage, RoutingDecision

ON_LIMIT_US, OFF_LIMIT_US = 5.0, 2.0
CALLS = 10_000
TEAMS = 20
ROUTING = RoutingDecision(strategy="failover", candidates=(), selected="openai", reason="")


class Nothing:
    """An adapter without budgets and calls under way."""

    def budgets_remaining_usd(self) -> Mapping[str, float]:
        return {}

    def in_flight(self) -> Mapping[str, int]:
        return {}


def record(team: str) -> RequestRecord:
    """An ended call of one attempt, as the flow makes it."""
    request = ChatRequest(message="Hello", provider="openai", team=team)
    attempt = Attempt(provider="openai", model="gpt-4o-mini", request_id="r", started_s=0.0001, duration_s=0.8)
    row = LedgerRow(
        request_id="r", at_s=0.0, provider="openai", model="gpt-4o-mini", status="ok", cost_pusd=123_456_789,
        input_tokens=850, output_tokens=240, duration_ms=800.0, team=team, project="p", environment="production",
    )  # fmt: skip
    response = HeliconeResponse(
        content="", provider="openai", model="gpt-4o-mini", request_id="r", routing=ROUTING,
        usage=HeliconeUsage(provider="openai", model="gpt-4o-mini"),
    )  # fmt: skip
    return RequestRecord(
        request=request, attribution={"team": team}, routing=None, attempts=(attempt,), rows=(row,),
        duration_s=0.8, response=response,
    )  # fmt: skip


RECORDS = [record(f"team-{number}") for number in range(TEAMS)]


def sink(provider: MeterProvider | None, *, record_histograms: bool = False) -> Metering:
    """The sink of an adapter; its standing is kept alive by the function's own list."""
    standings.append(Nothing())
    metrics = OtelMetrics(provider, standings[-1], record_histograms=record_histograms)
    return Metering(metrics, CustomMetrics(Silent()))


standings: list[Nothing] = []


def emitted(metering: Metering) -> Callable[[], None]:
    """A loop over the records."""

    def loop() -> None:
        for _ in range(CALLS // TEAMS):
            for each in RECORDS:
                metering(each)

    return loop


def repeated(call: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    """A loop over one call."""

    def loop() -> None:
        for _ in range(CALLS):
            call(*arguments)

    return loop


def collected(sets: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Fills that many label sets, and collects them."""
    reader = InMemoryMetricReader()
    metering = sink(MeterProvider([reader], shutdown_on_exit=False))
    records = [record(f"team-{number}") for number in range(sets)]

    def fill() -> None:
        for each in records:
            metering(each)

    return fill, reader.collect


def measure(rounds: int) -> tuple[dict[str, float], dict[int, float]]:
    """Median CPU µs a call of every figure, and milliseconds of a collection by label sets."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    on, off = sink(provider), sink(None)
    recording = sink(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), record_histograms=True)
    meter = provider.get_meter("baseline")
    labels = {"provider": "openai", "model": "gpt-4o-mini", "team": "research"}
    buckets = Buckets(DURATION_BOUNDS_S)
    with_collection = emitted(on)

    def collecting() -> None:
        with_collection()
        reader.collect()

    todo: dict[str, Callable[[], None]] = {
        "metrics on": emitted(on),
        "metrics on, a collection in 10,000 calls": collecting,
        "metrics on, histograms recorded at once": emitted(recording),
        "no SDK": emitted(off),
        "an own histogram cell": repeated(buckets.add, 0.8),
        "the SDK's histogram.record": repeated(meter.create_histogram("h").record, 0.8, labels),
        "the SDK's counter.add": repeated(meter.create_counter("c").add, 1, labels),
    }
    samples: dict[str, list[float]] = {name: [] for name in todo}
    collections = {sets: collected(sets) for sets in (1, 100, 1_999)}
    times_ms: dict[int, list[float]] = {sets: [] for sets in collections}
    for _ in range(rounds):
        for name, loop in todo.items():
            samples[name].append(timed(loop) * 1e6 / CALLS)
        for sets, (fill, collect) in collections.items():
            fill()
            times_ms[sets].append(timed(collect) * 1e3)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return medians, {sets: statistics.median(values) for sets, values in times_ms.items()}


def timed(loop: Callable[[], None]) -> float:
    """Its CPU seconds."""
    started_s = time.process_time()
    loop()
    return time.process_time() - started_s


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if not drains_exactly():
        sys.exit("this SDK takes no counts: histograms are recorded synchronously with it")
    medians_us, collections_ms = measure(arguments.rounds)
    is_kept = (
        max(medians_us["metrics on"], medians_us["metrics on, a collection in 10,000 calls"]) <= ON_LIMIT_US
        and medians_us["no SDK"] <= OFF_LIMIT_US
    )
    if arguments.json:
        limits = {"on_us": ON_LIMIT_US, "off_us": OFF_LIMIT_US}
        print(json.dumps({"us_per_call": medians_us, "collection_ms": collections_ms, "limits": limits}, indent=2))
        return 0 if is_kept else 1
    for name, median_us in medians_us.items():
        print(f"{median_us:8.2f} µs  {name}")
    for sets, median_ms in collections_ms.items():
        print(f"{median_ms:8.2f} ms  a collection of {sets} label sets")
    print(
        f"limits of {ON_LIMIT_US:g} µs on and {OFF_LIMIT_US:g} µs without an SDK: {'kept' if is_kept else 'NOT kept'}"
    )
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""From own histogram cells into the SDK's histograms, in one step per collection.

OpenTelemetry has no observable histogram, and a synchronous `record` costs 7 to 13 µs: three for each call made metrics
27 to 41 µs dear. Values are therefore counted in own cells (0.2 µs each, 2 to 3.4 µs a call with everything else) and
their counts added to the SDK's aggregations when somebody collects, however many calls there were. Views, temporality
and several readers work as with `record`. Exemplars there are none; `GENOPS_RECORD_HISTOGRAMS=1` has them, dearly.

The SDK has no public way to add counts, so this reaches into its aggregations, whose shape has been the same from 1.30
to 1.45. Nobody has to believe that: `drains_exactly` tries it on a reader of its own, once per process, before any
histogram relies on it. Where it does not hold, where the meter provider is another than the SDK's, or where a view
gives a histogram other buckets, every value is recorded synchronously instead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..._rules.metric_cells import Buckets, Capped, Labels

Taken = list[tuple[Mapping[str, Any], Buckets]]
_REFUSED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Recorded(Buckets):
    """In the place of a cell: every value goes to the SDK at once, and nothing is ever left to be taken."""

    __slots__ = ("_attributes", "_histogram")

    def __init__(self, histogram: Any, attributes: Mapping[str, Any], bounds: tuple[float, ...]) -> None:
        super().__init__(bounds)
        self._histogram = histogram
        self._attributes = attributes

    def add(self, value: float) -> None:
        """Records one value."""
        self._histogram.record(value, self._attributes)


def accepts_counts(histogram: Any, bounds: tuple[float, ...]) -> bool:
    """Whether every aggregation behind an instrument keeps these buckets, so that counts can be added to them."""
    try:
        return all(_keeps(match._aggregation, bounds) for match in _matches(histogram))
    except _REFUSED:
        return False


def drain(histogram: Any, taken: Taken) -> None:
    """Adds what cells have counted to the SDK's aggregations, of every reader there is.

    The least value of each label set goes the public way, which makes its aggregation; the others are added there.
    Where a reader that came later keeps other buckets, every value is recorded as the bound of its bucket.
    """
    if not taken:
        return
    if not accepts_counts(histogram, taken[0][1].bounds):
        _replay(histogram, taken)
        return
    for attributes, buckets in taken:
        histogram.record(buckets.least, attributes)
    for match in _matches(histogram):
        kept = match._view._attribute_keys
        found = {_key(each._attributes, None): each for each in list(match._attributes_aggregation.values())}
        overflow = found.get(_key({"otel.metric.overflow": True}, None))
        for attributes, buckets in taken:
            aggregation = found.get(_key(attributes, kept), overflow)
            if aggregation is not None:
                _add(aggregation, buckets)


def take(cells: Iterable[tuple[Labels, Buckets]], attributes_of: Any) -> Taken:
    """What every cell has counted since the last time, with its attributes. The caller holds the cells' lock."""
    return [(attributes_of(labels), buckets) for labels, cell in cells if (buckets := cell.take()) is not None]


@functools.cache
def drains_exactly() -> bool:
    """Whether counts can be added to this SDK's aggregations: tried on a provider of its own."""
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], Resource.get_empty(), shutdown_on_exit=False)
        bounds = (1.0, 2.0)
        histogram = made(provider.get_meter("probe"), "probe", "", "", bounds)
        for values in ((0.5, 1.5, 1.5, 9.0), (1.0,)):
            cells = Capped(lambda _: Buckets(bounds))
            for value in values:
                cells.of(("x",)).add(value)
            drain(histogram, take(cells, lambda labels: {"label": labels[0]}))
        data = reader.get_metrics_data()
        provider.shutdown()
        point: Any = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]  # type: ignore[union-attr]
        told = (tuple(point.bucket_counts), point.count, point.sum, point.min, point.max, dict(point.attributes))
        return told == ((2, 2, 1), 5, 13.5, 0.5, 9.0, {"label": "x"})
    except (ImportError, *_REFUSED):
        return False


def made(meter: Any, name: str, unit: str, description: str, bounds: tuple[float, ...]) -> Any:
    """A histogram with these buckets."""
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)


def _matches(histogram: Any) -> Iterator[Any]:
    for storage in list(histogram._measurement_consumer._reader_storages.values()):
        yield from storage._get_or_init_view_instrument_match(histogram)


def _keeps(aggregation: Any, bounds: tuple[float, ...]) -> bool:
    if type(aggregation).__name__ == "_DropAggregation":
        return True
    return type(aggregation).__name__ == "_ExplicitBucketHistogramAggregation" and aggregation._boundaries == bounds


def _key(attributes: Mapping[str, Any], kept: Any) -> frozenset[tuple[str, Any]]:
    return frozenset((key, value) for key, value in attributes.items() if kept is None or key in kept)


def _add(aggregation: Any, buckets: Buckets) -> None:
    """Adds all but the least value, which is there already."""
    if type(aggregation).__name__ == "_DropAggregation":
        return
    counts = list(buckets.counts)
    counts[next(index for index, count in enumerate(counts) if count)] -= 1
    with aggregation._lock:
        known = aggregation._value or [0] * len(counts)
        aggregation._value = [before + more for before, more in zip(known, counts, strict=True)]
        aggregation._sum += buckets.total - buckets.least
        if aggregation._record_min_max:
            aggregation._max = max(aggregation._max, buckets.most)


def _replay(histogram: Any, taken: Taken) -> None:
    for attributes, buckets in taken:
        for bound, count in zip((*buckets.bounds, buckets.most), buckets.counts, strict=True):
            value = min(max(bound, buckets.least), buckets.most)
            for _ in range(count):
                histogram.record(value, attributes)


__all__ = ["Recorded", "accepts_counts", "drain", "drains_exactly", "made", "take"]

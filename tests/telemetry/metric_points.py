"""What a reader of metrics holds, as plain dictionaries: instrument → attributes → value."""

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

Attributes = frozenset[tuple[str, Any]]


def metrics_of(reader: InMemoryMetricReader) -> dict[str, Metric]:
    """The metrics of one collection, by name."""
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def points(reader: InMemoryMetricReader, name: str) -> dict[Attributes, Any]:
    """The data points of one metric by their attributes: numbers, or a histogram's points."""
    metric = metrics_of(reader).get(name)
    return {} if metric is None else points_of(metric)


def points_of(metric: Metric) -> dict[Attributes, Any]:
    """The data points of a metric by their attributes."""
    return {
        frozenset((point.attributes or {}).items()): getattr(point, "value", point) for point in metric.data.data_points
    }


def total(reader: InMemoryMetricReader, name: str) -> float:
    """The sum over every label set."""
    return sum(points(reader, name).values())


def named(**attributes: Any) -> Attributes:
    """Attributes as `points` has them."""
    return frozenset(attributes.items())

"""Metric cells as the instruments of one meter provider: names, kinds, units and attributes of every series.

All adapters of a provider count in the same cells: of two observable instruments with one name an SDK keeps only the
first one's callback, and a counter must not go back when an adapter ends.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..._rules import telemetry_names as names
from ..._rules.custom_metrics import MetricDefinition, refuse_another
from ..._rules.metric_cells import (
    DURATION_BOUNDS_S,
    OVERFLOW,
    TARGET_LABELS,
    TOKEN_BOUNDS,
    Buckets,
    Capped,
    Labels,
    Line,
    Mean,
    MetricCells,
    Total,
)
from ...models import PUSD_PER_USD
from .histograms import Recorded, accepts_counts, drain, made, take

Attributes = Mapping[str, Any]
_TARGET = TARGET_LABELS
_REQUEST = ("provider", "model", "team", "project", "environment", "status")
_COST = _REQUEST[:-1]
_COUNTERS = (
    (names.RETRIES, _TARGET, "Attempts beyond the first at the same provider."),
    (names.FAILOVERS, ("provider", "to_provider", "team"), "Calls that left a provider for another one."),
    (names.CACHE_HITS, _TARGET, "Calls answered from a cache, at no cost."),
    (names.BUDGET_BLOCKED, ("scope", "team", "project"), "Calls that a budget had no room for."),
    (names.RATE_LIMITED_CALLS, _TARGET, "Attempts that a rate limit refused."),
)
_MEAN = "Mean duration of the attempts since the last collection, in milliseconds."
_WAIT = "Mean wait of calls before their first attempt since the last collection, in milliseconds."
_OVERFLOW: Attributes = {"otel.metric.overflow": True}


class Standing(Protocol):
    """What one adapter stands at."""

    def budgets_remaining_usd(self) -> Mapping[str, float]:
        """US dollars left, by budget."""
        ...

    def in_flight(self) -> Mapping[str, int]:
        """Attempts under way, by provider."""
        ...


class Exposition:
    """The instruments of one meter, over cells that adapters fill. Callbacks run on the exporters' threads."""

    def __init__(self, meter: Any, *, by_counts: bool) -> None:
        from opentelemetry.metrics import Observation

        self._observation: Callable[[float, Attributes], Any] = Observation
        self._meter = meter
        self._by_counts = by_counts
        self.cells = MetricCells()
        self._lock = threading.Lock()
        self._standings: dict[int, weakref.ref[Any]] = {}
        self._custom: dict[str, MetricDefinition] = {}
        self._drained: list[Callable[[], None]] = []
        self._make_histograms()
        self._make_sums()
        self._make_gauges()

    def __repr__(self) -> str:
        return f"Exposition({self.cells!r}, {len(self._standings)} adapters)"

    def add(self, standing: Standing) -> None:
        """Reads an adapter's gauges from now on, until it is removed or gone."""
        self._standings[id(standing)] = weakref.ref(standing)

    def remove(self, standing: Standing) -> None:
        """Reads an adapter's gauges no longer."""
        self._standings.pop(id(standing), None)

    def customize(self, definitions: Iterable[MetricDefinition]) -> None:
        """Makes instruments of registered metrics, all or none.

        Raises:
            ConfigurationError: a metric of this name is there and differs.
        """
        with self._lock:
            new = []
            for definition in definitions:
                known = self._custom.get(definition.series)
                refuse_another(definition, known)
                if known is None:
                    new.append(definition)
            for definition in new:
                self._make_custom(definition)
                self._custom[definition.series] = definition

    # histograms

    def _make_histograms(self) -> None:
        seconds, tokens = DURATION_BOUNDS_S, TOKEN_BOUNDS
        duration = made(self._meter, names.OPERATION_DURATION, "s", "Duration of attempts.", seconds)
        usage = made(self._meter, names.TOKEN_USAGE, "{token}", "Tokens of attempts, as the provider counted.", tokens)
        first = made(self._meter, names.FIRST_CHUNK, "s", "Time to a stream's first content.", seconds)
        cells = self.cells
        cells.durations_s = self._histogram(duration, cells.durations_s, seconds, _operation)
        cells.first_chunks_s = self._histogram(first, cells.first_chunks_s, seconds, _operation)
        cells.input_usages = self._histogram(usage, cells.input_usages, tokens, _typed("input"))
        cells.output_usages = self._histogram(usage, cells.output_usages, tokens, _typed("output"))

    def _histogram(
        self, instrument: Any, cells: Capped[Buckets], bounds: tuple[float, ...], named: Callable[[Labels], Attributes]
    ) -> Capped[Buckets]:
        """Has the cells drained at each collection, or replaces them by ones that record at once."""
        if not self._by_counts or not accepts_counts(instrument, bounds):
            self.cells.defers = False  # the values are recorded as they come
            return Capped(lambda labels: Recorded(instrument, named(labels), bounds), cells.most)

        def drained() -> None:
            self.cells.catch_up()
            with self.cells.lock:
                taken = take(cells, named)
            drain(instrument, taken)

        self._drained.append(drained)
        return cells

    # counters and up-down counters

    def _make_sums(self) -> None:
        meter = self._meter
        meter.create_observable_counter(names.REQUESTS, [self._requests], description="Attempts, by how they ended.")
        meter.create_observable_up_down_counter(names.COST_USD, [self._costs], description="Cost in US dollars.")
        meter.create_observable_counter(names.TOKENS, [self._tokens], description="Tokens in and out.")
        for name, labels, description in _COUNTERS:
            meter.create_observable_counter(name, [self._counted(name, labels)], description=description)

    def _requests(self, _: object) -> list[Any]:
        for drained in self._drained:  # the first callback of a collection: histograms are read after all callbacks
            drained()
        return self._summed(_REQUEST, lambda line: line.requests)

    def _costs(self, _: object) -> list[Any]:
        return self._summed(_COST, lambda line: line.cost_pusd, unit=PUSD_PER_USD)

    def _tokens(self, _: object) -> list[Any]:
        most = self.cells.most // 2  # of each of the two types
        incoming = self._summed(_COST, lambda line: line.input_tokens, most=most, type="input")
        return incoming + self._summed(_COST, lambda line: line.output_tokens, most=most, type="output")

    def _summed(
        self, wanted: Labels, number: Callable[[Line], int], *, unit: int = 1, most: int | None = None, **more: str
    ) -> list[Any]:
        """One value for each label set with only the wanted labels; beyond `most` sets the overflow's."""
        sums: dict[Labels, int] = {}
        end = 1 + len(wanted)  # all of `LINE_LABELS` but the operation, or some of its end
        for labels, line in self.cells.lines():
            key = labels[1:end]
            if key not in sums and most is not None and len(sums) >= most:
                key = OVERFLOW
            sums[key] = sums.get(key, 0) + number(line)
        return [
            self._observation(total if unit == 1 else total / unit, {**_attributes(wanted, labels), **more})
            for labels, total in sums.items()
        ]

    def _counted(self, name: str, wanted: Labels) -> Callable[[object], list[Any]]:
        def read(_: object) -> list[Any]:
            return [
                self._observation(cell.value, _attributes(wanted, labels))
                for labels, cell in self.cells.counts.get(name, ())
            ]

        return read

    # gauges

    def _make_gauges(self) -> None:
        gauge = self._meter.create_observable_gauge
        gauge(names.REQUEST_DURATION_MS, [self._means(_TARGET, self.cells.intervals_ms)], description=_MEAN)
        gauge(names.QUEUE_WAIT_MS, [self._means(("provider",), self.cells.waits_ms)], description=_WAIT)
        gauge(names.BUDGET_REMAINING_USD, [self._budgets], description="US dollars left of a budget.")
        gauge(names.IN_FLIGHT, [self._in_flight], description="Attempts under way.")

    def _means(self, wanted: Labels, cells: Capped[Mean]) -> Callable[[object], list[Any]]:
        def read(_: object) -> list[Any]:
            self.cells.catch_up()
            with self.cells.lock:
                means = [(labels, cell.take()) for labels, cell in cells]
            return [self._observation(mean, _attributes(wanted, labels)) for labels, mean in means if mean is not None]

        return read

    def _budgets(self, _: object) -> list[Any]:
        """The least that is left, where several adapters have a budget of one name."""
        left: dict[str, float] = {}
        for standing in self._living():
            for scope, usd in standing.budgets_remaining_usd().items():
                left[scope] = min(usd, left.get(scope, usd))
        return [self._observation(usd, {"scope": scope}) for scope, usd in left.items()]

    def _in_flight(self, _: object) -> list[Any]:
        sums: dict[str, int] = {}
        for standing in self._living():
            for provider, count in standing.in_flight().items():
                sums[provider] = sums.get(provider, 0) + count
        return [self._observation(count, {"provider": provider}) for provider, count in sums.items()]

    def _living(self) -> list[Any]:
        return [alive for each in list(self._standings.values()) if (alive := each()) is not None]

    # metrics that somebody registered

    def _make_custom(self, definition: MetricDefinition) -> None:
        cells, meter = self.cells, self._meter
        name, unit, description = definition.name, definition.unit, definition.description
        with cells.lock:
            cells.customize(definition)
        if definition.kind == "histogram":
            instrument = made(meter, name, unit, description, definition.bounds)
            buckets = cells.custom_buckets[name]
            cells.custom_buckets[name] = self._histogram(instrument, buckets, definition.bounds, _target)
            return
        make = meter.create_observable_gauge if definition.kind == "gauge" else meter.create_observable_counter
        make(name, [self._customized(cells.custom[name])], unit=unit, description=description)

    def _customized(self, cells: Capped[Total]) -> Callable[[object], list[Any]]:
        def read(_: object) -> list[Any]:
            return [self._observation(cell.value, _attributes(_TARGET, labels)) for labels, cell in cells]

        return read


def _attributes(wanted: Labels, labels: Labels) -> Attributes:
    """The labels that have a value; those of the overflow are the SDK's own for it."""
    if labels == OVERFLOW:
        return _OVERFLOW
    return {name: value for name, value in zip(wanted, labels, strict=True) if value}


def _target(labels: Labels) -> Attributes:
    return _attributes(_TARGET, labels)


def _operation(labels: Labels) -> Attributes:
    """The GenAI conventions' attributes of an operation; an error's class is its type."""
    if labels == OVERFLOW:
        return _OVERFLOW
    operation, provider, model, status = labels
    told = {
        names.OPERATION_NAME: operation,
        names.PROVIDER_NAME: names.provider_name(provider),
        names.REQUEST_MODEL: model,
    }
    return told if status == "ok" else {**told, names.ERROR_TYPE: status}


def _typed(kind: str) -> Callable[[Labels], Attributes]:
    def named(labels: Labels) -> Attributes:
        return {**_operation(labels), names.TOKEN_TYPE: kind}

    return named


__all__ = ["Exposition", "Standing"]

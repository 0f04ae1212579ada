"""The sink that counts ended calls in metric cells, and what gauges read of an adapter when they are collected.

Nothing here names a customer, a user or a session: they belong on spans, metrics would grow with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .._rules import telemetry_names as names
from .._rules.custom_metrics import MetricDefinition, definitions_of, refuse_values
from .._rules.health import HealthBoard
from .._rules.metric_cells import MetricCells
from .._values import Currency
from ..chat_request import EmbedRequest
from ..errors import Attempt, BudgetExceededError, RateLimitExceededError
from ..models import PUSD_PER_USD, HeliconeResponse
from .budgets import Budgets
from .ticket import RequestRecord

_RATE_LIMITED = RateLimitExceededError.__name__


class Outlet(Protocol):
    """Where an adapter's metrics leave the process."""

    def cells(self) -> MetricCells | None:
        """The cells to count in, from now on; None where nobody would ever read them, so far."""
        ...

    def customize(self, definitions: tuple[MetricDefinition, ...]) -> None:
        """Makes instruments of registered metrics; raises `ConfigurationError` where one exists that differs."""
        ...

    async def aclose(self) -> None:
        """Has everything exported that was counted, within a few seconds; raises nothing."""
        ...


class CustomMetrics:
    """The metrics that were registered with one adapter, by name."""

    __slots__ = ("_known", "_outlet")

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._known: dict[str, MetricDefinition] = {}

    def __repr__(self) -> str:
        return f"CustomMetrics({', '.join(self._known) or 'none'})"

    def register(self, definitions: object) -> None:
        """Adds metrics; one that is known already, the same in every way, is no error.

        Raises:
            ConfigurationError: a definition is wrong, or another metric has its name; then none is added.
        """
        checked = definitions_of(definitions)
        self._outlet.customize(checked)
        self._known = {**self._known, **{each.name: each for each in checked}}

    def check(self, values: Mapping[str, float] | None) -> None:
        """Refuses values of metrics that nobody registered, or that the metric does not take."""
        if values:
            refuse_values(values, self._known)

    def observe(self, cells: MetricCells, values: Mapping[str, float], labels: tuple[str, str, str]) -> None:
        """Counts the values that a call gave."""
        for name, value in values.items():
            cells.observe(self._known[name], labels, value)


class Metering:
    """Counts each ended call: its attempts, and what became of the call as a whole."""

    __slots__ = ("_cells", "_custom", "_outlet")

    def __init__(self, outlet: Outlet, custom: CustomMetrics) -> None:
        self._outlet = outlet
        self._custom = custom
        self._cells: MetricCells | None = None

    def __call__(self, record: RequestRecord) -> None:
        """Counts the call, where somebody reads metrics."""
        cells = self._cells
        if cells is None:
            cells = self._cells = self._outlet.cells()
            if cells is None:
                return
        if record.is_plain and cells.defers:
            cells.later(record.rows[0], record.attempts[0].started_s * 1000)
            return
        rows, attempts, request, response = record.rows, record.attempts, record.request, record.response
        operation = names.EMBEDDINGS if isinstance(request, EmbedRequest) else names.CHAT
        with cells.lock:
            for row in rows:
                cells.attempt(operation, row)
            if record.streamed:
                _first_chunks(cells, operation, attempts)
            if attempts:
                first = attempts[0]
                cells.waits_ms.of((first.provider,)).add(first.started_s * 1000)
            if len(attempts) > 1 or record.error is not None or record.refusals:
                self._troubles(cells, record)
            if response is not None:
                team = record.attribution.get("team", "")
                if isinstance(response, HeliconeResponse) and response.cached:
                    cells.count(names.CACHE_HITS, (response.provider, response.model, team))
                if request.custom_metrics:
                    target = (response.provider, response.model, team)
                    self._custom.observe(cells, request.custom_metrics, target)

    def _troubles(self, cells: MetricCells, record: RequestRecord) -> None:
        """Counts retries, failovers and refusals."""
        attempts, error, team = record.attempts, record.error, record.attribution.get("team", "")
        for before, attempt in itertools.pairwise(attempts):
            if (before.provider, before.model) == (attempt.provider, attempt.model):
                cells.count(names.RETRIES, (attempt.provider, attempt.model, team))
            else:
                cells.count(names.FAILOVERS, (before.provider, attempt.provider, team))
        for attempt in attempts:
            if attempt.error == _RATE_LIMITED:
                cells.count(names.RATE_LIMITED_CALLS, (attempt.provider, attempt.model, team))
        for refused in record.refusals:  # our own limits had no turn for it
            endpoint = refused.target.endpoint
            cells.count(names.RATE_LIMITED_CALLS, (endpoint.provider, endpoint.model, team))
        if isinstance(error, RateLimitExceededError) and not attempts and not record.refusals:
            cells.count(names.RATE_LIMITED_CALLS, (error.provider or "", error.model or "", team))
        elif isinstance(error, BudgetExceededError):
            scope = error.scope.partition(":")[0]  # a customer's name is no label
            cells.count(names.BUDGET_BLOCKED, (scope, team, record.attribution.get("project", "")))


def _first_chunks(cells: MetricCells, operation: str, attempts: Sequence[Attempt]) -> None:
    for each in attempts:
        if each.time_to_first_chunk_s is not None:
            labels = (operation, each.provider, each.model, each.error or "ok")
            cells.first_chunks_s.of(labels).add(each.time_to_first_chunk_s)


class Gauges:
    """What an adapter stands at, for whoever collects; safe to call from any thread."""

    __slots__ = ("__weakref__", "_budgets", "_currency", "_health")

    def __init__(self, budgets: Budgets, health: HealthBoard, currency: Currency) -> None:
        self._budgets = budgets
        self._health = health
        self._currency = currency

    def budgets_remaining_usd(self) -> dict[str, float]:
        """US dollars left, by budget; those of customers are left out."""
        return {
            status.name: self._currency.to_pusd(status.remaining) / PUSD_PER_USD
            for status in self._budgets.status()
            if status.scope != "customer"
        }

    def in_flight(self) -> dict[str, int]:
        """Attempts under way, by provider."""
        return self._health.in_flight_by_provider()


class Silent:
    """The outlet of an adapter that exports nothing."""

    __slots__ = ()

    def cells(self) -> MetricCells | None:
        """There is nobody to read them."""
        return None

    def customize(self, definitions: tuple[MetricDefinition, ...]) -> None:
        """Nothing is to be made."""

    async def aclose(self) -> None:
        """There is nothing to export."""


NO_CUSTOM_METRICS: Any = CustomMetrics(Silent())
"""The registry of a pipeline that has none: every custom metric is refused."""

__all__ = ["NO_CUSTOM_METRICS", "CustomMetrics", "Gauges", "Metering", "Outlet", "Silent"]

"""An adapter's metrics on their way out: which meter provider they go to, and what happens when the adapter closes."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import weakref
from typing import Any

from ..._rules.custom_metrics import MetricDefinition, refuse_another
from ..._rules.metric_cells import MetricCells
from ..._rules.telemetry_names import SCOPE
from ...errors import ConfigurationError
from .exposition import Exposition, Standing
from .histograms import drains_exactly

FLUSH_S = 5.0
"""The longest that closing an adapter waits for an exporter; what is not out by then goes with its next export."""
_log = logging.getLogger("genops_helicone_async.metrics")
_INTERFACE = "opentelemetry.metrics"
_lock = threading.Lock()
_expositions: weakref.WeakKeyDictionary[Any, Exposition] = weakref.WeakKeyDictionary()


class OtelMetrics:
    """Binds an adapter to a meter provider: the given one, else the process's own as soon as there is one.

    Without an SDK nothing is imported and nothing counted. `record_histograms` has every value of a histogram recorded
    synchronously, at 8 to 13 µs each, which gives it exemplars.
    """

    __slots__ = ("_deaf", "_definitions", "_exposition", "_flush_s", "_given", "_provider", "_record", "_standing")

    def __init__(
        self, provider: Any, standing: Standing, *, record_histograms: bool = False, flush_s: float = FLUSH_S
    ) -> None:
        self._flush_s = flush_s
        self._given = provider
        self._standing = standing
        self._record = record_histograms
        self._provider: Any = None
        self._deaf: Any = None
        self._exposition: Exposition | None = None
        self._definitions: dict[str, MetricDefinition] = {}
        self.cells()

    def __repr__(self) -> str:
        return f"OtelMetrics({self._exposition or 'no meter provider'})"

    def cells(self) -> MetricCells | None:
        """The cells to count in; None while there is no meter provider that does anything."""
        exposition = self._exposition
        if exposition is not None:
            return exposition.cells
        if self._given is None and _INTERFACE not in sys.modules:  # so that nobody has set a provider up
            return None
        return self._bind()

    def customize(self, definitions: tuple[MetricDefinition, ...]) -> None:
        """Makes instruments of registered metrics, now or as soon as there is a provider.

        Raises:
            ConfigurationError: a metric of this name is there and differs.
        """
        for definition in definitions:
            refuse_another(definition, self._definitions.get(definition.series))
        if self.cells() is not None and self._exposition is not None:
            self._exposition.customize(definitions)
        self._definitions.update({definition.series: definition for definition in definitions})

    async def aclose(self) -> None:
        """Exports what was counted, through the readers that push; raises nothing, and takes 5 s at most by default."""
        exposition, provider = self._exposition, self._provider
        if exposition is None:
            return
        done = asyncio.get_running_loop().run_in_executor(None, _flush, provider, self._flush_s)
        try:
            await asyncio.wait([done], timeout=self._flush_s)
        finally:
            exposition.remove(self._standing)
        if not done.done():
            _log.warning("an exporter of metrics took longer than %g s: the rest goes with its next one", self._flush_s)

    def _bind(self) -> MetricCells | None:
        provider = self._given if self._given is not None else _of_process()
        if provider is None or provider is self._deaf:
            return None
        exposition = _exposition_of(provider, record_histograms=self._record)
        if exposition is None:
            self._deaf = provider
            return None
        for definition in self._definitions.values():  # registered before there was a provider
            try:
                exposition.customize((definition,))
            except ConfigurationError as exc:
                _log.error("%s; this adapter's values of it are lost", exc.message)
        exposition.add(self._standing)
        self._provider, self._exposition = provider, exposition
        return exposition.cells


def _of_process() -> Any:
    """The process's meter provider, None where it has none: then nobody has imported the metrics' interface, either.

    Asked for each call while there is none, so that it costs little: the public question takes 2 µs, for it looks into
    the environment each time.
    """
    metrics = sys.modules.get(_INTERFACE)
    internal = sys.modules.get("opentelemetry.metrics._internal", metrics)
    if metrics is None or getattr(internal, "_METER_PROVIDER", metrics) is None:
        return None
    provider = metrics.get_meter_provider()
    is_stand_in = isinstance(provider, metrics.NoOpMeterProvider) or type(provider).__name__ == "_ProxyMeterProvider"
    return None if is_stand_in else provider


def _exposition_of(provider: Any, *, record_histograms: bool) -> Exposition | None:
    """The exposition of a provider, which all adapters share; None where its meters do nothing."""
    from opentelemetry.metrics import NoOpMeter

    with _lock:
        exposition = _expositions.get(provider)
        if exposition is None:
            meter = provider.get_meter(SCOPE, sys.modules[SCOPE].__version__)  # the scope is the package
            if isinstance(meter, NoOpMeter):
                return None
            exposition = Exposition(meter, by_counts=not record_histograms and drains_exactly())
            _expositions[provider] = exposition
        return exposition


def _flush(provider: Any, flush_s: float) -> None:
    """Exports through the readers that push; one that is asked answers by itself, and twice where it is flushed."""
    if getattr(provider, "_shutdown", False):
        return
    readers = getattr(provider, "_metric_readers", None)
    if readers is None:  # before SDK 1.40
        readers = getattr(getattr(provider, "_sdk_config", None), "metric_readers", None)
    try:
        if readers is None:
            provider.force_flush(timeout_millis=flush_s * 1000)
            return
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        for reader in readers:
            if isinstance(reader, PeriodicExportingMetricReader):
                reader.force_flush(timeout_millis=flush_s * 1000)
    except Exception as exc:  # noqa: BLE001  an exporter's failure must not become the adapter's
        _log.warning("the metrics could not be exported: %s", exc)


__all__ = ["FLUSH_S", "OtelMetrics"]

"""The entry point `opentelemetry_instrumentor`: `opentelemetry-instrument program` switches us on with all others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .switch import init, uninstrument

_PROVIDERS = ("tracer_provider", "meter_provider", "logger_provider")


class HeliconeInstrumentor:
    """What OpenTelemetry's agent expects of an instrumentor, without its base class, which is not ours to require."""

    __slots__ = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: libraries that are not there are not missed."""
        return ()

    def instrument(self, **options: Any) -> None:
        """Switches on with the agent's providers; what else the agent says concerns instrumentors of one library."""
        given = {name: options[name] for name in _PROVIDERS if options.get(name) is not None}
        init(**given)

    def uninstrument(self, **options: Any) -> None:
        """Switches off."""
        uninstrument()


__all__ = ["HeliconeInstrumentor"]

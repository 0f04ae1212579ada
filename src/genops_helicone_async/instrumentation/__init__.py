"""Auto-instrumentation: calls of other clients to Helicone are accounted for as those of an adapter are."""

from __future__ import annotations

from .._flow.ambient import attributes
from .otel_entry import HeliconeInstrumentor
from .switch import Instrumentation, InstrumentationSettings, init, uninstrument

__all__ = [
    "HeliconeInstrumentor",
    "Instrumentation",
    "InstrumentationSettings",
    "attributes",
    "init",
    "uninstrument",
]

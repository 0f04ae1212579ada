"""What OpenTelemetry's resource says of the running program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace


def resource_attributes(tracer_provider: Any | None) -> Mapping[str, object]:
    """The attributes of the provider's resource; none where it has no resource, as without an SDK."""
    provider = tracer_provider if tracer_provider is not None else trace.get_tracer_provider()
    attributes = getattr(getattr(provider, "resource", None), "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


__all__ = ["resource_attributes"]

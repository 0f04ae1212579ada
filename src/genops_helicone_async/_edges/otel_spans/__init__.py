"""Spans of ended calls, given to OpenTelemetry: as its SDK makes them, or built at once where that is allowed."""

from .exporter import SpanExport
from .resources import resource_attributes

__all__ = ["SpanExport", "resource_attributes"]

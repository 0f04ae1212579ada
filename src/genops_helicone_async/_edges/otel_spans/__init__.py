"""Spans of ended calls, given to OpenTelemetry: as its SDK makes them, or built at once where that is allowed."""

from .exporter import SpanExport
from .program import program_name

__all__ = ["SpanExport", "program_name"]

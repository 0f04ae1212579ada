"""What a caller may set of telemetry: OpenTelemetry's providers, and whether prompts and answers may be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

ContentCapture = Literal["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"]
CAPTURE_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_MODES: dict[str, ContentCapture] = {
    "NO_CONTENT": "NO_CONTENT",
    "SPAN_ONLY": "SPAN_ONLY",
    "EVENT_ONLY": "EVENT_ONLY",
    "SPAN_AND_EVENT": "SPAN_AND_EVENT",
}


def capture_of(environ: Mapping[str, str]) -> ContentCapture:
    """Where content goes by the environment; anything but the four words keeps it out of telemetry."""
    return _MODES.get(environ.get(CAPTURE_VARIABLE, "").strip().upper(), "NO_CONTENT")


def checked_provider(name: str, verb: str, value: Any) -> Any:
    """A provider of telemetry, told by what it offers: the SDK's, or any other."""
    if value is not None and not callable(getattr(value, verb, None)):
        raise TypeError(f"`{name}` must be a provider of OpenTelemetry with `{verb}()`, not {type(value).__name__}")
    return value


__all__ = ["CAPTURE_VARIABLE", "ContentCapture", "capture_of", "checked_provider"]

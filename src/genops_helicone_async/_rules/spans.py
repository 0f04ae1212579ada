"""Spans as values: what is to be told of a call, before anybody asks how. Times are Unix nanoseconds.

None of them is ever part of a cycle, so the garbage collector need not look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

Attributes = dict[str, Any]


class SpanEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened within a span."""

    name: str
    attributes: Mapping[str, Any]
    at_ns: int


class SpanContent(msgspec.Struct, frozen=True, gc=False):
    """All a span says. `error_type` is None where what it is about went well; `log` is for a log record beside it."""

    attributes: Attributes
    events: tuple[SpanEvent, ...] = ()
    error_type: str | None = None
    log: SpanEvent | None = None


MakeSpan = Callable[[], tuple[int, int, Callable[[], SpanContent]]]
"""Start and end of a span that may be wanted, and what makes its content, for where it is recorded."""


class Span(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A span that may be wanted: what a sampler is asked with, and the content, made only where somebody records it."""

    name: str
    kind: Literal["client", "internal"]
    start_ns: int
    end_ns: int
    asked: Mapping[str, Any]
    content: Callable[[], SpanContent]


class CallSpans(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The spans of one call: one for each attempt or refusal, under a parent where there is more than one way."""

    parent: Span | None
    units: tuple[Span, ...]


__all__ = ["Attributes", "CallSpans", "MakeSpan", "Span", "SpanContent", "SpanEvent"]

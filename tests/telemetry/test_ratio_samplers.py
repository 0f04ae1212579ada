"""Samplers by ratio: what they surely drop is dropped without asking them, and nothing else is."""

from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
from exported import Spans
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from genops_helicone_async._edges.otel_spans import SpanExport
from genops_helicone_async._rules.spans import SpanContent

HALF = 1 << 63
LOWS = [0, 1, HALF - 1, HALF, HALF + 1, (1 << 64) - 1]
TRACE_IDS = [high << 64 | low for high in (1, 7 << 60, (1 << 64) - 1) for low in LOWS]


class Given(IdGenerator):
    """Gives trace ids of the test's choice."""

    def __init__(self) -> None:
        self.left = list(TRACE_IDS)
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        """The next one."""
        return self.left.pop(0)

    def generate_span_id(self) -> int:
        """Any."""
        return self._random.generate_span_id()


class Counting(TraceIdRatioBased):
    """A sampler of the program's own, which wants to be asked about every span."""

    asked = 0

    def should_sample(self, *arguments: Any, **options: Any) -> SamplingResult:
        """Counts."""
        self.asked += 1
        return super().should_sample(*arguments, **options)


def recorded(sampler: Sampler, *, drops_from: int = 1 << 64) -> list[int]:
    """The trace ids of the spans that were exported, of calls with all the ids above; from where on nobody is asked."""
    spans = Spans(sampler=sampler, id_generator=Given())
    export = SpanExport(spans.provider, None)
    assert export.is_on()
    direct: Any = export._direct
    assert (direct.is_allowed(), direct._drops_from) == (True, drops_from)
    for _ in TRACE_IDS:
        export.export_one("chat m", {}, Context(), lambda: (1, 2, lambda: SpanContent({})))
    return [span.context.trace_id for span in spans.all]


@pytest.mark.parametrize("rate", [0.0, 2.0**-64, 0.5, 1.0 - 2.0**-53, 1.0])
@pytest.mark.parametrize(
    "made", [TraceIdRatioBased, ParentBasedTraceIdRatio, lambda rate: ParentBased(TraceIdRatioBased(rate))]
)
def test_a_ratio_decides_as_the_sampler_would(made: Callable[[float], Sampler], rate: float) -> None:
    """To the last id on either side of its bound, whatever the other half of the id is."""
    asked = TraceIdRatioBased(rate)
    kept = [each for each in TRACE_IDS if asked.should_sample(None, each, "").decision is Decision.RECORD_AND_SAMPLE]
    assert recorded(made(rate), drops_from=asked.bound) == kept


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_sampler_of_the_program_s_own_is_asked_each_time(wrapped: bool) -> None:
    """Also where it is one by ratio underneath: it may count, or think better of it."""
    sampler = Counting(0.5)
    recorded(ParentBased(sampler) if wrapped else sampler)
    assert sampler.asked == len(TRACE_IDS)


def test_an_sdk_that_decides_otherwise_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification lets it look at other bits of the id."""

    def by_high_bits(
        self: TraceIdRatioBased, context: Any, trace_id: int, *rest: Any, **options: Any
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if trace_id >> 64 < self.bound else Decision.DROP)

    monkeypatch.setattr(TraceIdRatioBased, "should_sample", by_high_bits)
    assert recorded(TraceIdRatioBased(0.5)) == [each for each in TRACE_IDS if each >> 64 < HALF]


def test_a_sampler_that_takes_the_place_of_another_is_asked() -> None:
    """As a program does that samples more while it looks for a fault."""
    spans = Spans(sampler=TraceIdRatioBased(0.0))
    export = SpanExport(spans.provider, None)
    tracer: Any = export.tracer()
    tracer.sampler = ALWAYS_ON
    export.export_one("chat m", {}, Context(), lambda: (1, 2, lambda: SpanContent({})))
    assert len(spans.all) == 1

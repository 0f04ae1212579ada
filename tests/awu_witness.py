"""Every AWU of the whole suite is checked: a global tracer provider validates each span when it ends.

Nothing is kept but what is wrong, so a storm of ten thousand calls needs no more memory than one. A test that gives an
adapter a provider of its own is not seen here; those of `tests/telemetry` look at their spans themselves, and so do
programs that tests start.
"""

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from genops_helicone_async.testing import Violation, awu_spans, validate_awu


class Witness(SpanProcessor):
    """Counts AWUs and remembers what is wrong with them, until it is asked."""

    def __init__(self) -> None:
        self.seen = 0
        self._violations: list[Violation] = []

    def on_end(self, span: Any) -> None:
        """Validates the span if it is an AWU."""
        units = awu_spans([span])
        if units:
            self.seen += 1
            self._violations.extend(validate_awu(units))

    def take(self) -> list[Violation]:
        """What was wrong since the last time."""
        taken, self._violations = self._violations, []
        return taken


def install() -> Witness:
    """Makes the witness the processor of the process's own tracer provider."""
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
    witness = Witness()
    provider.add_span_processor(witness)
    trace.set_tracer_provider(provider)
    return witness

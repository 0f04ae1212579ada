"""What is printed: the guide's sample line by line, plain text for files and pipes, and a verdict that counts."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from genops_helicone_async import (
    PerformanceMeasurement,
    ValidationCheck,
    ValidationResult,
    print_validation_result,
)
from genops_helicone_async.validation.layout import duration, rendered
from genops_helicone_async.validation.recommendations import recommendations
from genops_helicone_async.validation.results import Status

SAMPLE = """\
🔍 GenOps Helicone Setup Validation

✅ Helicone API Key: Valid
✅ Provider Keys: 3/3 configured (OpenAI, Anthropic, Groq)
✅ Gateway Connectivity: Healthy (45ms avg latency)
✅ Cost Tracking: Enabled and functioning
⚠️  Self-hosted Gateway: Not configured (using cloud gateway)

🎯 Quick Performance Test:
✅ OpenAI via Helicone: 892ms (cost: $0.0024)
✅ Anthropic via Helicone: 1.1s (cost: $0.0019)
✅ Groq via Helicone: 312ms (cost: $0.0008)

✅ Overall Status: PASSED (with 1 warning)

💡 Recommendations:
- Consider self-hosted gateway for production workloads
- Groq shows best cost/performance ratio for this test
"""


def check(status: Status, title: str, summary: str, remedy: str | None = None) -> ValidationCheck:
    """A finding."""
    return ValidationCheck(name=title.lower(), title=title, status=status, summary=summary, remedy=remedy)


def measured(title: str, latency_s: float, cost: float) -> PerformanceMeasurement:
    """A billed call that was answered."""
    return PerformanceMeasurement(
        provider=title.lower(), title=title, model="m", ok=True, latency_s=latency_s, cost=cost, output_tokens=3
    )


CHECKS = (
    check("ok", "Helicone API Key", "Valid"),
    check("ok", "Provider Keys", "3/3 configured (OpenAI, Anthropic, Groq)"),
    check("ok", "Gateway Connectivity", "Healthy (45ms avg latency)"),
    check("ok", "Cost Tracking", "Enabled and functioning"),
    check(
        "warning", "Self-hosted Gateway", "Not configured (using cloud gateway)",
        "Consider self-hosted gateway for production workloads",
    ),
)  # fmt: skip
CALLS = (measured("OpenAI", 0.892, 0.0024), measured("Anthropic", 1.1, 0.0019), measured("Groq", 0.312, 0.0008))


def result(
    checks: tuple[ValidationCheck, ...] = CHECKS, calls: tuple[PerformanceMeasurement, ...] = CALLS
) -> ValidationResult:
    """What was found."""
    failed = any(one.status == "failed" for one in checks) or not all(one.ok for one in calls)
    return ValidationResult(
        status="failed" if failed else "passed", checks=checks, performance=calls,
        recommendations=recommendations(checks, calls), started_at=datetime(2026, 11, 23, tzinfo=UTC), duration_s=1.0,
    )  # fmt: skip


class Terminal(io.StringIO):
    """A terminal with an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def test_the_guide_s_sample_is_what_such_a_setup_prints() -> None:
    """Every line, sign and blank of it, recommendations included, from the findings alone."""
    out = Terminal("utf-8")
    print_validation_result(result(), file=out)
    assert out.getvalue() == SAMPLE


def test_the_sample_here_is_the_guide_s(shared_dir: Path) -> None:
    """Word for word."""
    guide = (shared_dir / "reference" / "guide.md").read_text(encoding="utf-8")
    assert f"```\n{SAMPLE}```" in guide


def test_files_and_pipes_get_plain_text() -> None:
    """The same lines in the same order, in ASCII words."""
    out = io.StringIO()
    print_validation_result(result(), file=out)
    lines = out.getvalue().splitlines()
    assert out.getvalue().isascii()
    assert lines[0] == "GenOps Helicone Setup Validation"
    assert lines[2] == "[ok] Helicone API Key: Valid"
    assert lines[6] == "[warning] Self-hosted Gateway: Not configured (using cloud gateway)"
    assert len(lines) == len(SAMPLE.splitlines())


def test_a_terminal_that_has_no_such_signs_gets_plain_text() -> None:
    """Windows' old code pages, for one."""
    out = Terminal("cp1252")
    print_validation_result(result(), file=out)
    assert out.getvalue() == rendered(result(), detailed=False, signs=False)


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """As the guide calls it."""
    print_validation_result(result(), detailed=True)
    assert capsys.readouterr().out == rendered(result(), detailed=True, signs=False)


def test_details_come_below_their_answer() -> None:
    """Indented, and only when asked for."""
    one = ValidationCheck(
        name="state_store", title="State Store", status="ok", summary="SQLite", details=("a", "b"), latency_s=0.004
    )
    found = result((one,), (measured("Groq", 0.312, 0.0008),))
    assert rendered(found, detailed=False, signs=False).splitlines()[2:4] == ["[ok] State Store: SQLite", ""]
    assert rendered(found, detailed=True, signs=False).splitlines()[2:9] == [
        "[ok] State Store: SQLite", "   a", "   b", "   took 4ms", "", "Quick Performance Test:",
        "[ok] Groq via Helicone: 312ms (cost: $0.0008)",
    ]  # fmt: skip
    assert "   m: 3 output tokens" in rendered(found, detailed=True, signs=False)


@pytest.mark.parametrize(
    "statuses, verdict",
    [
        (("ok",), "[ok] Overall Status: PASSED"),
        (("ok", "info"), "[ok] Overall Status: PASSED"),
        (("warning", "warning"), "[ok] Overall Status: PASSED (with 2 warnings)"),
        (("failed",), "[failed] Overall Status: FAILED (with 1 error)"),
        (("failed", "failed", "warning"), "[failed] Overall Status: FAILED (with 2 errors, 1 warning)"),
    ],
)
def test_the_verdict_counts_what_was_found(statuses: tuple[Status, ...], verdict: str) -> None:
    """Warnings do not fail; hints are not counted."""
    found = result(tuple(check(status, f"T{i}", "s") for i, status in enumerate(statuses)), ())
    assert rendered(found, detailed=False, signs=False).splitlines()[-1] == verdict


def test_a_call_that_failed_is_an_error() -> None:
    """It is shown with its reason, and counted."""
    broken = PerformanceMeasurement(provider="groq", title="Groq", model="m", ok=False, error="no such model")
    found = result(CHECKS[:1], (CALLS[0], broken))
    text = rendered(found, detailed=True, signs=True)
    assert "❌ Groq via Helicone: no such model\n" in text
    assert "❌ Overall Status: FAILED (with 1 error)\n" in text
    assert "- Groq did not answer: no such model\n" in text
    assert "best cost/performance" not in text


@pytest.mark.parametrize(
    "cost, currency, told",
    [
        (0.0024, "USD", "$0.0024"),
        (0.000011, "USD", "$0.000011"),
        (0.00005, "USD", "$0.0001"),
        (0.0, "USD", "$0.0000"),
        (0.0024, "EUR", "0.0024 EUR"),
    ],
)
def test_costs_are_told_in_as_many_digits_as_they_need(cost: float, currency: str, told: str) -> None:
    """Four, or six where four would show nothing."""
    call = PerformanceMeasurement(
        provider="p", title="P", model="m", ok=True, latency_s=0.1, cost=cost, currency=currency
    )
    assert f"P via Helicone: 100ms (cost: {told})" in rendered(result((), (call,)), detailed=False, signs=False)


@pytest.mark.parametrize(
    "seconds, told",
    [(0.0, "0ms"), (0.0449, "45ms"), (0.9994, "999ms"), (0.9996, "1.0s"), (1.1, "1.1s"), (61.0, "61.0s")],
)
def test_durations(seconds: float, told: str) -> None:
    """Milliseconds below a second, tenths of seconds above."""
    assert duration(seconds) == told


def test_the_most_pressing_advice_comes_first() -> None:
    """Failures, warnings, hints; each piece once."""
    checks = (
        check("info", "A", "", "hint"), check("warning", "B", "", "better"), check("failed", "C", "", "must"),
        check("failed", "D", "", "must"),
    )  # fmt: skip
    assert recommendations(checks, ()) == ("must", "better", "hint")


def test_the_best_ratio_is_that_of_cost_times_time() -> None:
    """Half the cost at thrice the time is no better; a free and fast one is best."""
    assert recommendations((), (measured("A", 1.0, 0.002), measured("B", 3.0, 0.001)))[0].startswith("A shows")
    assert recommendations((), (measured("A", 1.0, 0.002), measured("B", 3.0, 0.0)))[0].startswith("B shows")
    assert recommendations((), (measured("A", 1.0, 0.002),)) == ()

"""What to do next, as it follows from what was found. Pure: the same findings give the same advice."""

from __future__ import annotations

from collections.abc import Sequence

from .results import PerformanceMeasurement, Status, ValidationCheck

_ORDER: dict[Status, int] = {"failed": 0, "warning": 1, "info": 2, "ok": 3}


def recommendations(
    checks: Sequence[ValidationCheck], performance: Sequence[PerformanceMeasurement]
) -> tuple[str, ...]:
    """Each check's remedy, failures first; then what the measurements say."""
    pressing = sorted(checks, key=lambda check: _ORDER[check.status])
    told = [check.remedy for check in pressing if check.remedy is not None]
    told += [f"{one.title} did not answer: {one.error}" for one in performance if not one.ok]
    answered = [one for one in performance if one.ok and one.latency_s is not None]
    if len(answered) > 1:
        best = min(answered, key=lambda one: (one.cost * (one.latency_s or 0.0), one.latency_s or 0.0))
        told.append(f"{best.title} shows best cost/performance ratio for this test")
    return tuple(dict.fromkeys(told))


__all__ = ["recommendations"]

"""What a validation found: one value a question, and the verdict over all."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from ..models import ProviderCheck

Status = Literal["ok", "info", "warning", "failed"]
"""`info` is neither good nor bad: something optional that is not set up."""


class ValidationCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer.

    Attributes:
        name: What was looked at: `configuration`, `helicone_key`, `provider_keys`, `gateway`, `cost_tracking`,
            `state_store`, `clock`, `telemetry` or `self_hosted_gateway`.
        title: The same for people.
        status: `ok`, `info`, `warning` or `failed`.
        summary: The answer in a few words.
        details: More of it, line by line.
        remedy: What to do about it, None where nothing needs to be done.
        latency_s: Seconds that it took to answer, where that was measured.
    """

    name: str
    title: str
    status: Status
    summary: str
    details: tuple[str, ...] = ()
    remedy: str | None = None
    latency_s: float | None = None


class PerformanceMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """One small billed call to a provider: seconds, and money in the adapter's currency; `error` where it failed."""

    provider: str
    title: str
    model: str
    ok: bool
    latency_s: float | None = None
    cost: float = 0.0
    currency: str = "USD"
    output_tokens: int | None = None
    tokens_per_second: float | None = None
    error: str | None = None


class ValidationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a validation found.

    Attributes:
        status: `failed` where a check or a measurement failed, else `passed`; warnings do not fail.
        checks: The answers, in the order in which they are shown.
        providers: What was found of each provider's key.
        performance: The billed calls, none unless they were asked for.
        recommendations: What to do next, the most pressing first.
        gateway_url: The gateway looked at; empty where the settings were refused.
        started_at: When.
        duration_s: How long it took, in seconds.
    """

    status: Literal["passed", "failed"]
    checks: tuple[ValidationCheck, ...]
    providers: dict[str, ProviderCheck] = {}
    performance: tuple[PerformanceMeasurement, ...] = ()
    recommendations: tuple[str, ...] = ()
    gateway_url: str = ""
    started_at: datetime
    duration_s: float

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.status == "passed"

    @property
    def warnings(self) -> tuple[ValidationCheck, ...]:
        """The checks that found something to improve."""
        return tuple(check for check in self.checks if check.status == "warning")

    @property
    def failures(self) -> tuple[ValidationCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "failed")

    def check(self, name: str) -> ValidationCheck:
        """The check of that name; raises `KeyError` where it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


__all__ = ["PerformanceMeasurement", "Status", "ValidationCheck", "ValidationResult"]

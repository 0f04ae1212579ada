"""What GenOps v0.1.0 lists: attributes with their types, events with what they carry, results and reason codes.

Read off the specification and nothing else, so that the validator is a witness of its own: it shares no name with the
code that makes the spans.
"""

from __future__ import annotations

import re
from typing import Any

SPEC_VERSION = "0.1.0"
RESULTS = ("ALLOWED", "BLOCKED", "WARNING", "RATE_LIMITED")
PROCEEDING = ("ALLOWED", "WARNING")
"""Results with which an AWU may run."""
REASON_CODES = frozenset({
    "BUDGET_EXCEEDED", "BUDGET_RESERVATION_FAILED", "POLICY_DENY_MODEL", "POLICY_DENY_REGION", "POLICY_DENY_CONTENT",
    "RATE_LIMITED", "SLA_LATENCY_VIOLATION", "PROVIDER_ERROR_UPSTREAM", "ACCOUNTING_INVARIANT_VIOLATION",
})  # fmt: skip
OWN_REASON_CODE = re.compile(r"x_[a-z0-9_]+")
CURRENCY = re.compile(r"[A-Z]{3}")
PLACEHOLDERS = frozenset({
    "-", "?", "n/a", "na", "none", "null", "nil", "undefined", "unknown", "unset", "placeholder", "changeme", "tbd",
    "todo", "xxx",
})  # fmt: skip

ALWAYS = (
    "genops.team",
    "genops.project",
    "genops.environment",
    "genops.operation.name",
    "genops.operation.type",
    "genops.spec.version",
    "genops.policy.result",
)
"""Required on every AWU, whatever became of it."""
ATTRIBUTION = ALWAYS[:3]
MEANINGFUL = (*ALWAYS[:5], "genops.accounting.unit")
"""Texts that must not be placeholders."""
RESERVED, ACTUAL = "genops.accounting.reserved", "genops.accounting.actual"
UNIT, DELTA = "genops.accounting.unit", "genops.accounting.reconciliation_delta"
RESULT, REASON_CODE = "genops.policy.result", "genops.policy.reason_code"
SLA = ("genops.sla.tier", "genops.sla.latency_target_ms", "genops.sla.actual_latency_ms", "genops.sla.met")
EXECUTED_SIGNS = ("gen_ai.response.", "gen_ai.usage.", "genops.tokens.", "genops.cost.", "http.response.")
"""Whoever carries one of these has run."""

_STRINGS = (
    *ALWAYS, REASON_CODE, UNIT, "genops.policy.name", "genops.policy.reason", "genops.budget.name",
    "genops.budget.period", "genops.cost.currency", "genops.cost.provider", "genops.cost.model", "genops.eval.metric",
    "genops.sla.tier", "genops.customer_id", "genops.feature", "genops.session_id", "genops.cost_center",
)  # fmt: skip
_DOUBLES = (
    RESERVED, ACTUAL, DELTA, "genops.budget.allocated", "genops.budget.consumed", "genops.budget.remaining",
    "genops.cost.total", "genops.eval.score", "genops.eval.threshold",
)  # fmt: skip
_INTEGERS = (
    "genops.policy.timestamp", "genops.tokens.input", "genops.tokens.output", "genops.tokens.total",
    "genops.sla.latency_target_ms", "genops.sla.actual_latency_ms",
)  # fmt: skip
TYPES: dict[str, type[Any]] = {
    **dict.fromkeys(_STRINGS, str),
    **dict.fromkeys(_DOUBLES, float),
    **dict.fromkeys(_INTEGERS, int),
    "genops.eval.passed": bool,
    "genops.sla.met": bool,
}
NEVER_NEGATIVE = (RESERVED, ACTUAL, "genops.cost.total", *_INTEGERS)

POLICY_EVENT = "genops.policy.evaluated"
RESERVATION_EVENT = "genops.budget.reservation"
RECONCILIATION_EVENT = "genops.budget.reconciliation"
EVENTS: dict[str, tuple[str, ...]] = {
    POLICY_EVENT: (RESULT,),
    RESERVATION_EVENT: (RESERVED, UNIT),
    RECONCILIATION_EVENT: (ACTUAL, RESERVED, UNIT),
    "genops.cost.calculated": ("genops.cost.total", "genops.cost.currency"),
    "genops.budget.alert": ("genops.budget.name", "genops.budget.consumed", "genops.budget.allocated"),
    "genops.evaluation.complete": ("genops.eval.metric", "genops.eval.score"),
}
"""Events and what each must carry."""
ECHOED = (RESULT, REASON_CODE, RESERVED, ACTUAL, UNIT, DELTA, *ATTRIBUTION)
"""What an event repeats of its AWU must be the same there."""

SPANS_ONLY = ("customer_id", "session_id", "user_id")
"""Identities with too many values for a metric."""

__all__ = [
    "ACTUAL",
    "ALWAYS",
    "ATTRIBUTION",
    "CURRENCY",
    "DELTA",
    "ECHOED",
    "EVENTS",
    "EXECUTED_SIGNS",
    "MEANINGFUL",
    "NEVER_NEGATIVE",
    "OWN_REASON_CODE",
    "PLACEHOLDERS",
    "POLICY_EVENT",
    "PROCEEDING",
    "REASON_CODE",
    "REASON_CODES",
    "RECONCILIATION_EVENT",
    "RESERVATION_EVENT",
    "RESERVED",
    "RESULT",
    "RESULTS",
    "SLA",
    "SPANS_ONLY",
    "SPEC_VERSION",
    "TYPES",
    "UNIT",
]

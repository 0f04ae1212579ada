"""What GenOps calls a refusal: the result and reason code of a call that was stopped before it ran."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    GatewayError,
    HeliconeError,
    LedgerError,
    PolicyDeniedError,
    ProviderError,
    RateLimitExceededError,
    RoutingError,
)
from . import telemetry_names as names

_LISTED = frozenset({
    names.BUDGET_EXCEEDED, names.BUDGET_RESERVATION_FAILED, names.POLICY_DENY_MODEL, names.POLICY_DENY_REGION,
    names.POLICY_DENY_CONTENT, names.SLA_LATENCY_VIOLATION, names.PROVIDER_ERROR_UPSTREAM,
    names.ACCOUNTING_INVARIANT_VIOLATION,
})  # fmt: skip
_OWN: tuple[tuple[type[Exception], str], ...] = (
    (RoutingError, names.X_ROUTING),
    (ConfigurationError, names.X_CONFIGURATION),
    (AuthenticationError, names.X_AUTHENTICATION),
)


class Refusal(NamedTuple):
    """A decision against a call: `result` and `code` are GenOps' words."""

    result: str
    code: str


def refusal_of(error: BaseException, *, routed: bool, waited_for_budget: bool) -> Refusal:
    """What the error of a call that was never sent stands for.

    An error whose own `code` is one of the listed reason codes says it itself. A deadline that passed after routing
    (`routed`) did so at the provider's limits, one before it while the budget was asked or the call was prepared.
    """
    if isinstance(error, HeliconeError) and error.code in _LISTED:
        return Refusal(names.BLOCKED, error.code or "")
    if isinstance(error, PolicyDeniedError):
        return Refusal(names.BLOCKED, error.reason_code)
    if isinstance(error, BudgetExceededError):
        return Refusal(names.BLOCKED, names.BUDGET_EXCEEDED)
    if isinstance(error, LedgerError):
        return Refusal(names.BLOCKED, names.BUDGET_RESERVATION_FAILED)
    if isinstance(error, RateLimitExceededError):
        return Refusal(names.RATE_LIMITED, names.RATE_LIMITED)
    if isinstance(error, DeadlineExceededError):
        if routed or error.throttled:
            return Refusal(names.RATE_LIMITED, names.RATE_LIMITED)
        return Refusal(names.BLOCKED, names.BUDGET_RESERVATION_FAILED if waited_for_budget else names.X_DEADLINE)
    if isinstance(error, ProviderError | GatewayError):  # every way was closed: limits were used up, or circuits open
        if error.throttled or error.code == "no_turn":
            return Refusal(names.RATE_LIMITED, names.RATE_LIMITED)
        return Refusal(names.BLOCKED, names.PROVIDER_ERROR_UPSTREAM)
    for kind, code in _OWN:
        if isinstance(error, kind):
            return Refusal(names.BLOCKED, code)
    if isinstance(error, Exception):
        return Refusal(names.BLOCKED, names.X_INTERNAL)
    return Refusal(names.BLOCKED, names.X_CANCELLED)


__all__ = ["Refusal", "refusal_of"]

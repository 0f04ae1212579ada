"""Refusals as AI Workload Units: what was stopped before it was sent is a unit that never ran."""

from __future__ import annotations

from typing import Any

from .._rules import telemetry_names as names
from .._rules.policy_results import refusal_of
from .._rules.spans import Attributes, SpanEvent
from .._values import Currency
from ..errors import BudgetExceededError, DeadlineExceededError, HeliconeError, LedgerError, ProviderError
from .ticket import RequestRecord


def was_refused(record: RequestRecord, error: BaseException) -> bool:
    """Whether the call ended with something that was never sent, and is no target's refusal that is told already.

    An attempt's own error has the id it was sent by.
    """
    refusals = record.refusals
    if refusals and refusals[-1].after == len(record.attempts) and isinstance(error, _OF_TARGETS):
        return False
    if not record.attempts:
        return True
    last = record.attempts[-1]
    if isinstance(error, BudgetExceededError | DeadlineExceededError | LedgerError):
        return getattr(error, "request_id", None) is None and last.error != type(error).__name__
    return False


_OF_TARGETS = (DeadlineExceededError, ProviderError)
"""What a call ends with where its last target's limits had no turn for it; `AllProvidersFailedError` is one of them."""


def meant(record: RequestRecord, error: BaseException) -> tuple[str, str]:
    """The provider and model a refused call was meant for, as far as that is known; the first candidate's else."""
    provider, model = getattr(error, "provider", None), getattr(error, "model", None)
    if record.routing is not None and record.routing.candidates and provider is None:
        first = record.routing.candidates[0]
        provider, model = first.provider, model or first.model
    elif record.meant is not None and provider in (None, record.meant.provider):
        provider, model = record.meant.provider, model or record.meant.model
    return provider or record.request.provider or "", model or record.request.model or ""


def refused(
    attributes: Attributes, record: RequestRecord, error: BaseException, currency: Currency, at_ns: int
) -> list[SpanEvent]:
    """Puts the decision against a call, or against one of its targets, into the attributes, and gives its events."""
    decision = refusal_of(
        error,
        routed=record.routing is not None or bool(record.refusals),
        waited_for_budget=record.hold_limited and not record.held_pusd,
    )
    told: Attributes = {names.GENOPS_POLICY_RESULT: decision.result, names.GENOPS_POLICY_REASON_CODE: decision.code}
    attributes[names.ERROR_TYPE] = type(error).__name__
    events = []
    if record.held_pusd and not record.attempts:
        reserved = {
            names.GENOPS_ACCOUNTING_RESERVED: currency.of(record.held_pusd),
            names.GENOPS_ACCOUNTING_UNIT: currency.code,
        }
        attributes.update(reserved)
        events.append(SpanEvent(names.EVENT_RESERVATION, reserved, at_ns))
    if isinstance(error, BudgetExceededError):
        attributes.update(_budget(error))
    if isinstance(error, HeliconeError):
        told[names.GENOPS_POLICY_REASON] = error.message
    attributes.update(told)
    events.append(SpanEvent(names.EVENT_POLICY, told, at_ns))
    return events


def _budget(error: BudgetExceededError) -> Attributes:
    told: dict[str, Any] = {
        names.GENOPS_BUDGET_NAME: error.scope,
        names.GENOPS_BUDGET_ALLOCATED: float(error.budget_limit),
        names.GENOPS_BUDGET_CONSUMED: float(error.current_usage),
        names.GENOPS_BUDGET_REMAINING: float(error.budget_limit - error.current_usage),
        names.GENOPS_BUDGET_PERIOD: error.period,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


__all__ = ["meant", "refused", "was_refused"]

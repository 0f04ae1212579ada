"""The money of one AI Workload Unit: what was reserved, what it cost, and the reconciliation of the two.

The unit is the adapter's currency; where no price is known it is tokens, for 0 dollars would be untrue. An actual that
is an estimate, because the provider's own count never came, is marked incomplete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .._rules.spans import Attributes, SpanEvent
from .._rules.telemetry_names import (
    EVENT_BUDGET_ALERT,
    EVENT_COST,
    EVENT_RECONCILIATION,
    EVENT_RESERVATION,
    GENOPS_ACCOUNTING_ACTUAL,
    GENOPS_ACCOUNTING_DELTA,
    GENOPS_ACCOUNTING_INCOMPLETE,
    GENOPS_ACCOUNTING_RESERVED,
    GENOPS_ACCOUNTING_UNIT,
    GENOPS_BUDGET_ALLOCATED,
    GENOPS_BUDGET_CONSUMED,
    GENOPS_BUDGET_NAME,
    GENOPS_BUDGET_PERIOD,
    GENOPS_BUDGET_REMAINING,
    GENOPS_COST_CURRENCY,
    GENOPS_COST_MODEL,
    GENOPS_COST_PROVIDER,
    GENOPS_COST_SOURCE,
    GENOPS_COST_TOTAL,
    GENOPS_SLA_ACTUAL_MS,
    GENOPS_SLA_MET,
    GENOPS_SLA_TARGET_MS,
    GENOPS_SLA_TIER,
    GENOPS_TOKENS_INPUT,
    GENOPS_TOKENS_OUTPUT,
    GENOPS_TOKENS_TOTAL,
)
from .._values import Currency
from ..chat_request import ChatRequest
from ..errors import Attempt
from ..models import BudgetAlert
from .budget_standing import BudgetStanding

_MOST_MS = 2**63 - 1
"""The largest integer that exporters can write; a target beyond it is met all the same."""


def accounted(
    attributes: Attributes,
    attempt: Attempt,
    currency: Currency,
    start_ns: int,
    end_ns: int,
    budget: BudgetStanding | None = None,
) -> tuple[SpanEvent, ...]:
    """Puts the accounting of an attempt that ran into its attributes, and gives the events that go with it."""
    cost_source, tokens_in, tokens_out = attempt.cost_source, attempt.input_tokens, attempt.output_tokens
    unpriced = attempt.reserved_tokens is not None or cost_source == "unpriced"
    total = (tokens_in or 0) + (tokens_out or 0)
    if unpriced:
        unit, reserved, actual = "tokens", float(attempt.reserved_tokens or 0), float(total)
    else:
        unit, reserved, actual = currency.code, attempt.reserved, attempt.cost
    held: Attributes = {GENOPS_ACCOUNTING_RESERVED: reserved, GENOPS_ACCOUNTING_UNIT: unit}
    booked = {**held, GENOPS_ACCOUNTING_ACTUAL: actual, GENOPS_ACCOUNTING_DELTA: actual - reserved}
    if cost_source == "estimated" or (unpriced and attempt.billed == "maybe"):
        booked[GENOPS_ACCOUNTING_INCOMPLETE] = True
    attributes |= booked
    if budget is not None:
        attributes |= _standing(budget, currency)
        booked[GENOPS_BUDGET_NAME] = held[GENOPS_BUDGET_NAME] = budget.scope.name
        held[GENOPS_BUDGET_REMAINING] = attributes[GENOPS_BUDGET_REMAINING]
    if tokens_in is not None:
        attributes[GENOPS_TOKENS_INPUT] = tokens_in
        attributes[GENOPS_TOKENS_OUTPUT] = tokens_out or 0
        attributes[GENOPS_TOKENS_TOTAL] = total
    hold, reconciliation = SpanEvent(EVENT_RESERVATION, held, start_ns), SpanEvent(EVENT_RECONCILIATION, booked, end_ns)
    if unpriced:
        return hold, reconciliation
    cost = {
        GENOPS_COST_TOTAL: actual,
        GENOPS_COST_CURRENCY: unit,
        GENOPS_COST_PROVIDER: attempt.provider,
        GENOPS_COST_MODEL: attempt.model,
    }
    attributes |= cost
    attributes[GENOPS_COST_SOURCE] = cost_source
    return hold, SpanEvent(EVENT_COST, cost, end_ns), reconciliation


def _standing(budget: BudgetStanding, currency: Currency) -> Attributes:
    """The tightest budget as it stood when the attempt was sent, the hold for it counted."""
    scope, used_pusd, money = budget.scope, budget.used_pusd, currency.of
    limit_pusd = scope.limit_pusd or 0
    return {
        GENOPS_BUDGET_NAME: scope.name,
        GENOPS_BUDGET_ALLOCATED: money(limit_pusd),
        GENOPS_BUDGET_CONSUMED: money(used_pusd),
        GENOPS_BUDGET_REMAINING: money(limit_pusd - used_pusd),
        GENOPS_BUDGET_PERIOD: budget.period,
    }


def alerted(alerts: Iterable[BudgetAlert], at_ns: int) -> list[SpanEvent]:
    """The events of budgets that this call's cost has taken past a threshold: one for each budget."""
    return [
        SpanEvent(
            EVENT_BUDGET_ALERT,
            {
                GENOPS_BUDGET_NAME: alert.name,
                GENOPS_BUDGET_CONSUMED: alert.settled,
                GENOPS_BUDGET_ALLOCATED: alert.limit,
            },
            at_ns,
        )
        for alert in {alert.name: alert for alert in alerts}.values()
    ]


def service_level(attributes: Attributes, request: ChatRequest, duration_s: float) -> None:
    """Puts the four attributes of a service level there, where the call names its tier and its target; else none.

    Both times are whole milliseconds: the actual is rounded up, so that no miss is ever told as met.
    """
    if request.sla_tier is None or request.sla_latency_ms is None:
        return
    target_ms, actual_ms = min(max(1, round(request.sla_latency_ms)), _MOST_MS), math.ceil(duration_s * 1000)
    attributes[GENOPS_SLA_TIER] = request.sla_tier
    attributes[GENOPS_SLA_TARGET_MS] = target_ms
    attributes[GENOPS_SLA_ACTUAL_MS] = actual_ms
    attributes[GENOPS_SLA_MET] = actual_ms <= target_ms


__all__ = ["accounted", "alerted", "service_level"]

"""The money of one AI Workload Unit: what was reserved, what it cost, and the reconciliation of the two.

The unit is the adapter's currency; where no price is known it is tokens, for 0 dollars would be untrue. An actual that
is an estimate, because the provider's own count never came, is marked incomplete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .._rules import telemetry_names as names
from .._rules.spans import Attributes, SpanEvent
from .._values import Currency
from ..chat_request import ChatRequest
from ..errors import Attempt
from ..models import BudgetAlert
from .budget_standing import BudgetStanding

_HELD = (names.GENOPS_ACCOUNTING_RESERVED, names.GENOPS_ACCOUNTING_UNIT)
_BOOKED = (*_HELD, names.GENOPS_ACCOUNTING_ACTUAL, names.GENOPS_ACCOUNTING_DELTA)
_TOKENS = (names.GENOPS_TOKENS_INPUT, names.GENOPS_TOKENS_OUTPUT, names.GENOPS_TOKENS_TOTAL)
_COST = (names.GENOPS_COST_TOTAL, names.GENOPS_COST_CURRENCY, names.GENOPS_COST_PROVIDER, names.GENOPS_COST_MODEL)
_BUDGET = (
    names.GENOPS_BUDGET_NAME, names.GENOPS_BUDGET_PERIOD, names.GENOPS_BUDGET_ALLOCATED, names.GENOPS_BUDGET_CONSUMED,
    names.GENOPS_BUDGET_REMAINING,
)  # fmt: skip
_MOST_MS = 2**63 - 1
"""The largest integer that exporters can write; a target beyond it is met all the same."""


def accounted(
    attributes: Attributes,
    attempt: Attempt,
    currency: Currency,
    start_ns: int,
    end_ns: int,
    budget: BudgetStanding | None = None,
) -> list[SpanEvent]:
    """Puts the accounting of an attempt that ran into its attributes, and gives the events that go with it."""
    unpriced = attempt.reserved_tokens is not None or attempt.cost_source == "unpriced"
    tokens_in, tokens_out = attempt.input_tokens or 0, attempt.output_tokens or 0
    if unpriced:
        unit, reserved, actual = "tokens", float(attempt.reserved_tokens or 0), float(tokens_in + tokens_out)
    else:
        unit, reserved, actual = currency.code, attempt.reserved, attempt.cost
    booked: Attributes = dict(zip(_BOOKED, (reserved, unit, actual, actual - reserved), strict=True))
    if attempt.cost_source == "estimated" or (unpriced and attempt.billed == "maybe"):
        booked[names.GENOPS_ACCOUNTING_INCOMPLETE] = True
    attributes.update(booked)
    held: Attributes = dict(zip(_HELD, (reserved, unit), strict=True))
    if budget is not None:
        standing = _standing(budget, currency)
        attributes.update(standing)
        booked[names.GENOPS_BUDGET_NAME] = held[names.GENOPS_BUDGET_NAME] = budget.name
        held[names.GENOPS_BUDGET_REMAINING] = standing[names.GENOPS_BUDGET_REMAINING]
    events = [SpanEvent(names.EVENT_RESERVATION, held, start_ns)]
    if attempt.input_tokens is not None:
        attributes.update(zip(_TOKENS, (tokens_in, tokens_out, tokens_in + tokens_out), strict=True))
    if not unpriced:
        cost = dict(zip(_COST, (attempt.cost, unit, attempt.provider, attempt.model), strict=True))
        attributes.update(cost)
        attributes[names.GENOPS_COST_SOURCE] = attempt.cost_source
        events.append(SpanEvent(names.EVENT_COST, cost, end_ns))
    events.append(SpanEvent(names.EVENT_RECONCILIATION, booked, end_ns))
    return events


def _standing(budget: BudgetStanding, currency: Currency) -> Attributes:
    """The tightest budget as it stood when the attempt was sent, the hold for it counted."""
    amounts = map(currency.of, (budget.limit_pusd, budget.used_pusd, budget.left_pusd))
    return dict(zip(_BUDGET, (budget.name, budget.period, *amounts), strict=True))


def alerted(alerts: Iterable[BudgetAlert], at_ns: int) -> list[SpanEvent]:
    """The events of budgets that this call's cost has taken past a threshold: one for each budget."""
    return [
        SpanEvent(
            names.EVENT_BUDGET_ALERT,
            {
                names.GENOPS_BUDGET_NAME: alert.name,
                names.GENOPS_BUDGET_CONSUMED: alert.settled,
                names.GENOPS_BUDGET_ALLOCATED: alert.limit,
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
    attributes[names.GENOPS_SLA_TIER] = request.sla_tier
    attributes[names.GENOPS_SLA_TARGET_MS] = target_ms
    attributes[names.GENOPS_SLA_ACTUAL_MS] = actual_ms
    attributes[names.GENOPS_SLA_MET] = actual_ms <= target_ms


__all__ = ["accounted", "alerted", "service_level"]

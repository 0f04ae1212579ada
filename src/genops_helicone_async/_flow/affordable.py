"""Which candidates a call can pay for: its own `max_cost` and, where a budget is enforced, a known price."""

from __future__ import annotations

from .._values import Currency
from ..chat_request import ChatRequest
from ..errors import BudgetExceededError, ConfigurationError
from .estimates import Estimates
from .ticket import Target, Ticket

Case = tuple[Target, int]
"""A target and the most that a call may cost there, in pico-dollars; 0 where that is unknown and nobody minds."""


def cases_of(ticket: Ticket, targets: list[Target], estimates: Estimates, currency: Currency) -> list[Case]:
    """The targets that may be asked, each with its worst case, in the order given.

    Raises:
        BudgetExceededError: every worst case is above the call's `max_cost`.
        ConfigurationError: a budget is enforced, and no target has a known price.
    """
    request, is_enforced = ticket.request, ticket.hold.is_enforced
    costs = [(target, estimates.worst_case_pusd(request, target)) for target in targets]
    if request.max_cost is not None:
        most = currency.to_pusd(request.max_cost)
        within = [(target, cost) for target, cost in costs if cost is not None and cost <= most]
        if not within:
            least = min((cost for _, cost in costs if cost is not None), default=None)
            raise beyond_max_cost(request, currency, least)
        return within
    cases = [(target, cost or 0) for target, cost in costs if cost is not None or not is_enforced]
    if not cases:
        names = ", ".join(f"{target.endpoint.provider}/{target.endpoint.model}" for target in targets)
        raise ConfigurationError(
            f"a budget is enforced and no price is known for {names}: give one with prices=…, or enforce_budget=False"
        )
    return cases


def most_pusd(request: ChatRequest, currency: Currency) -> int | None:
    """What the whole call may cost at most, None where it does not say."""
    return None if request.max_cost is None else currency.to_pusd(request.max_cost)


def beyond_max_cost(
    request: ChatRequest, currency: Currency, least_pusd: int | None, *, spent_pusd: int = 0
) -> BudgetExceededError:
    """The error for a call whose `max_cost` leaves no room for the next attempt; `least_pusd` is what that may cost."""
    least = (
        f"the cheapest attempt may cost {currency.of(least_pusd):.6f} {currency.code}"
        if least_pusd is not None
        else "no candidate has a known price"
    )
    spent = f" after {currency.of(spent_pusd):.6f} that failed attempts may have cost" if spent_pusd else ""
    return BudgetExceededError(
        f"`max_cost` is {request.max_cost:g} {currency.code} and {least}{spent}: "
        "raise it, lower max_tokens or name a cheaper model",
        current_usage=currency.of(spent_pusd),
        budget_limit=request.max_cost or 0.0,
        scope="request",
    )


__all__ = ["Case", "beyond_max_cost", "cases_of", "most_pusd"]

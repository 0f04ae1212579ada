"""Which candidate is asked first and who follows: strategy, prices and the call's own limit of cost. No I/O."""

from __future__ import annotations

from .._rules.strategies import Option, rank
from ..chat_request import ChatRequest
from ..errors import BudgetExceededError, RoutingError
from ..models import PUSD_PER_USD, Candidate, RoutingDecision
from .estimates import Estimates
from .ticket import Target, Ticket


def route(ticket: Ticket, targets: list[Target], estimates: Estimates) -> list[Target]:
    """The targets in the order they are to be asked; the decision and its reasons go on the ticket.

    Raises:
        BudgetExceededError: the worst case of every candidate is above the call's `max_cost`.
        RoutingError: an unknown strategy, or one that this call cannot use.
    """
    request = ticket.request
    if len(targets) == 1 and request.max_cost is None and request.routing_strategy is None:
        endpoint = targets[0].endpoint
        ticket.routing = _only(endpoint.provider, endpoint.model)
        return targets
    for name in ("provider_preferences", "fallback_strategy"):
        if getattr(request, name) is not None:
            raise RoutingError(f"`{name}` is not available in this version: give `providers` in the order you prefer")
    allowed = targets if request.max_cost is None else _within(request, targets, estimates)
    strategy = request.routing_strategy or "failover"
    ranked = rank(strategy, _options(request, allowed, estimates if strategy == "cost_optimized" else None))
    ordered = [allowed[place.index] for place in ranked]
    candidates = tuple(
        Candidate(provider=t.endpoint.provider, model=t.endpoint.model, score=place.score, reason=place.reason)
        for t, place in zip(ordered, ranked, strict=True)
    )
    ticket.routing = RoutingDecision(
        strategy=strategy, candidates=candidates, selected=candidates[0].provider, reason=candidates[0].reason
    )
    return ordered


_remembered: dict[tuple[str, str], RoutingDecision] = {}


def _only(provider: str, model: str) -> RoutingDecision:
    decision = _remembered.get((provider, model))
    if decision is None:
        why = "the only candidate"
        candidate = Candidate(provider=provider, model=model, reason=why)
        decision = RoutingDecision(strategy="failover", candidates=(candidate,), selected=provider, reason=why)
        if len(_remembered) < 4096:  # a cap, so that odd model names cannot fill memory
            _remembered[provider, model] = decision
    return decision


def _options(request: ChatRequest, targets: list[Target], estimates: Estimates | None) -> list[Option]:
    costs = [estimates.expected_pusd(request, target) if estimates is not None else None for target in targets]
    return [
        Option(index=i, provider=t.endpoint.provider, model=t.endpoint.model, expected_pusd=costs[i])
        for i, t in enumerate(targets)
    ]


def _within(request: ChatRequest, targets: list[Target], estimates: Estimates) -> list[Target]:
    limit = request.max_cost or 0.0
    costs = [estimates.worst_case_pusd(request, target) for target in targets]
    allowed = [
        t for t, cost in zip(targets, costs, strict=True) if cost is not None and cost <= round(limit * PUSD_PER_USD)
    ]
    if allowed:
        return allowed
    known = [cost for cost in costs if cost is not None]
    least = f"the cheapest could cost ${min(known) / PUSD_PER_USD:.6f}" if known else "no candidate has a known price"
    raise BudgetExceededError(
        f"`max_cost` is ${limit:g} and {least}: raise it, lower max_tokens or name a cheaper model",
        current_usage=0.0,
        budget_limit=limit,
        scope="request",
    )


__all__ = ["route"]

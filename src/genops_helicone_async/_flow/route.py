"""Which candidate is asked first and who follows, by strategy and prices. No I/O."""

from __future__ import annotations

from .._rules.strategies import Option, rank
from ..chat_request import ChatRequest
from ..errors import RoutingError
from ..models import Candidate, RoutingDecision
from .estimates import Estimates
from .ticket import Target, Ticket


def route(ticket: Ticket, targets: list[Target], estimates: Estimates) -> list[Target]:
    """The targets in the order they are to be asked; the decision and its reasons go on the ticket.

    Raises:
        RoutingError: an unknown strategy, or one that this call cannot use.
    """
    request = ticket.request
    if len(targets) == 1 and request.routing_strategy is None:
        endpoint = targets[0].endpoint
        ticket.routing = _only(endpoint.provider, endpoint.model)
        return targets
    for name in ("provider_preferences", "fallback_strategy"):
        if getattr(request, name) is not None:
            raise RoutingError(f"`{name}` is not available in this version: give `providers` in the order you prefer")
    strategy = request.routing_strategy or "failover"
    ranked = rank(strategy, _options(request, targets, estimates if strategy == "cost_optimized" else None))
    ordered = [targets[place.index] for place in ranked]
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


__all__ = ["route"]

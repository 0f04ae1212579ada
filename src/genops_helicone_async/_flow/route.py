"""Which candidate is asked first and who follows: strategy, prices, health, or the caller's own function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec

from .._providers import PROVIDERS
from .._rules.custom_routing import RoutingCandidate, RoutingContext, resolve_custom
from .._rules.health import HealthBoard
from .._rules.preferences import parse_preferences
from .._rules.prices import rates_for
from .._rules.strategies import FOR_SEVERAL, STRATEGIES, Option, RankContext, rank
from .._wire.dialects import default_model
from ..chat_request import ChatRequest
from ..config import Settings
from ..errors import ConfigurationError, RoutingError
from ..models import PUSD_PER_USD, Candidate, RoutingDecision
from .candidates import Candidates
from .circuits import key_of
from .estimates import Estimates
from .ticket import Target, Ticket

RoutingFunction = Callable[[list[str], Any, RoutingContext], Any]
"""`(providers, message, context) -> name | [names] | None`, synchronous or not."""


_BY_PLACE = frozenset({"failover", "round_robin"})
_BY_HEALTH = frozenset({"least_busy", "performance_optimized"})
_MOST_REMEMBERED = 4096


class RoutingBoard(msgspec.Struct, frozen=True, kw_only=True):
    """What routing knows across calls and event loops: health, the caller's own strategies and scores, a count."""

    health: HealthBoard
    custom: dict[str, RoutingFunction] = msgspec.field(default_factory=dict)
    qualities: dict[str, float] = msgspec.field(default_factory=dict)
    turns: Any = msgspec.field(default_factory=count)

    def register(self, name: str, function: RoutingFunction) -> None:
        """Adds a strategy of the caller's, or replaces one.

        Raises:
            ConfigurationError: the name is empty or that of a built-in strategy.
            TypeError: `function` cannot be called.
        """
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError("`name` must be a non-empty text: it is what `routing_strategy` will say")
        if name in STRATEGIES or name in FOR_SEVERAL:
            raise ConfigurationError(f"`name` is {name!r}, a built-in strategy: choose another")
        if not callable(function):
            raise TypeError(f"`fn` must be a function of (providers, message, context), not {type(function).__name__}")
        self.custom[name] = function

    def score(self, scores: Mapping[str, float]) -> None:
        """Replaces the caller's own quality scores, by `provider/model` or model.

        Raises:
            ConfigurationError: a name is empty, or a score is no finite number.
            TypeError: `scores` is no mapping.
        """
        if not isinstance(scores, Mapping):
            raise TypeError(f"`scores` must map models to numbers, not {type(scores).__name__}")
        for model, score in scores.items():
            if not isinstance(model, str) or not model.strip():
                raise ConfigurationError(f"`scores` has the key {model!r}: keys are models or `provider/model`")
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise ConfigurationError(f"`scores[{model!r}]` is {score!r}: give a finite number, higher is better")
        self.qualities.clear()
        self.qualities.update(scores)


class Router:
    """Orders the targets of calls on one event loop. `clock` is that loop's, `random` gives numbers from 0 up to 1."""

    __slots__ = (
        *("_board", "_candidates", "_clock", "_estimates", "_known", "_only", "_random", "_remembered"),
        "_settings",
    )

    def __init__(
        self,
        settings: Settings,
        board: RoutingBoard,
        candidates: Candidates,
        estimates: Estimates,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._board = board
        self._candidates = candidates
        self._estimates = estimates
        self._clock = clock
        self._random = random
        self._known = frozenset({*PROVIDERS, *settings.provider_urls})
        self._remembered: dict[tuple[object, ...], tuple[list[Target], RoutingDecision]] = {}
        self._only: dict[int, tuple[list[Target], RoutingDecision]] = {}

    async def route(self, ticket: Ticket, targets: list[Target]) -> list[Target]:
        """The targets in the order they are to be asked; the decision and its reasons go on the ticket.

        Waits only for a function of the caller's that has to be awaited.

        Raises:
            RoutingError: an unknown strategy, or a function of the caller's named no known provider.
        """
        ordered = self.route_nowait(ticket, targets)
        if ordered is None:
            ordered = await self._by_function(ticket, targets, ticket.request.routing_strategy or "")
        return ordered

    def route_nowait(self, ticket: Ticket, targets: list[Target]) -> list[Target] | None:
        """The same, unless a function of the caller's decides: then None, and nothing is done."""
        request = ticket.request
        if len(targets) == 1 and request.routing_strategy is None:
            known = self._only.get(id(targets[0]))  # which keeps the target alive, so that the id is its own
            ticket.routing = known[1] if known is not None else self._usual("failover", targets, only=True)
            return targets
        strategy = request.routing_strategy or ("weighted" if request.provider_preferences else "failover")
        if strategy in _BY_PLACE and request.fallback_strategy is None and self._all_closed(targets):
            start = next(self._board.turns) % len(targets) if strategy == "round_robin" else 0
            turned = [*targets[start:], *targets[:start]] if start else targets
            ticket.routing = self._usual(strategy, turned)
            return turned
        if strategy in self._board.custom:
            return None
        context = RankContext(
            random=self._random(), counter=next(self._board.turns), qualities=self._board.qualities or None
        )
        wanted = (strategy, request.fallback_strategy)
        options = self._options(
            request, targets, priced="cost_optimized" in wanted, observed=not _BY_HEALTH.isdisjoint(wanted)
        )
        try:
            ranked = rank(strategy, options, context, request.fallback_strategy)
        except RoutingError as exc:
            own = f", and your own {', '.join(sorted(self._board.custom))}" if self._board.custom else ""
            raise RoutingError(exc.message + own) from None
        ordered = [targets[place.index] for place in ranked]
        why = [(place.score, place.reason) for place in ranked]
        ticket.routing = _decision(strategy, ordered, why)
        return ordered

    async def _by_function(self, ticket: Ticket, targets: list[Target], strategy: str) -> list[Target]:
        options = self._options(ticket.request, targets, priced=True, observed=True)
        names = [option.provider for option in options]
        answer = self._board.custom[strategy](names, ticket.request.message, self._context(ticket, targets, options))
        if inspect.isawaitable(answer):
            answer = await answer
        choices = resolve_custom(answer, options, self._known)
        ordered = [
            targets[choice.index] if choice.index is not None else await self._named(ticket, choice.provider)
            for choice in choices
        ]
        ticket.routing = _decision(strategy, ordered, [(float(i), c.reason) for i, c in enumerate(choices)])
        return ordered

    async def _named(self, ticket: Ticket, provider: str) -> Target:
        """A target the caller's function named although it was no candidate; the budgets have to have room for it."""
        preferred = ticket.request.model_preferences or {}
        model = preferred.get(provider) or default_model(self._settings, provider)
        (target,) = self._candidates.accountable([await self._candidates.target(provider, model, ticket.deadline)])
        if ticket.hold.is_limited:
            await ticket.hold.raise_to(self._estimates.worst_case_pusd(ticket.request, target) or 0)
        return target

    def _options(self, request: ChatRequest, targets: list[Target], *, priced: bool, observed: bool) -> list[Option]:
        """The targets as strategies see them; health that no strategy looks at only where a circuit is not closed."""
        now_s, health = self._clock(), self._board.health
        keys = [key_of(target) for target in targets]
        weights = {}
        if request.provider_preferences:
            weights = {p.provider: p.weight for p in parse_preferences(request.provider_preferences)}
        return [
            Option(
                index=index,
                provider=target.endpoint.provider,
                model=target.endpoint.model,
                expected_pusd=self._estimates.expected_pusd(request, target) if priced else None,
                weight=weights.get(target.endpoint.provider, 1.0),
                health=health.of(key, now_s) if observed or not health.is_closed(key) else None,
            )
            for index, (target, key) in enumerate(zip(targets, keys, strict=True))
        ]

    def _context(self, ticket: Ticket, targets: list[Target], options: list[Option]) -> RoutingContext:
        request, now_s = ticket.request, self._clock()
        candidates = tuple(
            _candidate(target, option, option.health) for target, option in zip(targets, options, strict=True)
        )
        left = ticket.hold.left_pusd()
        return RoutingContext(
            now=datetime.now(UTC),
            candidates=candidates,
            attributes=ticket.attribution,
            input_tokens=self._estimates.input_tokens(request, options[0].model),
            max_tokens=request.max_tokens,
            max_cost=request.max_cost,
            budget_left=None if left is None else left / PUSD_PER_USD,
            priority=request.priority or 0,
            remaining_s=ticket.deadline - now_s,
        )

    def _all_closed(self, targets: list[Target]) -> bool:
        is_closed = self._board.health.is_closed
        return all(is_closed(key_of(target)) for target in targets)

    def _usual(self, strategy: str, ordered: list[Target], *, only: bool = False) -> RoutingDecision:
        """The decision for this order, made once: it is the same for each call to the same targets."""
        remembered: dict[Any, tuple[list[Target], RoutingDecision]] = self._only if only else self._remembered
        key = id(ordered[0]) if only else (strategy, *map(id, ordered))
        known = remembered.get(key)
        if known is not None:  # which keeps the targets alive, so that the ids are theirs
            return known[1]
        why = [(0.0, "the only candidate")]
        if not only:
            options = [
                Option(index=index, provider=target.endpoint.provider, model=target.endpoint.model)
                for index, target in enumerate(ordered)
            ]
            why = [(place.score, place.reason) for place in rank(strategy, options)]
        decision = _decision(strategy, ordered, why)
        if len(remembered) >= _MOST_REMEMBERED:
            remembered.clear()
        remembered[key] = (list(ordered), decision)
        return decision


def _decision(strategy: str, ordered: list[Target], why: list[tuple[float, str]]) -> RoutingDecision:
    candidates = tuple(
        Candidate(provider=t.endpoint.provider, model=t.endpoint.model, score=score, reason=reason)
        for t, (score, reason) in zip(ordered, why, strict=True)
    )
    first = candidates[0]
    return RoutingDecision(strategy=strategy, candidates=candidates, selected=first.provider, reason=first.reason)


def _candidate(target: Target, option: Option, health: Any) -> RoutingCandidate:
    rates = rates_for(target.price, 0) if target.price is not None else None
    return RoutingCandidate(
        provider=option.provider,
        model=option.model,
        input_price=rates.input * 1e6 / PUSD_PER_USD if rates else None,
        output_price=rates.output * 1e6 / PUSD_PER_USD if rates else None,
        expected_cost=None if option.expected_pusd is None else option.expected_pusd / PUSD_PER_USD,
        health=health,
    )


__all__ = ["Router", "RoutingBoard", "RoutingFunction"]

"""One message to several providers: all at once, the first or most of them counting, or as one routed call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._providers import canonical
from .._rules.hedging import HedgeQuota
from .._rules.strategies import FOR_SEVERAL
from ..chat_request import ChatRequest
from ..errors import ConfigurationError
from ..models import HeliconeResponse, MultiProviderResponse
from .agreement import ConsensusKey, consensus
from .branches import Branch, Branches
from .hedge import hedge
from .race import race

if TYPE_CHECKING:
    from .pipeline import Pipeline


async def ask_several(
    pipeline: Pipeline,
    request: ChatRequest,
    *,
    hedge_after_s: float | None = None,
    consensus_key: ConsensusKey | None = None,
    hedges: HedgeQuota | None = None,
) -> MultiProviderResponse:
    """Runs a call that names several `providers`; `hedges` is the quota that hedged calls share.

    Raises:
        ConfigurationError: no providers are named, or a keyword does not fit the strategy.
        AllProvidersFailedError: none answered.
        BudgetExceededError: no budget had room for anybody; nothing was sent.
        HeliconeError: see `Pipeline.run`.
    """
    if request.providers is None:
        raise ConfigurationError("`providers` is missing: name the providers to ask")
    strategy = request.routing_strategy or "fan_out"
    _check_hedge(strategy, hedge_after_s)
    _check_key(strategy, consensus_key)
    if strategy not in FOR_SEVERAL:
        return _of_one(await pipeline.run(request))
    if request.fallback_strategy is not None:
        raise ConfigurationError(f"`fallback_strategy` does not go with {strategy!r}: name all in `providers`")
    with pipeline.tracing.several(pipeline.attribution.of(request)[0]) as decision:
        branches = await _branches(pipeline, request)
        if strategy == "race":
            response = await race(branches)
        elif strategy == "hedged":
            response = await hedge(branches, hedge_after_s, hedges or HedgeQuota())
        elif strategy == "consensus":
            response = await consensus(branches, consensus_key)
        else:
            response = await _fan_out(branches)
        decision.routing = response.routing_decision
    return response


async def _branches(pipeline: Pipeline, request: ChatRequest) -> Branches:
    """A branch for each provider, once; a wrong name is refused before anything is sent."""
    deadline = pipeline.clock() + (request.timeout_seconds or pipeline.settings.timeout_s)
    models = {canonical(name): model for name, model in (request.model_preferences or {}).items()}
    targets = await pipeline.candidates.of(request, deadline)
    branches = []
    for target in targets:
        provider = target.endpoint.provider
        branches.append(Branch(provider, models.get(provider) or request.model, target))
    return Branches(pipeline, request, branches, deadline)


async def _fan_out(branches: Branches) -> MultiProviderResponse:
    await branches.run(branches.start_all, lambda _branch: None)
    answered = branches.answered()
    if not answered:
        raise branches.all_failed()
    return branches.together(answered[0], "the first in the order given that answered")


def _of_one(response: HeliconeResponse) -> MultiProviderResponse:
    provider = response.provider
    return MultiProviderResponse(
        primary_response=response,
        responses={provider: response},
        errors={},
        routing_decision=response.routing,
        cost_comparison={provider: response.cost},
        performance_metrics={provider: response.usage.request_time},
        billed_cost=sum(attempt.cost for attempt in response.attempts),
        attempts=response.attempts,
    )


def _check_hedge(strategy: str, after_s: object) -> None:
    if after_s is None:
        return
    if isinstance(after_s, bool) or not isinstance(after_s, int | float):
        raise TypeError(f"`hedge_after_s` must be a number of seconds, not {type(after_s).__name__}")
    if not 0 <= after_s < math.inf:
        raise ConfigurationError(f"`hedge_after_s` is {after_s}: it must be a number of seconds, 0 or more")
    if strategy != "hedged":
        raise ConfigurationError(f"`hedge_after_s` is for routing_strategy='hedged', not {strategy!r}: leave it out")


def _check_key(strategy: str, key: object) -> None:
    if key is None:
        return
    if not callable(key):
        raise TypeError(f"`consensus_key` must be a function of a response, not {type(key).__name__}")
    if strategy != "consensus":
        raise ConfigurationError(f"`consensus_key` is for routing_strategy='consensus', not {strategy!r}: leave it out")


__all__ = ["ask_several"]

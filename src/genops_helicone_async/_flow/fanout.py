"""One message to several providers: all at once, or as one routed call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import msgspec

from .._providers import canonical
from ..chat_request import ChatRequest
from ..errors import AllProvidersFailedError, Attempt, ConfigurationError, HeliconeError
from ..models import Candidate, HeliconeResponse, MultiProviderResponse, RoutingDecision

if TYPE_CHECKING:
    from .pipeline import Pipeline


async def ask_several(pipeline: Pipeline, request: ChatRequest) -> MultiProviderResponse:
    """Runs a call that names several `providers`: all concurrently with `fan_out`, else one after the other.

    Raises:
        ConfigurationError: no providers are named.
        AllProvidersFailedError: none answered.
        HeliconeError: see `Pipeline.run`.
    """
    if request.providers is None:
        raise ConfigurationError("`providers` is missing: name the providers to ask")
    if request.routing_strategy not in (None, "fan_out"):
        response = await pipeline.run(request)
        return _of_one(response)
    responses: dict[str, HeliconeResponse] = {}
    errors: dict[str, HeliconeError] = {}
    asked = list(dict.fromkeys(canonical(name) for name in request.providers))
    models = {canonical(name): model for name, model in (request.model_preferences or {}).items()}

    async def ask(provider: str) -> None:
        model = models.get(provider) or request.model
        alone = {"providers": None, "model_preferences": None, "routing_strategy": None}
        branch = msgspec.structs.replace(request, provider=provider, model=model, **alone)
        try:
            responses[provider] = await pipeline.run(branch)
        except HeliconeError as exc:
            errors[provider] = exc

    deadline = pipeline.clock() + (request.timeout_seconds or pipeline.settings.timeout_s)
    await pipeline.candidates.of(request, deadline)  # a wrong name is refused before anything is sent
    async with anyio.create_task_group() as group:
        for provider in asked:
            group.start_soon(ask, provider)
    answered = [provider for provider in asked if provider in responses]
    if not answered:
        raise _all_failed({name: errors[name] for name in asked})
    return _of_all({name: responses[name] for name in answered}, errors, asked)


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
    )


def _of_all(
    responses: Mapping[str, HeliconeResponse], errors: Mapping[str, HeliconeError], asked: list[str]
) -> MultiProviderResponse:
    primary = next(iter(responses.values()))
    attempts = [a for response in responses.values() for a in response.attempts]
    attempts += [a for error in errors.values() for a in error.attempts]
    candidates = tuple(
        Candidate(
            provider=name,
            model=responses[name].model if name in responses else errors[name].model or "",
            score=float(index),
            reason="asked at once with the others",
        )
        for index, name in enumerate(asked)
    )
    return MultiProviderResponse(
        primary_response=primary,
        responses=responses,
        errors=errors,
        routing_decision=RoutingDecision(
            strategy="fan_out",
            candidates=candidates,
            selected=primary.provider,
            reason="the first in the order given that answered",
        ),
        cost_comparison={name: response.cost for name, response in responses.items()},
        performance_metrics={name: response.usage.request_time for name, response in responses.items()},
        billed_cost=sum(attempt.cost for attempt in attempts),
    )


def _all_failed(errors: Mapping[str, HeliconeError]) -> AllProvidersFailedError:
    last = list(errors.values())[-1]
    attempts: tuple[Attempt, ...] = tuple(attempt for error in errors.values() for attempt in error.attempts)
    waits = [error.retry_after_s for error in errors.values() if error.retry_after_s is not None]
    summary = AllProvidersFailedError(
        f"none of {len(errors)} providers answered: "
        + "; ".join(f"{provider}: {error.message}" for provider, error in errors.items()),
        attempts=attempts,
        request_id=last.request_id,
        status_code=last.status_code,
        http_status=last.http_status,
        retry_safe=any(error.retry_safe for error in errors.values()),
        retry_after_s=min(waits, default=None),
        throttled=all(error.throttled for error in errors.values()),
        billed="maybe" if any(error.billed != "no" for error in errors.values()) else "no",
        provider=last.provider,
        model=last.model,
        code=last.code,
    )
    summary.__cause__ = last
    return summary


__all__ = ["ask_several"]

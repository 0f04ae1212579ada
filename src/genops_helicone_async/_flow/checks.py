"""Cheap checks of providers: one unbilled request each that tells whether the way is open and the key accepted."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import anyio

from .._providers import PROVIDERS
from .._values import HttpReply, HttpRequest
from .._wire.dialects import Endpoint, default_model
from .._wire.failures import read_error
from ..errors import AuthenticationError, ConfigurationError, HeliconeError, PolicyDeniedError
from ..models import ProviderCheck
from .candidates import permitted_endpoint

if TYPE_CHECKING:
    from .pipeline import Pipeline

_REFUSED = (401, 403)


async def check_providers(
    pipeline: Pipeline, limit_s: float | None = None, *, others: Collection[str] = ()
) -> dict[str, ProviderCheck]:
    """Checks every configured provider, all at once, each within the adapter's timeout or `limit_s`; raises nothing.

    `others` are checked, too.
    """
    providers = dict.fromkeys((*pipeline.settings.candidates, *others))
    limit_s = pipeline.settings.timeout_s if limit_s is None else limit_s
    checks: dict[str, ProviderCheck] = {}

    async def check(provider: str) -> None:
        checks[provider] = await _check(pipeline, provider, limit_s)

    async with anyio.create_task_group() as group:
        for provider in providers:
            group.start_soon(check, provider)
    return {provider: checks[provider] for provider in providers}


async def _check(pipeline: Pipeline, provider: str, limit_s: float) -> ProviderCheck:
    try:
        model = default_model(pipeline.settings, provider) if provider in PROVIDERS else "any"
        endpoint = permitted_endpoint(pipeline.settings, provider, model)
    except PolicyDeniedError as exc:
        return ProviderCheck(provider=provider, ok=False, status="denied", detail=exc.message)
    except ConfigurationError as exc:
        return ProviderCheck(provider=provider, ok=False, status="no_key", detail=exc.message)
    request = check_request(endpoint)
    started = pipeline.clock()
    try:
        reply = await pipeline.transport.send(request, started + limit_s)
    except AuthenticationError as exc:  # there is no token to ask with
        return ProviderCheck(provider=provider, ok=False, status="key_refused", detail=exc.message, url=request.url)
    except HeliconeError as exc:
        return ProviderCheck(provider=provider, ok=False, status="unreachable", detail=exc.message, url=request.url)
    status, detail = _verdict(endpoint, reply)
    return ProviderCheck(
        provider=provider,
        ok=status == "ok",
        status=status,
        detail=detail,
        url=request.url,
        latency_s=pipeline.clock() - started,
    )


def check_request(endpoint: Endpoint) -> HttpRequest:
    """A request that is never billed, and refused where the key is not accepted.

    The AI Gateway lists models to anybody, but looks at the key before it complains of a missing model.
    """
    if endpoint.is_gateway:
        headers = {**endpoint.headers, "Content-Type": "application/json"}
        return HttpRequest(
            method="POST", url=endpoint.chat_url, headers=headers, body=b"{}", credential=endpoint.credential
        )
    url = f"{endpoint.base_url}/models"
    if endpoint.dialect == "rust":
        url = f"{endpoint.base_url.partition('/ai')[0].partition('/router/')[0]}/health"
    return HttpRequest(method="GET", url=url, headers=dict(endpoint.headers), credential=endpoint.credential)


def _verdict(endpoint: Endpoint, reply: HttpReply) -> tuple[str, str]:
    status, message = reply.status, read_error(reply.body).message
    if reply.body.lstrip()[:1] == b"<":
        return "error", f"answered {status} with a web page: {message}"
    if status in _REFUSED:
        return "key_refused", f"the {_key_of(endpoint)} was refused ({status}): {message}"
    if endpoint.is_gateway and status == 400:  # "missing model": the key was accepted
        return "ok", "the gateway accepts the Helicone key"
    if 200 <= status < 300:
        return "ok", "reachable" if endpoint.dialect == "rust" else "reachable, and the key is accepted"
    if status in (404, 405):
        return "unsupported", f"reachable, but it offers no list of models ({status}), so the key was not checked"
    return "error", f"answered {status}: {message}"


def _key_of(endpoint: Endpoint) -> str:
    """Which key a refusal is about: a provider's host takes calls with any key of Helicone's."""
    if endpoint.credential == "oauth2":
        return "OAuth token"
    return "Helicone key" if endpoint.is_gateway else f"{endpoint.provider} key"


__all__ = ["check_providers", "check_request"]

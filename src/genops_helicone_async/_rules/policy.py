"""Whether a call may go to a provider and model: the allow-lists, and where its data would go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from .._compliance_settings import Compliance, Residency
from .._regions import (
    AS_OF,
    HELICONE_AREAS,
    HOSTS_ANYWHERE,
    PROVIDER_AREAS,
    area_of_host,
    is_helicone_host,
    is_this_machine,
)
from ..errors import PolicyDeniedError

DENY_MODEL = "POLICY_DENY_MODEL"
DENY_REGION = "POLICY_DENY_REGION"
CHOOSING_FIELDS = frozenset(
    {"fallback_models", "fallbacks", "models", "plugins", "prompt_id", "provider", "providers", "route", "version_id"}
)
"""Fields of a request by which OpenRouter, LiteLLM and Helicone's stored prompts choose a model or send data on."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call would go: `hosts` in order, the gateway first, without ports; `own_gateway` is the user's own."""

    provider: str
    model: str
    hosts: Sequence[str]
    own_gateway: str | None
    has_eu_key: bool


def denial_of(compliance: Compliance, way: Way) -> PolicyDeniedError | None:
    """Why a call may not go this way, None where it may."""
    if compliance.allowed_providers is not None and way.provider not in compliance.allowed_providers:
        return _denied(way, DENY_MODEL, f"the provider {way.provider!r} is not among `allowed_providers`")
    if compliance.allowed_models is not None and not _is_allowed(compliance.allowed_models, way):
        return _denied(way, DENY_MODEL, f"the model {way.model!r} of {way.provider} is not among `allowed_models`")
    if compliance.residency is None:
        return None
    why = _out_of_area(compliance.residency, way)
    return None if why is None else _denied(way, DENY_REGION, why)


def denial_of_body(compliance: Compliance, fields: Iterable[str]) -> PolicyDeniedError | None:
    """Why a call may not have these fields of its own in its body: with them a gateway would choose past the policy."""
    if compliance == Compliance(audit=compliance.audit):
        return None
    chosen = sorted(CHOOSING_FIELDS.intersection(field.lower() for field in fields))
    if not chosen:
        return None
    return PolicyDeniedError(
        f"`extra_body` holds {chosen[0]!r}, by which a gateway chooses models, providers or tools that the adapter's "
        "policy would not see: leave it out",
        reason_code=DENY_MODEL,
    )


def unpriced(provider: str, model: str) -> PolicyDeniedError:
    """The refusal of a model without a price, under compliance."""
    return PolicyDeniedError(
        f"no price is known for {provider}/{model}, and `compliance_mode` refuses what cannot be accounted for: "
        f"give it in prices={{'{provider}/{model}': …}}",
        reason_code=DENY_MODEL,
        provider=provider,
        model=model,
    )


def _is_allowed(allowed: Sequence[str], way: Way) -> bool:
    """A pattern names a model, or provider/model; `*` and `?` stand for what they do in a shell."""
    names = (way.model, f"{way.provider}/{way.model}")
    return any(fnmatchcase(name, pattern) for pattern in allowed for name in names)


def _out_of_area(residency: Residency, way: Way) -> str | None:
    """Why the data would leave the area; None where it stays."""
    area, provider_area = residency.area, PROVIDER_AREAS.get(way.provider)
    for host in way.hosts:
        if is_this_machine(host) or host in residency.hosts:
            provider_area = provider_area if host == way.own_gateway else area
        elif is_helicone_host(host):
            if HELICONE_AREAS[way.has_eu_key] != area:
                return (
                    f"Helicone keeps the data of this key in {HELICONE_AREAS[way.has_eu_key]}, not in {area}: use a "
                    "key of the area (sk-helicone-eu-… for the EU), a gateway of your own, or `provider_urls`"
                )
        elif (host_area := area_of_host(host)) is not None:
            if host_area != area:
                return f"{host} is in {host_area}, not in {area}"
            provider_area = area
        elif host != way.own_gateway or host in HOSTS_ANYWHERE:
            return (
                f"it is not known where {host} is: if it is in {area}, say so with "
                f"data_residency={{'region': '{area}', 'hosts': ['{host}']}}"
            )
    if provider_area == area or way.provider in residency.providers:
        return None
    where = f"is in {provider_area}" if provider_area else "promises no region"
    return (
        f"{way.provider} {where} (as of {AS_OF}), not in {area}: if your contract says otherwise, say so with "
        f"data_residency={{'region': '{area}', 'providers': ['{way.provider}']}}"
    )


def _denied(way: Way, reason_code: str, message: str) -> PolicyDeniedError:
    return PolicyDeniedError(message, reason_code=reason_code, provider=way.provider, model=way.model)


__all__ = ["CHOOSING_FIELDS", "DENY_MODEL", "DENY_REGION", "Way", "denial_of", "denial_of_body", "unpriced"]

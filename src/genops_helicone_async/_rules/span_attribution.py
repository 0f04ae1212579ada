"""Who a span says a call is for. GenOps wants team, project and environment on every span, and no placeholders.

What a caller does not name is derived from what is known of the program, never made up: the project is the service
(`GENOPS_SERVICE_NAME`, the resource's `service.name`, else the name of the program that runs), for a service is what
costs are first looked up by; the team is the resource's `service.namespace`, which names the group that runs several
services together, else the project, since an unattributed call is answered for by whoever runs the service; the
environment is the resource's `deployment.environment.name`, else `development`: who runs anything else has reason to
say so. Only telemetry uses these: budgets, receipts and headers carry what was given and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import telemetry_names as names

_PLACEHOLDERS = frozenset({
    "", "-", "?", "changeme", "n/a", "na", "nil", "none", "null", "placeholder", "tbd", "todo", "undefined", "unknown",
    "unset", "xxx",
})  # fmt: skip
_OPTIONAL = {
    "customer_id": names.GENOPS_CUSTOMER_ID,
    "user_id": names.GENOPS_USER_ID,
    "session_id": names.GENOPS_SESSION_ID,
    "feature": names.GENOPS_FEATURE,
    "cost_center": names.GENOPS_COST_CENTER,
}
DEFAULT_ENVIRONMENT = "development"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where attribution that nobody gave comes from."""

    team: str
    project: str
    environment: str


def origin_of(resource: Mapping[str, object], program: str) -> Origin:
    """The origin of calls by the attributes of OpenTelemetry's resource, and the name of the running program."""
    service = _said(resource.get("service.name"))
    if service is None or service.startswith("unknown_service"):  # the SDK's word for "nobody told"
        service = _said(program) or "python"
    environment = _said(resource.get("deployment.environment.name")) or _said(resource.get("deployment.environment"))
    return Origin(
        team=_said(resource.get("service.namespace")) or service,
        project=service,
        environment=environment or DEFAULT_ENVIRONMENT,
    )


def attribution_attributes(given: Mapping[str, str], origin: Origin) -> dict[str, str]:
    """The `genops.*` attributes of an attribution: three always, the others where they were given."""
    project = _said(given.get("project")) or _said(given.get("service_name")) or origin.project
    team = _said(given.get("team"))
    if team is None:
        team = origin.team if origin.team != origin.project else project
    attributes = {
        names.GENOPS_TEAM: team,
        names.GENOPS_PROJECT: project,
        names.GENOPS_ENVIRONMENT: _said(given.get("environment")) or origin.environment,
    }
    for key, name in _OPTIONAL.items():
        value = _said(given.get(key))
        if value is not None:
            attributes[name] = value
    if names.GENOPS_SESSION_ID in attributes:
        attributes[names.CONVERSATION_ID] = attributes[names.GENOPS_SESSION_ID]
    return attributes


def _said(value: object) -> str | None:
    """The text, where it tells anything."""
    return value if isinstance(value, str) and value.strip().lower() not in _PLACEHOLDERS else None


__all__ = ["DEFAULT_ENVIRONMENT", "Origin", "attribution_attributes", "origin_of"]

"""Errors as the providers word them: status, body and headers in each one's own shape."""

from typing import Any

import msgspec

from ..faults import Fault
from .catalogue import Provider

_OPENAI_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", None),
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGES = {
    400: "The request was not valid.",
    401: "Incorrect API key provided.",
    403: "This key may not use that.",
    404: "The model does not exist or you do not have access to it.",
    408: "The request timed out.",
    429: "Rate limit reached for requests.",
    503: "The engine is currently overloaded, please try again later.",
    529: "Overloaded",
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's refusal as it goes over the wire, with the message inside it."""

    status: int
    message: str
    body: bytes
    headers: dict[str, str]
    content_type: str = "application/json"


def refusal(
    provider: Provider,
    status: int,
    message: str | None = None,
    *,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> Refusal:
    """The provider's error for a status."""
    message = message or _MESSAGES.get(status, "The server had an error while processing your request.")
    body = msgspec.json.encode(error_document(provider, status, message, param))
    return Refusal(status=status, message=message, body=body, headers=_identify(provider, headers))


def scripted_refusal(provider: Provider, fault: Fault) -> Refusal:
    """The error a `status` fault asks for: own body, or the provider's shape around its message."""
    headers = {**fault.retry_headers(), **(fault.headers or {})}
    if fault.body is None or isinstance(fault.body, str):
        made = refusal(provider, fault.status, fault.body, headers=headers)
    else:
        body = fault.body if isinstance(fault.body, bytes) else msgspec.json.encode(fault.body)
        made = Refusal(
            status=fault.status,
            message=message_in(body, fault.status),
            body=body,
            headers=_identify(provider, headers),
        )
    if fault.content_type:
        made = msgspec.structs.replace(made, content_type=fault.content_type)
    return made


def message_in(body: bytes, status: int) -> str:
    """The message the AI Gateway finds in a provider's error body."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"Request failed with status {status}"


def error_document(provider: Provider, status: int, message: str, param: str | None = None) -> dict[str, Any]:
    """The error body in the provider's shape."""
    if provider.shape == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_sandbox",
        }
    if provider.shape == "gemini":
        default = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
        named = _GOOGLE_STATUSES.get(status, default)
        return {"error": {"code": status, "message": message, "status": named}}
    default_type = "invalid_request_error" if status < 500 else "server_error"
    kind, code = _OPENAI_TYPES.get(status, (default_type, None))
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _identify(provider: Provider, headers: dict[str, str] | None) -> dict[str, str]:
    name = "request-id" if provider.shape == "anthropic" else "x-request-id"
    return {name: "req_sandbox", **(headers or {})}

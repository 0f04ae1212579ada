"""What an error reply means: status, headers and body to one error with its facts.

The AI Gateway folds most failures into 500 and tells the truth only in `error.details`; when the organisation's own
key failed it then tries Helicone's credits, so an organisation without credits finds an `insufficient_credit_limit`
behind every failure. Those details are dropped before the rest decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from .._values import HttpReply
from ..errors import (
    AuthenticationError,
    Billed,
    DecodeError,
    GatewayError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
    RateLimitExceededError,
)
from .dialects import Endpoint
from .retry_after import retry_after_s

_NOT_THE_CAUSE = frozenset({"insufficient_credit_limit", "disallowed", "invalid_format"})
_NO_PROVIDERS = "No available providers"
_BLOCKED = frozenset({"PROMPT_FLAGGED_FOR_MODERATION", "PROMPT_THREAT_DETECTED"})
_OUT_OF_MONEY = frozenset(
    {"insufficient_quota", "insufficient_credits", "billing_hard_limit_reached", "credit_balance_too_low"}
)
_TRANSIENT_TYPES = frozenset(
    {"server_error", "api_error", "overloaded_error", "internal_server_error", "timeout_error"}
)
_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|gsk|csk|xai|key|pplx|fw|nvapi|hf|ya29)[-_.][A-Za-z0-9_\-.]{8,}"
    r"|\bAIza[A-Za-z0-9_\-]{20,}|(?<=\bBearer )[^\s\"',;]{8,}",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<(?:!doctype|html)\b.*?<title>\s*([^<]+?)\s*</title>", re.IGNORECASE | re.DOTALL)
_NO_CREDIT = re.compile(r"credit balance is too low|insufficient balance", re.IGNORECASE)
_RUST_REFUSALS = re.compile(
    r"unsupported (?:endpoint|provider)|model mapping|mapper|\broute[rs]?\b|server misconfigured", re.IGNORECASE
)
_LONGEST_MESSAGE = 600
_LONGEST_PAGE = 20_000


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an error body that matter: the message, the other side's code and type, and all of it decoded."""

    message: str
    code: str | None = None
    type: str | None = None
    decoded: Any = None


def classify(reply: HttpReply, endpoint: Endpoint, *, request_id: str, now_s: float) -> HeliconeError:
    """The error a non-2xx reply stands for. `now_s` is the wall clock in Unix seconds, for dates in Retry-After."""
    body = read_error(reply.body)
    if not body.message:
        body = msgspec.structs.replace(body, message=f"{endpoint.host} answered {reply.status} without a word")
    facts: dict[str, Any] = {
        "request_id": request_id,
        "http_status": reply.status,
        "status_code": reply.status,
        "provider": endpoint.provider,
        "model": endpoint.model,
        "code": body.code or body.type,
        "retry_after_s": retry_after_s(reply.headers, now_s),
    }
    if 300 <= reply.status < 400:
        return GatewayError(f"{endpoint.host} answered with a redirect, which is not followed: check the URL", **facts)
    details = _details(body.decoded) if endpoint.dialect in ("helicone", "proxy") else None
    if details is not None:
        return _from_details(body, details, facts)
    if reply.status == 401 and endpoint.credential == "oauth2":
        return AuthenticationError(f"{endpoint.host} refused the OAuth token: {body.message}", **facts)
    if made := _made_by_gateway(reply, body, endpoint, facts):
        return made
    return _from_provider(reply.status, body, facts)


def read_error(body: bytes) -> ErrorBody:
    """Message, code and type of an error body in any of the shapes seen, JSON or text, secrets scrubbed."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody(message=_shorten(_page_title(body.decode("utf-8", "replace"))))
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]  # Google wraps its error in a list
    if not isinstance(decoded, dict):
        return ErrorBody(message=_shorten(body.decode("utf-8", "replace")), decoded=decoded)
    error = decoded.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else {}
    message = inner.get("message") or (error if isinstance(error, str) else None)
    message = decoded.get("helicone-message") or message or decoded.get("message") or _detail(decoded.get("detail"))
    return ErrorBody(
        message=_shorten(message if isinstance(message, str) else body.decode("utf-8", "replace")),
        code=_text(inner.get("code")) or _text(inner.get("status")),
        type=_text(inner.get("type")),
        decoded=decoded,
    )


def _detail(detail: Any) -> Any:
    """FastAPI's `detail`: a text, or a list of what is wrong where."""
    if not (isinstance(detail, list) and detail and isinstance(detail[0], dict)):
        return detail
    place = detail[0].get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {detail[0].get('msg')}".removeprefix(": ")


def _page_title(text: str) -> str:
    """The title of an HTML page, of which nothing else is worth quoting; any other text as it is."""
    match = _TITLE.search(text[:_LONGEST_PAGE])
    return match[1] if match else text


def stream_error(data: bytes, endpoint: Endpoint, *, request_id: str) -> HeliconeError:
    """The error that an `error` event inside a 200 stream stands for."""
    body = read_error(data)
    status = _status_of(body)
    facts: dict[str, Any] = {
        "request_id": request_id,
        "http_status": 200,
        "status_code": status,
        "provider": endpoint.provider,
        "model": endpoint.model,
        "code": body.code or body.type,
    }
    if status is not None:
        return _from_provider(status, body, facts)
    return ProviderError(
        body.message, retry_safe=body.type in _TRANSIENT_TYPES or body.code in _TRANSIENT_TYPES, **facts
    )


def undecodable(what: str, reply_status: int, endpoint: Endpoint, *, request_id: str) -> DecodeError:
    """The error for a 2xx reply that cannot be understood; the provider may well have charged for it."""
    return DecodeError(
        f"{endpoint.host} answered {reply_status} with {what}",
        request_id=request_id,
        http_status=reply_status,
        status_code=reply_status,
        billed="maybe",
        provider=endpoint.provider,
        model=endpoint.model,
    )


def _details(decoded: Any) -> list[dict[str, Any]] | None:
    """`error.details` of an AI Gateway error, None where the body is none."""
    if not isinstance(decoded, dict) or not isinstance(decoded.get("error"), dict) or "success" not in decoded:
        return None
    details = decoded["error"].get("details")
    return [item for item in details if isinstance(item, dict)] if isinstance(details, list) else None


def _from_details(body: ErrorBody, details: list[dict[str, Any]], facts: dict[str, Any]) -> HeliconeError:
    causes = [item for item in details if item.get("type") not in _NOT_THE_CAUSE]
    if not causes:
        if any(item.get("type") == "insufficient_credit_limit" for item in details):
            return InsufficientCreditsError(body.message, **{**facts, "status_code": 429})
        return GatewayError(body.message, **{**facts, "status_code": 400})
    if any(item.get("source") == _NO_PROVIDERS for item in causes):
        return GatewayError(body.message, **{**facts, "status_code": 400, "code": "no_available_providers"})
    cause = _deciding(causes, facts["http_status"], body.message)
    status = _status(cause)
    message = _shorten(str(cause.get("message") or body.message))
    facts = {**facts, "status_code": status}
    retry_safe = any(_is_transient(_status(item)) for item in causes)
    if status == 429:
        limited_by: Literal["provider", "helicone"] = "helicone" if cause.get("type") == "rate_limited" else "provider"
        text = message if limited_by == "provider" else body.message
        return RateLimitExceededError(text, limited_by=limited_by, retry_safe=True, throttled=True, **facts)
    if status in (401, 403):
        return AuthenticationError(message, which="provider", retry_safe=retry_safe, **facts)
    if status == 402 or (status == 400 and _NO_CREDIT.search(message)):
        return InsufficientCreditsError(message, **facts)
    return ProviderError(message, retry_safe=retry_safe, **facts)


def _deciding(causes: list[dict[str, Any]], http_status: int, message: str) -> dict[str, Any]:
    """The detail the gateway's own status and message speak of."""
    if http_status in (401, 403, 429):
        same = [item for item in causes if _status(item) == http_status]
    else:
        same = [item for item in causes if item.get("message") == message]
    return (same or causes)[0]


def _made_by_gateway(
    reply: HttpReply, body: ErrorBody, endpoint: Endpoint, facts: dict[str, Any]
) -> HeliconeError | None:
    """The error where Helicone itself wrote the reply, None where it passed on a provider's."""
    status, decoded = reply.status, body.decoded
    if endpoint.dialect == "openai":
        return None
    if endpoint.dialect == "rust":
        return _made_by_rust_gateway(status, body, facts)
    if body.code in _BLOCKED or reply.headers.get("helicone-error") == "true":
        return GatewayError(body.message, **facts)
    if reply.headers.get("x-helicone-error") == "rate_limited":
        return _limited_by_helicone(reply, body, facts)
    if isinstance(decoded, dict) and "helicone-message" in decoded:
        return ProviderError(body.message, retry_safe=True, billed="maybe", **facts)
    is_text = not isinstance(decoded, dict)
    if endpoint.dialect == "proxy" and not _is_helicone_text(reply, is_text):
        return None
    if is_text and status == 401:
        return AuthenticationError(body.message, which="helicone", **facts)
    if is_text and status >= 500:
        return GatewayError(body.message, retry_safe=True, billed="maybe", **facts)
    if is_text and status == 429:
        return RateLimitExceededError(body.message, limited_by="helicone", retry_safe=True, throttled=True, **facts)
    if is_text or (isinstance(decoded, dict) and isinstance(decoded.get("error"), str)):
        retry_safe = _is_transient(status)
        return GatewayError(body.message, retry_safe=retry_safe, **facts)
    return None


def _is_helicone_text(reply: HttpReply, is_text: bool) -> bool:
    """On a proxy host Helicone marks what it passed on with `helicone-id`; its own refusals are text without it."""
    return is_text and "helicone-id" not in reply.headers and reply.status == 400


def _limited_by_helicone(reply: HttpReply, body: ErrorBody, facts: dict[str, Any]) -> HeliconeError:
    if facts["retry_after_s"] is None:
        reset = reply.headers.get("helicone-ratelimit-reset", "")
        facts = {**facts, "retry_after_s": float(reset) if reset.isascii() and reset.isdigit() else None}
    return RateLimitExceededError(body.message, limited_by="helicone", retry_safe=True, throttled=True, **facts)


def _made_by_rust_gateway(status: int, body: ErrorBody, facts: dict[str, Any]) -> HeliconeError | None:
    if status == 401 and body.message in ("Missing authorization header", "Invalid credentials"):
        return AuthenticationError(body.message, which="helicone", **facts)
    if status == 429 and body.message == "Too many requests":
        return RateLimitExceededError(body.message, limited_by="helicone", retry_safe=True, throttled=True, **facts)
    if status in (400, 404, 500) and _RUST_REFUSALS.search(body.message):
        return GatewayError(body.message, **facts)
    return None


def _from_provider(status: int, body: ErrorBody, facts: dict[str, Any]) -> HeliconeError:
    message = body.message or f"{facts['provider']} reported {status}"
    broke = {body.code, body.type} & _OUT_OF_MONEY or _NO_CREDIT.search(body.message)
    if status == 402 or (broke and status in (400, 403, 429)):
        return InsufficientCreditsError(message, **facts)
    if status == 429:
        return RateLimitExceededError(message, retry_safe=True, throttled=True, **facts)
    if status in (401, 403):
        return AuthenticationError(message, which="provider", **facts)
    billed: Billed = "maybe" if status in (504, 524) else "no"
    return ProviderError(message, retry_safe=_is_transient(status), billed=billed, **facts)


def _is_transient(status: int | None) -> bool:
    return status is not None and (status in (408, 429) or status >= 500)


def _status(detail: Mapping[str, Any]) -> int | None:
    value = detail.get("statusCode")
    return value if isinstance(value, int) else None


def _status_of(body: ErrorBody) -> int | None:
    """An HTTP status inside an error event: as a numeric code, or implied by the type."""
    if body.code is not None and body.code.isdigit() and 400 <= int(body.code) < 600:
        return int(body.code)
    known = {
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "insufficient_quota": 429,
        "authentication_error": 401,
        "permission_error": 403,
        "invalid_request_error": 400,
        "not_found_error": 404,
    }
    return known.get(body.type or "") or known.get(body.code or "")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _shorten(text: str) -> str:
    text = scrub(" ".join(text.split()))
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"


def scrub(text: str) -> str:
    """The text with everything that looks like a key blanked out."""
    return _KEY_LIKE.sub("<secret>", text)


__all__ = ["ErrorBody", "classify", "read_error", "scrub", "stream_error", "undecodable"]

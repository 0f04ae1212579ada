"""How the AI Gateway folds failed attempts into one answer: the first rule that matches decides."""

from collections.abc import Sequence
from typing import Any

import msgspec

from .._simulated.replies import Document
from ..exchange import Reply, text_reply

NO_PROVIDERS = (
    "No available providers for the requested models. Check provider names and see supported models at "
    "https://helicone.ai/models"
)
_NO_BILLING = "Cloud billing is disabled for all requested models. Contact support@helicone.ai for more information."


def detail(kind: str, message: str, status: int, source: str | None = None) -> Document:
    """One attempt's failure, as it is listed in the answer."""
    if source is None:
        return {"type": kind, "statusCode": status, "message": message}
    return {"type": kind, "message": message, "statusCode": status, "source": source}


def folded(details: Sequence[Document]) -> Reply:
    """The answer to a request all of whose attempts failed: JSON in plain text, without Helicone headers."""
    if not details:
        nothing = {
            "source": "No available providers",
            "type": "request_failed",
            "message": NO_PROVIDERS,
            "statusCode": 400,
        }
        return _error(500, "request_failed", NO_PROVIDERS, [nothing])
    status, code, message = _verdict(details)
    return _error(status, code, message, details)


def _verdict(details: Sequence[Document]) -> tuple[int, str, str]:
    def first(**wanted: Any) -> Document | None:
        matching = (one for one in details if all(one[name] == value for name, value in wanted.items()))
        return next(matching, None)

    if forbidden := first(statusCode=403):
        return 403, "request_failed", forbidden["message"]
    if first(statusCode=401):
        return 401, "request_failed", "Authentication failed"
    for one in details:
        if one["statusCode"] not in (429, 401, 403) and one["type"] not in ("invalid_format", "disallowed"):
            return 500, "request_failed", one["message"]
    if invalid := first(type="invalid_format"):
        return 400, "request_failed", invalid["message"]
    if all(one["type"] == "disallowed" for one in details):
        return 400, "request_failed", _NO_BILLING
    if all(one["statusCode"] == 429 for one in details):
        if first(type="insufficient_credit_limit"):
            return 429, "request_failed", "Insufficient credits"
        return 429, "rate_limited", "Rate limited"
    return 500, "all_attempts_failed", "All attempts failed"


def _error(status: int, code: str, message: str, details: Sequence[Document]) -> Reply:
    error = {"code": code, "message": message, "details": list(details), "param": None}
    return text_reply(status, msgspec.json.encode({"success": False, "error": error}).decode())

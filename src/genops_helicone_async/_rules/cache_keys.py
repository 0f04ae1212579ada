"""What makes two calls one to the cache: every field of a request by what it can change, and the key of a call.

A key covers all that can change an answer, so a wrong hit would take two calls that differ in nothing of it:

- what is said: the bodies as they would be sent, byte by byte, and the fields that a shape may leave out of them;
- who may answer: the candidates in their order, each with dialect, shape, URL, headers and name on the wire, and
  everything that decides between them. A call to one provider and a call that may go to several have different keys;
- for whom: the whole attribution but for the session. Tenants never see each other's answers;
- how it is asked: streamed or not, and the strategy of the keys.

The account is among the headers, but for access tokens, which change every hour: an OAuth client is named beside them,
and Google's project is in the URL.
"""

from __future__ import annotations

import copy
import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ..chat_request import ChatRequest

KeyStrategy = Literal["content_hash", "exact_match"]
KEY_STRATEGIES: Final = ("content_hash", "exact_match")

CONTENT: Final = (
    "message", "system_prompt", "temperature", "max_tokens", "top_p", "stop", "seed", "tools", "tool_choice",
    "response_format", "response_model", "reasoning_effort", "extra_body",
)  # fmt: skip
"""What is said and how: fields that are sent."""
ROUTING: Final = (
    "provider", "model", "providers", "model_preferences", "routing_strategy", "provider_preferences",
    "fallback_strategy", "max_cost", "prices",
)  # fmt: skip
"""Who answers. `max_cost` and `prices` have a say in it where there are several candidates."""
TENANT: Final = (
    "team", "project", "customer_id", "environment", "cost_center", "feature", "user_id", "attributes",
)  # fmt: skip
"""For whom; they are in the key merged with the adapter's defaults."""
WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "cache": "says whether to look at all",
    "custom_metrics": "figures for metrics, never sent",
    "enforce_budget": "what may be spent; an answer from the cache costs nothing",
    "priority": "the place in a queue",
    "session_id": "names a conversation for the records; what is asked again in another one is what a cache is for",
    "session_name": "as session_id",
    "session_path": "as session_id",
    "sla_latency_ms": "a target for the records",
    "sla_tier": "a label for the records",
    "timeout_seconds": "how long is waited, never sent",
}
"""Fields that cannot change an answer, each with the reason."""

_SESSION: Final = frozenset({"session_id", "session_path", "session_name"})
_VERSION: Final = 2
_ASKED: Final = tuple(name for name in CONTENT if name not in ("message", "system_prompt", "response_model"))
_SHORT_LIVED: Final = "Bearer ya29."


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as far as it can change an answer: where the call would go, with what headers and body."""

    provider: str
    model: str
    dialect: str
    shape: str
    url: str
    wire_model: str
    headers: Mapping[str, str]
    body: bytes


def normalised(request: ChatRequest) -> ChatRequest:
    """The request as `content_hash` sees it: texts in Unicode NFC, without white space around them.

    It is for keys only: it is never sent, nor checked again.
    """
    seen = copy.copy(request)
    msgspec.structs.force_setattr(seen, "message", _message(request.message))
    if request.system_prompt is not None:
        msgspec.structs.force_setattr(seen, "system_prompt", _text(request.system_prompt))
    return seen


def call_key(
    strategy: KeyStrategy,
    request: ChatRequest,
    attribution: Mapping[str, str],
    places: Sequence[Place],
    *,
    streamed: bool,
    account: Sequence[str] = (),
) -> bytes:
    """The 32 bytes that name a call's answer; `attribution` is the merged one, `places` the candidates in order.

    `account` says who asks, where the headers of the places do not.

    Raises:
        TypeError: a field holds something that has no bytes.
        ValueError: the same.
        OverflowError: an integer beyond 64 bits.
        RecursionError: it is nested too deeply.
    """
    model = request.response_model
    parts = (
        _VERSION,
        strategy,
        streamed,
        sorted((name, value) for name, value in attribution.items() if name not in _SESSION),
        [getattr(request, name) for name in _ASKED],
        None if model is None else f"{model.__module__}.{model.__qualname__}",
        [getattr(request, name) for name in ROUTING if name != "prices"],
        None if request.prices is None else sorted((repr(key), repr(price)) for key, price in request.prices.items()),
        [_place(place) for place in places],
        account,
    )
    return hashlib.blake2b(_encode(parts), digest_size=32).digest()


def _place(place: Place) -> tuple[object, ...]:
    headers = sorted((name, value) for name, value in place.headers.items() if not value.startswith(_SHORT_LIVED))
    return (
        place.provider, place.model, place.dialect, place.shape, place.url, place.wire_model, headers, place.body,
    )  # fmt: skip


def _message(message: Any) -> Any:
    if isinstance(message, str):
        return _text(message)
    return [{**each, "content": _content(each.get("content"))} if "content" in each else each for each in message]


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return _text(content)
    if isinstance(content, Sequence):
        return [_part(part) for part in content]
    return content


def _part(part: Any) -> Any:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return {**part, "text": _text(part["text"])}
    return part


def _text(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _plain(value: object) -> Any:
    """Mappings and sequences that are no dict and no list, such as a `MappingProxyType`."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} has no bytes")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode

__all__ = [
    "CONTENT",
    "KEY_STRATEGIES",
    "ROUTING",
    "TENANT",
    "WITHOUT_EFFECT",
    "KeyStrategy",
    "Place",
    "call_key",
    "normalised",
]

"""A request's body as JSON, and what in it cannot be written named by the argument it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..chat_request import ChatRequest
from ..errors import ConfigurationError


def _plain(value: object) -> Any:
    """Mappings and sequences that are no dict and no list, such as a `MappingProxyType`."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
_ARGUMENTS = {"messages": "message", "system": "message"}


def encode_body(body: Mapping[str, Any], request: ChatRequest) -> bytes:
    """The body's JSON, the request's `extra_body` laid over it.

    Raises:
        ConfigurationError: a value has no form in JSON; the message names the argument.
    """
    if request.extra_body:
        body = {**body, **request.extra_body}
    try:
        return _encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ConfigurationError(f"`{_culprit(body, request)}` cannot be sent as JSON: {exc}") from exc


def _culprit(body: Mapping[str, Any], request: ChatRequest) -> str:
    for name, value in body.items():
        try:
            _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return "extra_body" if name in (request.extra_body or ()) else _ARGUMENTS.get(name, name)
    return "extra_body"


__all__ = ["encode_body"]

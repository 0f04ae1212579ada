"""OAuth 2.0 client credentials on the wire (RFC 6749, section 4.4): the request for a token, and the answer read."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from .._oauth_settings import OAuth
from .._values import HttpReply, HttpRequest
from ..errors import AuthenticationError
from .failures import scrub

_LONGEST_BODY = 256 * 1024
_LONGEST_WORD = 200
_TRANSIENT = frozenset({408, 425, 429})


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A token as a server gave it; `lifetime_s` is None where it did not say how long it lives."""

    text: str
    lifetime_s: float | None

    def __repr__(self) -> str:
        return f"Grant(<secret>, lifetime_s={self.lifetime_s})"


def token_request(oauth: OAuth, method: Literal["basic", "post"]) -> HttpRequest:
    """The request; the client names itself in the header (`basic`) or in the form (`post`)."""
    form = {"grant_type": "client_credentials", **oauth.parameters}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    secret = oauth.client_secret.reveal()
    if method == "basic":  # each half form-encoded, as section 2.3.1 says
        pair = f"{quote_plus(oauth.client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form.update(client_id=oauth.client_id, client_secret=secret)
    return HttpRequest(method="POST", url=oauth.token_url, headers=headers, body=urlencode(form).encode())


def refuses_the_way(reply: HttpReply) -> bool:
    """Whether the server may know the client, but not from where its name was given."""
    return reply.status == 401 or (reply.status == 400 and _document(reply.body).get("error") == "invalid_client")


def read_grant(reply: HttpReply, oauth: OAuth) -> Grant:
    """The token in a reply.

    Raises:
        AuthenticationError: the server refused, or answered with something that is no token; it names the endpoint.
    """
    where = place_of(oauth.token_url)
    document = _document(reply.body)
    if reply.status != 200:
        told = _told(document, oauth)
        raise AuthenticationError(
            f"no token from {where}: it answered {reply.status}{f' ({told})' if told else ''}",
            code=_word(document.get("error")),
            retry_safe=reply.status >= 500 or reply.status in _TRANSIENT,
        )
    text, kind = document.get("access_token"), document.get("token_type", "Bearer")
    if not isinstance(text, str) or not text or any(not "!" <= char <= "~" for char in text):
        told = _told(document, oauth)
        raise AuthenticationError(
            f"no token from {where}: its answer has no access_token{f' ({told})' if told else ''}"
        )
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthenticationError(f"no token from {where}: its token is of the type {_word(kind)!r}, not Bearer")
    lifetime_s = _seconds(document.get("expires_in"))
    if lifetime_s is not None and lifetime_s <= 0:
        raise AuthenticationError(f"no token from {where}: the one it gave has expired already")
    return Grant(text=text, lifetime_s=lifetime_s)


def place_of(url: str) -> str:
    """The endpoint as messages name it: no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _document(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a body; empty where it is none, or far too long for one."""
    if len(body) > _LONGEST_BODY:
        return {}
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _told(document: Mapping[str, Any], oauth: OAuth) -> str:
    """What the server says of its refusal, without our secret, should it quote that."""
    words = [_word(document.get("error")), _word(document.get("error_description"))]
    text = ": ".join(word for word in words if word)
    secret = oauth.client_secret.reveal()
    for form in (secret, quote_plus(secret), base64.b64encode(secret.encode()).decode()):
        text = text.replace(form, "<secret>")
    return scrub(text)[:_LONGEST_WORD]


def _word(value: object) -> str | None:
    return " ".join(value.split()) if isinstance(value, str) and value.strip() else None


def _seconds(value: object) -> float | None:
    """`expires_in`, a number that some servers write as text; None where it is missing or makes no sense."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


__all__ = ["Grant", "place_of", "read_grant", "refuses_the_way", "token_request"]

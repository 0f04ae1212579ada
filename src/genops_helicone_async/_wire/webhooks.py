"""What a webhook receives: the JSON of an alert, and the headers of the Standard Webhooks specification that sign it.

The signature is an HMAC-SHA256 over `id.timestamp.body` (https://www.standardwebhooks.com, its symmetric `v1`): a
receiver checks it with any of that project's libraries.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from .._arguments import refuse_plain_http
from ..errors import ConfigurationError

Channel = Literal["cost", "performance"]
PREFIX = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert on its way: `id` stays the same however often it is sent; `body` is its JSON; Unix seconds."""

    id: str
    channel: Channel
    body: bytes
    created_s: float


def alert(id: str, channel: Channel, kind: str, facts: Mapping[str, Any], now_s: float) -> Alert:  # noqa: A002
    """An alert of a kind, such as `high_cost`, with what there is to say about it."""
    told = {"type": kind, "timestamp": datetime.fromtimestamp(now_s, UTC), "data": facts}
    return Alert(id=id, channel=channel, body=msgspec.json.encode(told), created_s=now_s)


def signing_key(secret: object) -> bytes:
    """The key in a secret as Standard Webhooks write it: base64 of 24 to 64 bytes, with or without `whsec_`.

    Raises:
        ConfigurationError: it is none; the message does not quote it.
        TypeError: it is no text.
    """
    if not isinstance(secret, str):
        raise TypeError(f"`secret` must be text, not {type(secret).__name__}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ConfigurationError(
            "`secret` is no secret of Standard Webhooks: give whsec_ and 24 to 64 random bytes in base64, as made by "
            "'whsec_' + base64.b64encode(os.urandom(32)).decode()"
        )
    return key


def headers_of(sent: Alert, key: bytes | None, now_s: float) -> dict[str, str]:
    """The headers of one delivery at this moment, signed where there is a key."""
    timestamp = str(int(now_s))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "genops-helicone-async",
        "webhook-id": sent.id,
        "webhook-timestamp": timestamp,
    }
    if key is not None:
        signed = hmac.digest(key, b".".join([sent.id.encode(), timestamp.encode(), sent.body]), hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return headers


def checked_webhook_url(name: str, url: object, *, allow_insecure_http: bool) -> str:
    """A webhook's URL; it may have a query, and none of it but the host is ever shown, for many are secrets.

    Raises:
        ConfigurationError: it is no http(s) URL, or plain http to another machine.
        TypeError: it is no text.
    """
    if not isinstance(url, str):
        raise TypeError(f"`{name}` must be a URL as text, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url or "#" in url or "@" in parts.netloc or any(not "!" <= char <= "~" for char in url):
        raise ConfigurationError(
            f"`{name}` is no URL to post to: give https://host/path, percent-encoded, without a user or a fragment"
        )
    if not allow_insecure_http:
        refuse_plain_http(name, url)
    return url


__all__ = ["Alert", "Channel", "alert", "checked_webhook_url", "headers_of", "signing_key"]

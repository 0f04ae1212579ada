"""A Redis or Valkey server's URL: what redis-py is to be told, and what may be shown of it."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}


class ServerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`location` names the server without its user, password and options; `url` has them and is never shown."""

    location: str
    url: str
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ServerPlace({self.location!r})"

    def redact(self, text: str) -> str:
        """The text without this server's password and options."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def server_place(url: str) -> ServerPlace:
    """The place that a URL names.

    Raises:
        ValueError: it is none of a Redis or Valkey server. Its text may quote the URL, or a part of a password.
    """
    parts = urlsplit(url)
    return ServerPlace(
        location=_location(parts),
        url=SCHEMES[parts.scheme] + url[len(parts.scheme) :],
        secrets=tuple(secret for secret in (parts.password, parts.query) if secret),
    )


def _location(parts: SplitResult) -> str:
    if parts.scheme == "unix" and parts.path:
        return f"unix://{parts.path}"
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError("no Redis URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path.rstrip('/') or '/0'}"


__all__ = ["SCHEMES", "ServerPlace", "server_place"]

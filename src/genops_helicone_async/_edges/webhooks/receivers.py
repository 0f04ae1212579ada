"""Who gets alerts, and what posts them: the courier is given both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from ..._values import HttpRequest


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets a channel's alerts; only the host shows, since the rest of many URLs is a secret, as the key is."""

    url: str
    key: bytes | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def __repr__(self) -> str:
        return f"Receiver({self.host}, {'signed' if self.key else 'unsigned'})"


class ReplyBody(Protocol):
    """A reply whose body is still arriving."""

    status: int
    headers: Mapping[str, str]

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        ...

    def close(self) -> None:
        """Ends the reply."""
        ...


class Sender(Protocol):
    """What posts; every failure is a `HeliconeError`, the deadline is on the event loop's clock."""

    async def open(self, request: HttpRequest, deadline: float) -> ReplyBody:
        """Sends the request and returns when the reply's head is here."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


__all__ = ["Receiver", "ReplyBody", "Sender"]

"""The short way to a reply: aiohttp's connector and parser, without its session in between.

Only plain requests go this way: straight to the host (no proxy), a body of known length or none, headers that need no
care. Everything else goes through the session, over the same connections. What of aiohttp is used here beyond its
reference (`Connection.protocol` and what `ClientSession` itself calls on it) is in `is_supported`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ..._values import HttpRequest

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.streams import StreamReader

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z]+")
_REPEATABLE = frozenset({"GET"})
_WITH_CARE = frozenset({
    "connection", "content-encoding", "content-length", "cookie", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that say how the message or the connection is to be handled: the session knows all of that."""
_MOST_HEADS = 4096
_NOBODY: list[Any] = []  # who traces


class Exchange:
    """A reply whose head is here, on its connection; what is read of it is as of aiohttp's `ClientResponse`.

    The connection goes back to the pool as soon as the whole body has arrived.
    """

    __slots__ = ("connection", "content", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: Mapping[str, str], content: StreamReader) -> None:
        self.connection: Connection | None = connection
        self.status = status
        self.headers = headers
        self.content = content
        content.on_eof(self._arrived)

    def _arrived(self) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():
            drop(connection)  # the reply came before the request had gone out, which nobody may be reading any more
        else:
            connection.release()

    def close(self) -> None:
        """Drops a connection on which not everything has arrived."""
        connection, self.connection = self.connection, None
        if connection is not None:
            drop(connection)


class _Head:
    """What requests of one method, URL and set of header names begin with."""

    __slots__ = ("initiator", "start")

    def __init__(self, start: str, initiator: aiohttp.ClientRequest) -> None:
        self.start = start
        self.initiator = initiator


class DirectWay:
    """Sends plain requests over the connections of a session's connector."""

    __slots__ = ("_connector", "_heads", "_loop", "_proxy_of", "_timeout")

    def __init__(
        self, connector: aiohttp.BaseConnector, loop: asyncio.AbstractEventLoop, timeout: aiohttp.ClientTimeout,
        proxy_of: Callable[[URL], URL | None],
    ) -> None:  # fmt: skip
        self._timeout = timeout
        self._connector = connector
        self._proxy_of = proxy_of
        self._loop = loop
        self._heads: dict[tuple[str, ...], _Head | None] = {}

    def head(self, request: HttpRequest) -> _Head | None:
        """The constant part of the request's head; None where the request is not plain."""
        key = (request.method, request.url, *request.headers)
        try:
            head = self._heads[key]
        except KeyError:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = self._heads[key] = self._new_head(request)
        if head is None or not "".join(request.headers.values()).isprintable():
            return None
        return head

    def _new_head(self, request: HttpRequest) -> _Head | None:
        given = {name.lower() for name in request.headers}
        url = URL(request.url, encoded=True)
        is_plain = (
            url.scheme in ("http", "https")
            and self._proxy_of(url) is None
            and url.raw_host
            and not (url.raw_user or url.raw_password or url.raw_fragment)
            and url.raw_path_qs.isprintable()
            and " " not in url.raw_path_qs
            and _METHOD.fullmatch(request.method)
            and all(_NAME.fullmatch(name) for name in request.headers)
            and len(given) == len(request.headers)
            and not given & _WITH_CARE
        )
        if not is_plain:
            return None
        initiator = aiohttp.ClientRequest(request.method, url, loop=self._loop)
        lines = [f"{request.method} {url.raw_path_qs} HTTP/1.1", f"Host: {initiator.headers['Host']}"]
        own = {"host", "content-type", "content-length"}
        lines += [f"{name}: {value}" for name, value in initiator.headers.items() if name.lower() not in given | own]
        if request.body and "content-type" not in given:
            lines.append("Content-Type: application/json")
        return _Head("\r\n".join([*lines, ""]), initiator)

    async def ask(self, request: HttpRequest, head: _Head) -> Exchange:
        """Sends the request and returns when the reply's head is here; raises aiohttp's errors."""
        try:
            return await self._ask(request, head)
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if request.method not in _REPEATABLE:
                raise
        return await self._ask(request, head)  # a connection that was used before may end just as it is used again

    async def _ask(self, request: HttpRequest, head: _Head) -> Exchange:
        try:
            connection = await self._connector.connect(head.initiator, _NOBODY, self._timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {head.initiator.url.authority}") from exc
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True)
            start, body = head.start, request.body
            lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
            if body:
                request.sent = True
                transport.write(f"{start}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            else:
                transport.write(f"{start}{lines}{_without_body(request.method)}\r\n".encode())
            message, content = await protocol.read()
            while message.code < 200 and message.code >= 100 and message.code != 101:
                message, content = await protocol.read()
        except BaseException:
            drop(connection)
            raise
        return Exchange(connection, message.code, message.headers, content)


def _without_body(method: str) -> str:
    return "" if method == "GET" else "Content-Length: 0\r\n"


def drop(connection: Connection) -> None:
    """Ends the connection without a farewell: over TLS a polite one waits for the other side's."""
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()


def is_supported() -> bool:
    """Whether this aiohttp has what the short way needs; without it every request goes through the session."""
    needed = ("set_response_params", "read", "should_close")
    return isinstance(getattr(aiohttp.connector.Connection, "protocol", None), property) and all(
        hasattr(ResponseHandler, name) for name in needed
    )


__all__ = ["DirectWay", "Exchange", "drop", "is_supported"]

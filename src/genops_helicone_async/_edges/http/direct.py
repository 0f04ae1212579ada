"""The short way to a reply: aiohttp's connector and parser, without its session in between.

Only plain requests go this way: straight to the host (no proxy), a body of known length or none, headers that need no
care. Everything else goes through the session. What of aiohttp is used for it beyond its reference is in
`is_supported`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from aiohttp.http import HttpResponseParser
from yarl import URL

from ..._values import HttpRequest
from .lines import Idle, Line, Lines

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

    from .lines import Head

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z]+")
_REPEATABLE = frozenset({"GET"})
_WITH_CARE = frozenset({
    "connection", "content-encoding", "content-length", "cookie", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that say how the message or the connection is to be handled: the session knows all of that."""
_MOST_HEADS = 4096


class Exchange(msgspec.Struct, eq=False):
    """A reply whose head is here; what is read of it is as of aiohttp's `ClientResponse`.

    `connection` is the line on which the rest of the body arrives, None when there is no more to come.
    """

    connection: Line | None
    status: int
    headers: Mapping[str, str]
    content: StreamReader

    @classmethod
    def on(cls, line: Line, head: Head) -> Exchange:
        """The reply with this head, on this line; a whole one leaves it free for the next request."""
        message, content = head
        if content.is_eof():
            line.rest()
            return cls(None, message.code, message.headers, content)
        exchange = cls(line, message.code, message.headers, content)
        line.on_whole = exchange.arrived
        return exchange

    def arrived(self) -> None:
        """The whole body is here, and its line free for the next request."""
        line, self.connection = self.connection, None
        if line is not None:
            line.rest()

    def close(self) -> None:
        """Drops a connection on which not everything has arrived."""
        line, self.connection = self.connection, None
        if line is not None:
            line.drop()


class _Head:
    """What requests of one method, URL and set of header names begin with: a format for the headers' values."""

    __slots__ = ("form", "has_length", "idle", "initiator", "is_once")

    def __init__(
        self, form: str, initiator: aiohttp.ClientRequest, idle: Idle, *, has_length: bool, is_once: bool
    ) -> None:
        self.form = form
        self.has_length = has_length
        self.initiator = initiator
        self.idle = idle
        self.is_once = is_once
        """Whether it is of requests with a body, which are never sent a second time."""


class DirectWay:
    """Sends plain requests over lines of its own, which the session's connector makes."""

    __slots__ = ("_heads", "_lines", "_loop", "_proxy_of")

    def __init__(self, lines: Lines, loop: asyncio.AbstractEventLoop, proxy_of: Callable[[URL], URL | None]) -> None:
        self._lines = lines
        self._proxy_of = proxy_of
        self._loop = loop
        self._heads: dict[tuple[object, ...], _Head | None] = {}

    def ask_nowait(self, request: HttpRequest, *, together: bool) -> Line | None:
        """Sends the request on an idle line, whose `answer` is then to be awaited, and the line dropped if that fails.

        `together` with the other requests of this turn of the loop, at its end, or at once.

        None where that cannot be, and nothing is sent: the request is not plain, may have to be sent again, or needs a
        new connection. Then `ask` it.
        """
        body, headers = request.body, request.headers
        head = self._heads.get((request.method, request.url, not body, *headers))
        if head is None or not head.is_once:
            return None
        values = (*headers.values(),)
        line = self._lines.take(head.idle) if "".join(values).isprintable() else None
        if line is not None:
            data = (head.form % (*values, len(body))).encode() + body
            if together:
                line.ask_soon(request, data)
            else:
                request.sent = True
                line.ask(data)
        return line

    async def ask(self, request: HttpRequest) -> Exchange | None:
        """Sends the request and returns when the reply's head is here; None where it is not plain, and nothing is sent.

        Raises aiohttp's errors.
        """
        body, headers = request.body, request.headers
        key = (request.method, request.url, not body, *headers)
        try:
            head = self._heads[key]
        except KeyError:
            head = self._new_head(key, request)
        values = (*headers.values(),)
        if head is None or not "".join(values).isprintable():
            return None
        data = (head.form % (*values, len(body))).encode() + body if head.has_length else (head.form % values).encode()
        is_repeat = False
        while True:
            line = self._lines.take(head.idle) or await self._lines.open(head.idle, head.initiator)
            if body:
                request.sent = True
            try:
                return Exchange.on(line, await line.ask(data))
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                line.drop()
                if is_repeat or request.method not in _REPEATABLE:
                    raise
                is_repeat = True  # a connection that was used before may end just as it is used again
                continue
            except BaseException:
                line.drop()
                raise

    def _new_head(self, key: tuple[object, ...], request: HttpRequest) -> _Head | None:
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        head = self._heads[key] = self._made(request)
        return head

    def _made(self, request: HttpRequest) -> _Head | None:
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
        has_length = bool(request.body) or request.method != "GET"
        forms = [line.replace("%", "%%") for line in lines]
        forms += [f"{name.replace('%', '%%')}: %s" for name in request.headers]
        if has_length:
            forms.append("Content-Length: %d")
        idle, is_once = (
            self._lines.idle(str(initiator.url.origin())),
            bool(request.body) and request.method not in _REPEATABLE,
        )
        return _Head("\r\n".join([*forms, "", ""]), initiator, idle, has_length=has_length, is_once=is_once)


def whole_body(content: StreamReader) -> bytes:
    """The body that has arrived whole, and of which nothing has been read: `read_nowait` in a tenth of the steps."""
    try:
        parts = content._buffer
    except AttributeError:  # replies that have no body share a reader without one
        return b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_supported() -> bool:
    """Whether this aiohttp has what the short way needs; without it every request goes through the session."""
    return isinstance(getattr(aiohttp.connector.Connection, "protocol", None), property) and all(
        hasattr(kind, name)
        for kind, names in (
            (HttpResponseParser, ("feed_data", "feed_eof", "pause_reading")),
            (aiohttp.StreamReader, ("_buffer",)),
        )
        for name in names
    )


__all__ = ["DirectWay", "Exchange", "is_supported"]

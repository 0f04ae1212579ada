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
from .lines import Line, Lines

if TYPE_CHECKING:
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


class Exchange(msgspec.Struct, eq=False):
    """A reply whose head is here; what is read of it is as of aiohttp's `ClientResponse`.

    `connection` is the line on which the rest of the body arrives, None when there is no more to come.
    """

    connection: Line | None
    status: int
    headers: Mapping[str, str]
    content: StreamReader
    lines: Lines

    def arrived(self) -> None:
        """The whole body is here, and its line free for the next request."""
        line, self.connection = self.connection, None
        if line is not None:
            self.lines.give_back(line)

    def close(self) -> None:
        """Drops a connection on which not everything has arrived."""
        line, self.connection = self.connection, None
        if line is not None:
            line.drop()


class _Head:
    """What requests of one method, URL and set of header names begin with: a format for the headers' values."""

    __slots__ = ("form", "has_length", "initiator", "site")

    def __init__(self, form: str, initiator: aiohttp.ClientRequest, *, has_length: bool) -> None:
        self.form = form
        self.has_length = has_length
        self.initiator = initiator
        self.site = str(initiator.url.origin())


class DirectWay:
    """Sends plain requests over lines of its own, which the session's connector makes."""

    __slots__ = ("_heads", "_lines", "_loop", "_proxy_of")

    def __init__(self, lines: Lines, loop: asyncio.AbstractEventLoop, proxy_of: Callable[[URL], URL | None]) -> None:
        self._lines = lines
        self._proxy_of = proxy_of
        self._loop = loop
        self._heads: dict[tuple[object, ...], _Head | None] = {}

    async def ask(self, request: HttpRequest) -> Exchange | None:
        """Sends the request and returns when the reply's head is here; None where it is not plain, and nothing is sent.

        Raises aiohttp's errors.
        """
        body, headers, lines = request.body, request.headers, self._lines
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
            line = lines.take(head.site) or await lines.open(head.site, head.initiator)
            if body:
                request.sent = True
            try:
                message, content = await line.ask(data)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                line.drop()
                if is_repeat or request.method not in _REPEATABLE:
                    raise
                is_repeat = True  # a connection that was used before may end just as it is used again
                continue
            except BaseException:
                line.drop()
                raise
            if content.is_eof():
                lines.give_back(line)
                return Exchange(None, message.code, message.headers, content, lines)
            exchange = Exchange(line, message.code, message.headers, content, lines)
            line.on_whole = exchange.arrived
            return exchange

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
        return _Head("\r\n".join([*forms, "", ""]), initiator, has_length=has_length)


def is_supported() -> bool:
    """Whether this aiohttp has what the short way needs; without it every request goes through the session."""
    return isinstance(getattr(aiohttp.connector.Connection, "protocol", None), property) and all(
        hasattr(HttpResponseParser, name) for name in ("feed_data", "feed_eof", "pause_reading")
    )


__all__ = ["DirectWay", "Exchange", "is_supported"]

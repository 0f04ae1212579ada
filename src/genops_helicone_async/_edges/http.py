"""The network: one tuned aiohttp session per event loop, every foreign exception translated. The only aiohttp here."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload, Payload
from yarl import URL

from .._values import HttpReply, HttpRequest
from ..errors import ConfigurationError, DeadlineExceededError, DecodeError, GatewayError, HeliconeError

CONNECT_TIMEOUT_S = 30.0
"""Longest wait for a TCP and TLS handshake; the call's deadline may be nearer."""
KEEP_ALIVE_S = 30.0
_MOST_URLS = 4096
_LONGEST_REASON = 200  # characters


class HttpStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one session: requests begun, replies complete, failures, and requests on their way now."""

    requests: int
    replies: int
    failures: int
    in_flight: int


class _Body(BytesPayload):
    """A request's body that notes on the request when it starts to go out."""

    def __init__(self, request: HttpRequest) -> None:
        # BytesPayload's own constructor warns about bodies over 1 MB (images are), hence Payload's.
        Payload.__init__(self, request.body, content_type="application/json")
        self._size = len(request.body)
        self._request = request

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._request.sent = True
        await writer.write(self._value if content_length is None else self._value[:content_length])


class HttpTransport:
    """Sends requests. Bound to the event loop it is first used on; `aclose()` ends its connections.

    A loop that ends without `aclose()` (as `asyncio.run` does) closes the session too: it is owned by an
    asynchronous generator, and ending loops finish those.
    """

    __slots__ = (
        *("_closed", "_counts", "_keeper", "_loop", "_max_response_bytes", "_session", "_tls", "_trust_env", "_ways"),
    )

    def __init__(self, *, max_response_bytes: int, trust_env: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self._max_response_bytes = max_response_bytes
        self._trust_env = trust_env
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop
        self._keeper: AsyncGenerator[None, None] | None = None
        self._ways: dict[str, tuple[URL, URL | None]] = {}
        self._counts = [0, 0, 0]
        self._closed = False

    def __del__(self) -> None:
        if self._session is not None and self._loop.is_closed():  # by hand, without finishing its generators
            for _ in self._session.close().__await__():  # with the loop gone there is nothing left to wait for
                pass

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._session else "idle"
        return f"HttpTransport({state}, {self.statistics()})"

    def statistics(self) -> HttpStatistics:
        """How many requests were begun, answered and failed so far."""
        begun, replies, failures = self._counts
        return HttpStatistics(requests=begun, replies=replies, failures=failures, in_flight=begun - replies - failures)

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply, until `deadline` on the loop's clock.

        Cancelling closes the connection, so that the other side can stop.

        Raises:
            DeadlineExceededError: no whole reply in time.
            GatewayError: no connection, or it broke.
            DecodeError: the body is too large, cut short or wrongly encoded.
        """
        try:
            async with asyncio.timeout_at(deadline):
                stream = await self._open(request, deadline)
                try:
                    return HttpReply(status=stream.status, headers=stream.headers, body=await stream.collect())
                finally:
                    stream.close()
        except TimeoutError as exc:
            raise _translate(exc, request) from exc

    async def open(self, request: HttpRequest, deadline: float) -> HttpStream:
        """Sends the request and returns when the reply's head is here; raises as `send` does."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._open(request, deadline)
        except TimeoutError as exc:
            raise _translate(exc, request) from exc

    async def _open(self, request: HttpRequest, deadline: float) -> HttpStream:
        if deadline <= asyncio.get_running_loop().time():  # a connection that stands ready would send at once
            raise DeadlineExceededError("the deadline passed before anything was sent")
        session = self._session
        if session is None:
            session = await self._open_session()
        self._counts[0] += 1
        try:
            url, proxy = self._way(request.url)
            response = await session.request(
                request.method,
                url,
                proxy=proxy,
                data=_Body(request) if request.body else None,
                headers=request.headers,
                allow_redirects=False,
            )
        except BaseException as exc:
            self._counts[2] += 1
            if isinstance(exc, Exception):
                raise _translate(exc, request) from exc
            raise
        return HttpStream(response, request, self._max_response_bytes, self._counts)

    async def aclose(self) -> None:
        """Closes the session and its connections; calls in flight fail with a `GatewayError`."""
        self._closed = True
        keeper, self._keeper, self._session = self._keeper, None, None
        if keeper is not None:
            await keeper.aclose()

    def _way(self, text: str) -> tuple[URL, URL | None]:
        """The parsed URL and the proxy on the way there, remembered."""
        way = self._ways.get(text)
        if way is None:
            if len(self._ways) >= _MOST_URLS:
                self._ways.clear()
            url = URL(text, encoded=True)
            way = self._ways[text] = (url, _proxy_for(url) if self._trust_env else None)
        return way

    async def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConfigurationError("the adapter is closed: make a new one, or do not call aclose()/close() before")
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # our own first-come-first-served slots stand in front
                keepalive_timeout=KEEP_ALIVE_S,
                ttl_dns_cache=300,
                ssl=self._tls if self._tls is not None else True,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._keeper = _keep(session)
        await anext(self._keeper)
        return session


def _proxy_for(url: URL) -> URL | None:
    """The proxy of the environment; aiohttp's own `trust_env` would also send what it finds in ~/.netrc."""
    proxy = getproxies().get(url.scheme)
    return URL(proxy) if proxy and not proxy_bypass(url.host or "") else None


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await session.close()


class HttpStream:
    """A reply whose body is still arriving. `close()` is always safe; before the end it drops the connection."""

    __slots__ = ("_counts", "_limit", "_open", "_request", "_response", "_size", "headers", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, request: HttpRequest, limit_bytes: int, counts: list[int]
    ) -> None:
        self._response = response
        self._request = request
        self._limit = limit_bytes
        self._counts = counts
        self._size = 0
        self._open = True
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self, deadline: float) -> bytes:
        """The next bytes of the body as they arrive; empty at its end. Raises as `HttpTransport.send` does."""
        if self._open and deadline <= asyncio.get_running_loop().time():  # bytes that are here already would not wait
            self.close()
            raise _translate(TimeoutError(), self._request)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._next()
        except TimeoutError as exc:
            raise _translate(exc, self._request) from exc

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self.collect()
        except TimeoutError as exc:
            raise _translate(exc, self._request) from exc

    async def collect(self) -> bytes:
        """The rest of the body, without a deadline of its own."""
        first = await self._next()
        if not first:
            return b""
        parts = [first]
        while data := await self._next():
            parts.append(data)
        return first if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> bytes:
        try:
            data = await self._response.content.readany()
        except BaseException as exc:
            self.close()
            if isinstance(exc, Exception):
                error = _translate(exc, self._request)
                error.http_status = error.status_code = self.status
                raise error from exc
            raise
        self._size += len(data)
        if self._size > self._limit:
            self.close()
            raise DecodeError(
                f"the reply is larger than {self._limit:,} bytes: raise max_response_bytes if that is expected",
                billed="maybe",
                http_status=self.status,
                status_code=self.status,
            )
        if not data:
            self._finish(1)
        return data

    def close(self) -> None:
        """Ends the reply: hands a finished connection back, drops an unfinished one."""
        if self._open:
            self._response.close()
            self._finish(2)

    def _finish(self, outcome: int) -> None:
        if self._open:
            self._open = False
            self._counts[outcome] += 1


def _translate(exc: Exception, request: HttpRequest) -> HeliconeError:
    """Our error for one of aiohttp's or the operating system's."""
    host = URL(request.url).authority
    billed: Any = "maybe" if request.sent else "no"
    if isinstance(exc, HeliconeError):
        return exc
    if isinstance(exc, aiohttp.ServerTimeoutError):
        return GatewayError(f"no connection to {host} within {CONNECT_TIMEOUT_S:g} s", retry_safe=True)
    if isinstance(exc, TimeoutError):
        return DeadlineExceededError(f"{host} did not answer before the deadline", billed=billed)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return GatewayError(f"TLS with {host} failed: {_reason(exc)}", code="tls_failure")
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        why = f"the proxy refused to connect to {host}: {exc.status} {exc.message}"
        return GatewayError(why, retry_safe=exc.status >= 500)
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        why = f"the host name of {host} cannot be resolved: check the URL or the network"
        return GatewayError(why, retry_safe=True)
    if isinstance(exc, aiohttp.ClientConnectorError):
        hint = ": lower max_connections or raise the open-file limit" if exc.errno == errno.EMFILE else ""
        return GatewayError(f"no connection to {host} ({_reason(exc)}){hint}", retry_safe=True)
    if isinstance(exc, aiohttp.ClientPayloadError):
        why = f"the body of {host}'s reply is cut short or wrongly encoded ({_reason(exc)})"
        return DecodeError(why, billed=billed)
    if isinstance(exc, aiohttp.ClientConnectionError | OSError):
        why = f"{host} closed the connection before the reply was complete ({_reason(exc)})"
        return GatewayError(why, retry_safe=not request.sent, billed=billed)
    if isinstance(exc, aiohttp.InvalidURL | ValueError):
        return ConfigurationError(f"the request to {host} cannot be sent: {_reason(exc)}")
    return GatewayError(f"{host} answered with something that is not HTTP ({_reason(exc)})", billed=billed)


def _reason(exc: Exception) -> str:
    """What went wrong in one short line, without addresses of objects or of internal code."""
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return "no whole reply"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return str(exc.certificate_error)
    inner = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(inner, OSError) and inner.errno is not None and not isinstance(inner, ssl.SSLError):
        text = os.strerror(inner.errno)
    else:
        text = exc.message if isinstance(exc, aiohttp.ClientResponseError) else str(inner)
    return " ".join(text.split())[:_LONGEST_REASON] or type(inner).__name__


__all__ = ["HttpStatistics", "HttpStream", "HttpTransport"]

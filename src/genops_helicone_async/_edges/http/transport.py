"""Requests over one tuned aiohttp session per event loop, and past it where they are plain."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from ..._values import HttpReply, HttpRequest
from ...errors import ConfigurationError, DeadlineExceededError
from .deadlines import Deadlines, Wait, clock_of
from .direct import DirectWay, Exchange, is_supported, whole_body
from .failures import CONNECT_TIMEOUT_S, translated
from .lines import Lines
from .sending import Body, Connector
from .stream import HttpStream, too_large

KEEP_ALIVE_S = 30.0
_TOO_LATE = "the deadline passed before anything was sent"
_MOST_URLS = 4096
_FEW = 3
"""With so many requests on their way a next one waits for the end of the loop's turn, to go out with others."""


class HttpStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one session: requests begun, replies complete, failures, and requests on their way now."""

    requests: int
    replies: int
    failures: int
    in_flight: int


class HttpTransport:
    """Sends requests. Bound to the event loop it is first used on; `aclose()` ends its connections.

    A loop that ends without `aclose()` (as `asyncio.run` does) closes the session too: it is owned by an
    asynchronous generator, and ending loops finish those.

    Plain requests go past the session, over its connector; `by_session` sends all through it, which is slower and uses
    nothing of aiohttp but what its reference has.
    """

    __slots__ = (
        *("_by_session", "_clock", "_closed", "_counts", "_deadlines", "_direct", "_keep_alive_s", "_keeper", "_loop"),
        *("_max_response_bytes", "_now", "_reading", "_session", "_timeout", "_tls", "_trust_env", "_ways"),
    )

    def __init__(
        self,
        *,
        max_response_bytes: int,
        trust_env: bool = False,
        tls: ssl.SSLContext | None = None,
        by_session: bool = False,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_alive_s = keep_alive_s
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._by_session = by_session or not is_supported()
        self._max_response_bytes = max_response_bytes
        self._trust_env = trust_env
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop
        self._now: Callable[[], float]
        self._deadlines: Deadlines
        self._direct: DirectWay | None = None
        self._keeper: AsyncGenerator[None, None] | None = None
        self._ways: dict[str, tuple[URL, URL | None]] = {}
        self._counts = [0, 0, 0]
        self._reading: set[HttpStream] = set()
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
        direct = self._direct
        if direct is None:
            return await self._send(request, deadline)
        if deadline <= self._now():  # a connection that stands ready would send at once
            raise DeadlineExceededError(_TOO_LATE)
        counts = self._counts
        line = direct.ask_nowait(request, together=counts[0] - counts[1] - counts[2] >= _FEW)
        if line is None:
            return await self._send(request, deadline)
        counts[0] += 1
        wait = self._deadlines.add(deadline, line.answer)
        try:
            head = await line.answer  # type: ignore[misc]  # there is one: it was just asked
            if self._closed:  # between the reply's head and this line, so that its body will never come
                raise aiohttp.ServerDisconnectedError
        except BaseException as exc:
            counts[2] += 1
            line.drop()
            if isinstance(exc, aiohttp.ClientConnectionError) and not request.sent:
                return await self._send(request, deadline)  # the line ended before its turn came
            if isinstance(exc, Exception):
                raise translated(exc, request) from exc
            raise
        finally:
            wait.over, wait.answer = True, None
        message, content = head
        if not content.is_eof() or content.exception() is not None:
            return await self._rest(Exchange.on(line, head), request, deadline)
        line.rest()
        return self._whole(message.code, message.headers, whole_body(content))

    async def _send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends what is not plain, or needs a connection first."""
        if self._session is None:
            await self._open_session()
        wait = self._begin(deadline)
        try:
            response = await self._ask(request)
        except asyncio.CancelledError as exc:
            if wait.end():
                raise translated(TimeoutError(), request) from exc
            raise
        finally:
            self._deadlines.drop(wait)
        return await self._rest(response, request, deadline)

    async def _rest(
        self, response: aiohttp.ClientResponse | Exchange, request: HttpRequest, deadline: float
    ) -> HttpReply:
        """The reply with all of its body, which may be still to come."""
        content = response.content
        if content.is_eof() and content.exception() is None:  # all had arrived with the reply's head
            return self._whole(response.status, response.headers, content.read_nowait())
        stream, wait = self._stream(response, request), self._deadlines.add(deadline)
        wait.begin()
        try:
            return HttpReply(status=stream.status, headers=stream.headers, body=await stream.collect())
        except asyncio.CancelledError as exc:
            if wait.end():
                raise translated(TimeoutError(), request) from exc
            raise
        finally:
            self._deadlines.drop(wait)
            stream.close()

    def _whole(self, status: int, headers: Mapping[str, str], body: bytes) -> HttpReply:
        """The reply with this body, if that is not too large."""
        if len(body) > self._max_response_bytes:
            self._counts[2] += 1
            raise too_large(self._max_response_bytes, status)
        self._counts[1] += 1
        return HttpReply(status=status, headers=headers, body=body)

    async def open(self, request: HttpRequest, deadline: float) -> HttpStream:
        """Sends the request and returns when the reply's head is here; raises as `send` does."""
        if self._session is None:
            await self._open_session()
        wait = self._begin(deadline)
        try:
            return self._stream(await self._ask(request), request)
        except asyncio.CancelledError as exc:
            if wait.end():
                raise translated(TimeoutError(), request) from exc
            raise
        finally:
            self._deadlines.drop(wait)

    def _begin(self, deadline: float) -> Wait:
        """Begins the running task's wait for a reply."""
        if deadline <= self._now():
            raise DeadlineExceededError(_TOO_LATE)
        wait = self._deadlines.add(deadline)
        wait.begin()
        return wait

    async def _ask(self, request: HttpRequest) -> aiohttp.ClientResponse | Exchange:
        """The reply's head: by the short way where the request is plain and the URL has no proxy before it."""
        self._counts[0] += 1
        try:
            reply = await self._direct.ask(request) if self._direct is not None else None
            if reply is None:
                return await self._ask_session(request)
            if self._closed:  # between the reply's head and this line, so that its body will never come
                reply.close()
                raise aiohttp.ServerDisconnectedError
            return reply
        except BaseException as exc:
            self._counts[2] += 1
            if isinstance(exc, Exception):
                raise translated(exc, request) from exc
            raise

    async def _ask_session(self, request: HttpRequest) -> aiohttp.ClientResponse:
        """The same through the session, which knows all that a request may need."""
        assert self._session is not None
        body: Body | None = None
        try:
            body = Body(request) if request.body else None
            url, proxy = self._way(request.url)
            reply = await self._session.request(
                request.method, url, proxy=proxy, data=body, headers=request.headers, allow_redirects=False
            )
            if self._closed:
                reply.close()
                raise aiohttp.ServerDisconnectedError
            return reply
        except BaseException:
            if body is not None:
                body.drop()
            raise

    def _stream(self, response: aiohttp.ClientResponse | Exchange, request: HttpRequest) -> HttpStream:
        return HttpStream(response, request, self._max_response_bytes, self._counts, self._reading, self._deadlines)

    async def aclose(self) -> None:
        """Closes the session and its connections; calls in flight fail with a `GatewayError`."""
        self._closed = True
        keeper, self._keeper, self._session, self._direct = self._keeper, None, None, None
        for stream in tuple(self._reading):  # aiohttp's own close would leave whoever reads a body waiting for ever
            stream.drop()
        if keeper is not None:
            await asyncio.sleep(0)  # in which they hear of it
            await keeper.aclose()

    def _way(self, text: str) -> tuple[URL, URL | None]:
        """The parsed URL and the proxy on the way there, remembered."""
        way = self._ways.get(text)
        if way is None:
            if len(self._ways) >= _MOST_URLS:
                self._ways.clear()
            url = URL(text, encoded=True)
            way = self._ways[text] = (url, _proxy_for(url, trust_env=self._trust_env))
        return way

    async def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConfigurationError("the adapter is closed: make a new one, or do not call aclose()/close() before")
        connector = Connector(
            limit=0,  # our own first-come-first-served slots stand in front
            keepalive_timeout=self._keep_alive_s,
            ttl_dns_cache=300,
            ssl=self._tls if self._tls is not None else True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._now = clock_of(self._loop)
        self._deadlines = Deadlines(self._loop)
        if not self._by_session:
            lines = Lines(connector, self._loop, self._timeout, self._keep_alive_s, self._clock)
            self._direct = DirectWay(lines, self._loop, partial(_proxy_for, trust_env=self._trust_env))
        self._keeper = _keep(session)
        await anext(self._keeper)
        return session


def _proxy_for(url: URL, *, trust_env: bool) -> URL | None:
    """The proxy of the environment; aiohttp's own `trust_env` would also send what it finds in ~/.netrc."""
    proxy = getproxies().get(url.scheme) if trust_env else None
    return URL(proxy) if proxy and not proxy_bypass(url.host or "") else None


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await session.close()


__all__ = ["HttpStatistics", "HttpTransport"]

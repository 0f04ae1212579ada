"""The HTTP server under the sandbox: reads requests, finds the dialect, notes what became of each request."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec
from aiohttp import StreamReader, web

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage

from ._helicone.headers import helicone_id
from .exchange import Arrival, Reply, Stream
from .request_log import RequestLog, SeenHeaders, SeenRequest
from .sending import ClientGone, Dropped, send

LARGEST_BODY_BYTES = 256 * 2**20
BACKLOG = 8192
_GOODBYE_S = 0.05

Dialect = Callable[[Arrival], Awaitable[Reply | Stream]]


class SandboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a sandbox since it started or was reset."""

    calls: int
    by_provider: dict[str, int]
    by_status: dict[int, int]
    cancelled: int
    """Requests whose client left before the reply was out."""
    faults_struck: int
    cache_hits: int
    in_flight: int
    max_in_flight: int
    connections: int
    """Connections open now."""
    connections_total: int


class SandboxServer:
    """Listens on one port; every dialect is a handler by path prefix."""

    __slots__ = (
        *("_by_provider", "_by_status", "_cancelled", "_clock", "_connections_total", "_dialects"),
        *("_http", "_in_flight", "_listener", "_max_in_flight", "_tasks", "calls", "log"),
    )

    def __init__(
        self,
        dialects: Mapping[str, tuple[str, Dialect]],
        *,
        log: RequestLog,
        clock: Callable[[], float],
    ) -> None:
        self._dialects = dialects
        self._clock = clock
        self.log = log
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._connections_total = 0
        self._in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget counters and requests."""
        self.calls = 0
        self._by_provider: Counter[str] = Counter()
        self._by_status: Counter[int] = Counter()
        self._cancelled = 0
        self._max_in_flight = self._in_flight
        self._connections_total = 0
        self.log.clear()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, chosen by the system when 0 is asked."""
        self._http = web.Server(self._handle, request_factory=_make_request, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, host, port, backlog=BACKLOG)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening, end every request in flight and close every connection."""
        if self._listener is None or self._http is None:
            return
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._http.pre_shutdown()
        await self._http.shutdown(_GOODBYE_S)
        await self._listener.wait_closed()
        self._listener = self._http = None

    async def idle(self) -> None:
        """Return once no request is in flight."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def statistics(self, *, faults_struck: int, cache_hits: int) -> SandboxStatistics:
        """The counters, with those kept elsewhere."""
        return SandboxStatistics(
            calls=self.calls,
            by_provider=dict(self._by_provider),
            by_status=dict(self._by_status),
            cancelled=self._cancelled,
            faults_struck=faults_struck,
            cache_hits=cache_hits,
            in_flight=self._in_flight,
            max_in_flight=self._max_in_flight,
            connections=len(self._http.connections) if self._http else 0,
            connections_total=self._connections_total,
        )

    def _accept(self) -> web.RequestHandler:
        assert self._http is not None
        self._connections_total += 1
        return self._http()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        prefix = request.path.lstrip("/").partition("/")[0]
        name, dialect = self._dialects.get(prefix) or self._dialects[""]
        if name == "control":
            reply = await dialect(await _read(request, name))
            return await send(request, reply)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            return await self._exchange(request, name, dialect)
        finally:
            self._in_flight -= 1
            self._tasks.discard(task)

    async def _exchange(self, request: web.BaseRequest, name: str, dialect: Dialect) -> web.StreamResponse:
        arrival = await _read(request, name)
        self.calls += 1
        number = self.log.arrive(_seen(arrival, self._clock()))
        status, cancelled = 0, False
        try:
            response = await send(request, await dialect(arrival))
            status = 0 if isinstance(response, Dropped) else response.status
            return response
        except (asyncio.CancelledError, ClientGone) as error:
            cancelled = True
            if isinstance(error, ClientGone):
                return web.Response()
            raise
        finally:
            self._cancelled += cancelled
            self._by_status[status] += 1
            if arrival.provider:
                self._by_provider[arrival.provider] += 1
            self.log.finish(
                number,
                provider=arrival.provider,
                model=arrival.model,
                status=status,
                cancelled=cancelled,
            )


def _make_request(
    message: "RawRequestMessage",
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: "AbstractStreamWriter",
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY_BYTES)


async def _read(request: web.BaseRequest, dialect: str) -> Arrival:
    headers = SeenHeaders((name.lower(), value) for name, value in request.headers.items())
    query = request.query_string
    return Arrival(
        method=request.method,
        path=request.path,
        query=dict(parse_qsl(query)) if query else {},
        headers=headers,
        body=await request.read(),
        request_id=helicone_id(headers),
        dialect=dialect,
    )


def _seen(arrival: Arrival, at_s: float) -> SeenRequest:
    return SeenRequest(
        provider=None,
        model=None,
        path=arrival.path,
        dialect=arrival.dialect,
        headers=SeenHeaders(arrival.headers),
        body=arrival.body,
        at_s=at_s,
    )

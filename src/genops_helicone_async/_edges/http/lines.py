"""The connections of the short way: each is one line, on which one request at a time is asked and answered.

aiohttp's connector makes them, with everything that belongs to that (names, addresses, TLS, timeouts), and knows of
them until they end. What arrives on them is given to aiohttp's parser here, in as few steps as there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.http import HttpProcessingError, HttpResponseParser

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

    from ..._values import HttpRequest

    Head = tuple[RawResponseMessage, StreamReader]

_MOST_UNREAD_BYTES = 2**18
"""Beyond twice as much of a body nothing more is taken from the socket until it has been read; aiohttp's own figure."""
_SWITCHING = 101
Idle = dict["Line", float]
"""Lines on which nothing is asked, in the order in which they were used, and since when."""
_NOBODY: list[Any] = []  # who traces
_new_parser = partial(
    HttpResponseParser, limit=_MOST_UNREAD_BYTES, payload_exception=aiohttp.ClientPayloadError, read_until_eof=True
)


class Line(asyncio.Protocol):
    """One connection. What arrives on it while nothing is asked ends it; what comes after a reply makes that the last.

    `connected`, `pause_reading` and `resume_reading` are what aiohttp's parser and its reader of bodies ask of a
    protocol.
    """

    __slots__ = (
        *("_connection", "_content", "_handler", "_idle", "_is_paused", "_lines", "_loop", "_parser"),
        *("answer", "connected", "is_last", "on_whole", "transport"),
    )

    def __init__(self, connection: Connection, lines: Lines, idle: Idle, loop: asyncio.AbstractEventLoop) -> None:
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None or transport.is_closing():
            connection.close()
            raise aiohttp.ServerDisconnectedError
        self._connection = connection
        self._handler = handler
        self._lines = lines
        self._idle = idle
        self._loop = loop
        self.transport = transport
        self.connected = True
        self.is_last = False
        self._is_paused = False
        self._parser: HttpResponseParser | None = None
        self.answer: asyncio.Future[Head] | None = None
        self._content: StreamReader | None = None
        self.on_whole: Callable[[], None] | None = None
        """Called when the rest of a body has arrived."""
        transport.set_protocol(self)

    def ask(self, data: bytes) -> asyncio.Future[Head]:
        """Sends a request; the future is the head of the reply, with its body as it comes."""
        answer = self.answer = self._loop.create_future()
        # a new one for each reply: what came behind the end of the last must not begin this one
        self._parser = _new_parser(self, self._loop)  # type: ignore[arg-type]
        self.transport.write(data)
        return answer

    def ask_soon(self, request: HttpRequest, data: bytes) -> None:
        """The same together with all else that is asked soon in this turn of the loop, when that ends."""
        self.answer = self._loop.create_future()
        self._lines.send_soon(self, request, data)

    def send(self, request: HttpRequest, data: bytes) -> None:
        """Sends what was asked soon, unless who asked has given up meanwhile, or the connection has ended."""
        answer = self.answer
        if answer is not None and not answer.done() and not self.transport.is_closing():
            request.sent = True
            self._parser = _new_parser(self, self._loop)  # type: ignore[arg-type]
            self.transport.write(data)

    def rest(self) -> None:
        """A whole reply is here: the line may be used again, unless the other side or what it sent forbids it.

        It may not where the other side said so or sent more than was asked for, nor where the reply came before the
        request was out, which nobody may be reading any more.
        """
        parser = self._parser
        self._parser = self.answer = self._content = self.on_whole = None
        try:
            is_last = (
                self.is_last
                or parser is None
                or self.transport.get_write_buffer_size()
                or parser.feed_eof() is not None
            )
        except Exception:  # noqa: BLE001  something has begun behind the end of the reply, and makes no sense
            is_last = True
        if is_last:
            self.drop()
            return
        lines = self._lines
        self._idle[self] = lines.clock()
        if lines.sweeping is None:
            lines.sweep_later()

    def drop(self) -> None:
        """Ends the connection without a farewell: over TLS a polite one waits for the other side's."""
        self._is_paused = False
        self._idle.pop(self, None)
        if self.connected:
            self.transport.abort()
        self._connection.close()

    def data_received(self, data: bytes) -> None:
        """Bytes of a reply, or such as nobody asked for."""
        parser, answer = self._parser, self.answer
        if parser is None or answer is None:
            self.drop()  # with a request that was to be sent soon
            return
        try:
            messages, _, _ = parser.feed_data(data)
        except Exception as exc:  # noqa: BLE001  whatever it was, it was no HTTP
            self._broken(exc)
            return
        content = self._content
        for message, arriving in messages:
            if content is not None or message.should_close:
                self.is_last = True  # more came than was asked for, or the other side said so
            if content is None and (message.code >= 200 or not self._is_interim(message.code)):
                content = self._content = arriving
                if not answer.done():
                    answer.set_result((message, arriving))
        if self.on_whole is not None and content is not None and content.is_eof():
            self.on_whole()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended: whoever waits for the reply or for the rest of it is told."""
        self._idle.pop(self, None)
        self._handler.connection_lost(exc)  # the connector may be waiting for that
        self._connection.close()
        self.connected = False
        parser, content = self._parser, self._content
        if content is None:
            if exc is None:
                self._fail(aiohttp.ServerDisconnectedError())
            else:
                self._fail(aiohttp.ClientOSError(*exc.args) if isinstance(exc, OSError) else exc)
        elif parser is not None and not content.is_eof():
            try:
                parser.feed_eof()  # which is the end of a body without a length
            except Exception as why:  # noqa: BLE001  aiohttp's own names for a body cut short
                told = f"Response payload is not completed: {why!r}" + ("" if exc is None else f". {exc!r}")
                content.set_exception(aiohttp.ClientPayloadError(told), why.with_traceback(None))
        if not self._is_paused:  # else the parser still has some of the body
            self._parser = self.answer = self._content = self.on_whole = None

    def pause_reading(self) -> None:
        """Too much of a body lies unread."""
        self._is_paused = True
        if self._parser is not None:
            self._parser.pause_reading()
        with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError):  # it cannot, or has ended
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is room again: first for what the parser has kept."""
        if not self._is_paused:
            return
        self._is_paused = False
        if resume_parser and self._parser is not None:
            self.data_received(b"")
        if not self._is_paused:
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError):
                self.transport.resume_reading()

    def _is_interim(self, code: int) -> bool:
        """Whether a status below 200 is not yet that of the reply; a switch to another protocol is, and the last."""
        is_switch = code == _SWITCHING
        self.is_last = self.is_last or is_switch
        return code >= 100 and not is_switch

    def _broken(self, exc: Exception) -> None:
        """What arrived is no reply, or no body: its reader hears of it when the connection is gone."""
        self._fail(
            HttpProcessingError(code=exc.code, message=exc.message, headers=exc.headers)
            if isinstance(exc, HttpProcessingError)
            else HttpProcessingError()
        )
        if self.connected:
            self.transport.abort()

    def _fail(self, error: Exception) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)


class Lines:
    """The lines of one event loop. Idle ones are kept for `keep_alive_s`; the one used last is used first."""

    __slots__ = ("_connector", "_idle", "_keep_alive_s", "_leaving", "_loop", "_timeout", "clock", "sweeping")

    def __init__(
        self, connector: aiohttp.BaseConnector, loop: asyncio.AbstractEventLoop, timeout: aiohttp.ClientTimeout,
        keep_alive_s: float, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.clock = clock
        self._connector = connector
        self._loop = loop
        self._timeout = timeout
        self._keep_alive_s = keep_alive_s
        self._leaving: list[tuple[Line, HttpRequest, bytes]] = []
        self._idle: dict[str, Idle] = {}  # as many as there are hosts, which settings name
        self.sweeping: asyncio.TimerHandle | None = None

    def idle(self, site: str) -> Idle:
        """The idle lines to this scheme, host and port, which `take` takes from; the same dictionary for good."""
        return self._idle.setdefault(site, {})

    def take(self, idle: Idle) -> Line | None:
        """One of these idle lines, if any is still good."""
        while idle:
            line, since_s = idle.popitem()
            if self.clock() - since_s <= self._keep_alive_s and not line.transport.is_closing():
                return line
            line.drop()
        return None

    async def open(self, idle: Idle, initiator: aiohttp.ClientRequest) -> Line:
        """A new line; raises aiohttp's errors."""
        try:
            connection = await self._connector.connect(initiator, _NOBODY, self._timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {initiator.url.authority}") from exc
        return Line(connection, self, idle, self._loop)

    def send_soon(self, line: Line, request: HttpRequest, data: bytes) -> None:
        """Has the request sent at the end of this turn of the loop.

        The other side then gets all requests of a turn in one go and is not woken for each, its replies come together,
        and the sending of many, one after the other, finds its code and data where the processor has them at hand.
        """
        leaving = self._leaving
        if not leaving:
            self._loop.call_soon(self._send_all)
        leaving.append((line, request, data))

    def _send_all(self) -> None:
        leaving, self._leaving = self._leaving, []
        for line, request, data in leaving:
            line.send(request, data)

    def sweep_later(self) -> None:
        """Has idle lines ended in time."""
        if self.sweeping is None:
            self.sweeping = self._loop.call_later(self._keep_alive_s, self._sweep)

    def _sweep(self) -> None:
        """Ends the lines that were idle for too long; those used last are at the end."""
        self.sweeping = None
        oldest_s = self.clock() - self._keep_alive_s
        for idle in tuple(self._idle.values()):
            for line in [line for line, since_s in idle.items() if since_s <= oldest_s]:
                line.drop()
        if any(self._idle.values()):
            self.sweep_later()


__all__ = ["Line", "Lines"]

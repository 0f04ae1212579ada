"""The connections of the short way: each is one line, on which one request at a time is asked and answered.

aiohttp's connector makes them, with everything that belongs to that (names, addresses, TLS, timeouts), and knows of
them until they end. What arrives on them is given to aiohttp's parser here, in as few steps as there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.http import HttpProcessingError, HttpResponseParser

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

    Head = tuple[RawResponseMessage, StreamReader]

_MOST_UNREAD_BYTES = 2**18
"""Beyond twice as much of a body nothing more is taken from the socket until it has been read; aiohttp's own figure."""
_SWITCHING = 101
_NOBODY: list[Any] = []  # who traces


class Line(asyncio.Protocol):
    """One connection. What arrives on it while nothing is asked ends it; what comes after a reply makes that the last.

    `connected`, `pause_reading` and `resume_reading` are what aiohttp's parser and its reader of bodies ask of a
    protocol.
    """

    __slots__ = (
        *("_answer", "_connection", "_content", "_handler", "_is_paused", "_lines", "_loop", "_parser"),
        *("connected", "is_last", "on_whole", "site", "transport"),
    )

    def __init__(self, connection: Connection, lines: Lines, site: str, loop: asyncio.AbstractEventLoop) -> None:
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None or transport.is_closing():
            connection.close()
            raise aiohttp.ServerDisconnectedError
        self._connection = connection
        self._handler = handler
        self._lines = lines
        self._loop = loop
        self.site = site
        self.transport = transport
        self.connected = True
        self.is_last = False
        self._is_paused = False
        self._parser: HttpResponseParser | None = None
        self._answer: asyncio.Future[Head] | None = None
        self._content: StreamReader | None = None
        self.on_whole: Callable[[], None] | None = None
        """Called when the rest of a body has arrived."""
        transport.set_protocol(self)

    def ask(self, data: bytes) -> asyncio.Future[Head]:
        """Sends a request; the future is the head of the reply, with its body as it comes."""
        loop = self._loop
        # a new one for each reply: what came behind the end of the last must not begin this one
        self._parser = HttpResponseParser(
            self,  # type: ignore[arg-type]
            loop,
            _MOST_UNREAD_BYTES,
            payload_exception=aiohttp.ClientPayloadError,
            read_until_eof=True,
        )
        self.transport.write(data)
        answer = self._answer = loop.create_future()
        return answer

    def rest(self) -> bool:
        """Nothing is asked any more; gives whether the line may be used again, as far as the other side lets it.

        Not where it said so or sent more than was asked for, nor where the reply came before the request was out,
        which nobody may be reading any more.
        """
        parser = self._parser
        self._parser = self._answer = self._content = self.on_whole = None
        if self.is_last or parser is None or self.transport.get_write_buffer_size():
            return False
        try:
            return parser.feed_eof() is None  # else something has begun behind the end of the reply
        except Exception:  # noqa: BLE001  and makes no sense
            return False

    def drop(self) -> None:
        """Ends the connection without a farewell: over TLS a polite one waits for the other side's."""
        self._is_paused = False
        self._lines.forget(self)
        if self.connected:
            self.transport.abort()
        self._connection.close()

    def data_received(self, data: bytes) -> None:
        """Bytes of a reply, or such as nobody asked for."""
        parser, answer, content = self._parser, self._answer, self._content
        if parser is None or answer is None:
            self.drop()
            return
        try:
            messages, _, _ = parser.feed_data(data)
        except Exception as exc:  # noqa: BLE001  whatever it was, it was no HTTP
            self._broken(exc)
            return
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
        self._lines.forget(self)
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
            self._parser = self._answer = self._content = self.on_whole = None

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
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Lines:
    """The lines of one event loop. Idle ones are kept for `keep_alive_s`; the one used last is used first."""

    __slots__ = ("_clock", "_connector", "_idle", "_keep_alive_s", "_loop", "_sweeping", "_timeout")

    def __init__(
        self, connector: aiohttp.BaseConnector, loop: asyncio.AbstractEventLoop, timeout: aiohttp.ClientTimeout,
        keep_alive_s: float, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._clock = clock
        self._connector = connector
        self._loop = loop
        self._timeout = timeout
        self._keep_alive_s = keep_alive_s
        self._idle: dict[str, dict[Line, float]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def take(self, site: str) -> Line | None:
        """An idle line to this scheme, host and port, if there is one that is still good."""
        idle = self._idle.get(site)
        while idle:
            line, since_s = idle.popitem()
            if not line.transport.is_closing() and self._clock() - since_s <= self._keep_alive_s:
                return line
            line.drop()
        return None

    async def open(self, site: str, initiator: aiohttp.ClientRequest) -> Line:
        """A new line; raises aiohttp's errors."""
        try:
            connection = await self._connector.connect(initiator, _NOBODY, self._timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {initiator.url.authority}") from exc
        return Line(connection, self, site, self._loop)

    def give_back(self, line: Line) -> None:
        """A whole reply is here: its line may be used again, unless the other side or what it sent forbids it."""
        if not line.rest():
            line.drop()
            return
        idle = self._idle.get(line.site)
        if idle is None:
            idle = self._idle[line.site] = {}
        idle[line] = self._clock()
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._keep_alive_s, self._sweep)

    def forget(self, line: Line) -> None:
        """A line that has ended."""
        idle = self._idle.get(line.site)
        if idle:
            idle.pop(line, None)

    def _sweep(self) -> None:
        """Ends the lines that were idle for too long; those used last are at the end."""
        self._sweeping = None
        oldest_s = self._clock() - self._keep_alive_s
        for site, idle in tuple(self._idle.items()):
            for line in [line for line, since_s in idle.items() if since_s <= oldest_s]:
                line.drop()
            if not idle:
                del self._idle[site]
        if self._idle:
            self._sweeping = self._loop.call_later(self._keep_alive_s, self._sweep)


__all__ = ["Line", "Lines"]

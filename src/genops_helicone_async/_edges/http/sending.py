"""What goes out: a request's body and the connection it goes out on, which can be dropped without a farewell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.payload import BytesPayload, Payload

from ..._values import HttpRequest

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Body(BytesPayload):
    """A request's body. It notes on the request when it starts to go out, and knows the connection it goes out on."""

    def __init__(self, request: HttpRequest) -> None:
        # BytesPayload's own constructor warns about bodies over 1 MB (images are), hence Payload's.
        Payload.__init__(self, request.body, content_type="application/json")
        self._size = len(request.body)
        self._request = request
        self.transport: asyncio.Transport | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self.transport is None or not self.transport.is_closing():
            self._request.sent = True
        await writer.write(self._value if content_length is None else self._value[:content_length])

    def drop(self) -> None:
        """Ends the connection of a request that failed, now.

        aiohttp has closed it, but politely: over TLS it would wait for the other side to say goodbye, half a minute
        where that hangs, and a body that is not being read would stay for ever.
        """
        if self.transport is not None and self.transport.is_closing():
            self.transport.abort()


_MOST_STALE = 4
"""Connections tried for one request before it is given up: those in the pool may all have gone bad together."""


class Connector(aiohttp.TCPConnector):
    """Tells each body its connection, and uses none again on which something arrived that nobody had asked for."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  the signature is aiohttp's
    ) -> Connection:
        """A connection from the pool or a new one."""
        for _ in range(_MOST_STALE):
            connection = await super().connect(req, traces, timeout)
            # A server that hangs up on an idle client may tell it so (408), which would pass for the next reply.
            if connection.protocol is not None and not connection.protocol.should_close:
                break
            connection.close()
        else:
            raise aiohttp.ServerDisconnectedError
        if isinstance(req.body, Body):
            req.body.transport = connection.transport
        return connection


__all__ = ["Body", "Connector"]

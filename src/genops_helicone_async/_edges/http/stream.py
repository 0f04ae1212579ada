"""A reply whose body is still arriving: read as it comes, within limits, and dropped at once when given up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from ..._values import HttpRequest
from ...errors import DecodeError
from .failures import translated


class HttpStream:
    """A reply whose body is still arriving. `close()` is always safe; before the end it drops the connection."""

    __slots__ = ("_counts", "_limit", "_open", "_reading", "_request", "_response", "_size", "headers", "status")

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: HttpRequest,
        limit_bytes: int,
        counts: list[int],
        reading: set[HttpStream],
    ) -> None:
        self._reading = reading
        self._response = response
        self._request = request
        self._limit = limit_bytes
        self._counts = counts
        self._size = 0
        self._open = True
        reading.add(self)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self, deadline: float) -> bytes:
        """The next bytes of the body as they arrive; empty at its end. Raises as `HttpTransport.send` does."""
        if self._open and deadline <= asyncio.get_running_loop().time():  # bytes that are here already would not wait
            self.close()
            raise translated(TimeoutError(), self._request)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._next()
        except TimeoutError as exc:
            raise translated(exc, self._request) from exc

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self.collect()
        except TimeoutError as exc:
            raise translated(exc, self._request) from exc

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
                error = translated(exc, self._request)
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
            self.drop()
            self._response.close()
            self._finish(2)

    def drop(self) -> None:
        """Drops the connection; whoever is reading hears of it with the next turn of the loop."""
        connection = self._response.connection  # None where aiohttp has handed it back already
        if connection is not None and connection.transport is not None:
            connection.transport.abort()  # a polite goodbye over TLS would wait for the other side's

    def _finish(self, outcome: int) -> None:
        if self._open:
            self._open = False
            self._reading.discard(self)
            self._counts[outcome] += 1


__all__ = ["HttpStream"]

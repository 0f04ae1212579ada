"""A reply whose body is still arriving: read as it comes, within limits, and dropped at once when given up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..._values import HttpRequest
from ...errors import DecodeError, HeliconeError
from .deadlines import Deadlines, Wait
from .failures import translated

if TYPE_CHECKING:
    import aiohttp

    from .direct import Exchange


class HttpStream:
    """A reply whose body is still arriving. `close()` is always safe; before the end it drops the connection."""

    __slots__ = (
        *("_content", "_counts", "_deadline", "_deadlines", "_limit", "_open", "_reading", "_request", "_response"),
        *("_size", "_wait", "headers", "status"),
    )

    def __init__(
        self, response: aiohttp.ClientResponse | Exchange, request: HttpRequest, limit_bytes: int, counts: list[int],
        reading: set[HttpStream], deadlines: Deadlines,
    ) -> None:  # fmt: skip
        self._reading = reading
        self._response = response
        self._content = response.content
        self._request = request
        self._limit = limit_bytes
        self._counts = counts
        self._deadlines = deadlines
        self._deadline = 0.0
        self._wait: Wait | None = None
        self._size = 0
        self._open = True
        reading.add(self)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self, deadline: float) -> bytes:
        """The next bytes of the body as they arrive; empty at its end. Raises as `HttpTransport.send` does."""
        if not self._open:
            return await self._next()
        if deadline <= asyncio.get_running_loop().time():  # bytes that are here already would not wait
            self.close()
            raise translated(TimeoutError(), self._request)
        wait = self._wait
        if wait is None or deadline != self._deadline:
            wait = self._wait_until(deadline)
        wait.begin()
        try:
            data = await self._content.readany()
        except BaseException as exc:
            is_due = wait.end()
            if isinstance(exc, Exception):
                raise self._failed(exc) from exc
            self.close()
            if is_due:
                raise translated(TimeoutError(), self._request) from exc
            raise
        wait.end()
        return self._measured(data)

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        parts = []
        while data := await self.read(deadline):
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def collect(self) -> bytes:
        """The rest of the body, without a deadline of its own."""
        first = await self._next()
        if not first:
            return b""
        parts = [first]
        while data := await self._next():
            parts.append(data)
        return first if len(parts) == 1 else b"".join(parts)

    def _wait_until(self, deadline: float) -> Wait:
        """The wait of this deadline, which as a rule is that of all reads."""
        if self._wait is not None:
            self._deadlines.drop(self._wait)
        wait = self._wait = self._deadlines.add(deadline)
        self._deadline = deadline
        return wait

    async def _next(self) -> bytes:
        try:
            data = await self._content.readany()
        except BaseException as exc:
            if isinstance(exc, Exception):
                raise self._failed(exc) from exc
            self.close()
            raise
        return self._measured(data)

    def _failed(self, exc: Exception) -> HeliconeError:
        self.close()
        error = translated(exc, self._request)
        error.http_status = error.status_code = self.status
        return error

    def _measured(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self._limit:
            self.close()
            raise too_large(self._limit, self.status)
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
        connection = self._response.connection  # None where it has been handed back already
        if connection is not None and connection.transport is not None:
            connection.transport.abort()  # a polite goodbye over TLS would wait for the other side's

    def _finish(self, outcome: int) -> None:
        if self._open:
            self._open = False
            self._reading.discard(self)
            self._counts[outcome] += 1
            if self._wait is not None:
                self._deadlines.drop(self._wait)


def too_large(limit_bytes: int, status: int) -> DecodeError:
    """The error of a body over the limit."""
    return DecodeError(
        f"the reply is larger than {limit_bytes:,} bytes: raise max_response_bytes if that is expected",
        billed="maybe", http_status=status, status_code=status,
    )  # fmt: skip


__all__ = ["HttpStream", "too_large"]

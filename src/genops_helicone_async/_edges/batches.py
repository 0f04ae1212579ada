"""A provider's batch API: rows go there, batches are looked at, results come back line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from .._values import HttpReply, HttpRequest
from .._wire.batches import BatchShape, BatchView, Call, RowResult
from .._wire.dialects import Endpoint
from .._wire.failures import classify, undecodable

TIMEOUT_S = 60.0
"""The longest an answer about a batch may take, and a silence in the middle of its results."""
UPLOAD_TIMEOUT_S = 900.0
_OK = range(200, 300)


class Body(Protocol):
    """A reply whose body is still arriving."""

    status: int
    headers: Mapping[str, str]

    async def read(self, deadline: float) -> bytes:
        """The next bytes, empty at the end."""
        ...

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        ...

    def close(self) -> None:
        """Ends the reply."""
        ...


class Sender(Protocol):
    """Sends requests."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply."""
        ...

    async def open(self, request: HttpRequest, deadline: float) -> Body:
        """Sends the request and returns when the reply's head is here."""
        ...


class BatchService:
    """One provider's batches behind one endpoint. Failures are `HeliconeError`s; nothing is tried twice here.

    A creation whose error says `billed="maybe"` may have begun a batch: `since` finds out.
    """

    __slots__ = ("_endpoint", "_sender", "shape")

    def __init__(self, sender: Sender, endpoint: Endpoint, shape: BatchShape) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self.shape = shape

    def __repr__(self) -> str:
        return f"BatchService({self._endpoint.provider} at {self._endpoint.host})"

    async def upload(self, rows: Sequence[bytes], mark: str) -> str | None:
        """Brings the rows to the provider, where that is a step of its own; the file's id. Costs nothing."""
        call = self.shape.upload(rows, mark)
        if call is None:
            return None
        reply = await self._send(call, UPLOAD_TIMEOUT_S)
        try:
            return self.shape.file_id(reply.body)
        except msgspec.DecodeError as exc:
            raise undecodable("no file", reply.status, self._endpoint, request_id="") from exc

    async def create(self, rows: Sequence[bytes], mark: str, file_id: str | None) -> BatchView:
        """Begins a batch."""
        return await self._view(self.shape.create(rows, mark, file_id), UPLOAD_TIMEOUT_S)

    async def look(self, batch_id: str) -> BatchView:
        """How a batch stands."""
        return await self._view(self.shape.look(batch_id), TIMEOUT_S)

    async def cancel(self, batch_id: str) -> None:
        """Asks for a batch's early end."""
        await self._send(self.shape.cancel(batch_id), TIMEOUT_S)

    async def since(self, created_s: float) -> list[BatchView]:
        """The batches that were created since, in Unix seconds, the latest first."""
        found: list[BatchView] = []
        after: str | None = None
        while True:
            reply = await self._send(self.shape.page(after), TIMEOUT_S)
            try:
                views, after = self.shape.views(reply.body)
            except msgspec.DecodeError as exc:
                raise undecodable("no list of batches", reply.status, self._endpoint, request_id="") from exc
            found += [view for view in views if view.created_s >= created_s]
            if after is None or not views or views[-1].created_s < created_s:
                return found

    async def results(self, view: BatchView) -> AsyncGenerator[RowResult, None]:
        """What came of the rows, in any order, read as it arrives: in constant memory."""
        for call in view.results:
            async with aclosing(self._lines(call)) as lines:
                async for line in lines:
                    try:
                        yield self.shape.result(line)
                    except msgspec.DecodeError as exc:
                        raise undecodable("no result of a row", 200, self._endpoint, request_id="") from exc

    async def _lines(self, call: Call) -> AsyncGenerator[bytes, None]:
        clock = asyncio.get_running_loop().time
        body = await self._sender.open(self._request(call), clock() + TIMEOUT_S)
        try:
            if body.status not in _OK:
                whole = await body.read_all(clock() + TIMEOUT_S)
                raise self._refused(HttpReply(status=body.status, headers=body.headers, body=whole))
            parts: list[bytes] = []
            while data := await body.read(clock() + TIMEOUT_S):
                *ends, tail = data.split(b"\n")
                for end in ends:
                    line, parts = b"".join([*parts, end]), []
                    if line.strip():
                        yield line
                parts.append(tail)
            if (last := b"".join(parts)).strip():
                yield last
        finally:
            body.close()

    async def _view(self, call: Call, timeout_s: float) -> BatchView:
        reply = await self._send(call, timeout_s)
        try:
            return self.shape.view(reply.body)
        except msgspec.DecodeError as exc:
            raise undecodable("no batch", reply.status, self._endpoint, request_id="") from exc

    async def _send(self, call: Call, timeout_s: float) -> HttpReply:
        reply = await self._sender.send(self._request(call), asyncio.get_running_loop().time() + timeout_s)
        if reply.status not in _OK:
            raise self._refused(reply)
        return reply

    def _refused(self, reply: HttpReply) -> Exception:
        return classify(reply, self._endpoint, request_id="", now_s=time.time())

    def _request(self, call: Call) -> HttpRequest:
        endpoint = self._endpoint
        headers = {"User-Agent": "genops-helicone-async", "Content-Type": call.content_type, **endpoint.headers}
        if call.is_piped:  # to the provider, Helicone's own headers and all
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("helicone-")}
        url = f"{endpoint.base_url}{call.path}"
        return HttpRequest(method=call.method, url=url, headers=headers, body=call.body, credential=endpoint.credential)


__all__ = ["TIMEOUT_S", "UPLOAD_TIMEOUT_S", "BatchService"]

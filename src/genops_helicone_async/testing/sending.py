"""Puts replies on the wire, whole or broken as a fault asks."""

import asyncio
import socket
import struct
from collections.abc import Iterator

from aiohttp import hdrs
from aiohttp.web import BaseRequest, Response, StreamResponse

from ._simulated.streams import Piece, StreamScript
from .exchange import Reply, Stream
from .faults import CUTTING, Fault

EVENTS_PER_WRITE = 16
DRIPS = 10
_ENDLESS_PAUSE_S = 0.001
_HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
_BARE_500 = (
    b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 21\r\n\r\nInternal Server Error"
)
_LINGER_OFF = struct.pack("ii", 1, 0)


class ClientGone(Exception):
    """The client closed the connection before the reply was out."""


class Dropped(Response):
    """Stands for no reply at all: the connection was dropped before a byte went out."""


async def send(request: BaseRequest, reply: Reply | Stream) -> StreamResponse:
    """Send a reply; faults that break the connection break it here."""
    try:
        if isinstance(reply, Stream):
            return await _send_stream(request, reply)
        return await _send_reply(request, reply)
    except ConnectionError as error:
        raise ClientGone from error


def abort(request: BaseRequest, *, reset: bool) -> StreamResponse:
    """Drop the connection, with a TCP reset or without."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if reset and raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        transport.abort()
    return Dropped()


async def _send_reply(request: BaseRequest, reply: Reply) -> StreamResponse:
    if reply.bare:
        return _crash(request)
    fault = reply.fault
    if fault is not None:
        breaking = _BREAKERS.get(fault.kind)
        if breaking is not None:
            return await breaking(request, reply, fault)
        if fault.kind in ("html", "not_json", "redirect", "gzip_garbage", "truncated_json"):
            reply = _disfigured(reply, fault)
        elif fault.kind == "wrong_content_type":
            reply.content_type = fault.content_type or "text/plain"
    headers = {**reply.headers, hdrs.CONTENT_TYPE: reply.content_type} if reply.content_type else reply.headers
    response = Response(status=reply.status, body=reply.body, headers=headers)
    if reply.chunked:
        response.enable_chunked_encoding()
    return response


def _crash(request: BaseRequest) -> StreamResponse:
    if request.transport is not None:
        request.transport.write(_BARE_500)
        request.transport.close()
    return Response(status=500)


def _disfigured(reply: Reply, fault: Fault) -> Reply:
    changed = {**fault.retry_headers(), **(fault.headers or {})}
    headers = {**reply.headers, **changed}
    own = fault.body.encode() if isinstance(fault.body, str) else fault.body
    if fault.kind == "html":
        kind = fault.content_type or "text/html; charset=UTF-8"
        return Reply(status=fault.status, headers=headers, body=own or _HTML, content_type=kind)
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        target = fault.body if isinstance(fault.body, str) else "/__sandbox__/elsewhere"
        return Reply(status=status, headers={**headers, hdrs.LOCATION: target}, content_type=None)
    if fault.kind == "gzip_garbage":
        headers = {**headers, hdrs.CONTENT_ENCODING: "gzip"}
        return Reply(headers=headers, body=own or b"\x1f\x8b\x08\x00 this is no gzip", chunked=reply.chunked)
    if fault.kind == "truncated_json":
        reply.body = reply.body[: len(reply.body) // 2]
        return reply
    if reply.streaming:
        body, kind = own or b"data: not json at all\n\n", "text/event-stream; charset=utf-8"
    else:
        body, kind = own or b"not json at all", "application/json"
    return Reply(headers=headers, body=body, content_type=fault.content_type or kind)


async def _begin_half(request: BaseRequest, reply: Reply, upto: int) -> StreamResponse:
    headers = {**reply.headers, hdrs.CONTENT_TYPE: reply.content_type or "application/json"}
    response = StreamResponse(status=reply.status, headers=headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[:upto])
    return response


async def _reset(request: BaseRequest, _reply: Reply, _fault: Fault) -> StreamResponse:
    return abort(request, reset=True)


async def _reset_mid_body(request: BaseRequest, reply: Reply, _fault: Fault) -> StreamResponse:
    response = await _begin_half(request, reply, len(reply.body) // 2)
    await asyncio.sleep(0)  # lets the half go out before the reset overtakes it
    abort(request, reset=True)
    return response


async def _cut(request: BaseRequest, reply: Reply, _fault: Fault) -> StreamResponse:
    response = await _begin_half(request, reply, len(reply.body) // 2)
    if request.transport is not None:
        request.transport.close()
    return response


async def _cut_mid_utf8(request: BaseRequest, reply: Reply, _fault: Fault) -> StreamResponse:
    half = len(reply.body) // 2
    reply.body = reply.body[:half] + "é".encode() + reply.body[half:]
    response = await _begin_half(request, reply, half + 1)
    if request.transport is not None:
        request.transport.close()
    return response


async def _slow_drip(request: BaseRequest, reply: Reply, fault: Fault) -> StreamResponse:
    response = await _begin_half(request, reply, 0)
    step = max(1, -(-len(reply.body) // DRIPS))
    for start in range(0, len(reply.body), step):
        await asyncio.sleep(fault.delay_s)
        await response.write(reply.body[start : start + step])
    await response.write_eof()
    return response


async def _endless(request: BaseRequest, reply: Reply, _fault: Fault) -> StreamResponse:
    response = StreamResponse(headers={**reply.headers, hdrs.CONTENT_TYPE: "application/json"})
    await response.prepare(request)
    await response.write(b'{"id":"endless","choices":[{"index":0,"message":{"role":"assistant","content":"')
    while True:
        await response.write(b"and so on, " * 1000)
        await asyncio.sleep(_ENDLESS_PAUSE_S)


_BREAKERS = {
    "reset": _reset,
    "reset_mid_body": _reset_mid_body,
    "cut": _cut,
    "cut_mid_utf8": _cut_mid_utf8,
    "slow_drip": _slow_drip,
    "endless": _endless,
}


async def _send_stream(request: BaseRequest, stream: Stream) -> StreamResponse:
    fault = stream.fault
    kind = stream.script.content_type
    if fault is not None and fault.kind == "wrong_content_type":
        kind = fault.content_type or "application/json"
    response = StreamResponse(headers={**stream.headers, hdrs.CONTENT_TYPE: kind})
    pace_s = stream.pace_s
    pause_s = fault.delay_s if fault is not None and fault.kind == "slow_drip" else 0.0
    written = 0
    completed = False
    sent: list[bytes] = []
    try:
        await response.prepare(request)
        batch: list[bytes] = []
        for piece in _disturbed(stream.script, fault):
            if wait_s := pace_s * piece.tokens + pause_s:
                await _flush(response, batch, sent)
                await asyncio.sleep(wait_s)
            batch.append(piece.data)
            written += piece.tokens
            if len(batch) >= EVENTS_PER_WRITE:
                await _flush(response, batch, sent)
                if fault is not None and fault.kind == "endless":
                    sent.clear()
                    await asyncio.sleep(_ENDLESS_PAUSE_S)
        await _flush(response, batch, sent)
        completed = fault is None or fault.kind not in CUTTING
    finally:
        stream.meter.settle(output_tokens=written, completed=completed)
    if fault is not None and fault.kind in ("reset_mid_body", "cut_mid_utf8"):
        await asyncio.sleep(0)
        abort(request, reset=fault.kind == "reset_mid_body")
        return response
    await response.write_eof()
    if fault is None and stream.keep is not None:
        stream.keep(b"".join(sent))
    return response


async def _flush(response: StreamResponse, batch: list[bytes], sent: list[bytes]) -> None:
    if batch:
        data = b"".join(batch)
        batch.clear()
        await response.write(data)
        sent.append(data)


def _disturbed(script: StreamScript, fault: Fault | None) -> Iterator[Piece]:
    """The events of a stream as the fault lets them through."""
    pieces = script.pieces
    if fault is not None and fault.kind == "no_finish_reason":
        yield from (piece for piece in pieces if piece.kind != "finish")
    elif fault is None or fault.kind not in CUTTING:
        yield from pieces
    elif fault.kind == "endless":
        yield from _without_end(pieces)
    else:
        yield from _up_to(pieces, fault)
        yield from _last_words(script, fault)


def _up_to(pieces: list[Piece], fault: Fault) -> Iterator[Piece]:
    contents = sum(piece.kind == "content" for piece in pieces)
    left = contents // 2 if fault.at_chunk is None else fault.at_chunk
    for piece in pieces:
        if piece.kind == "content":
            left -= 1
        if left < 0 or piece.kind not in ("open", "content"):
            return
        yield piece


def _last_words(script: StreamScript, fault: Fault) -> Iterator[Piece]:
    nothing = Piece("content", b"data: {}\n\n")
    sample = next((piece for piece in script.pieces if piece.kind == "content"), nothing)
    if fault.kind == "truncated_json":
        yield Piece("content", sample.data[: len(sample.data) // 2])
    elif fault.kind == "cut_mid_utf8":
        yield Piece("content", sample.data[: len(sample.data) // 2] + "é".encode()[:1])
    elif fault.kind == "error_event":
        message = fault.body if isinstance(fault.body, str) else "The server had an error"
        yield Piece("content", script.error_event(message))
    if script.ends_with_done and fault.kind in ("cut", "error_event"):
        yield script.pieces[-1]


def _without_end(pieces: list[Piece]) -> Iterator[Piece]:
    contents = [piece for piece in pieces if piece.kind == "content"]
    for piece in pieces:
        if piece.kind not in ("open", "content"):
            break
        yield piece
    while contents:
        yield from contents

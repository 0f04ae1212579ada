"""The connections of the short way: kept for a while, the last one first, and ended by what nobody has asked for."""

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator

import pytest

from genops_helicone_async import DecodeError, GatewayError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._edges.http.lines import Line
from genops_helicone_async._values import HttpReply, HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


@pytest.fixture
async def direct() -> AsyncIterator[HttpTransport]:
    """One that sends plain requests past aiohttp's session."""
    made = HttpTransport(max_response_bytes=100_000_000)
    yield made
    await made.aclose()


async def ask(
    transport: HttpTransport, server: LoopbackServer, body: bytes = b"{}", headers: dict[str, str] | None = None
) -> HttpReply:
    """The reply to a small request."""
    request = HttpRequest(method="POST", url=server.url, headers=headers or {}, body=body)
    return await transport.send(request, asyncio.get_running_loop().time() + 20)


async def turns(count: int = 20) -> None:
    """Lets the loop turn, so that what lies in its sockets is read."""
    for _ in range(count):
        await asyncio.sleep(0)


async def answer(exchange: Exchange) -> None:
    """A small reply."""
    await exchange.write(FINE)


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 4", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_any_byte_on_an_idle_line_ends_it(unasked: bytes, direct: HttpTransport) -> None:
    """Half a status line, too, which would be the beginning of the next reply."""
    late = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.write(FINE)
        if exchange.connection == 1:
            await late.wait()
            await exchange.write(unasked)

    async with LoopbackServer(handle) as server:
        await ask(direct, server)
        late.set()
        await server.until(lambda: server.open == 0)
        reply = await ask(direct, server)
    assert (reply.status, reply.body, server.connections) == (200, b"fine", 2)


async def test_what_comes_after_a_reply_in_a_piece_of_its_own_ends_its_line(direct: HttpTransport) -> None:
    """Even before whoever asked has taken the reply, which is whole."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(FINE)
        await exchange.write(b"HTTP/1.1 2")

    async with LoopbackServer(handle) as server:
        for number in (1, 2, 3):
            assert (await ask(direct, server)).body == b"fine"
            await server.until(lambda: server.open == 0)
            assert server.connections == number


async def test_an_idle_connection_is_ended_in_time(by_session: bool) -> None:
    """Whoever has not been asked for `keep_alive_s` is let go, without another request having to come first."""
    transport = HttpTransport(max_response_bytes=1000, by_session=by_session, keep_alive_s=0.02)
    async with LoopbackServer(answer) as server:
        await ask(transport, server)
        await server.until(lambda: server.open == 0)
        await ask(transport, server)
        await transport.aclose()
    assert server.connections == 2


async def test_an_old_line_is_not_used() -> None:
    """Not even where the loop stood still, as on a machine that slept: the other side may have gone long ago."""
    now_s = 1000.0
    transport = HttpTransport(max_response_bytes=1000, clock=lambda: now_s)
    async with LoopbackServer(answer) as server:
        for later_s, connections in ((0.0, 1), (30.0, 1), (30.1, 2)):
            now_s += later_s
            await ask(transport, server)
            assert server.connections == connections
        await transport.aclose()


async def test_the_line_used_last_is_used_first(direct: HttpTransport) -> None:
    """So that those of a busy moment grow old, and go."""
    held = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if not held.is_set():
            await held.wait()
        await exchange.write(FINE)

    async with LoopbackServer(handle) as server:
        together = [asyncio.ensure_future(ask(direct, server)) for _ in range(3)]
        await server.until(lambda: len(server.exchanges) == 3)
        held.set()
        await asyncio.gather(*together)
        for _ in range(4):
            await ask(direct, server)
    assert server.connections == 3
    assert len({exchange.connection for exchange in server.exchanges[3:]}) == 1


async def test_values_and_names_go_out_as_they_are(transport: HttpTransport) -> None:
    """Whatever is in them that means something to a format."""
    headers = {"X-Share": "100% of %s and %d", "X-%s%25": "{0}", "X-Plain": "%"}
    async with LoopbackServer(answer) as server:
        for _ in range(2):
            await ask(transport, server, headers=headers)
        for exchange in server.exchanges:
            assert {name: exchange.headers[name.lower()] for name in headers} == headers


async def test_a_request_without_a_body_says_so(transport: HttpTransport) -> None:
    """Whatever the request before it to the same address had."""
    async with LoopbackServer(answer) as server:
        for body in (b"{}", b"", b"[1]"):
            await ask(transport, server, body)
        told = [(each.headers["content-length"], each.headers.get("content-type")) for each in server.exchanges]
        assert [length for length, _ in told] == ["2", "0", "3"]
        assert told[0][1] == told[2][1] == "application/json"
        assert told[1][1] != "application/json"


@pytest.mark.parametrize("is_told", [True, False], ids=["with a length", "until the end"])
async def test_a_body_that_unpacks_to_far_more_is_read_whole(is_told: bool, direct: HttpTransport) -> None:
    """Piece by piece, also after the connection has ended."""
    plain = b"0123456789abcdef" * 500_000
    packed = gzip.compress(plain)

    async def handle(exchange: Exchange) -> None:
        length = {"Content-Length": str(len(packed))} if is_told else {}
        await exchange.head(200, {"Content-Encoding": "gzip", **length})
        await exchange.write(packed)
        exchange.close()

    async with LoopbackServer(handle) as server:
        request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")
        deadline = asyncio.get_running_loop().time() + 20
        stream = await direct.open(request, deadline)
        await server.until(lambda: server.open == 0)
        await turns()
        assert await stream.read_all(deadline) == plain


async def test_a_reader_that_is_slow_holds_the_other_side_up(direct: HttpTransport) -> None:
    """Not more than a bounded part of a body is taken before somebody reads it, and then the rest comes."""
    sent = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.head(200, {"Content-Length": str(40_000_000)})
        for _ in range(400):
            await exchange.write(b"x" * 100_000)
            sent += 100_000

    async with LoopbackServer(handle) as server:
        request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")
        deadline = asyncio.get_running_loop().time() + 20
        stream = await direct.open(request, deadline)
        await turns(2000)
        assert sent < 40_000_000
        assert len(await stream.read_all(deadline)) == 40_000_000
        assert (await ask_small(direct, server)).status == 200
    assert server.connections == 1


async def ask_small(transport: HttpTransport, server: LoopbackServer) -> HttpReply:
    """One more request, answered small."""
    server.handler = answer
    return await ask(transport, server)


async def test_what_only_reads_is_sent_twice_at_most(direct: HttpTransport) -> None:
    """Whoever ends every connection without a word is not asked for ever."""

    async def handle(exchange: Exchange) -> None:
        if len(server.exchanges) > 4:
            await exchange.write(FINE)
        exchange.close()

    server = LoopbackServer(handle)
    async with server:
        request = HttpRequest(method="GET", url=server.url, headers={}, body=b"")
        with pytest.raises(GatewayError, match="closed the connection"):
            await direct.send(request, asyncio.get_running_loop().time() + 20)
    assert len(server.exchanges) == 2


async def test_a_reply_to_who_has_just_been_cancelled_is_for_nobody(direct: HttpTransport) -> None:
    """It arrives between the cancellation and the moment in which the call hears of that; no complaint is logged."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    async def handle(exchange: Exchange) -> None:
        if exchange.connection == 1:
            loop.call_soon(task.cancel)  # first in the turn in which the reply is read
        await exchange.write(FINE)

    async with LoopbackServer(handle) as server:
        task = asyncio.ensure_future(ask(direct, server))
        await asyncio.wait([task])
        assert task.cancelled()
        assert (await ask(direct, server)).body == b"fine"
        await turns()
        assert server.connections == 2
    loop.set_exception_handler(None)
    assert complaints == []


async def test_nothing_of_a_reply_is_kept_until_its_deadline(direct: HttpTransport) -> None:
    """Nor of a request that failed: the deadline is far away, and only forgotten when there are many."""

    async def handle(exchange: Exchange) -> None:
        await (exchange.write(FINE) if len(server.exchanges) < 4 else exchange.write(b"What?"))

    async with LoopbackServer(handle) as server:
        for _ in range(3):
            await ask(direct, server)
        with pytest.raises(GatewayError):
            await ask(direct, server)
    assert [(wait.over, wait.answer, wait.task) for wait in direct._deadlines._heap] == [(True, None, None)] * 4


async def test_nothing_is_left_of_a_line_that_ended(direct: HttpTransport) -> None:
    """However it ended: by the other side while idle or while asked, or by whoever asked."""
    others = {id(each): each for each in gc.get_objects() if type(each) is Line}

    async def handle(exchange: Exchange) -> None:
        if exchange.connection == 2:
            await exchange.gone()
        await exchange.write(FINE if exchange.connection == 3 else FINE[:-1])
        exchange.close()

    async with LoopbackServer(handle) as server:
        with pytest.raises(DecodeError):
            await ask(direct, server)
        task = asyncio.ensure_future(ask(direct, server))
        await server.until(lambda: len(server.exchanges) == 2)
        task.cancel()
        await asyncio.wait([task])
        assert (await ask(direct, server)).body == b"fine"
        await server.until(lambda: server.open == 0)
        await turns()
        assert server.connections == 3
    del task
    gc.collect()
    assert [each for each in gc.get_objects() if type(each) is Line and id(each) not in others] == []

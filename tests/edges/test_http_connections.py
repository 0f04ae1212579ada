"""Connections over real sockets, either way a request goes: used again or not, and what never passes for a reply."""

import asyncio
import contextlib
import socket

import pytest

from genops_helicone_async import DeadlineExceededError, GatewayError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._values import HttpReply, HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


def request_to(url: str, method: str = "POST", headers: dict[str, str] | None = None) -> HttpRequest:
    """A small request."""
    return HttpRequest(method=method, url=url, headers=headers or {}, body=b"{}" if method == "POST" else b"")


async def ask(transport: HttpTransport, server: LoopbackServer, method: str = "POST") -> HttpReply:
    """The reply to a small request."""
    return await transport.send(request_to(server.url, method), asyncio.get_running_loop().time() + 20)


async def turns(count: int = 20) -> None:
    """Lets the loop turn, so that what lies in its sockets is read."""
    for _ in range(count):
        await asyncio.sleep(0)


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Waits for the client to leave, and closes; how many bytes still came."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1_000_000):
            count += len(data)
    writer.close()
    return count


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)
async def test_what_comes_before_the_reply_is_passed_over(interim: bytes, transport: HttpTransport) -> None:
    """Any number of interim replies are not the reply."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(interim * 2)
        await exchange.write(interim + FINE)

    async with LoopbackServer(handle) as server:
        replies = [await ask(transport, server) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"fine")] * 2
    assert server.connections == 1


async def test_what_nobody_asked_for_is_no_reply(transport: HttpTransport) -> None:
    """A reply that arrives on an idle connection is not taken for that of the next request."""
    late = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.write(FINE)
        if exchange.connection == 1:
            await late.wait()
            await exchange.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate")

    async with LoopbackServer(handle) as server:
        await ask(transport, server)
        late.set()
        await turns()
        reply = await ask(transport, server)
    assert (reply.status, reply.body, server.connections) == (200, b"fine", 2)


async def test_a_server_that_speaks_first_is_not_asked_again_and_again(transport: HttpTransport) -> None:
    """Something other than HTTP that greets whoever connects ends in an error that may be tried again, soon."""
    greeted = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += 1
        writer.write(b"220 mail\r\n")
        await leave(reader, writer)

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        request = request_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(GatewayError):
            await transport.send(request, asyncio.get_running_loop().time() + 20)
    assert greeted <= 4


async def test_a_handshake_that_never_ends(by_session: bool) -> None:
    """No connection in time is told apart from no reply in time: nothing was sent, and another host may be tried."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave(reader, writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        transport = HttpTransport(max_response_bytes=1000, by_session=by_session, connect_timeout_s=0.1)
        request = request_to(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(GatewayError, match=r"no connection to .* within") as caught:
            await transport.send(request, asyncio.get_running_loop().time() + 20)
        await transport.aclose()
    assert (caught.value.billed, caught.value.retry_safe, request.sent) == ("no", True, False)


@pytest.mark.parametrize("sent", [FINE + FINE, FINE + b"garbage\r\n\r\n"], ids=["two replies", "garbage"])
async def test_a_connection_with_too_much_on_it_is_not_used_again(sent: bytes, transport: HttpTransport) -> None:
    """Bytes after the end of a reply spoil its connection, and never the next reply."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(sent)

    async with LoopbackServer(handle) as server:
        for number in range(1, 4):
            try:
                reply = await ask(transport, server)
                assert (reply.status, reply.body) == (200, b"fine")
            except GatewayError as error:  # refused as a whole where it came in one piece
                assert error.billed == "maybe"  # noqa: PT017
            await turns()
            assert server.connections == number


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"]
)
async def test_a_body_may_end_with_its_connection(head: bytes, transport: HttpTransport) -> None:
    """Without a length all that comes until the connection ends is the body."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(head + b"\r\nall of")
        await exchange.write(b" it")
        exchange.close()

    async with LoopbackServer(handle) as server:
        assert [(await ask(transport, server)).body for _ in range(2)] == [b"all of it"] * 2
        assert server.connections == 2


@pytest.mark.parametrize(("head", "connections"), [("HTTP/1.0", 3), ("HTTP/1.1", 1)])
async def test_who_wants_to_close_is_let(head: str, connections: int, transport: HttpTransport) -> None:
    """HTTP/1.0 does not keep connections, HTTP/1.1 does."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(FINE.replace(b"HTTP/1.1", head.encode()))

    async with LoopbackServer(handle) as server:
        for _ in range(3):
            assert (await ask(transport, server)).body == b"fine"
        assert server.connections == connections


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_may_have_no_body(status: int, transport: HttpTransport) -> None:
    """Some statuses never have one, and their connection is used again."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 %d None\r\n\r\n" % status)

    async with LoopbackServer(handle) as server:
        replies = [await ask(transport, server) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(status, b"")] * 2
    assert server.connections == 1


async def test_a_switch_to_another_protocol_is_a_reply_and_the_last(transport: HttpTransport) -> None:
    """Nobody asked for one: it has no body, and its connection is not used again."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")

    async with LoopbackServer(handle) as server:
        replies = [await ask(transport, server) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(101, b"")] * 2
    assert server.connections == 2


async def test_the_next_version_of_the_address_works_too(transport: HttpTransport) -> None:
    """IPv6 addresses are as good as others."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(FINE)
        await leave(reader, writer)

    told: list[bytes] = []
    try:
        server = await asyncio.start_server(talk, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6 on its loopback")
    port = server.sockets[0].getsockname()[1]
    async with server:
        reply = await transport.send(request_to(f"http://[::1]:{port}/v1"), asyncio.get_running_loop().time() + 20)
        await transport.aclose()
    assert reply.body == b"fine"
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in told[0]


@pytest.mark.parametrize(("method", "replies"), [("GET", 2), ("POST", 1)])
async def test_a_connection_that_ends_as_it_is_used_again(method: str, replies: int, transport: HttpTransport) -> None:
    """What only reads is sent once more; what may cost money is not, for nobody knows whether it was taken."""

    async def handle(exchange: Exchange) -> None:
        if len(server.exchanges) == 2:
            exchange.close()
        else:
            await exchange.write(FINE)

    server = LoopbackServer(handle)
    got = 0
    async with server:
        for _ in range(2):
            try:
                got += (await ask(transport, server, method)).body == b"fine"
            except GatewayError as error:
                assert (error.billed, error.retry_safe) == ("maybe", False)  # noqa: PT017
    assert got == replies


async def test_a_reply_before_the_request_has_gone_out(transport: HttpTransport) -> None:
    """A refusal that does not wait for the body is a reply; past the session the rest of the body is dropped, too."""
    replied = asyncio.Event()
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(FINE.replace(b"200 OK", b"413 Too Large"))
        await replied.wait()
        count = await leave(reader, writer)
        left.set_result(count)

    server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1000)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        request = HttpRequest(method="POST", url=url, headers={}, body=b"i" * 20_000_000)
        reply = await transport.send(request, asyncio.get_running_loop().time() + 20)
        assert (reply.status, reply.body) == (413, b"fine")
        replied.set()
        assert await left < len(request.body) or transport._by_session


async def test_both_ways_say_the_same() -> None:
    """A request past the session is, line by line, what the session would have sent."""
    given = [
        {"Content-Type": "application/json", "User-Agent": "us", "Authorization": "Bearer key"},
        {"accept": "text/event-stream", "X-Name": "Zoë", "accept-encoding": "identity"},
        {"X-Tab": "a\tb", "Expect": "100-continue"},
        {"Connection": "close", "Cookie": "a=b"},
        {"host": "other.example"},
        {},
    ]
    heads: dict[bool, list[list[bytes]]] = {True: [], False: []}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads[by_session].append(sorted(head.split(b"\r\n"), key=bytes.lower))
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await reader.readexactly(2 if b"Content-Length: 2" in head else 0)
                writer.write(FINE)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/a%2Fb?x=%20y"
    async with server:
        for by_session in (True, False):
            transport = HttpTransport(max_response_bytes=1000, by_session=by_session)
            for headers in given:
                for method in ("POST", "GET"):
                    request = request_to(url, method, dict(headers))
                    reply = await transport.send(request, asyncio.get_running_loop().time() + 20)
                    assert reply.body == b"fine"
            await transport.aclose()
    assert heads[True] == heads[False]


async def test_a_cancelled_wait_is_not_taken_for_a_deadline(transport: HttpTransport) -> None:
    """Whoever cancels a call gets the cancellation, also when its deadline comes in the same turn of the loop."""
    reached = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        reached.set()
        await exchange.gone()

    async with LoopbackServer(handle) as server:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.2
        task = asyncio.ensure_future(transport.send(request_to(server.url), deadline))
        await reached.wait()
        loop.call_at(deadline, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_deadline_inside_another_timeout(transport: HttpTransport) -> None:
    """The deadline of a call is its own error, and leaves a caller's timeout around it alone."""

    async def handle(exchange: Exchange) -> None:
        await exchange.gone()

    async with LoopbackServer(handle) as server, asyncio.timeout(20):
        loop = asyncio.get_running_loop()
        with pytest.raises(DeadlineExceededError):
            await transport.send(request_to(server.url), loop.time() + 0.05)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_each_read_of_a_stream_has_its_own_deadline(transport: HttpTransport) -> None:
    """A nearer deadline than the last read's is kept, too."""

    async def handle(exchange: Exchange) -> None:
        await exchange.events(b"first", end=False)
        await exchange.gone()

    async with LoopbackServer(handle) as server:
        loop = asyncio.get_running_loop()
        stream = await transport.open(request_to(server.url), loop.time() + 20)
        assert await stream.read(loop.time() + 20) == b"first"
        with pytest.raises(DeadlineExceededError):
            await stream.read(loop.time() + 0.05)
        assert transport.statistics().in_flight == 0

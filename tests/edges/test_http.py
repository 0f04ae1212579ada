"""The transport over real sockets: bytes there and back, compression, limits, connections used again or dropped."""

import asyncio
import contextlib
import functools
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Self

import brotli
import pytest

from genops_helicone_async import ConfigurationError, DeadlineExceededError, DecodeError, GatewayError
from genops_helicone_async._edges.http import HttpStatistics, HttpTransport
from genops_helicone_async._values import HttpReply, HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).with_name("loopback_certificate.pem")
LIMIT_BYTES = 100_000
TEXT = b"all work and no play makes a dull reply. " * 500


def soon() -> float:
    """A deadline no test should reach."""
    return asyncio.get_running_loop().time() + 20


def shortly() -> float:
    """A deadline that a test waits for, long enough for a slow machine to have sent its request."""
    return asyncio.get_running_loop().time() + 0.25


def post(server: LoopbackServer, body: bytes = b'{"model": "m"}', path: str = "/v1/chat") -> HttpRequest:
    """A request to the server."""
    headers = {"Content-Type": "application/json", "X-Sent": "yes"}
    return HttpRequest(method="POST", url=f"{server.url}{path}", headers=headers, body=body)


@pytest.fixture
async def transport(make_transport: Callable[..., HttpTransport]) -> AsyncIterator[HttpTransport]:
    """A transport that takes small replies only."""
    made = make_transport(max_response_bytes=LIMIT_BYTES)
    yield made
    await made.aclose()


Serve = Callable[[Callable[[Exchange], Awaitable[None]]], Awaitable[LoopbackServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server for a handler."""
    running: list[LoopbackServer] = []

    async def start(handler: Callable[[Exchange], Awaitable[None]]) -> LoopbackServer:
        server = await LoopbackServer(handler).__aenter__()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.__aexit__(None, None, None)


async def answer_ok(exchange: Exchange) -> None:
    """Answers with a short body."""
    await exchange.reply(200, b"fine", {"X-Told": "there"})


async def test_a_request_goes_out_as_it_is(transport: HttpTransport, serve: Serve) -> None:
    """Method, path, headers and body arrive as given; the reply's status, headers and body come back."""
    server = await serve(answer_ok)
    request = post(server, b'{"text": "\xc3\xa9"}', path="/v1/a%2Fb?api-version=1&x=%20y")
    reply = await transport.send(request, soon())
    (seen,) = server.exchanges
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/a%2Fb?api-version=1&x=%20y", b'{"text": "\xc3\xa9"}')
    assert {name: seen.headers[name] for name in ("content-type", "x-sent", "content-length")} == {
        "content-type": "application/json",
        "x-sent": "yes",
        "content-length": "14",
    }
    assert (reply.status, reply.body, reply.headers["x-told"], reply.headers["X-TOLD"]) == (
        200,
        b"fine",
        "there",
        "there",
    )
    assert request.sent is True


async def test_a_get_has_no_body(transport: HttpTransport, serve: Serve) -> None:
    """A request without a body sends none."""
    server = await serve(answer_ok)
    await transport.send(HttpRequest(method="GET", url=server.url, headers={}), soon())
    assert (server.exchanges[0].method, server.exchanges[0].body) == ("GET", b"")


async def test_a_connection_is_used_again(transport: HttpTransport, serve: Serve) -> None:
    """Call after call goes over one connection; calls at once have one each."""
    server = await serve(answer_ok)
    for _ in range(5):
        await transport.send(post(server), soon())
    assert server.connections == 1
    assert transport.statistics() == HttpStatistics(requests=5, replies=5, failures=0, in_flight=0)
    assert repr(transport) == f"HttpTransport(open, {transport.statistics()})"


async def test_an_error_status_keeps_the_connection(transport: HttpTransport, serve: Serve) -> None:
    """A refusal is a reply like any other."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.reply(503, b"no")

    server = await serve(refuse)
    statuses = [(await transport.send(post(server), soon())).status for _ in range(3)]
    assert statuses == [503] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress), ("identity", bytes)],
)
@pytest.mark.parametrize("piecewise", [False, True])
async def test_compressed_bodies_are_read(
    coding: str, compress: Callable[[bytes], bytes], piecewise: bool, transport: HttpTransport, serve: Serve
) -> None:
    """Whatever coding the other side picked of those offered, in one piece or in many."""

    async def handle(exchange: Exchange) -> None:
        body = compress(TEXT)
        if not piecewise:
            await exchange.reply(200, body, {"Content-Encoding": coding})
            return
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        await exchange.head(200, {"Content-Encoding": coding, "Transfer-Encoding": "chunked"})
        for piece in pieces:
            await exchange.chunk(piece)
        await exchange.chunk(b"")

    server = await serve(handle)
    reply = await transport.send(post(server), soon())
    assert reply.body == TEXT
    assert server.exchanges[0].headers["accept-encoding"] == "gzip, deflate, br"


async def test_a_body_of_exactly_the_limit_is_taken(transport: HttpTransport, serve: Serve) -> None:
    """The limit is what fits."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, b"x" * LIMIT_BYTES)

    server = await serve(handle)
    assert len((await transport.send(post(server), soon())).body) == LIMIT_BYTES


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_larger_body_is_refused_and_dropped(streamed: bool, transport: HttpTransport, serve: Serve) -> None:
    """One byte more than the limit is a `DecodeError`, and the connection is not used again."""
    gone = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.head(200, {"Transfer-Encoding": "chunked"})
        await exchange.chunk(b"x" * LIMIT_BYTES)
        await exchange.chunk(b"y")
        await exchange.gone()
        gone.set()

    server = await serve(handle)

    async def call() -> None:
        if not streamed:
            await transport.send(post(server), soon())
        stream = await transport.open(post(server), soon())
        while await stream.read(soon()):
            pass

    with pytest.raises(DecodeError, match=r"larger than 100,000 bytes: raise max_response_bytes") as caught:
        await call()
    assert (caught.value.billed, caught.value.http_status) == ("maybe", 200)
    await gone.wait()
    assert transport.statistics() == HttpStatistics(requests=1, replies=0, failures=1, in_flight=0)


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("br", functools.partial(brotli.compress, quality=1))]
)
async def test_a_bomb_is_defused(
    coding: str, compress: Callable[[bytes], bytes], transport: HttpTransport, serve: Serve
) -> None:
    """Many megabytes squeezed into a few kilobytes end at the limit, without ever being in memory."""
    bomb = compress(bytes(64 * 2**20))
    assert len(bomb) < LIMIT_BYTES

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, bomb, {"Content-Encoding": coding})

    server = await serve(handle)
    await transport.send(HttpRequest(method="GET", url=(await serve(answer_ok)).url, headers={}), soon())
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"larger than 100,000 bytes"):
            await transport.send(post(server), soon())
        _now, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * 2**20


async def test_a_small_limit_holds_for_what_comes_at_once(by_session: bool, serve: Serve) -> None:
    """A body that arrives whole, with its head, is measured like any other."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)

    server = await serve(handle)
    for limit_bytes, replies in ((11, 1), (10, 0)):
        transport = HttpTransport(max_response_bytes=limit_bytes, by_session=by_session)
        try:
            assert len((await transport.send(post(server), soon())).body) == limit_bytes
        except DecodeError as error:
            assert error.http_status == 200  # noqa: PT017
        told = transport.statistics()
        assert (told.replies, told.failures, told.in_flight) == (replies, 1 - replies, 0)
        await transport.aclose()


async def test_an_endless_body_ends_at_the_limit(transport: HttpTransport, serve: Serve) -> None:
    """Who never stops talking is cut off."""

    async def handle(exchange: Exchange) -> None:
        await exchange.head(200, {"Transfer-Encoding": "chunked"})
        while True:
            await exchange.chunk(b"and so on, " * 1000)

    with pytest.raises(DecodeError, match="larger than"):
        await transport.send(post(await serve(handle)), soon())


async def test_an_endless_trickle_ends_at_the_deadline(transport: HttpTransport, serve: Serve) -> None:
    """Bytes that keep coming do not extend the deadline."""
    left = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.head(200, {"Transfer-Encoding": "chunked"})
        try:
            while True:
                await exchange.chunk(b"x")
                await asyncio.sleep(0.005)
        finally:
            left.set()

    with pytest.raises(DeadlineExceededError) as caught:
        await transport.send(post(await serve(handle)), shortly())
    assert caught.value.billed == "maybe"
    await left.wait()


async def test_redirects_are_not_followed(transport: HttpTransport, serve: Serve) -> None:
    """A redirect comes back as it is: keys are never carried to another place."""
    elsewhere = await serve(answer_ok)

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(307, b"", {"Location": f"{elsewhere.url}/stolen"})

    reply = await transport.send(post(await serve(handle)), soon())
    assert (reply.status, elsewhere.exchanges) == (307, [])


async def test_cookies_are_not_kept(transport: HttpTransport, serve: Serve) -> None:
    """What one call is told to remember does not travel with the next."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, b"fine", {"Set-Cookie": "session=1"})

    server = await serve(handle)
    for _ in range(2):
        await transport.send(post(server), soon())
    assert "cookie" not in server.exchanges[1].headers


async def test_a_large_request_goes_out_whole(transport: HttpTransport, serve: Serve) -> None:
    """Megabytes (images are) go out without a warning."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, str(len(exchange.body)).encode())

    reply = await transport.send(post(await serve(handle), b"i" * 5_000_000), soon())
    assert reply.body == b"5000000"


async def test_a_request_that_nobody_reads_ends_at_the_deadline(transport: HttpTransport) -> None:
    """A body stuck half way, because the other side stopped reading, is dropped with its connection."""
    size = 20_000_000
    arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given_up = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await given_up.wait()
        count = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1_000_000):
                count += len(data)
        arrived.set_result(count)
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1000)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    request = HttpRequest(method="POST", url=url, headers={}, body=b"i" * size)
    with pytest.raises(DeadlineExceededError) as caught:
        await transport.send(request, asyncio.get_running_loop().time() + 0.3)
    assert caught.value.billed == "maybe"
    given_up.set()
    assert await arrived < size
    server.close()
    await server.wait_closed()


class Frozen:
    """A way to a server that can be frozen: nothing comes back any more, as when the other side hangs."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.frozen = asyncio.Event()
        self.client_left = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        back = asyncio.ensure_future(self._back(far_reader, writer))
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.frozen.is_set():
                    far_writer.write(data)
        self.client_left.set()
        back.cancel()
        await asyncio.wait([back])
        for each in (far_writer, writer):
            each.close()

    async def _back(self, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await far_reader.read(65536):
            if not self.frozen.is_set():
                writer.write(data)


@pytest.mark.parametrize("where", ["head", "body", "stream"])
async def test_a_connection_to_who_hangs_is_dropped_without_a_farewell(by_session: bool, where: str) -> None:
    """Over TLS, too, a call that is given up holds no socket while the other side is silent."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(CERTIFICATE)
    reached = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if where != "head":
            await exchange.events(b"data: 1\n\n", end=False)
        reached.set()
        await exchange.gone()

    transport = HttpTransport(
        max_response_bytes=1000, by_session=by_session, tls=ssl.create_default_context(cafile=CERTIFICATE)
    )
    async with LoopbackServer(handle, tls=server_tls) as server, Frozen(server.port) as way:
        request = HttpRequest(method="POST", url=f"https://127.0.0.1:{way.port}/", headers={}, body=b"{}")

        async def call() -> None:
            if where != "stream":
                await transport.send(request, soon())
            stream = await transport.open(request, soon())
            while await stream.read(soon()):
                pass

        task = asyncio.ensure_future(call())
        await reached.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        way.frozen.set()
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(10):
            await way.client_left.wait()
        await transport.aclose()


async def test_a_deadline_in_the_past_sends_nothing(transport: HttpTransport, serve: Serve) -> None:
    """A call whose time is up costs nothing, even where a connection stands ready."""
    server = await serve(answer_ok)
    await transport.send(post(server), soon())
    request = post(server)
    with pytest.raises(DeadlineExceededError) as caught:
        await transport.send(request, asyncio.get_running_loop().time() - 0.001)
    assert (caught.value.billed, request.sent) == ("no", False)
    await transport.send(post(server), soon())
    assert len(server.exchanges) == 2


async def test_bytes_that_lie_ready_do_not_extend_the_deadline(transport: HttpTransport, serve: Serve) -> None:
    """A server that sends without pause does not outlast the deadline of a reader that comes back late."""
    gone = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.events(b"first", b"second", end=False)
        await exchange.gone()
        gone.set()

    stream = await transport.open(post(await serve(handle)), soon())
    await stream.read(soon())
    with pytest.raises(DeadlineExceededError) as caught:
        await stream.read(asyncio.get_running_loop().time())
    assert caught.value.billed == "maybe"
    await gone.wait()
    assert transport.statistics() == HttpStatistics(requests=1, replies=0, failures=1, in_flight=0)


@pytest.mark.parametrize("where", ["head", "body"])
async def test_silence_ends_at_the_deadline(where: str, transport: HttpTransport, serve: Serve) -> None:
    """No head, or half a body: the call ends at its deadline, and the server sees the client leave."""
    gone = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if where == "body":
            await exchange.head(200, {"Content-Length": "10"})
            await exchange.write(b"half")
        await exchange.gone()
        gone.set()

    server = await serve(handle)
    request = post(server)
    with pytest.raises(DeadlineExceededError, match="did not answer before the deadline") as caught:
        await transport.send(request, shortly())
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.billed, request.sent) == ("maybe", True)
    await gone.wait()
    assert transport.statistics() == HttpStatistics(requests=1, replies=0, failures=1, in_flight=0)


@pytest.mark.parametrize("where", ["head", "body", "stream"])
async def test_cancelling_drops_the_connection(where: str, transport: HttpTransport, serve: Serve) -> None:
    """The server sees at once that nobody waits for its answer any more."""
    reached, gone = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if where != "head":
            await exchange.events(b"data: 1\n\n", end=False)
        reached.set()
        await exchange.gone()
        gone.set()

    server = await serve(handle)

    async def call() -> HttpReply | None:
        if where != "stream":
            return await transport.send(post(server), soon())
        stream = await transport.open(post(server), soon())
        while await stream.read(soon()):
            pass
        return None

    task = asyncio.ensure_future(call())
    await reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await gone.wait()
    assert transport.statistics().in_flight == 0


async def test_a_stream_comes_as_it_is_sent(transport: HttpTransport, serve: Serve) -> None:
    """Each piece is there before the next is sent; after the last the connection can be used again."""
    read = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.events(b"first", end=False)
        await read.wait()
        await exchange.chunk(b"second")
        await exchange.chunk(b"")

    server = await serve(handle)
    stream = await transport.open(post(server), soon())
    assert await stream.read(soon()) == b"first"
    read.set()
    assert await stream.read_all(soon()) == b"second"
    assert await stream.read(soon()) == b""
    stream.close()
    await (await transport.open(post(server), soon())).read_all(soon())
    assert server.connections == 1
    assert transport.statistics() == HttpStatistics(requests=2, replies=2, failures=0, in_flight=0)


async def test_closing_a_stream_early_drops_the_connection(transport: HttpTransport, serve: Serve) -> None:
    """`close` before the end tells the other side to stop; a second one is without effect."""
    gone = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.events(b"first", end=False)
        await exchange.gone()
        gone.set()

    stream = await transport.open(post(await serve(handle)), soon())
    await stream.read(soon())
    stream.close()
    stream.close()
    await gone.wait()
    assert transport.statistics() == HttpStatistics(requests=1, replies=0, failures=1, in_flight=0)


async def test_closing_ends_calls_in_flight(transport: HttpTransport, serve: Serve) -> None:
    """`aclose` breaks off what is on its way; it can be repeated, and nothing can be sent after it."""
    reached = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        reached.set()
        await exchange.gone()

    server = await serve(handle)
    task = asyncio.ensure_future(transport.send(post(server), soon()))
    await reached.wait()
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(GatewayError, match="closed the connection"):
        await task
    with pytest.raises(ConfigurationError, match="the adapter is closed"):
        await transport.send(post(server), soon())
    assert repr(transport) == f"HttpTransport(closed, {transport.statistics()})"
    await server.until(lambda: server.open == 0)


async def test_closing_ends_who_reads_a_body(transport: HttpTransport, serve: Serve) -> None:
    """Whoever waits for the rest of a body hears of the end at once, before `aclose` returns, not at its deadline."""

    async def handle(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Length": "100"})
        await exchange.write(b"half")
        await exchange.gone()

    stream = await transport.open(post(await serve(handle)), soon())
    assert await stream.read(soon()) == b"half"
    reading = asyncio.ensure_future(stream.read(soon()))
    await asyncio.sleep(0)
    await transport.aclose()
    assert reading.done()
    with pytest.raises(DecodeError, match="cut short"):
        await reading


async def test_closing_between_a_replys_head_and_its_body(
    make_transport: Callable[..., HttpTransport], serve: Serve
) -> None:
    """A reply whose head has just come when the adapter closes fails, for its body never comes."""

    async def handle(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Length": "100"})
        await exchange.gone()

    server = await serve(handle)
    for turns in range(12):  # somewhere in these turns the head arrives and the task has not run yet
        made = make_transport(max_response_bytes=LIMIT_BYTES)
        task = asyncio.ensure_future(made.send(post(server), soon()))
        while made.statistics().in_flight == 0:
            await asyncio.sleep(0)
        await server.until(lambda: server.open > 0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await made.aclose()
        with pytest.raises((GatewayError, DecodeError)):
            await task


async def test_a_line_break_never_gets_into_a_header(transport: HttpTransport, serve: Serve) -> None:
    """Should one slip through every check above, the request is refused, not split in two."""
    server = await serve(answer_ok)
    request = post(server)
    request.headers["X-Bad"] = "a\r\nX-Injected: yes"
    with pytest.raises(ConfigurationError, match="cannot be sent"):
        await transport.send(request, soon())
    assert server.exchanges == []
    assert transport.statistics().in_flight == 0

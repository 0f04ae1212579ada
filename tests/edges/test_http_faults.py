"""What can go wrong on the network, over real sockets: each fault is one of our errors, with its facts and no more."""

import asyncio
import errno
import gzip
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError, DecodeError, GatewayError, HeliconeError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._values import HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).with_name("loopback_certificate.pem")


async def failure(transport: HttpTransport, url: str) -> tuple[HeliconeError, HttpRequest]:
    """The error that a request to the URL ends with, and the request."""
    request = HttpRequest(method="POST", url=url, headers={}, body=b"{}")
    with pytest.raises(HeliconeError) as caught:
        await transport.send(request, asyncio.get_running_loop().time() + 20)
    told = transport.statistics()
    assert (told.in_flight, told.replies, told.failures) == (0, 0, 1)
    return caught.value, request


def facts(error: HeliconeError) -> dict[str, Any]:
    """Class and facts of an error."""
    return {"class": type(error), "billed": error.billed, "retry_safe": error.retry_safe, "code": error.code}


NOT_SENT = {"class": GatewayError, "billed": "no", "retry_safe": True, "code": None}
BROKEN_OFF = {"class": GatewayError, "billed": "maybe", "retry_safe": False, "code": None}
UNREADABLE = {"class": DecodeError, "billed": "maybe", "retry_safe": False, "code": None}
TLS = {"class": GatewayError, "billed": "no", "retry_safe": False, "code": "tls_failure"}


async def test_nobody_listens(transport: HttpTransport) -> None:
    """A refused connection names the host; nothing was billed, and it may be tried again."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    error, request = await failure(transport, f"http://127.0.0.1:{port}/v1/chat?key=hidden")
    assert facts(error) == NOT_SENT
    assert str(error) == f"no connection to 127.0.0.1:{port} (Connection refused)"
    assert request.sent is False


async def test_a_name_that_does_not_resolve(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS failure says so."""

    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error, _ = await failure(transport, "https://gateway.invalid/v1/chat")
    assert facts(error) == NOT_SENT
    assert str(error) == "the host name of gateway.invalid:443 cannot be resolved: check the URL or the network"


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..b"])
async def test_a_name_that_cannot_be(host: str, transport: HttpTransport) -> None:
    """A host name that no DNS could hold is a mistake in the settings."""
    error, _ = await failure(transport, f"http://{host}/")
    assert isinstance(error, ConfigurationError)
    assert host in str(error)


async def test_no_file_is_left_for_a_socket(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the open-file limit the error says what to change."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    error, _ = await failure(transport, "http://127.0.0.1:9/")
    assert facts(error) == NOT_SENT
    assert str(error).endswith("(Too many open files): lower max_connections or raise the open-file limit")


def server_tls() -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def answer_ok(exchange: Exchange) -> None:
    """Answers with a short body."""
    await exchange.reply(200, b"fine")


async def test_a_certificate_nobody_vouches_for(transport: HttpTransport) -> None:
    """TLS is verified: an unknown certificate ends the call before a key has left the machine."""
    async with LoopbackServer(answer_ok, tls=server_tls()) as server:
        error, request = await failure(transport, server.url)
        assert facts(error) == TLS
        assert str(error).startswith(f"TLS with 127.0.0.1:{server.port} failed: ")
        assert "certificate verify failed" in str(error)
        assert (request.sent, server.exchanges) == (False, [])


async def test_a_certificate_for_another_name(by_session: bool) -> None:
    """A trusted certificate of another host is refused, too."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    transport = HttpTransport(max_response_bytes=1000, by_session=by_session, tls=trusting)
    async with LoopbackServer(answer_ok, tls=server_tls()) as server:
        error, _ = await failure(transport, f"https://localhost:{server.port}/")
        assert facts(error) == TLS
        assert server.exchanges == []
    await transport.aclose()


async def test_a_certificate_that_is_trusted(by_session: bool) -> None:
    """With the right authority TLS is just a way to the server."""
    transport = HttpTransport(
        max_response_bytes=1000, by_session=by_session, tls=ssl.create_default_context(cafile=CERTIFICATE)
    )
    async with LoopbackServer(answer_ok, tls=server_tls()) as server:
        request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")
        assert (await transport.send(request, asyncio.get_running_loop().time() + 20)).body == b"fine"
        await transport.aclose()


async def test_plain_http_where_tls_was_expected(transport: HttpTransport) -> None:
    """A port that speaks no TLS is a TLS failure."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error, _ = await failure(transport, f"https://127.0.0.1:{port}/")
    assert (type(error), error.billed) == (GatewayError, "no")


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("sent", "expected", "message"),
    [
        (b"", BROKEN_OFF, "closed the connection before the reply was complete (no whole reply)"),
        (HEAD + b"Content-Le", BROKEN_OFF, "closed the connection before the reply was complete (no whole reply)"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", BROKEN_OFF, "answered with something that is not HTTP ("),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", BROKEN_OFF, "answered with something that is not HTTP ("),
        (b"HTTP/1.1 abc OK\r\n\r\n", BROKEN_OFF, "answered with something that is not HTTP ("),
        (
            HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
            BROKEN_OFF,
            "answered with something that is not HTTP (Got more",
        ),
        (HEAD + b"Content-Length: -1\r\n\r\n", BROKEN_OFF, "answered with something that is not HTTP ("),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok", BROKEN_OFF, "something that is not HTTP ("),
        (HEAD + b"Content-Length: 100\r\n\r\nhalf", UNREADABLE, "reply is cut short or wrongly encoded ("),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal", UNREADABLE, "reply is cut short or wrongly encoded ("),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip..", UNREADABLE, "wrongly encoded ("),
        (HEAD + b"Content-Encoding: deflate\r\nContent-Length: 9\r\n\r\nno zlib..", UNREADABLE, "wrongly encoded ("),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_what_is_not_a_reply(
    sent: bytes, expected: dict[str, Any], message: str, transport: HttpTransport
) -> None:
    """Half a reply, no HTTP at all or a wrong encoding: never an answer, and the message is one short line."""

    async def handle(exchange: Exchange) -> None:
        await exchange.write(sent)
        exchange.close()

    async with LoopbackServer(handle) as server:
        error, request = await failure(transport, server.url)
        assert facts(error) == expected
        assert message in str(error)
        assert str(error).count("\n") == 0
        assert len(str(error)) < 320
        assert f"127.0.0.1:{server.port}" in str(error)
        assert request.sent is True
        assert isinstance(error.__cause__, Exception)


@pytest.mark.parametrize("begun", [b"", HEAD + b"Content-Length: 100\r\n\r\nhalf"])
async def test_a_reset(begun: bytes, transport: HttpTransport) -> None:
    """A connection that is reset is a failure whether or not a reply had begun."""
    arrived = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if begun:
            await exchange.write(begun)
            await arrived.wait()
        exchange.reset()

    async with LoopbackServer(handle) as server:
        request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")

        async def call() -> None:
            stream = await transport.open(request, asyncio.get_running_loop().time() + 20)
            await stream.read(asyncio.get_running_loop().time() + 20)
            arrived.set()
            await stream.read_all(asyncio.get_running_loop().time() + 20)

        with pytest.raises((GatewayError, DecodeError), match=r"Connection reset by peer|cut short") as caught:
            await call()
        assert caught.value.billed == "maybe"
        assert caught.value.http_status == (200 if begun else None)
        assert transport.statistics().in_flight == 0


async def test_a_broken_body_says_what_status_it_had(transport: HttpTransport) -> None:
    """What is known of a reply that was cut is on its error."""

    async def handle(exchange: Exchange) -> None:
        await exchange.head(503, {"Content-Length": "100"})
        exchange.close()

    async with LoopbackServer(handle) as server:
        error, _ = await failure(transport, server.url)
    assert (error.http_status, error.status_code) == (503, 503)


async def test_an_unasked_coding_is_left_as_it_is(transport: HttpTransport) -> None:
    """A body in a coding that was never offered comes through undecoded, for the decoder to refuse."""
    body = gzip.compress(b"text")

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, body, {"Content-Encoding": "snappy"})

    async with LoopbackServer(handle) as server:
        request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")
        reply = await transport.send(request, asyncio.get_running_loop().time() + 20)
    assert reply.body == body


async def test_a_connection_closed_while_idle_is_not_used(transport: HttpTransport) -> None:
    """A server that hangs up between two calls does not make the second one fail."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, b"fine")
        exchange.close()

    async with LoopbackServer(handle) as server:
        for _ in range(3):
            request = HttpRequest(method="POST", url=server.url, headers={}, body=b"{}")
            await transport.send(request, asyncio.get_running_loop().time() + 20)
            await server.until(lambda: server.open == 0)
            for _turn in range(10):
                await asyncio.sleep(0)
        assert server.connections == 3

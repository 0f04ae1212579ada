"""Proxies: taken from the environment on request only, with their own credentials and nobody else's."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Protocol

import pytest

from genops_helicone_async import GatewayError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._values import HttpReply, HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).with_name("loopback_certificate.pem")


@pytest.fixture
async def target() -> AsyncIterator[LoopbackServer]:
    """The server that calls are meant for."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, b"target")

    async with LoopbackServer(handle) as server:
        yield server


@pytest.fixture
async def proxy() -> AsyncIterator[LoopbackServer]:
    """A proxy that answers by itself, to tell that it was asked."""

    async def handle(exchange: Exchange) -> None:
        if exchange.method == "CONNECT":
            await exchange.reply(403, b"")
        else:
            await exchange.reply(200, b"proxy")

    async with LoopbackServer(handle) as server:
        yield server


class Ask(Protocol):
    """One request over a transport of its own."""

    def __call__(self, url: str, *, trust_env: bool, headers: dict[str, str] | None = None) -> Awaitable[HttpReply]: ...


@pytest.fixture
def ask(by_session: bool) -> Ask:
    """Sends by either way."""

    async def send(url: str, *, trust_env: bool, headers: dict[str, str] | None = None) -> HttpReply:
        transport = HttpTransport(max_response_bytes=1000, trust_env=trust_env, by_session=by_session)
        try:
            request = HttpRequest(method="POST", url=url, headers=headers or {}, body=b"{}")
            return await transport.send(request, asyncio.get_running_loop().time() + 20)
        finally:
            await transport.aclose()

    return send


async def test_the_environment_is_ignored_unless_asked(
    ask: Ask, target: LoopbackServer, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `trust_env` a call goes straight to its target."""
    monkeypatch.setenv("http_proxy", proxy.url)
    assert (await ask(target.url, trust_env=False)).body == b"target"
    assert proxy.exchanges == []


async def test_a_proxy_gets_the_whole_url(
    ask: Ask, target: LoopbackServer, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `trust_env` plain http goes through the proxy of the environment."""
    monkeypatch.setenv("http_proxy", proxy.url)
    assert (await ask(f"{target.url}/v1/chat", trust_env=True)).body == b"proxy"
    assert proxy.exchanges[0].path == f"{target.url}/v1/chat"
    assert target.exchanges == []


async def test_no_proxy_is_honoured(
    ask: Ask, target: LoopbackServer, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts in NO_PROXY are called directly."""
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (await ask(target.url, trust_env=True)).body == b"target"


async def test_a_proxys_credentials_go_to_the_proxy(
    ask: Ask, target: LoopbackServer, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User and password of the proxy's URL are sent as `Proxy-Authorization`; the call's own key stays its own."""
    monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
    await ask(target.url, trust_env=True, headers={"Authorization": "Bearer key"})
    headers = proxy.exchanges[0].headers
    assert (headers["proxy-authorization"], headers["authorization"]) == ("Basic dXNlcjp3b3Jk", "Bearer key")


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer key"}, {"x-api-key": "key"}])
async def test_netrc_is_left_alone(
    ask: Ask, headers: dict[str, str], target: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trust_env` is about proxies: passwords kept for other programs are neither sent nor in the way."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert (await ask(target.url, trust_env=True, headers=headers)).body == b"target"
    assert target.exchanges[0].headers.get("authorization") == headers.get("Authorization")


async def test_a_proxy_that_refuses_is_named(ask: Ask, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CONNECT that is turned down is the proxy's failure, and nothing was sent."""
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(GatewayError, match=r"the proxy refused to connect to gateway\.invalid:443: 403") as caught:
        await ask("https://gateway.invalid/v1", trust_env=True)
    assert (caught.value.billed, caught.value.retry_safe) == ("no", False)
    assert (proxy.exchanges[0].method, proxy.exchanges[0].path) == ("CONNECT", "gateway.invalid:443")


async def test_a_proxy_that_is_down_is_no_connection(
    ask: Ask, target: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that does not listen is a connection that could not be made."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(GatewayError, match=r"no connection to .*Connection refused") as caught:
        await ask(target.url, trust_env=True)
    assert (caught.value.billed, caught.value.retry_safe) == ("no", True)


async def test_tls_goes_through_a_tunnel(by_session: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a CONNECT tunnel the call reaches the target, whose certificate is verified end to end."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, b"target")

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        host, _, port = head.split(b" ")[1].decode().partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    asked: list[bytes] = []
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(CERTIFICATE)
    listener = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with LoopbackServer(handle, tls=server_tls) as target, listener:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        trusting = ssl.create_default_context(cafile=CERTIFICATE)
        transport = HttpTransport(max_response_bytes=1000, trust_env=True, tls=trusting, by_session=by_session)
        request = HttpRequest(method="POST", url=target.url, headers={}, body=b"{}")
        reply = await transport.send(request, asyncio.get_running_loop().time() + 20)
        assert reply.body == b"target"
        assert asked == [f"CONNECT 127.0.0.1:{target.port} HTTP/1.1".encode()]
        await transport.aclose()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hands bytes on until there are none."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()

"""What the tests of the edges share: a real server for what is kept in Redis or Valkey, the ways to send a request."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

import valkey_server
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._values import HttpReply, HttpRequest


class Warm(HttpTransport):
    """A transport whose requests find a connection that stands ready, as nearly all do in life; the first, too."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Connects first, if that can be done."""
        if self._session is None:
            await self._open_session()
        direct = self._direct
        assert direct is not None
        head = direct._new_head((request.method, request.url, not request.body, *request.headers), request)
        if head is not None and not head.idle:
            with contextlib.suppress(OSError, ValueError):
                line = await direct._lines.open(head.idle, head.initiator)
                head.idle[line] = time.monotonic()
        return await super().send(request, deadline)


@pytest.fixture(params=[False, True], ids=["direct", "by-session"])
def by_session(request: pytest.FixtureRequest) -> bool:
    """Both ways of a request: past aiohttp's session where that is possible, and always through it."""
    return bool(request.param)


@pytest.fixture(
    params=[HttpTransport, Warm, partial(HttpTransport, by_session=True)], ids=["direct", "warm", "by-session"]
)
def make_transport(request: pytest.FixtureRequest) -> Callable[..., HttpTransport]:
    """What makes transports of both ways; of the direct one also such as need not connect."""
    make: Callable[..., HttpTransport] = request.param
    return make


@pytest.fixture
async def transport(make_transport: Callable[..., HttpTransport]) -> AsyncIterator[HttpTransport]:
    """A transport as an adapter makes it, that takes replies of a megabyte, each way."""
    made = make_transport(max_response_bytes=1_000_000)
    yield made
    await made.aclose()


@pytest.fixture(scope="session", autouse=True)
def _no_server_survives() -> Iterator[None]:
    """The server that tests share, if any used one, ends with them."""
    yield
    valkey_server.end_shared()

"""What the tests of the edges share: a real server for what is kept in Redis or Valkey, both ways to send a request."""

from collections.abc import AsyncIterator, Iterator

import pytest

import valkey_server
from genops_helicone_async._edges.http import HttpTransport


@pytest.fixture(params=[False, True], ids=["direct", "by-session"])
def by_session(request: pytest.FixtureRequest) -> bool:
    """Both ways of a request: past aiohttp's session where that is possible, and always through it."""
    return bool(request.param)


@pytest.fixture
async def transport(by_session: bool) -> AsyncIterator[HttpTransport]:
    """A transport as an adapter makes it, that takes replies of a megabyte, each way."""
    made = HttpTransport(max_response_bytes=1_000_000, by_session=by_session)
    yield made
    await made.aclose()


@pytest.fixture(scope="session", autouse=True)
def _no_server_survives() -> Iterator[None]:
    """The server that tests share, if any used one, ends with them."""
    yield
    valkey_server.end_shared()

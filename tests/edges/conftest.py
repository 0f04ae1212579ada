"""What the tests of the edges share: a real server for what is kept in Redis or Valkey."""

from collections.abc import Iterator

import pytest

import valkey_server


@pytest.fixture(scope="session", autouse=True)
def _no_server_survives() -> Iterator[None]:
    """The server that tests share, if any used one, ends with them."""
    yield
    valkey_server.end_shared()

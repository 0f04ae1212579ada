"""What the tests of the cache share: the parts of the flow's tests, and a real server for what is kept in Valkey."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import valkey_server

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))


@pytest.fixture(scope="session", autouse=True)
def _no_server_survives() -> Iterator[None]:
    """The server that tests share, if any used one, ends with them."""
    yield
    valkey_server.end_shared()

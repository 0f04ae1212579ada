"""A sandbox for the tests of auto-instrumentation, and where it may block an event loop."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

from genops_helicone_async.testing import SandboxGateway


@pytest.fixture(scope="session", autouse=True)
def _switching_blocks(blocking_calls: BlockBuster) -> None:
    """`uninstrument()` waits until all is written, and the start of the loop thread is waited for, once."""
    for function in blocking_calls.functions.values():
        function.can_block_in("instrumentation/governor.py", {"close"})
        function.can_block_in("_edges/loop_thread.py", {"_start"})


@pytest.fixture
def gateway() -> Iterator[SandboxGateway]:
    """A gateway with the proxy hosts of every provider."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        yield running

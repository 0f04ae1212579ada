"""Ten thousand calls in flight at one moment, over real connections, and nothing left of them afterwards."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import GenOpsHeliconeAsyncAdapter

resource = pytest.importorskip("resource", reason="this system does not tell its open-file limit")
pytestmark = pytest.mark.anyio

CALLS = 10_000
SPARE_FILES = 500
SERVER = Path(__file__).with_name("ten_thousand_server.py")


@pytest.fixture
def calls() -> Iterator[int]:
    """As many calls as this machine has files for, ten thousand if it can."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CALLS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if 0 < soft < wanted:
        pytest.skip(f"{CALLS} connections need {wanted} open files, and {soft} is the limit here")
    yield CALLS
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.timeout(240)
async def test_ten_thousand_calls_are_in_flight_at_once(calls: int) -> None:
    """The server answers nobody before all have arrived: so it held all of them, and all are answered."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVER),
        str(calls),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
    async with GenOpsHeliconeAsyncAdapter(
        KEY, gateway_url=url, prices=PRICES, timeout_seconds=200, max_connections=calls, retry_attempts=0
    ) as helicone:
        responses = await asyncio.gather(*(helicone.chat_async("Hi", provider="openai") for _ in range(calls)))
        told = helicone.statistics()
    assert {response.content for response in responses} == {"Hello"}
    assert len({response.request_id for response in responses}) == calls
    assert (told.slots.taken, told.slots.waiting, told.http.in_flight) == (0, 0, 0)
    assert (told.http.requests, told.http.replies, told.http.failures) == (calls, calls, 0)
    assert int(await server.stdout.readline()) == calls
    assert await server.wait() == 0

"""Limits that several processes share through a real server: what all send together, and what happens without it."""

import asyncio
import itertools
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path

import pytest

import valkey_server
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

PROCESSES, CALLS, RATE_PER_S, BURST = 3, 30, 20.0, 10
WORKER = Path(__file__).with_name("limits_worker.py")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[valkey_server.ValkeyServer]:
    """A server of the test's own."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    yield server
    server.stop()


class Arrivals:
    """Answers every call and notes when it came."""

    def __init__(self) -> None:
        self.moments_s: list[float] = []

    async def __call__(self, exchange: Exchange) -> None:
        """Answers."""
        self.moments_s.append(time.monotonic())
        await exchange.reply(200, chat_body("Hello"))


async def start(url: str, state_url: str) -> Process:
    """One process."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKER), url, state_url, str(CALLS), str(RATE_PER_S * 60), str(BURST)),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def ended(processes: list[Process]) -> list[str]:
    """What they logged, once all are done, each with all its calls."""
    told = await asyncio.gather(*(process.communicate() for process in processes))
    logged = [error.decode() for _, error in told]
    assert [(out.decode().strip(), process.returncode) for (out, _), process in zip(told, processes, strict=True)] == [
        (str(CALLS), 0)
    ] * len(processes), logged
    return logged


async def test_all_processes_together_keep_to_the_limit(server: valkey_server.ValkeyServer) -> None:
    """Three processes and one limit: no call arrives before the one bucket allows it, and none is lost."""
    handler = Arrivals()
    async with LoopbackServer(handler) as upstream:
        logged = await ended([await start(upstream.url, server.url) for _ in range(PROCESSES)])
    assert logged == [""] * PROCESSES
    moments_s = sorted(handler.moments_s)
    assert len(moments_s) == PROCESSES * CALLS
    for number, moment_s in enumerate(moments_s):
        # from the first arrival; a slow machine only makes calls later, the first one by how much is not known
        assert moment_s - moments_s[0] >= (number + 1 - BURST) / RATE_PER_S - 0.5, number
    longest_gap_s = max(later - earlier for earlier, later in itertools.pairwise(moments_s))
    assert longest_gap_s < 10


async def test_without_the_server_each_process_goes_on_under_its_own_limit(server: valkey_server.ValkeyServer) -> None:
    """It dies while calls wait: all are answered, each process says so and keeps to the limit by itself."""
    handler = Arrivals()
    async with LoopbackServer(handler) as upstream:
        processes = [await start(upstream.url, server.url) for _ in range(2)]
        await upstream.until(lambda: len(handler.moments_s) >= 25)
        server.kill()
        away_s = time.monotonic()
        await upstream.until(lambda: len(handler.moments_s) == 2 * CALLS)
        away_s = time.monotonic() - away_s
        server.start()  # what was spent is written there at the end
        logged = await ended(processes)
    moments_s = sorted(handler.moments_s)
    assert len(moments_s) == 2 * CALLS
    for number, moment_s in enumerate(moments_s):
        assert moment_s - moments_s[0] >= (number + 1 - 2 * BURST) / (2 * RATE_PER_S) - 0.5, number
    for text in logged:
        assert 1 <= text.count("limits are kept by this process alone for 5 s") <= 1 + away_s / 5, text

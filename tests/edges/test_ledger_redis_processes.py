"""The shared ledger under several real processes: one of them killed, and the server killed under them."""

import asyncio
import itertools
import json
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

import valkey_server
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._rules.ledger import Refusal, Scope

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

LIMIT_PUSD = 10 * 10**12 + 7
DAY = Scope(name="daily", window="2026-11-23", limit_pusd=LIMIT_PUSD)
WORKER = Path(__file__).with_name("ledger_redis_worker.py")


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return secrets.token_hex(8)


@asynccontextmanager
async def worker(url: str, namespace: str, seed: int, *mode: str) -> AsyncIterator[Process]:
    """A process that spends, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), url, namespace, str(LIMIT_PUSD), str(seed), *mode, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def result(process: Process) -> dict[str, int]:
    """What a worker tells at its end."""
    out, _ = await process.communicate()
    assert process.returncode == 0
    told: dict[str, int] = json.loads(out)
    return told


async def highest_total(url: str, namespace: str, done: asyncio.Event) -> int:
    """The most that the server's books ever showed as settled, held and leased, looked at all the time."""
    highest = 0
    async with redis.asyncio.Redis.from_url(url) as client:
        while not done.is_set():
            account = await client.hmget(f"genops:{{{namespace}}}:account:daily|2026-11-23", "settled", "held", "slack")
            highest = max(highest, sum(int(part or 0) for part in account))
            await asyncio.sleep(0.002)
    return highest


async def test_processes_use_a_limit_up_together_and_never_pass_it(namespace: str) -> None:
    """The books never show more than the limit, more than 99 % of it is spent, and every sum agrees exactly."""
    url, done = valkey_server.shared_url(), asyncio.Event()
    watching = asyncio.ensure_future(highest_total(url, namespace, done))
    async with worker(url, namespace, 1) as one, worker(url, namespace, 2) as two, worker(url, namespace, 3) as three:
        told = await asyncio.gather(result(one), result(two), result(three))
    done.set()
    assert await watching <= LIMIT_PUSD
    spent = sum(each["spent"] for each in told)
    assert LIMIT_PUSD * 0.99 < spent <= LIMIT_PUSD
    assert [each["booked"] for each in told] == [each["spent"] for each in told]
    ledger = RedisLedger(url, namespace=namespace)
    (account,) = await ledger.refresh([DAY])
    rows = [row async for row in ledger.rows()]
    await ledger.aclose()
    assert (account.settled_pusd, account.held_pusd) == (spent, 0)
    assert (sum(row.cost_pusd for row in rows), len(rows)) == (spent, sum(each["granted"] for each in told))


async def test_what_a_killed_process_held_comes_back(namespace: str) -> None:
    """It is refused to others until the dead one's lease ends, then all but what was spent can be held at once."""
    url = valkey_server.shared_url()
    ledger = RedisLedger(url, namespace=namespace)
    async with worker(url, namespace, 1, "hang") as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        spent, held = LIMIT_PUSD // 8, LIMIT_PUSD * 3 // 4 - LIMIT_PUSD // 4
        rest = LIMIT_PUSD - spent
        assert await ledger.hold([DAY], rest, enforce=True) == Refusal(scope=DAY, settled_pusd=spent, held_pusd=held)
        process.kill()
        await process.wait()
    while await ledger.hold([DAY], rest, enforce=True) is not None:
        await asyncio.sleep(0.02)
    (account,) = await ledger.refresh([DAY])
    assert (account.settled_pusd, account.held_pusd) == (spent, rest)
    await ledger.aclose()


async def test_a_process_killed_at_work_leaves_exact_books(namespace: str) -> None:
    """What is settled is the sum of the rows, and what it had leased is there for the others when its lease ends."""
    url, key = valkey_server.shared_url(), f"genops:{{{namespace}}}"
    async with redis.asyncio.Redis.from_url(url) as client, worker(url, namespace, 1) as process:
        while await client.xlen(f"{key}:rows") < 300:
            await asyncio.sleep(0)
        process.kill()
        await process.wait()
        # The server's time does the rest; this only puts the end of the lease forward.
        for name in await client.zrange(f"{key}:alive", 0, -1):
            await client.zadd(f"{key}:alive", {name: 1})
    ledger = RedisLedger(url, namespace=namespace)
    (account,) = await ledger.refresh([DAY])
    assert account.settled_pusd == sum([row.cost_pusd async for row in ledger.rows()])
    assert account.held_pusd == 0
    assert await ledger.hold([DAY], LIMIT_PUSD - account.settled_pusd, enforce=True) is None
    await ledger.aclose()


async def test_books_stay_exact_while_the_server_is_killed_under_the_processes(tmp_path: Path, namespace: str) -> None:
    """Its crash and return in the middle lose nothing, double nothing, and let nobody past the limit."""
    server = valkey_server.ValkeyServer(tmp_path, is_durable=True)
    server.start()
    try:
        async with worker(server.url, namespace, 1) as one, worker(server.url, namespace, 2) as two:
            for crash in itertools.count(1):
                async with redis.asyncio.Redis.from_url(server.url) as client:
                    while await client.xlen(f"genops:{{{namespace}}}:rows") < 300 * crash:
                        await asyncio.sleep(0)
                server.kill()
                server.start()
                if crash == 3:
                    break
            told = await asyncio.gather(result(one), result(two))
        ledger = RedisLedger(server.url, namespace=namespace)
        (account,) = await ledger.refresh([DAY])
        rows = [row async for row in ledger.rows()]
        await ledger.aclose()
    finally:
        server.stop()
    spent = sum(each["spent"] for each in told)
    assert LIMIT_PUSD * 0.99 < spent <= LIMIT_PUSD
    assert (account.settled_pusd, account.held_pusd) == (spent, 0)
    assert (sum(row.cost_pusd for row in rows), len(rows)) == (spent, sum(each["granted"] for each in told))

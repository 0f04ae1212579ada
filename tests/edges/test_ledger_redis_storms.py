"""The shared ledger over connections that break: before the server hears, and before its answer arrives."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

import valkey_server
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, Wait
from genops_helicone_async.errors import LedgerError

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

USD = 10**12
DAY = Scope(name="daily", window="2026-11-23", limit_pusd=10 * USD)
TEAM = Scope(name="team:research", window="2026-11", limit_pusd=9 * USD)
CALLS_A_TASK = 120


class BreakingProxy:
    """Stands before the server and breaks one connection in `one_in` requests, half of them after the server did it."""

    def __init__(self, target: str, chance: random.Random, one_in: int) -> None:
        self._target = urlsplit(target)
        self._chance = chance
        self._one_in = one_in
        self.broken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes requests and answers on, until it breaks off."""
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            while request := await reader.read(2**20):
                breaks = self._chance.randrange(2 * self._one_in)
                if breaks == 0:
                    self.broken += 1
                    return
                server_writer.write(request)
                answer = await server_reader.read(2**20)
                if breaks == 1:
                    self.broken += 1
                    return
                writer.write(answer)
        finally:
            writer.close()
            server_writer.close()


@contextlib.asynccontextmanager
async def breaking(chance: random.Random, one_in: int) -> AsyncIterator[tuple[str, BreakingProxy]]:
    """A proxy on a free port, and the URL behind which it breaks connections."""
    proxy, serving = BreakingProxy(valkey_server.shared_url(), chance, one_in), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        serving.add(task)
        with contextlib.suppress(ConnectionError):
            await proxy.serve(reader, writer)
        serving.discard(task)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", proxy
    await asyncio.gather(*serving)


async def hold(ledger: RedisLedger, amount_pusd: int) -> Refusal | Wait | None:
    """Holds, however often it takes."""
    while True:
        with contextlib.suppress(LedgerError):
            answer = ledger.hold_nowait([DAY, TEAM], amount_pusd, enforce=True)
            return await ledger.hold([DAY, TEAM], amount_pusd, enforce=True) if answer is WAIT else answer


@pytest.mark.parametrize("seed", range(4))
async def test_books_are_exact_and_within_the_limit_over_breaking_connections(seed: int) -> None:
    """Whatever was repeated, cancelled or lost on the way: each row and each movement once, every sum exact."""
    chance, namespace = random.Random(seed), secrets.token_hex(8)
    spent: dict[str, int] = {}
    moved: list[tuple[Movement, ...]] = []

    async def spend(ledger: RedisLedger, name: str) -> None:
        for turn in range(CALLS_A_TASK):
            amount = 1 + chance.randrange(USD // 20)
            call = asyncio.ensure_future(hold(ledger, amount))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                call.cancel()
            try:
                refused = await call
            except asyncio.CancelledError:
                continue
            if refused is None:
                cost = spent[f"{name}-{turn}"] = chance.randrange(amount + 1)
                row = LedgerRow(
                    request_id=f"{name}-{turn}", at_s=1.5, provider="p", model="m", status="ok", cost_pusd=cost
                )
                ledger.settle([DAY, TEAM], amount, [row], moved.append)

    async with breaking(chance, one_in=6) as (url, proxy):
        ledgers = [RedisLedger(url, namespace=namespace) for _ in range(3)]
        tasks = [spend(ledger, f"{number}-{task}") for number, ledger in enumerate(ledgers) for task in range(4)]
        await asyncio.gather(*tasks)
        for ledger in ledgers:
            while True:
                with contextlib.suppress(LedgerError):
                    await ledger.aclose()
                    break
    reader = RedisLedger(valkey_server.shared_url(), namespace=namespace)
    accounts = await reader.refresh([DAY, TEAM])
    rows = {row.request_id: row.cost_pusd async for row in reader.rows()}
    await reader.aclose()
    assert rows == spent
    assert [(account.settled_pusd, account.held_pusd) for account in accounts] == [(sum(spent.values()), 0)] * 2
    assert sum(spent.values()) <= 9 * USD
    chain = sorted((movement.before_pusd, movement.after_pusd) for movement, _ in moved)
    assert [after for _, after in chain[:-1]] == [before for before, _ in chain[1:]]
    assert proxy.broken > 10

"""A process that spends from a shared ledger, started by the tests: what it granted and spent is its last line.

    python ledger_redis_worker.py URL NAMESPACE LIMIT_PUSD SEED [hang]

It makes calls until one is refused. With `hang` it holds three quarters of the limit, spends an eighth, and waits.
"""

import asyncio
import json
import random
import sys
import time

from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, Wait
from genops_helicone_async.errors import LedgerError

TASKS = 8
LEASE_S = 1.0


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(request_id=request_id, at_s=time.time(), provider="p", model="m", status="ok", cost_pusd=cost_pusd)


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told."""


async def hold(ledger: RedisLedger, scopes: list[Scope], amount_pusd: int) -> Refusal | Wait | None:
    """Holds, and tries again while the server is away."""
    while True:
        try:
            answer = ledger.hold_nowait(scopes, amount_pusd, enforce=True)
            return await ledger.hold(scopes, amount_pusd, enforce=True) if answer is WAIT else answer
        except LedgerError:
            await asyncio.sleep(0.02)


async def spend(ledger: RedisLedger, scopes: list[Scope], name: str, chance: random.Random) -> tuple[int, int]:
    """Calls until one is refused; how many were granted, and what they cost."""
    granted = spent = 0
    share = (scopes[0].limit_pusd or 0) // 2_000
    while await hold(ledger, scopes, amount := share + chance.randrange(share)) is None:
        cost = chance.randrange(amount + 1)
        granted, spent = granted + 1, spent + cost
        ledger.settle(scopes, amount, [row(f"{name}-{granted}", cost)], ignore)
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    return granted, spent


async def work(url: str, namespace: str, limit_pusd: int, seed: str) -> None:
    """All tasks until the limit is used up."""
    ledger = RedisLedger(url, namespace=namespace)
    scopes = [
        Scope(name="daily", window="2026-11-23", limit_pusd=limit_pusd),
        Scope(name=f"team:{seed}", window="2026-11", limit_pusd=limit_pusd),
        Scope(name="project:chat", window="2026-11"),
    ]
    chance = random.Random(seed)
    done = await asyncio.gather(*(spend(ledger, scopes, f"{seed}-{task}", chance) for task in range(TASKS)))
    await ledger.aclose()
    told = ledger.statistics()
    print(json.dumps({
        "granted": sum(granted for granted, _ in done), "spent": sum(spent for _, spent in done),
        "booked": told.booked_pusd, "rows": told.rows, "asked": told.asked_holds, "local": told.local_holds,
        "exchanges": told.exchanges,
    }))  # fmt: skip


async def hang(url: str, namespace: str, limit_pusd: int) -> None:
    """Holds, spends a part, says so, and waits for its end."""
    ledger = RedisLedger(url, namespace=namespace, lease_s=LEASE_S)
    scopes = [Scope(name="daily", window="2026-11-23", limit_pusd=limit_pusd)]
    assert await hold(ledger, scopes, limit_pusd * 3 // 4) is None
    durable = ledger.settle(scopes, limit_pusd // 4, [row("spent", limit_pusd // 8)], ignore)
    assert durable is not None
    await durable
    print("held", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, url, namespace, limit, seed, *mode = sys.argv
    asyncio.run(hang(url, namespace, int(limit)) if mode else work(url, namespace, int(limit), seed))

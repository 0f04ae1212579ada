"""Several processes under one limit in one file: the wall holds, also for those that are killed."""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from budget_process import BILLED
from budget_storm import pusd

import genops_helicone_async
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow, Refusal, Scope
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("budget_process.py")
LEASE_S = 60.0
"""How long a crashed process's holds outlive it in an adapter's ledger."""


class Worker:
    """A process that spends; `told` has what it printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    async def next_line(self) -> dict[str, Any] | None:
        """What it prints next; None where it has ended."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return None  # a process that was killed while it printed
        self.told.append(json.loads(line))
        return self.told[-1]

    async def begin(self) -> None:
        """Lets it begin, once it is ready."""
        assert await self.next_line() == {"ready": True}
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def finish(self) -> int:
        """Reads on until it has ended; its exit status."""
        while await self.next_line() is not None:
            pass
        return await self.process.wait()

    @property
    def answers(self) -> dict[str, int]:
        """The cost of every answer that its caller got, by request id."""
        return {line["request_id"]: line["cost_pusd"] for line in self.told if "request_id" in line}


@asynccontextmanager
async def working(gateway: SandboxGateway, path: Path, **settings: Any) -> AsyncIterator[Worker]:
    """A worker, which does not outlive the block."""
    given = {"url": gateway.url, "key": gateway.api_key, "state_url": f"sqlite:///{path}", **settings}
    source = str(Path(genops_helicone_async.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "faulthandler", str(PROGRAM), json.dumps(given),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    try:
        yield Worker(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def rows_in(path: Path) -> dict[str, LedgerRow]:
    """Every row in the file, by request id."""
    rows = await asyncio.to_thread(lambda: list(SqliteLedger(path).rows()))
    return {row.request_id: row for row in rows}


def this_month(limit: float) -> Scope:
    """The budget that all processes share."""
    return Scope(name="monthly", window=time.strftime("%Y-%m", time.gmtime()), limit_pusd=pusd(limit))


async def account_in(path: Path, limit: float, *, later_s: float = 0.0) -> tuple[int, int, SqliteLedger]:
    """What is settled and held as a process finds it that comes so much later, and its ledger."""
    ledger = SqliteLedger(path, clock=lambda: time.time() + later_s)
    (account,) = await ledger.refresh([this_month(limit)])
    return account.settled_pusd, account.held_pusd, ledger


def unsure(gateway: SandboxGateway) -> None:
    """Faults after which nobody knows what was billed, among harmless ones."""
    gateway.faults.add(Fault(kind="status", status=503, probability=0.1))
    gateway.faults.add(Fault(kind="reset_mid_body", probability=0.1))
    gateway.faults.add(Fault(kind="delay", delay_s=0.01, probability=0.5))


@pytest.mark.parametrize("weather", ["fair", "stormy"])
async def test_two_processes_share_one_limit(tmp_path: Path, weather: str) -> None:
    """Together they find it exhausted; the file's account is the sum of its rows, and both bills are in it."""
    path, limit = tmp_path / "ledger.db", 0.005
    async with SandboxGateway(latency_scale=0, prices=BILLED) as gateway:
        haste = weather == "stormy"
        if haste:
            unsure(gateway)
        async with (
            working(gateway, path, limit=limit, calls=40, seed=1, haste=haste) as one,
            working(gateway, path, limit=limit, calls=40, seed=2, haste=haste) as other,
        ):
            await asyncio.gather(one.begin(), other.begin())
            assert await asyncio.gather(one.finish(), other.finish()) == [0, 0]
        await gateway.idle()
        rows = await rows_in(path)
        settled, held, ledger = await account_in(path, limit)
        await ledger.aclose()
    assert (settled, held) == (sum(row.cost_pusd for row in rows.values()), 0)
    assert settled <= pusd(limit)
    assert one.told[-1]["refused"] + other.told[-1]["refused"] > 0
    assert {billed.request_id for billed in gateway.bill.rows} <= set(rows)
    for request_id, cost_pusd in {**one.answers, **other.answers}.items():
        assert rows[request_id].cost_pusd == cost_pusd
    exact = {name: row.cost_pusd for name, row in rows.items() if row.cost_source == "computed" and row.cost_pusd}
    assert exact.items() <= {billed.request_id: billed.cost_pusd for billed in gateway.bill.rows}.items()
    if not haste:
        assert settled == gateway.bill.total_pusd


async def test_what_a_killed_process_was_told_is_in_the_ledger(tmp_path: Path) -> None:
    """Three of four are ended by kill -9 at any moment: no answer that was given is missing, their holds expire."""
    path, limit, dice = tmp_path / "ledger.db", 0.3, random.Random(7)  # far more than is spent before the last is ended
    answers: dict[str, int] = {}
    async with SandboxGateway(latency_scale=0, prices=BILLED) as gateway:
        unsure(gateway)
        async with AsyncExitStack() as stack:
            doomed = [
                await stack.enter_async_context(
                    working(gateway, path, limit=limit, calls=10_000, seed=20 + number, haste=False)
                )
                for number in range(3)
            ]
            survivor = await stack.enter_async_context(
                working(gateway, path, limit=limit, calls=50, seed=10, haste=False)
            )
            await asyncio.gather(*(worker.begin() for worker in (*doomed, survivor)))
            for worker in doomed:
                for _ in range(dice.randrange(1, 20)):
                    await worker.next_line()
                worker.process.send_signal(signal.SIGKILL)
                # 255 is what asyncio reports where another waiter has taken the child's status before it
                assert await worker.finish() in (-signal.SIGKILL, 255)
                answers |= worker.answers
            assert await survivor.finish() == 0
        assert survivor.told[-1]["answered"] > 0
        answers |= survivor.answers
        rows = await rows_in(path)
        missing = [request_id for request_id in answers if request_id not in rows]
        assert missing == []
        assert {request_id: rows[request_id].cost_pusd for request_id in answers} == answers
        settled, held, early = await account_in(path, limit)
        assert settled == sum(row.cost_pusd for row in rows.values())
        assert settled + held <= pusd(limit)
        await early.aclose()
        settled_later, held_later, late = await account_in(path, limit, later_s=LEASE_S + 1)
        assert (settled_later, held_later) == (settled, 0)
        assert await late.hold([this_month(limit)], pusd(limit) - settled, enforce=True) is None
        assert isinstance(await late.hold([this_month(limit)], 1, enforce=True), Refusal)
        await late.aclose()

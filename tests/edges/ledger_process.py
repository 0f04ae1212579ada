"""What the tests of the durable ledger run in processes of their own: `python ledger_process.py ROLE ARGUMENTS`.

Each role prints what it found, one JSON value a line.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow, Movement, Scope
from genops_helicone_async.errors import LedgerError

LIMIT_PUSD = 20_000
HOLD_PUSD = 100
WALL = Scope(name="daily", window="2026-11-23", limit_pusd=LIMIT_PUSD)
COUNTED = Scope(name="project:chat")


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=time.time(), provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told."""


def tell(value: Any) -> None:
    """One line, at once, whatever happens to the process next."""
    os.write(1, json.dumps(value).encode() + b"\n")


async def book(ledger: SqliteLedger, held_pusd: int, *rows: LedgerRow) -> None:
    """Settles durably."""
    durable = ledger.settle((WALL, COUNTED), held_pusd, rows, ignore)
    assert durable is not None
    await durable


async def hammer(path: str, name: str) -> None:
    """Spends until the limit leaves no room for one more call; tells how much that was."""
    ledger = SqliteLedger(path)
    spent: list[int] = []
    costs = random.Random(name)

    async def caller(number: int) -> None:
        while True:
            refusal = await ledger.hold((WALL, COUNTED), HOLD_PUSD, enforce=True)
            if refusal is not None:
                assert refusal.settled_pusd + refusal.held_pusd + HOLD_PUSD > LIMIT_PUSD
                if refusal.held_pusd == 0:
                    return
                continue
            cost_pusd = costs.randint(0, HOLD_PUSD)
            await book(ledger, HOLD_PUSD, row(f"{name}-{number}-{len(spent)}", cost_pusd))
            spent.append(cost_pusd)

    await asyncio.gather(*(caller(number) for number in range(8)))
    await ledger.aclose()
    tell({"calls": len(spent), "spent_pusd": sum(spent)})


async def run_until_killed(path: str, name: str) -> None:
    """Holds something for good, then spends on and on, and tells each row that it was promised to be on the disk."""
    ledger = SqliteLedger(path, lease_s=60.0)
    assert await ledger.hold((COUNTED,), HOLD_PUSD, enforce=False) is None
    tell("holding")

    async def caller(number: int) -> None:
        for turn in range(1_000_000):
            await ledger.hold((COUNTED,), HOLD_PUSD, enforce=False)
            request_id = f"{name}-{number}-{turn}"
            await book(ledger, HOLD_PUSD, row(request_id, turn % HOLD_PUSD))
            tell(request_id)

    await asyncio.gather(*(caller(number) for number in range(8)))


async def leave(path: str) -> None:
    """Ends without closing and without waiting for what it has just settled."""
    ledger = SqliteLedger(path)
    assert await ledger.hold((WALL,), HOLD_PUSD, enforce=True) is None
    for number in range(500):
        ledger.settle((WALL,), 0, (row(f"left-{number}", 7),), ignore)


async def fork(path: str) -> None:
    """Uses a ledger in a forked child, which is told not to, and goes on in the parent."""
    ledger = SqliteLedger(path)
    await book(ledger, 0, row("before", 1))
    child = os.fork()
    if child == 0:
        asyncio.events._set_running_loop(None)
        try:
            asyncio.run(ledger.hold((WALL,), HOLD_PUSD, enforce=True))
        except LedgerError as error:
            tell(str(error))
        os._exit(0)
    os.waitpid(child, 0)
    await book(ledger, 0, row("after", 2))
    await ledger.aclose()
    tell(sorted(each.request_id for each in SqliteLedger(path).rows()))


def mount(folder: str, options: str) -> None:
    """Mounts a small file system in memory; in a mount namespace that ends with this process."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


async def fill_the_disk(folder: str) -> None:
    """Has the disk run full, tells what the ledger says, makes room, and tells what the ledger has in the end."""
    mount(folder, "size=1m")
    ledger = SqliteLedger(Path(folder) / "ledger.db", retry_s=0.05)
    await book(ledger, 0, row("before", 1))
    filler = Path(folder) / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    done = asyncio.Event()
    rows = tuple(row(f"during-{number}", 1) for number in range(2_000))
    durable = ledger.settle((WALL,), 0, rows, lambda _: done.set())
    assert durable is not None
    for attempt in (durable, ledger.hold((WALL,), HOLD_PUSD, enforce=True)):
        try:
            await attempt
        except LedgerError as error:
            tell(str(error))
    tell(ledger.statistics().unwritten)
    filler.unlink()
    await done.wait()
    await durable
    assert await ledger.hold((WALL,), HOLD_PUSD, enforce=True) is None
    await ledger.aclose()
    tell(len(list(ledger.rows())))


async def stay_full(folder: str) -> None:
    """Closes a ledger whose disk is full, and tells what it says."""
    mount(folder, "size=1m")
    ledger = SqliteLedger(Path(folder) / "ledger.db")
    await book(ledger, 0, row("before", 1))
    (Path(folder) / "filler").write_bytes(bytes(os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize))
    rows = tuple(row(f"during-{number}", 1_000_000_000) for number in range(2_000))
    ledger.settle((WALL,), 0, rows, ignore)
    try:
        await ledger.aclose()
    except LedgerError as error:
        tell(str(error))


async def freeze_the_disk(folder: str) -> None:
    """Makes the file system read-only, tells what the ledger says, and what can be read."""
    mount(folder, "size=1m")
    path = Path(folder) / "ledger.db"
    ledger = SqliteLedger(path)
    await book(ledger, 0, row("before", 1))
    await ledger.aclose()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    ledger = SqliteLedger(path)
    try:
        await ledger.hold((WALL,), HOLD_PUSD, enforce=True)
    except LedgerError as error:
        tell(str(error))
    tell([each.request_id for each in ledger.rows()])
    await ledger.aclose()


async def freeze_the_file(folder: str) -> None:
    """Makes the file alone read-only, and tells what the ledger says."""
    path = Path(folder) / "ledger.db"
    ledger = SqliteLedger(path)
    await book(ledger, 0, row("before", 1))
    await ledger.aclose()
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
    ledger = SqliteLedger(path)
    try:
        await ledger.hold((WALL,), HOLD_PUSD, enforce=True)
    except LedgerError as error:
        tell(str(error))


ROLES = {
    role.__name__: role
    for role in (
        hammer,
        run_until_killed,
        leave,
        fork,
        fill_the_disk,
        stay_full,
        freeze_the_disk,
        freeze_the_file,
    )
}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))

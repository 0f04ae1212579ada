"""Several processes on one ledger file, and processes that end without a word: killed, left, forked."""

import asyncio
import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genops_helicone_async
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import Account, Refusal, Scope

SCRIPT = Path(__file__).with_name("ledger_process.py")
LIMIT_PUSD = 20_000
HOLD_PUSD = 100
WALL = Scope(name="daily", window="2026-11-23", limit_pusd=LIMIT_PUSD)
COUNTED = Scope(name="project:chat")


def start(role: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """A role of `ledger_process.py`, begun."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), role, *arguments],
        env={"PYTHONPATH": str(Path(genops_helicone_async.__file__).parents[1])},
        stdout=subprocess.PIPE,
    )


def told_by(process: "subprocess.Popen[bytes]") -> list[Any]:
    """What a process told until its end, which was an orderly one."""
    output, _ = process.communicate(timeout=25)
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def accounts(path: Path, *scopes: Scope, clock: Callable[[], float] = time.time) -> list[Account]:
    """What a process that opens the file now finds spent and held."""

    async def look() -> list[Account]:
        ledger = SqliteLedger(path, clock=clock)
        found = await ledger.refresh(scopes)
        await ledger.aclose()
        return found

    return asyncio.run(look())


def test_two_processes_never_spend_past_the_limit(tmp_path: Path) -> None:
    """At no moment are settled and held together above the limit; in the end every pico-dollar is accounted for."""
    path = tmp_path / "ledger.db"
    assert accounts(path, WALL) == [Account()]  # makes the file, for the witness
    processes = [start("hammer", str(path), name) for name in ("here", "there")]
    looks = 0
    with contextlib.closing(sqlite3.connect(path)) as witness:
        while any(process.poll() is None for process in processes):
            (committed,) = witness.execute(
                "SELECT coalesce((SELECT settled_pusd FROM accounts WHERE name = 'daily'), 0)"
                " + coalesce((SELECT sum(held_pusd) FROM holds WHERE name = 'daily'), 0)"
            ).fetchone()
            assert committed <= LIMIT_PUSD
            looks += 1
    assert looks > 10
    here, there = (told_by(process)[0] for process in processes)
    spent_pusd = here["spent_pusd"] + there["spent_pusd"]
    assert LIMIT_PUSD - HOLD_PUSD < spent_pusd <= LIMIT_PUSD
    assert accounts(path, WALL, COUNTED) == [Account(settled_pusd=spent_pusd)] * 2
    rows = list(SqliteLedger(path).rows())
    assert len(rows) == here["calls"] + there["calls"]
    assert sum(row.cost_pusd for row in rows) == spent_pusd


def test_a_killed_process_loses_no_row_that_it_was_promised(tmp_path: Path) -> None:
    """After kill -9 the file opens, the account is the sum of its rows, and what was held expires with its lease."""
    path = tmp_path / "ledger.db"
    moments = random.Random(20261123)
    promised: set[str] = set()
    for number in range(4):
        process = start("run_until_killed", str(path), f"round-{number}")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == "holding"
        for _ in range(moments.randint(1, 300)):
            promised.add(json.loads(process.stdout.readline()))
        process.kill()
        # the rest, but for a line that was cut off
        promised.update(json.loads(line) for line in process.stdout.read().split(b"\n")[:-1])
        process.wait()
        process.stdout.close()
        rows = list(SqliteLedger(path).rows())
        assert promised <= {row.request_id for row in rows}
        (now,) = accounts(path, COUNTED)
        assert now.settled_pusd == sum(row.cost_pusd for row in rows)
        assert now.held_pusd >= HOLD_PUSD
        assert accounts(path, COUNTED, clock=lambda: time.time() + 61) == [Account(settled_pusd=now.settled_pusd)]
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_process_that_does_not_close_writes_what_it_settled(tmp_path: Path) -> None:
    """Its end waits for the rows that nobody awaited, and gives back what is held."""
    path = tmp_path / "ledger.db"
    assert told_by(start("leave", str(path))) == []
    assert len(list(SqliteLedger(path).rows())) == 500
    assert accounts(path, WALL) == [Account(settled_pusd=3_500)]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_to_open_its_own(tmp_path: Path) -> None:
    """A connection must not cross a fork: the child's calls are refused, the parent goes on."""
    refused, rows = told_by(start("fork", str(tmp_path / "ledger.db")))
    assert refused.endswith("was opened before a fork: make a new adapter in the child process")
    assert rows == ["after", "before"]


async def _lease(path: Path, back_at_s: float) -> list[Refusal | list[Account] | None]:
    moments_s = {"stopped": 1_000.0, "other": 1_029.0}
    stopped = SqliteLedger(path, lease_s=30.0, clock=lambda: moments_s["stopped"])
    other = SqliteLedger(path, lease_s=30.0, clock=lambda: moments_s["other"])
    found: list[Refusal | list[Account] | None] = [await stopped.hold((WALL,), LIMIT_PUSD, enforce=True)]
    found.append(await other.hold((WALL,), 1, enforce=True))
    moments_s["other"] = 1_031.0
    found.append(await other.hold((WALL,), 1, enforce=True))
    moments_s["stopped"] = back_at_s
    found.append(await stopped.refresh((WALL,)))
    durable = stopped.settle((), 0, (), lambda _: None)
    assert durable is not None
    await durable
    found.append(await other.refresh((WALL,)))
    await stopped.aclose()
    await other.aclose()
    return found


@pytest.mark.parametrize("back_at_s", [1_005.0, 1_029.9, 1_032.0])
def test_what_is_held_counts_until_its_lease_ends(tmp_path: Path, back_at_s: float) -> None:
    """A process that stops for longer than its lease loses its room to others; back again, it holds what it held.

    Also where it has not noticed, because it read the clock before it waited for the file.
    """
    granted, refused, room, its_own, everyone = asyncio.run(_lease(tmp_path / "ledger.db", back_at_s))
    assert granted is None
    assert refused == Refusal(scope=WALL, settled_pusd=0, held_pusd=LIMIT_PUSD)
    assert room is None
    assert its_own == [Account(held_pusd=LIMIT_PUSD + 1)]
    assert everyone == [Account(held_pusd=LIMIT_PUSD + 1)]


async def _renewed(path: Path) -> Refusal | None:
    moments_s = {"alive": 1_000.0, "other": 1_000.0}
    alive = SqliteLedger(path, lease_s=30.0, clock=lambda: moments_s["alive"])
    other = SqliteLedger(path, lease_s=30.0, clock=lambda: moments_s["other"])
    assert await alive.hold((WALL,), LIMIT_PUSD, enforce=True) is None
    moments_s["alive"] = 1_015.0
    durable = alive.settle((), 0, (), lambda _: None)
    assert durable is not None
    await durable
    moments_s["other"] = 1_044.0
    refusal = await other.hold((WALL,), 1, enforce=True)
    await alive.aclose()
    await other.aclose()
    return refusal


def test_a_lease_is_renewed_by_whatever_is_written(tmp_path: Path) -> None:
    """Half a lease later, any transaction of a process that holds something makes its lease a whole one again."""
    refusal = asyncio.run(_renewed(tmp_path / "ledger.db"))
    assert refusal == Refusal(scope=WALL, settled_pusd=0, held_pusd=LIMIT_PUSD)


async def _heartbeat(path: Path) -> None:
    ledger = SqliteLedger(path, lease_s=0.3)
    assert await ledger.hold((WALL,), HOLD_PUSD, enforce=True) is None

    def until_it_is_renewed() -> None:
        with contextlib.closing(sqlite3.connect(path)) as file:
            first = file.execute("SELECT expires_at_s FROM owners").fetchone()
            while file.execute("SELECT expires_at_s FROM owners").fetchone() == first:
                pass

    await asyncio.to_thread(until_it_is_renewed)
    await ledger.aclose()


def test_a_lease_is_renewed_when_nothing_is_written(tmp_path: Path) -> None:
    """A call that takes longer than the lease keeps its room, and a closed ledger leaves no lease."""
    path = tmp_path / "ledger.db"
    asyncio.run(_heartbeat(path))
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT (SELECT count(*) FROM owners), (SELECT count(*) FROM holds)").fetchone() == (0, 0)

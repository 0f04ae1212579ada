"""Settled calls a second of the durable ledger, and what a call costs in CPU time, beside the memory ledger.

    python benchmarks/ledger.py [--json] [--calls 100000] [--in-flight 256] [--folder DIR]

A call holds its worst case over three scopes, settles one row over them, and waits until the row is on the disk. The
next call of each task begins when that one is done, so that 256 in flight share two turns of the writer thread and
one wait for the disk. How long that wait takes is the disk's own affair, and is shown beside every run, measured just
before it with the same amount of data; `--folder /dev/shm` shows the ledger without a disk.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from genops_helicone_async._edges.ids import RequestIds
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._flow.ports import Ledger
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Scope

TARGET_PER_S = 50_000
MEMORY_LIMIT_US = 8.0
SCOPES = (
    Scope(name="daily", window="2026-11-23", limit_pusd=10**18),
    Scope(name="monthly", window="2026-11", limit_pusd=10**18),
    Scope(name="team:research", limit_pusd=10**18),
)
WORST_CASE_PUSD = 300_000_000
COST_PUSD = 123_456_789


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One run: calls a second, CPU µs of the process a call, milliseconds from hold to durable, and the disk's own."""

    name: str
    in_flight: int
    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    disk_ms: float


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told of bookings."""


def rows(count: int) -> list[tuple[LedgerRow]]:
    """What the calls will book, made beforehand: it is the ledger that is measured."""
    ids = RequestIds()
    now_s = time.time()
    return [
        (
            LedgerRow(
                request_id=ids(),
                at_s=now_s + number * 1e-3,
                provider="openai",
                model="gpt-4o-mini",
                status="ok",
                cost_pusd=COST_PUSD,
                input_tokens=850,
                output_tokens=240,
                duration_ms=812.5,
                team="research",
                project="chat",
                customer_id="acme",
                environment="production",
            ),
        )
        for number in range(count)
    ]


async def call(ledger: Ledger, row: tuple[LedgerRow]) -> None:
    """Holds, settles, and waits until it is durable."""
    if ledger.hold_nowait(SCOPES, WORST_CASE_PUSD, enforce=True) is WAIT:
        await ledger.hold(SCOPES, WORST_CASE_PUSD, enforce=True)
    durable = ledger.settle(SCOPES, WORST_CASE_PUSD, row, ignore)
    if durable is not None:
        await durable


async def run(name: str, ledger: Ledger, calls: int, in_flight: int, disk_ms: float = 0.0) -> Figure:
    """Makes the calls, `in_flight` at a time, and checks the books."""
    first, *others = rows(calls + 1)
    left = iter(others)
    latencies_s: list[float] = []

    async def worker() -> None:
        for row in left:
            started_s = time.perf_counter()
            await call(ledger, row)
            latencies_s.append(time.perf_counter() - started_s)

    await call(ledger, first)  # opens the file
    started_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    for account in ledger.accounts(SCOPES):
        if (account.settled_pusd, account.held_pusd) != ((calls + 1) * COST_PUSD, 0):
            sys.exit(f"{name}: the books are wrong: {account}")
    await ledger.aclose()
    latencies_s.sort()
    return Figure(
        name=name,
        in_flight=in_flight,
        per_s=calls / took_s,
        cpu_us=cpu_s / calls * 1e6,
        p50_ms=latencies_s[len(latencies_s) // 2] * 1e3,
        p99_ms=latencies_s[len(latencies_s) * 99 // 100] * 1e3,
        disk_ms=disk_ms,
    )


def disk_ms(folder: Path) -> float:
    """Median milliseconds until the disk has 68 KiB more of a file: what 256 calls add to the log."""
    path = folder / "disk.bin"
    flush = getattr(os, "fdatasync", os.fsync)
    samples: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(30):
            file.write(os.urandom(17 * 4096))
            started_s = time.perf_counter()
            flush(file.fileno())
            samples.append(time.perf_counter() - started_s)
    path.unlink()
    return statistics.median(samples) * 1e3


def measure(folder: Path, calls: int, in_flight: int, rounds: int) -> list[list[Figure]]:
    """The runs in turns, the fastest of each first."""
    plans: list[tuple[str, Callable[[int], Ledger], int, int]] = [
        ("memory", lambda _: MemoryLedger(), calls, in_flight),
        ("SQLite", lambda number: SqliteLedger(folder / f"many-{number}.db"), calls, in_flight),
        ("SQLite", lambda number: SqliteLedger(folder / f"one-{number}.db"), max(1, calls // 200), 1),
    ]
    runs: list[list[Figure]] = [[] for _ in plans]
    for number in range(rounds):
        for (name, open_ledger, count, at_once), figures in zip(plans, runs, strict=True):
            before_ms = disk_ms(folder)
            figures.append(asyncio.run(run(name, open_ledger(number), count, at_once, before_ms)))
    return [sorted(figures, key=lambda figure: -figure.per_s) for figures in runs]


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where the median misses a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the file is made; a temporary folder if left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        runs = measure(Path(name), arguments.calls, arguments.in_flight, arguments.rounds)
    medians = [figures[len(figures) // 2] for figures in runs]
    if arguments.json:
        print(json.dumps({"median": msgspec.to_builtins(medians), "runs": msgspec.to_builtins(runs)}))
    else:
        print(f"{'ledger':<8}{'in flight':>10}{'calls/s':>11}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'disk ms':>9}")
        for figures in runs:
            for f in figures:
                print(
                    f"{f.name:<8}{f.in_flight:>10,}{f.per_s:>11,.0f}{f.cpu_us:>9.1f}{f.p50_ms:>9.2f}{f.p99_ms:>9.2f}"
                    f"{f.disk_ms:>9.2f}{'  median' if f in medians else ''}"
                )
        print(f"\ntargets: {TARGET_PER_S:,} durable calls/s; {MEMORY_LIMIT_US:.0f} µs in memory")
    memory, durable, _ = medians
    return 0 if durable.per_s >= TARGET_PER_S and memory.cpu_us <= MEMORY_LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())

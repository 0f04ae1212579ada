"""`bulk` from file to file: rows a second beside `chat_async`'s own, what the journal costs, and memory at any size.

    python benchmarks/bulk_files.py [--rows 10000] [--rounds 3] [--large 200000] [--in-flight 256] [--json]

Sides take turns, each in a process of its own, against a bare loopback server in another: `chat_async` is workers that
await it in a loop and keep nothing; `bulk` reads a JSONL file and writes another, with its journal; `bulk, no journal`
is the same without. On all sides the collector of cycles is set as the command sets it. Throughput is the ratio within
one round; beside it stands the ratio of CPU, which others on the machine disturb less. The journal's cost is the CPU of
its thread per row: that hashes rows, looks for equal ones and names, writes the output and its own file, and waits for
both to be safe. Memory is the peak resident set of the command at `--rows` and at `--large` rows. The exit status is 1
where a promise is not kept: 0.8 of the throughput, 1.2 times the memory, 15 µs a row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDES = ("chat_async", "bulk", "bulk, no journal")
LEAST_SHARE, MOST_GROWTH, MOST_JOURNAL_US = 0.8, 1.2, 15.0
QUESTION = "Explain how a token bucket works and where it is used. " * 8


def write_input(path: Path, rows: int) -> None:
    """So many different rows with names of their own."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"custom_id": f"ticket-{number}", "message": f"{number} {QUESTION}", "provider": "openai"}
            file.write(json.dumps(row) + "\n")


class Stopwatch:
    """Seconds since it was made, and CPU of the whole process."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self._cpu_s = time.process_time()

    def read(self) -> dict[str, float]:
        """Both, by name."""
        return {"wall_s": time.perf_counter() - self._began_s, "cpu_s": time.process_time() - self._cpu_s}


async def run_chats(port: int, rows: int, in_flight: int) -> dict[str, float]:
    """Workers that await `chat_async`; what it took."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter

    messages = iter(range(rows))
    async with GenOpsHeliconeAsyncAdapter("key", gateway_url=f"http://127.0.0.1:{port}", provider_keys={}) as adapter:
        assert (await adapter.chat_async(QUESTION, provider="openai")).cost > 0  # prices and connections are there

        async def worker() -> None:
            for number in messages:
                await adapter.chat_async(f"{number} {QUESTION}", provider="openai")

        watch = Stopwatch()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return watch.read()


async def run_bulk(port: int, folder: Path, in_flight: int, *, keeps_journal: bool) -> dict[str, float]:
    """A whole job; what it took, opening and closing its files included."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter
    from genops_helicone_async.bulk import BulkJob, Identity, Journal, LiveRows, Opening, RowReader, open_job, rows_of
    from genops_helicone_async.bulk.fingerprint import fingerprint_of
    from genops_helicone_async.bulk.sources import open_source

    class TimedJournal(Journal):
        thread_s = 0.0

        async def close(self, **how: bool) -> None:
            self.thread_s = await self.write(lambda _: time.thread_time())  # it runs on the journal's thread
            await super().close(**how)

    async with GenOpsHeliconeAsyncAdapter("key", gateway_url=f"http://127.0.0.1:{port}", provider_keys={}) as adapter:
        assert (await adapter.chat_async(QUESTION, provider="openai")).cost > 0
        watch = Stopwatch()
        source = open_source(str(folder / "in.jsonl"))
        identity = Identity(digest=fingerprint_of(str(folder / "in.jsonl")).digest)
        opening = Opening(overwrite=True, keeps_journal=keeps_journal, window=in_flight)
        journal = TimedJournal(open_job(folder / "out.jsonl", identity, opening))
        items = rows_of(source, RowReader({}, remember_ids=False))
        live = LiveRows(adapter, max_in_flight=in_flight)
        job = BulkJob(items, source.stop, live, journal, window=in_flight)
        await job.run()
        assert job.is_finished
        return {**watch.read(), "journal_s": journal.thread_s}


def child(side: str, port: int, folder: Path, rows: int, in_flight: int) -> dict[str, float]:
    """One side in this process."""
    import genops_helicone_async.bulk
    import genops_helicone_async.client  # noqa: F401  what is loaded later would not count as loaded
    from genops_helicone_async.cli.collector import rare_collections

    with rare_collections():
        if side == "chat_async":
            took = asyncio.run(run_chats(port, rows, in_flight))
        else:
            took = asyncio.run(run_bulk(port, folder, in_flight, keeps_journal=side == "bulk"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return {**took, "peak_mb": peak_mb, "rows": rows}


@contextmanager
def serving() -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, str(HERE / "loopback_server.py")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.communicate()


def measure(side: str, port: int, rows: int, in_flight: int) -> dict[str, float]:
    """One side in a fresh process and a fresh folder."""
    with tempfile.TemporaryDirectory() as name:
        write_input(Path(name) / "in.jsonl", rows)
        command = [sys.executable, __file__, "--child", side, "--port", str(port), "--folder", name]
        command += ["--rows", str(rows), "--in-flight", str(in_flight)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1_200)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"{side}: {rows:,} rows, {rows / figures['wall_s']:,.0f} rows/s", file=sys.stderr)
    return figures


def run(given: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and the job of the large size."""
    rounds: list[dict[str, dict[str, float]]] = []
    with serving() as port:
        for number in range(given.rounds):
            turn = SIDES[number % len(SIDES) :] + SIDES[: number % len(SIDES)]
            rounds.append({side: measure(side, port, given.rows, given.in_flight) for side in turn})
        large = measure("bulk", port, given.large, given.in_flight) if given.large else None
    small_mb = statistics.median(one["bulk"]["peak_mb"] for one in rounds)
    share = [one["chat_async"]["wall_s"] / one["bulk"]["wall_s"] for one in rounds]
    cpu_share = statistics.median(one["chat_async"]["cpu_s"] / one["bulk"]["cpu_s"] for one in rounds)
    journal_us = [one["bulk"]["journal_s"] / given.rows * 1e6 for one in rounds]
    return {
        "rows": given.rows,
        "in_flight": given.in_flight,
        "python": sys.version.split()[0],
        "rows_per_s": {side: statistics.median(given.rows / one[side]["wall_s"] for one in rounds) for side in SIDES},
        "cpu_us_per_row": {
            side: statistics.median(one[side]["cpu_s"] / given.rows * 1e6 for one in rounds) for side in SIDES
        },
        "share_of_chat_async": {"median": statistics.median(share), "low": min(share), "high": max(share)},
        "share_by_cpu": cpu_share,
        "journal_us_per_row": statistics.median(journal_us),
        "peak_mb": small_mb,
        "large": None if large is None else {
            "rows": given.large, "peak_mb": large["peak_mb"], "growth": large["peak_mb"] / small_mb,
            "rows_per_s": given.large / large["wall_s"], "journal_us_per_row": large["journal_s"] / given.large * 1e6,
        },
    }  # fmt: skip


def print_table(result: dict[str, Any]) -> None:
    """The figures for people."""
    print(f"{result['rows']:,} rows, {result['in_flight']} in flight, Python {result['python']}")
    for side in SIDES:
        print(
            f"{side:<20}{result['rows_per_s'][side]:>9,.0f} rows/s{result['cpu_us_per_row'][side]:>8.0f} µs CPU a row"
        )
    share = result["share_of_chat_async"]
    span, by_cpu = f"{share['low']:.2f} to {share['high']:.2f}", result["share_by_cpu"]
    print(f"share of chat_async {share['median']:>9.2f} ({span}), by CPU {by_cpu:.2f}")
    print(f"journal             {result['journal_us_per_row']:>9.1f} µs a row")
    print(f"peak                {result['peak_mb']:>9.1f} MB")
    if (large := result["large"]) is not None:
        print(f"{large['rows']:,} rows: {large['peak_mb']:.1f} MB, {large['growth']:.2f} ×")
        print(f"  journal there     {large['journal_us_per_row']:>9.1f} µs a row")


def holds(result: dict[str, Any]) -> bool:
    """Whether all that is promised was kept."""
    large = result["large"]
    return (
        result["share_of_chat_async"]["median"] >= LEAST_SHARE
        and result["journal_us_per_row"] <= MOST_JOURNAL_US
        and (large is None or (large["growth"] <= MOST_GROWTH and large["journal_us_per_row"] <= MOST_JOURNAL_US))
    )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=200_000, help="0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(given.child, given.port, given.folder, given.rows, given.in_flight)))
        return 0
    result = run(given)
    print(json.dumps(result, indent=2)) if given.json else print_table(result)
    return 0 if holds(result) else 1


if __name__ == "__main__":
    sys.exit(main())

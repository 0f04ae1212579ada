"""`chat_many` over 100,000 rows: memory as it goes on, CPU per row, and wall time against the ideal.

    python benchmarks/many.py [--rows 100000] [--only "async iterator"] [--in-flight 256] [--json]

Memory: each case is a process of its own that reads its resident set at a tenth of the rows and at the end, after the
same number of results; what is kept of a row for ever shows as growth. One row in ten is a bad one where the case has
errors. CPU: of the whole process, user and system, per row, beside plain workers that await `chat_async` in a loop.
Pace: against a server that answers after 100 ms, 64 in flight; ideal is rows / 64 × 0.1 s.
The server is a process of its own. The exit status is 1 where memory grows beyond 1.2 ×.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE_BYTES = resource.getpagesize()
MOST_GROWTH = 1.2
PACE_ROWS, PACE_IN_FLIGHT, PACE_DELAY_S = 3_000, 64, 0.1
CASES = (
    "iterator",
    "iterator, ordered",
    "iterator, errors",
    "iterator, ordered, errors",
    "iterator, on_error=raise",
    "async iterator",
    "async iterator, ordered",
    "async iterator, errors",
    "iterator, on_progress",
    "sync adapter",
    "sync adapter, ordered, errors",
    "workers and chat_async",
)
QUESTION = "Explain how a token bucket works and where it is used. " * 8


def rows_of(count: int, *, errors: bool) -> Iterator[str]:
    """The messages, each its own text; with errors one in ten is empty, which is refused as a row of its own."""
    for number in range(count):
        yield "" if errors and number % 10 == 9 else f"{number} {QUESTION}"


async def later(rows: Iterator[str]) -> AsyncIterator[str]:
    """The same from an asynchronous iterator."""
    for row in rows:
        yield row


def resident_bytes() -> int:
    """The resident set now, where the system tells it, else the largest so far."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Meter:
    """Counts results, and takes the measures of memory, CPU and wall time."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.done = self.failed = self.told = 0
        self.resident: list[tuple[int, int]] = []
        self._every = max(1, rows // 10)
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def took(self, error: object) -> None:
        """One more result."""
        self.done += 1
        self.failed += error is not None
        if self.done % self._every == 0:
            self.resident.append((self.done, resident_bytes()))

    def hear(self, progress: object) -> None:
        """One more word of progress."""
        self.told += 1

    def figures(self) -> dict[str, Any]:
        """What was measured."""
        cpu_s, wall_s = time.process_time() - self._cpu_s, time.perf_counter() - self._wall_s
        assert self.done == self.rows
        return {
            "rows": self.rows,
            "failed": self.failed,
            "told": self.told,
            "resident_mb_at_a_tenth": self.resident[0][1] / 1e6,
            "resident_mb_at_the_end": self.resident[-1][1] / 1e6,
            "resident_growth": self.resident[-1][1] / self.resident[0][1],
            "resident_mb": [round(size / 1e6, 1) for _, size in self.resident],
            "cpu_us_per_row": cpu_s / self.rows * 1e6,
            "wall_s": wall_s,
        }


def options_of(case: str, meter: Meter, in_flight: int) -> dict[str, Any]:
    """The keywords that a case is about."""
    options: dict[str, Any] = {"max_in_flight": in_flight, "ordered": "ordered" in case, "provider": "openai"}
    if "raise" in case:
        options["on_error"] = "raise"
    if "on_progress" in case:
        options["on_progress"] = meter.hear
    return options


def run_blocking(case: str, port: int, rows: int, in_flight: int) -> dict[str, Any]:
    """One case with the synchronous adapter."""
    from genops_helicone_async import GenOpsHeliconeAdapter

    with GenOpsHeliconeAdapter("key", gateway_url=f"http://127.0.0.1:{port}") as adapter:
        assert adapter.chat(QUESTION, provider="openai").cost > 0  # prices and connections are there
        meter = Meter(rows)
        for result in adapter.chat_many(rows_of(rows, errors="errors" in case), **options_of(case, meter, in_flight)):
            meter.took(result.error)
        return meter.figures()


async def run(case: str, port: int, rows: int, in_flight: int) -> dict[str, Any]:
    """One case with the asynchronous adapter."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter

    messages = rows_of(rows, errors="errors" in case)
    async with GenOpsHeliconeAsyncAdapter("key", gateway_url=f"http://127.0.0.1:{port}") as adapter:
        assert (await adapter.chat_async(QUESTION, provider="openai")).cost > 0  # prices and connections are there
        meter = Meter(rows)
        if case.startswith("workers"):

            async def worker() -> None:
                for message in messages:
                    await adapter.chat_async(message, provider="openai")
                    meter.took(None)

            await asyncio.gather(*(worker() for _ in range(in_flight)))
            return meter.figures()
        source = later(messages) if case.startswith("async") else messages
        async for result in adapter.chat_many(source, **options_of(case, meter, in_flight)):
            meter.took(result.error)
        return meter.figures()


@contextmanager
def serving(delay_s: float) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, str(HERE / "loopback_server.py"), str(delay_s)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.communicate()


def measure(case: str, port: int, rows: int, in_flight: int) -> dict[str, Any]:
    """One case in a fresh process."""
    command = [sys.executable, __file__, "--child", case, "--port", str(port)]
    command += ["--rows", str(rows), "--in-flight", str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout)
    told = f"{figures['resident_growth']:.2f} ×, {figures['cpu_us_per_row']:.0f} µs a row, {figures['wall_s']:.1f} s"
    print(f"{case}: {rows:,} rows, {told}", file=sys.stderr)  # minutes pass before the table
    return figures


def measure_pace(cases: list[str]) -> dict[str, dict[str, float]]:
    """Wall time against the ideal, where the server and not this process is what takes time."""
    ideal_s = PACE_ROWS / PACE_IN_FLIGHT * PACE_DELAY_S
    paces = {}
    with serving(PACE_DELAY_S) as port:
        for case in cases:
            wall_s = measure(case, port, PACE_ROWS, PACE_IN_FLIGHT)["wall_s"]
            paces[case] = {"wall_s": wall_s, "ideal_s": ideal_s, "times_ideal": wall_s / ideal_s}
    return paces


def print_table(result: dict[str, Any]) -> None:
    """The figures for people."""
    print(f"{result['rows']:,} rows, {result['in_flight']} in flight, Python {result['python']}; resident MB")
    print(f"{'':<30}{'at 1/10':>9}{'at end':>9}{'growth':>8}{'CPU µs/row':>12}{'rows/s':>9}")
    for case, row in result["cases"].items():
        print(
            f"{case:<30}{row['resident_mb_at_a_tenth']:>9.1f}{row['resident_mb_at_the_end']:>9.1f}"
            f"{row['resident_growth']:>7.2f}×{row['cpu_us_per_row']:>12.0f}{row['rows'] / row['wall_s']:>9.0f}"
        )
    print(f"\n{PACE_ROWS:,} rows, {PACE_IN_FLIGHT} in flight, each answered after {PACE_DELAY_S} s")
    for case, row in result["pace"].items():
        print(f"{case:<30}{row['wall_s']:>8.2f} s, ideal {row['ideal_s']:.2f} s: {row['times_ideal']:.3f} ×")


def main() -> int:
    """Runs the cases and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--only", help="only the cases that begin with this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        case = (given.child, given.port, given.rows, given.in_flight)
        print(json.dumps(run_blocking(*case) if given.child.startswith("sync") else asyncio.run(run(*case))))
        return 0
    chosen = [case for case in CASES if case.startswith(given.only or "")]
    with serving(0) as port:
        cases = {case: measure(case, port, given.rows, given.in_flight) for case in chosen}
    result = {
        "rows": given.rows,
        "in_flight": given.in_flight,
        "python": sys.version.split()[0],
        "cases": cases,
        "pace": measure_pace([case for case in chosen if "errors" not in case]),
    }
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print_table(result)
    return 1 if any(row["resident_growth"] > MOST_GROWTH for row in cases.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

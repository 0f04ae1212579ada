"""The guard of the hot path: how much of our code a call runs, against a budget that is checked in; nothing is timed.

    python benchmarks/hot_path.py                      # compare with hot_path_budget.json; 1 where it is exceeded
    python benchmarks/hot_path.py --names              # which functions a call runs, and how often
    python benchmarks/hot_path.py --instructions       # machine instructions, too, where valgrind is installed
    python benchmarks/hot_path.py --update "the reason why a call costs more, or less, from now on"

Counted for one call that has warmed up, the median of several, in our own files only, so that neither the machine nor
the versions of other packages are in the figures:

`functions`   calls of Python functions;
`native`      calls of functions written in C from them;
`opcodes`     bytecode instructions executed: a loop that got longer, or code that came in between;
`peak_bytes`  memory that the call needs beyond what it found, with the libraries below it;
`kept_blocks` memory blocks that two thousand calls more leave behind, once all that is kept on purpose (the latest rows
              of the ledger in memory, figures put off) is there.

They differ between Python versions, so each has its own budget. `reference_milli` are machine instructions, counted by
valgrind as the difference of two runs: those of a call in thousandths of those that `reference()` below takes, so that
it matters little how Python was compiled.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import genops_helicone_async

BUDGET = Path(__file__).with_name("hot_path_budget.json")
OURS = str(Path(genops_helicone_async.__file__).parent)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SETTINGS = ("bare", "everything", "everything, spans", "over HTTP")
MARGINS = {
    "functions": 0.03, "native": 0.04, "opcodes": 0.03, "peak_bytes": 0.1, "kept_blocks": 0.2, "reference_milli": 0.08,
}  # fmt: skip
SLACK = {"kept_blocks": 200}  # of 2,000 calls: what one that keeps something would pass ten times over
WARM_UP, SAMPLES = 120, 15
FILLED = 12_000  # calls, more than the ledger in memory keeps
INSTRUCTIONS_OF = "everything"
REFERENCE = "reference"
Call = Callable[[], Awaitable[object]]


async def made(setting: str) -> tuple[Call, Callable[[], Awaitable[object]]]:
    """A call in this setting, and what closes its adapter."""
    import pipeline

    if setting != "over HTTP":
        adapter, call = pipeline.adapter_for(setting)
        return call, adapter.aclose
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    adapter = genops_helicone_async.GenOpsHeliconeAsyncAdapter(
        "key", gateway_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", gateway_dialect="helicone"
    )

    async def close() -> None:
        await adapter.aclose()
        server.close()

    return lambda: adapter.chat_async(pipeline.MESSAGES, provider="openai", model="gpt-4o-mini"), close


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request of a connection in one piece."""
    from pipeline import BODY

    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    try:
        while True:
            asked = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", asked, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(head + BODY)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def functions_of(call: Call) -> tuple[Counter[str], Counter[str]]:
    """The functions of ours that one call runs, and those in C that they call."""
    python: Counter[str] = Counter()
    native: Counter[str] = Counter()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return
        where = f"{code.co_filename[len(OURS) + 1 :]}:{code.co_qualname}"
        if event == "call":
            python[where] += 1
        elif event == "c_call":
            native[f"{getattr(argument, '__qualname__', argument)} in {where}"] += 1

    sys.setprofile(look)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return python, native


async def opcodes_of(call: Call) -> int:
    """The bytecode instructions of ours that one call executes."""
    executed = 0

    def within(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal executed
        if event == "opcode":
            executed += 1
        return within

    def begun(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return within

    sys.settrace(begun)
    try:
        await call()
    finally:
        sys.settrace(None)
    return executed


async def peak_bytes_of(call: Call) -> int:
    """What Python allocates beyond what is there before the call, at the call's worst moment."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    await call()
    return tracemalloc.get_traced_memory()[1] - before


async def kept_blocks_of(call: Call) -> int:
    """By how many memory blocks two thousand calls grow the process, once all that is kept on purpose is there."""
    for _ in range(FILLED):
        await call()
    grown = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(2_000):
            await call()
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
    return max(0, min(grown))


async def figures_of(setting: str, names: bool) -> dict[str, int]:
    """All counts of one setting, each the median of several calls."""
    call, close = await made(setting)
    for _ in range(WARM_UP):
        await call()
    gc.disable()
    counted = [await functions_of(call) for _ in range(SAMPLES)]
    figures = {
        "functions": statistics.median_low(python.total() for python, _ in counted),
        "native": statistics.median_low(native.total() for _, native in counted),
        "opcodes": statistics.median_low([await opcodes_of(call) for _ in range(SAMPLES)]),
    }
    if setting != "over HTTP":  # where most of it are asyncio's buffers, and the server's
        tracemalloc.start()
        await call()
        figures["peak_bytes"] = statistics.median_low([await peak_bytes_of(call) for _ in range(SAMPLES)])
        tracemalloc.stop()
        figures["kept_blocks"] = await kept_blocks_of(call)
    gc.enable()
    await close()
    if names:
        for kind in counted[-1]:
            print(*(f"{number:>5} {name}" for name, number in kind.most_common()), "", sep="\n")
    return figures


class _Counter:
    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def see(self, word: str) -> int:
        number = self.seen[word] = self.seen.get(word, 0) + len(word)
        return number


def reference() -> int:
    """Some ordinary Python: calls, attributes, dictionaries, strings, small objects."""
    total = 0
    for number in range(20):
        counter = _Counter()
        for word in ("a", "budget", "of", "instructions"):
            total += counter.see(f"{word}{number & 7}")
        total += sum(length for _, length in sorted(counter.seen.items()))
    return total


async def repeat(setting: str, calls: int) -> None:
    """So many calls, or rounds of the reference, after warming up: for who counts instructions around this process."""
    call, close = await made(INSTRUCTIONS_OF)
    gc.disable()
    for _ in range(WARM_UP):
        await call()
    for _ in range(calls):
        if setting == REFERENCE:
            reference()
        else:
            await call()
    await close()


def reference_milli() -> int:
    """The machine instructions of a call in thousandths of those of the reference."""
    totals = []
    for setting, calls in ((REFERENCE, 0), (REFERENCE, 300), (INSTRUCTIONS_OF, 150)):
        command = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            sys.executable,
            __file__,
        ]
        done = subprocess.run(
            [*command, "--repeat", setting, "--calls", str(calls)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        found = re.search(r"I +refs: +([\d,]+)", done.stderr)
        assert found is not None, done.stderr
        totals.append(int(found[1].replace(",", "")))
    nothing, referred, called = totals
    print(f"{(referred - nothing) // 300:,} instructions for the reference, {(called - nothing) // 150:,} for a call")
    return round(1000 * ((called - nothing) / 150) / ((referred - nothing) / 300))


def measured(names: bool = False) -> dict[str, dict[str, int]]:
    """The counts of every setting."""
    return {setting: asyncio.run(figures_of(setting, names)) for setting in SETTINGS}


def complaints(found: dict[str, dict[str, int]], budget: dict[str, dict[str, int]]) -> list[str]:
    """What is beyond its budget."""
    return [
        f"{setting}: {number:,} {name} a call, budgeted are {planned:,} and {MARGINS[name]:.0%}"
        for setting, figures in found.items()
        for name, number in figures.items()
        if (planned := budget.get(setting, {}).get(name)) is not None
        and number > planned * (1 + MARGINS[name]) + SLACK.get(name, 0)
    ]


def read_budget() -> dict[str, Any]:
    """The file."""
    budget: dict[str, Any] = json.loads(BUDGET.read_text("utf-8"))
    return budget


def update(found: dict[str, dict[str, int]], reason: str) -> None:
    """Writes what was found as the budget of this Python, and why."""
    budget = read_budget() if BUDGET.exists() else {"pythons": {}, "changes": []}
    of_python = budget["pythons"].setdefault(PYTHON, {})
    for setting, figures in found.items():
        of_python[setting] = {**of_python.get(setting, {}), **figures}
    budget["pythons"] = dict(sorted(budget["pythons"].items()))
    change = {"on": datetime.now(UTC).date().isoformat(), "python": PYTHON, "why": reason}
    budget["changes"] = [*budget["changes"], change]
    BUDGET.write_text(json.dumps(budget, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> int:
    """Measures, and compares or updates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", metavar="WHY", help="make what is measured the budget of this Python")
    parser.add_argument("--instructions", action="store_true", help="count machine instructions, too: needs valgrind")
    parser.add_argument("--names", action="store_true", help="print which functions a call runs")
    parser.add_argument("--json", action="store_true", help="print what is measured, compare nothing")
    parser.add_argument("--repeat", choices=(*SETTINGS, REFERENCE), help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.repeat:
        asyncio.run(repeat(options.repeat, options.calls))
        return 0
    if options.update is not None and len(options.update.split()) < 3:
        parser.error("--update needs the reason, in a few words: it is kept beside the figures")
    found = measured(options.names)
    if options.instructions:
        if shutil.which("valgrind") is None:
            print("valgrind is not installed: machine instructions are not counted")
        else:
            found[INSTRUCTIONS_OF]["reference_milli"] = reference_milli()
    if options.json:
        print(json.dumps(found))
        return 0
    for setting, figures in found.items():
        print(f"{setting:<20}", *(f"{name} {number:,}" for name, number in figures.items()), sep="  ")
    if options.update is not None:
        update(found, options.update)
        return 0
    budget = read_budget()["pythons"].get(PYTHON)
    if budget is None:
        print(f"there is no budget for Python {PYTHON}: run this with --update")
        return 0
    told = complaints(found, budget)
    print(*told, sep="\n")
    if told:
        print('If that is meant: python benchmarks/hot_path.py --update "why", on each Python of the file.')
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())

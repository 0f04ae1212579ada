"""What all measurements share: the server beside, a fresh process per side and round, shuffled turns, and results.

A script's sides take turns in shuffled rounds, each in a process of its own that keeps to one core while the server
keeps to another, so that a machine which slows down slows all of them, and ratios are of one round. A side's process
prints one JSON object. The server tells its own CPU time: a run in which it is not cheaper than the client it serves,
or in which it shares the client's core without need, is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
LONGEST_CHILD_S = 300
MOST_LINES, MOST_CHARACTERS = 30, 300  # of what a failed process says
UNPINNED = "BENCHMARK_UNPINNED"  # set by a quick run, for the processes it starts
Row = dict[str, float]
Rounds = dict[str, list[Row]]


def cores() -> list[int]:
    """The cores this process may be kept to: none where the system cannot, nor in a quick run."""
    if UNPINNED in os.environ:
        return []
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The arguments that every script takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--seed", type=int, default=1, help="of the order in which the sides take turns")
    made.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures are worth nothing")
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    made.add_argument("--out", type=Path, help="folder for NAME.json and NAME.svg (results/; with --quick nowhere)")
    made.add_argument("--child", help=argparse.SUPPRESS)
    made.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return made


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; a quick run keeps no process to a core, for other tests run beside it."""
    options = parser.parse_args()
    if options.quick:
        os.environ[UNPINNED] = "1"
    return options


def run_loop(coroutine: Coroutine[Any, Any, Any], *, uvloop: bool = False) -> Any:
    """Runs it on asyncio's own loop, or on uvloop's."""
    if not uvloop:
        return asyncio.run(coroutine)
    from uvloop import run

    return run(coroutine)


def figures_of(port: int, path: str = "figures") -> dict[str, Any]:
    """What the server tells of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{path}")
    told: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return told


@contextmanager
def server(*arguments: str) -> Iterator[int]:
    """The port of a server in a process of its own, on a core of its own where there are two."""
    allowed = cores()
    pinned = ("--core", str(allowed[1])) if len(allowed) > 1 else ()
    command = [sys.executable, str(HERE / "loopback_server.py"), *arguments, *pinned]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate()


def pin() -> None:
    """Keeps this process to the clients' core."""
    if len(cores()) > 1:
        os.sched_setaffinity(0, {cores()[0]})


def raise_open_files(wanted: int) -> int:
    """Lets this process and those it starts open more files, as far as the system allows: how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most if soft != resource.RLIM_INFINITY and soft < most else soft


def child(script: str, side: str, *arguments: str, python: str = sys.executable) -> Any:
    """What a side's process tells; its failure ends the run and says why."""
    command = [python, script, "--child", side, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_CHILD_S)
    if done.returncode:
        lines = (done.stderr or done.stdout).splitlines()[-MOST_LINES:]
        raise SystemExit("\n".join([f"{side} failed:", *(line[:MOST_CHARACTERS] for line in lines)]))
    return json.loads(done.stdout.splitlines()[-1])


def is_child(options: argparse.Namespace, measure: Callable[[str], Any]) -> bool:
    """Whether this process is that of a side: then it has measured, kept to the clients' core, and told its row."""
    if options.child is None:
        return False
    pin()
    print(json.dumps(measure(options.child)))
    return True


def in_turns(sides: Sequence[str], options: argparse.Namespace, measure: Callable[[str], Any]) -> dict[str, list[Any]]:
    """What every side told, round by round; each round has an order of its own."""
    told: dict[str, list[Any]] = {side: [] for side in sides}
    for number in range(options.rounds):
        order = random.Random(f"{options.seed}/{number}").sample(list(sides), len(sides))
        for side in order:
            told[side].append(measure(side))
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {options.rounds}: {side:<40}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r" + " " * 70, end="\r", file=sys.stderr)
    return told


class Meter:
    """`with Meter(port) as meter: …`, then `meter.per(calls)`: CPU and wall time of client and server for each call."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        self._server = figures_of(self._port)
        if self._server["pid"] == os.getpid():
            raise SystemExit("the server is this process")
        if len(cores()) == 1 and self._server["cores"] == cores() and (os.cpu_count() or 1) > 1:
            raise SystemExit("client and server share a core")
        self._used, self._wall_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        used, self._wall_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - self._wall_s
        self.user_s, self.system_s = used.ru_utime - self._used.ru_utime, used.ru_stime - self._used.ru_stime
        told = figures_of(self._port)
        self.server_s = sum(told[key] - self._server[key] for key in ("user_s", "system_s"))
        self.requests = told["requests"] - self._server["requests"]
        self.most_waiting = told["most_waiting"]

    def per(self, calls: int) -> Row:
        """Microseconds for each call, and calls a second."""
        return {
            "user_us": self.user_s / calls * 1e6,
            "cpu_us": (self.user_s + self.system_s) / calls * 1e6,
            "wall_us": self._wall_s / calls * 1e6,
            "calls_per_s": calls / self._wall_s,
            "server_us": self.server_s / calls * 1e6,
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles."""
    if len(values) < 2:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high}


def compared(rounds: Rounds, base: str, keys: Sequence[str] = ("user_us", "cpu_us")) -> dict[str, dict[str, Any]]:
    """Every side's figures, and under `KEY_ratio` those to `base` in the same round."""
    table: dict[str, dict[str, Any]] = {}
    for side, rows in rounds.items():
        table[side] = {key: spread([row[key] for row in rows]) for key in rows[0]}
        for key in keys:
            of_base = [row[key] for row in rounds[base]]
            ratios = [row[key] / max(beside, 1e-9) for row, beside in zip(rows, of_base, strict=True)]
            table[side][f"{key}_ratio"] = spread(ratios)
    return table


def over(rounds: Rounds, side: str, base: str, key: str) -> dict[str, float]:
    """What a side needs more than another in the same round."""
    return spread([row[key] - beside[key] for row, beside in zip(rounds[side], rounds[base], strict=True)])


def check_server(table: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a run in which the server needed more CPU for a request than the client it served."""
    for side, row in table.items():
        of_server, of_client = row["server_us"]["median"], row["cpu_us"]["median"]
        if of_server >= of_client:
            raise SystemExit(f"the server is the bottleneck: {of_server:.1f} µs a request, {side} {of_client:.1f}")


def surroundings() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    versions = {}
    for name in ("genops-helicone-async", "aiohttp", "msgspec", "opentelemetry-sdk", "uvloop"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "is_pinned": len(cores()) > 1,
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def publish(name: str, options: argparse.Namespace, result: Mapping[str, Any], table: str, svg: str) -> None:
    """Prints the table or the JSON, and writes both JSON and chart into the folder of results."""
    text = json.dumps(_short(result), indent=1, ensure_ascii=False)
    print(text if options.json else table)
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


def _short(value: Any) -> Any:
    """The same with figures that do not pretend to be exact."""
    if isinstance(value, Mapping):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def method(options: argparse.Namespace, told: Mapping[str, Any]) -> str:
    """The sentence under every chart."""
    pinned = "each pinned to a core" if told["is_pinned"] else "not pinned"
    return (
        f"Medians and quartiles of {options.rounds} shuffled rounds, a fresh process per side and round; client and "
        f"server {pinned}; loopback, ~0.5 kB request, ~1 kB reply, every reply checked. Python {told['python']}, "
        f"aiohttp {told['versions']['aiohttp']}."
    )

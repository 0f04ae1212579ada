"""CPU per call of the clients people use today, against this one, on the same server in the same run.

    python benchmarks/peers.py [--rounds 3] [--concurrency 64] [--seconds 1] [--only openai …] [--venvs DIR] [--json]

Each of the others lives in an environment of its own, made with uv under `--venvs` (the user's cache folder unless
told otherwise) by the Python that runs this, with the newest versions the index has at that time; `--upgrade` makes
them anew. One that cannot be installed or does not answer is named with the reason, and the rest is measured. Ours
has everything on: budgets, request and token limits, exact costs and metrics, and with `genops spans` every span.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import clients
import harness
from charts import bar_chart, spread_bar
from peer_calls import CALLS, MOST_IN_FLIGHT

BASE = "aiohttp bare"
OURS = ("genops metrics", "genops spans")
PACKAGES = {
    "openai": "openai[aiohttp]",
    "openai + aiohttp": "openai[aiohttp]",
    "litellm": "litellm",
    "litellm Router": "litellm",
    "lm-deluge": "lm-deluge",
    "any-llm": "any-llm-sdk[openai]",
}
LIMITS = {"openai": 10.0, "litellm": 15.0, "lm-deluge": 1.0}
"""How many times our CPU they have to need at least."""


def cache_folder() -> Path:
    """Where environments live that nobody named a place for."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genops-benchmarks"


def environment(package: str, folder: Path, *, is_new: bool) -> tuple[Path | None, str]:
    """The Python of an environment with this package, or why there is none."""
    home = folder / f"{package.split('[', 1)[0]}-{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    if is_new:
        shutil.rmtree(home, ignore_errors=True)
    if (home / "complete").exists():
        return python, ""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        return None, "uv is not installed: pip install uv"
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(python), package],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        except subprocess.TimeoutExpired:
            return None, f"{package} was not installed within 240 s"
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1].strip()
            return None, f"{package} cannot be installed (is the package index within reach?): {reason}"
    (home / "complete").touch()
    return python, ""


async def measure(side: str, options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    if side in CALLS:
        client = await CALLS[side](options.port)
    elif side == BASE:
        client = await clients.bare(options.port)
    else:
        client = await clients.ours(options.port, side.removeprefix("genops "))
    concurrency = options.concurrency
    await clients.drive(client.call, 2 * concurrency, concurrency)
    began_s = time.process_time()
    await clients.drive(client.call, 2 * concurrency, concurrency)
    cost_s = (time.process_time() - began_s) / (2 * concurrency)
    calls = max(2 * concurrency, int(options.seconds / cost_s))
    with harness.Meter(options.port) as meter:
        await clients.drive(client.call, calls, concurrency)
    if meter.requests < calls:
        raise SystemExit(f"{side} sent {meter.requests} requests for {calls} calls")
    await client.close()
    package = PACKAGES.get(side, "genops-helicone-async" if side in OURS else "aiohttp").split("[")[0]
    return {**meter.per(calls), "version": metadata.version(package)}


def one(side: str, pythons: dict[str, Path], port: int, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own, in the side's environment."""
    passed = ["--port", str(port), "--concurrency", str(options.concurrency), "--seconds", str(options.seconds)]
    python = str(pythons.get(side, sys.executable))
    row: dict[str, Any] = harness.child(__file__, side, *passed, python=python)
    return row


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all sides that can be had."""
    told = harness.surroundings()
    folder = options.venvs or cache_folder()
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for side in options.only or CALLS:
        python, reason = environment(PACKAGES[side], folder, is_new=options.upgrade)
        if python is None:
            missing[side] = reason
        else:
            pythons[side] = python
        options.upgrade = options.upgrade and side not in ("openai", "litellm")  # the next one shares it
    with harness.server() as port:
        for side in tuple(pythons):
            try:
                one(side, pythons, port, argparse.Namespace(concurrency=2, seconds=0.01))
            except SystemExit as stopped:
                missing[side] = str(stopped).strip().splitlines()[-1]
                del pythons[side]
        sides = [BASE, *OURS[: 1 if options.quick else None], *pythons]
        rounds = harness.in_turns(sides, options, lambda side: one(side, pythons, port, options))
    versions = {side: rows[0].pop("version") for side, rows in rounds.items()}
    table = harness.compared(rounds, OURS[0])
    harness.check_server(table)
    return {
        "surroundings": told,
        "rounds": options.rounds,
        "in_flight": options.concurrency,
        "limits": LIMITS,
        "versions": versions,
        "missing": missing,
        "clients": table,
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'':<20}{'version':>10}{'user µs':>10}{'CPU µs':>10}{'× ours':>9}{'quartiles':>14}{'calls/s':>10}"]
    for side, row in result["clients"].items():
        ratio = row["cpu_us_ratio"]
        limit = f"   at least {LIMITS[side]:g}" if side in LIMITS else ""
        lines.append(
            f"{side:<20}{result['versions'][side]:>10}{row['user_us']['median']:>10.0f}{row['cpu_us']['median']:>10.0f}"
            f"{ratio['median']:>9.2f}{ratio['low']:>8.2f}–{ratio['high']:<5.2f}{row['calls_per_s']['median']:>10.0f}{limit}"
        )
    lines += [f"{side}: NOT MEASURED: {reason}" for side, reason in result["missing"].items()]
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""
    ordered = sorted(result["clients"].items(), key=lambda pair: pair[1]["cpu_us"]["median"])
    bars = [
        spread_bar(
            f"{side} {result['versions'][side]}",
            row["cpu_us"],
            f"{row['cpu_us']['median']:,.0f} µs"
            + ("" if side == OURS[0] else f" · {row['cpu_us_ratio']['median']:.2g} ×"),
            is_ours=side in OURS,
        )
        for side, row in ordered
    ]
    caption = (
        f"{harness.method(options, result['surroundings'])} {result['in_flight']} calls in flight; ×: to genops with "
        "budgets, limits, costs and metrics on, in the same round."
    )
    if result["missing"]:
        caption += f" Not measured, because not installable here: {', '.join(result['missing'])}."
    return bar_chart("CPU per call of the clients people use", "CPU (user and system), µs a call", {"": bars}, caption)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=3)
    parser.add_argument("--concurrency", type=int, default=MOST_IN_FLIGHT)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time that a measurement takes at least")
    parser.add_argument("--only", nargs="+", choices=list(CALLS), default=[], help="these others")
    parser.add_argument("--venvs", type=Path, help="folder of their environments")
    parser.add_argument("--upgrade", action="store_true", help="make the environments anew")
    options = harness.parsed(parser)
    if harness.is_child(options, lambda side: asyncio.run(measure(side, options))):
        return
    if options.quick:
        options.rounds, options.seconds, options.concurrency = 1, 0.01, 4
    result = run(options)
    harness.publish("peers", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

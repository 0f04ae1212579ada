"""`bulk` killed with SIGKILL at random moments and given again until it is done: every row once, and what it cost.

    python benchmarks/bulk_kills.py [--rows 20000] [--every 1500] [--in-flight 64] [--seed 1] [--ordered] [--json]

A sandbox gateway keeps its own bill. A run is killed when the sandbox has been asked a random number of times more, on
average `--every`. At the end each row must be in the output exactly once; every billed call whose answer is not in the
output was in flight at a kill: their number is at most `--in-flight` for each kill, each of them is named by the run
that followed, and with them receipts and bill are equal to the pico-dollar. The exit status is 1 where that is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from genops_helicone_async.testing import SandboxGateway

PUSD_PER_USD = 10**12
WATCHED_EVERY_S = 0.002


def write_input(path: Path, rows: int) -> None:
    """So many different rows, a third with a name of their own."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, rows + 1):
            row = {"message": f"Row {number}: where is my order?", "provider": ("groq", "openai")[number % 2]}
            if number % 3 == 0:
                row["custom_id"] = f"ticket-{number}"
            file.write(json.dumps(row) + "\n")


def run_once(
    gateway: SandboxGateway, folder: Path, options: list[str], calls: int | None
) -> tuple[int, dict[str, Any]]:
    """One run of the command, killed after so many more calls; its status, and its summary where it came to one."""
    environment = {**os.environ, "HELICONE_GATEWAY_URL": gateway.url, "HELICONE_API_KEY": gateway.api_key}
    command = [sys.executable, "-m", "genops_helicone_async", "bulk", "in.jsonl", "-o", "out.jsonl", "--json", "-q"]
    limit = None if calls is None else gateway.statistics().calls + calls
    child = subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while limit is not None and child.poll() is None:
        if gateway.statistics().calls >= limit:
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(WATCHED_EVERY_S)
    out, err = child.communicate()
    if child.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the command ended with {child.returncode}:\n{err.decode()}")
    return child.returncode, json.loads(out) if child.returncode == 0 else {"told": err.decode()}


def torture(rows: int, *, every: int, in_flight: int, seed: int, options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Kills and resumes until the job is done, and checks what came of it."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, SandboxGateway.in_thread(seed=seed, latency_scale=0.02) as gateway:
        folder = Path(name)
        write_input(folder / "in.jsonl", rows)
        given = ["--max-in-flight", str(in_flight), "--no-dedupe", *options]
        kills, started = 0, time.monotonic()
        status, told = run_once(gateway, folder, given, dice.randint(1, 2 * every))
        while status != 0:
            kills += 1
            status, told = run_once(gateway, folder, given, dice.randint(1, 2 * every))
        lines = [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
        return {"kills": kills, "seconds": time.monotonic() - started, **figures(gateway, lines, told, rows, in_flight)}


def figures(
    gateway: SandboxGateway, lines: list[dict[str, Any]], told: dict[str, Any], rows: int, in_flight: int
) -> dict[str, Any]:
    """What the output, the summary and the sandbox's bill say of each other."""
    numbers = [line["receipt"]["line"] for line in lines]
    known = {line["response"]["request_id"] for line in lines if line["response"]}
    lost = [row for row in gateway.bill.rows if row.request_id not in known]
    asked = {
        row.headers["helicone-request-id"]: json.loads(row.body)["messages"][0]["content"] for row in gateway.requests
    }
    named = {name.rpartition("(line ")[2].removesuffix(")") for name in told["perhaps_billed_twice"]["custom_ids"]}
    unnamed = [row for row in lost if asked[row.request_id].split(":")[0].removeprefix("Row ") not in named]
    receipts = sum(round(line["receipt"]["cost_usd"] * PUSD_PER_USD) for line in lines)
    return {
        "rows": rows,
        "in_flight": in_flight,
        "runs": told["runs"],
        "each_row_once": sorted(numbers) == list(range(1, rows + 1)),
        "in_order": numbers == sorted(numbers),
        "names_are_theirs": all(
            line["custom_id"] == (f"ticket-{number}" if number % 3 == 0 else f"line-{number}")
            for line, number in zip(lines, numbers, strict=True)
        ),
        "answered": sum(line["error"] is None for line in lines),
        "calls_billed": len(gateway.bill.rows),
        "billed_beyond_the_output": len(lost),
        "named_as_perhaps_billed_twice": told["perhaps_billed_twice"]["rows"],
        "billed_twice_and_not_named": len(unnamed),
        "billed_pusd": gateway.bill.total_pusd,
        "receipts_pusd": receipts,
        "lost_pusd": sum(row.cost_pusd for row in lost),
        "summary_pusd": told["cost_pusd"],
        "sums_are_equal": gateway.bill.total_pusd == receipts + sum(row.cost_pusd for row in lost),
    }


def question_of(body: bytes) -> str:
    """What a request asked."""
    question: str = json.loads(body)["messages"][0]["content"]
    return question


def holds(result: dict[str, Any]) -> bool:
    """Whether all that is promised was kept."""
    return bool(
        result["each_row_once"]
        and result["names_are_theirs"]
        and result["sums_are_equal"]
        and result["summary_pusd"] == result["receipts_pusd"]
        and not result["billed_twice_and_not_named"]
        and result["billed_beyond_the_output"] <= result["kills"] * result["in_flight"]
    )


def main() -> int:
    """Runs it and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=1_500, help="calls between kills, on average")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ordered", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    options = ("--ordered",) if given.ordered else ()
    result = torture(given.rows, every=given.every, in_flight=given.in_flight, seed=given.seed, options=options)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):<32}{value:>20,}" if isinstance(value, int) else f"{name:<32}{value:>20}")
    return 0 if holds(result) else 1


if __name__ == "__main__":
    sys.exit(main())

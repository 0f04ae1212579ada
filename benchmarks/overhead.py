"""CPU time per call of `chat_async` against a bare `aiohttp` POST, interleaved in one run.

Each measurement is a process of its own, pinned to one core where the system allows it, with the server pinned to
another. The clients take turns in shuffled rounds, so that a machine that slows down slows all of them. What counts
is the ratio of user CPU; wall time on loopback says more about wake-ups than about clients.

    python benchmarks/overhead.py [--rounds 5] [--calls 4000] [--concurrency 64] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLIENTS = ("aiohttp bare", "aiohttp tuned", "genops chat_async")
MESSAGES = [
    {"role": "system", "content": "You are a careful assistant. Answer briefly. " * 4},
    {"role": "user", "content": "Explain how a token bucket works and where it is used. " * 4},
]
Call = Callable[[], Awaitable[object]]


async def bare(port: int) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """What people write first: `session.post(json=…)` and `await resp.json()`."""
    import aiohttp

    session = aiohttp.ClientSession()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def call() -> object:
        body = {"model": "gpt-4o-mini/openai", "messages": MESSAGES}
        async with session.post(url, json=body, headers={"Authorization": "Bearer key"}) as reply:
            return (await reply.json())["choices"][0]["message"]["content"]

    return call, session.close


async def tuned(port: int) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """aiohttp as an expert uses it: encoded once with msgspec, decoded to a struct, no limit, no cookies."""
    import aiohttp
    import msgspec

    message = msgspec.defstruct("Message", [("content", str)])
    choice = msgspec.defstruct("Choice", [("message", message)])
    reply_type = msgspec.defstruct("Reply", [("choices", list[choice])])  # type: ignore[valid-type]
    decode, encode = msgspec.json.Decoder(reply_type).decode, msgspec.json.Encoder().encode
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}

    async def call() -> object:
        body = encode({"model": "gpt-4o-mini/openai", "messages": MESSAGES})
        reply = await session.post(url, data=body, headers=headers, allow_redirects=False)
        return decode(await reply.read()).choices[0].message.content

    return call, session.close


async def ours(port: int) -> tuple[Call, Callable[[], Awaitable[None]]]:
    """`chat_async` with all that is on by default: validation, attribution, slots, deadline, exact cost, receipts."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter

    adapter = GenOpsHeliconeAsyncAdapter("key", gateway_url=f"http://127.0.0.1:{port}")

    async def call() -> object:
        response = await adapter.chat_async(MESSAGES, provider="openai", model="gpt-4o-mini", team="bench")
        assert response.cost > 0
        return response.content

    return call, adapter.aclose


async def drive(client: str, port: int, calls: int, concurrency: int) -> dict[str, float]:
    """Makes the calls, `concurrency` at once, and gives CPU and wall time per call in microseconds."""
    make = dict(zip(CLIENTS, (bare, tuned, ours), strict=True))[client]
    call, close = await make(port)
    expected = "The quick brown fox. " * 30
    assert await call() == expected
    await asyncio.gather(*(call() for _ in range(concurrency)))  # warm: connections, prices, caches
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if await call() != expected:
                raise AssertionError("wrong reply")

    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    await close()
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "user_us": user / calls * 1e6,
        "cpu_us": (user + system) / calls * 1e6,
        "calls_per_s": calls / wall,
    }


def pin(core: int) -> None:
    """Keeps this process on one core, where the system can and there is more than one."""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


def measure(client: str, port: int, options: argparse.Namespace) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, __file__, "--child", client, "--port", str(port), "--calls", str(options.calls)]
    done = subprocess.run(
        [*command, "--concurrency", str(options.concurrency)], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise SystemExit(f"{client} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all clients, medians, and each one's ratio to bare aiohttp in the same round."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "loopback_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(server.pid, {sorted(os.sched_getaffinity(0))[1]})
    rounds: list[dict[str, dict[str, float]]] = []
    try:
        for number in range(options.rounds):
            order = random.Random(number).sample(CLIENTS, len(CLIENTS))
            rounds.append({client: measure(client, port, options) for client in order})
    finally:
        server.communicate()
    table = {}
    for client in CLIENTS:
        figures = {key: statistics.median(r[client][key] for r in rounds) for key in rounds[0][client]}
        for key in ("user_us", "cpu_us"):
            ratios = [r[client][key] / r[CLIENTS[0]][key] for r in rounds]
            figures[f"{key}_ratio"] = statistics.median(ratios)
        table[client] = figures
    return {
        "calls": options.calls,
        "concurrency": options.concurrency,
        "rounds": options.rounds,
        "python": sys.version.split()[0],
        "clients": table,
    }


def main() -> None:
    """Parses the arguments, runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        pin(0)
        print(json.dumps(asyncio.run(drive(options.child, options.port, options.calls, options.concurrency))))
        return
    result = compare(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['concurrency']} in flight, {result['calls']} calls, {result['rounds']} rounds, medians")
    print(f"{'client':<20}{'user µs':>10}{'× bare':>9}{'CPU µs':>10}{'× bare':>9}{'calls/s':>10}")
    for client, row in result["clients"].items():
        print(
            f"{client:<20}{row['user_us']:>10.0f}{row['user_us_ratio']:>9.2f}"
            f"{row['cpu_us']:>10.0f}{row['cpu_us_ratio']:>9.2f}{row['calls_per_s']:>10.0f}"
        )


if __name__ == "__main__":
    main()

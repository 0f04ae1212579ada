"""What a dead webhook costs the calls: the 95th percentile of `chat_async` with one against without one.

    python benchmarks/webhooks.py [--rounds 12] [--calls 200] [--in-flight 8] [--every 10] [--json]

Every round runs all variants one after the other, in an order that turns, on warm adapters against one server that
answers after 20 ms (a process of its own). Every tenth call raises an alert, far more than an outage would;
`--every 1` is a storm.

- `plain`: no webhooks.
- `alive`: a receiver that takes everything.
- `hanging`: a receiver that accepts connections and never answers.
- `refusing`: nobody listens; every attempt fails at once.
- `durable`: as `hanging`, with an outbox on the disk, beside an SQLite ledger; against `plain sqlite`.
The figure is the median over the rounds of the ratio of two p95 of the same round. The limit is 1.2; the exit status is
1 where a dead receiver is beyond it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from genops_helicone_async import GenOpsHeliconeAsyncAdapter

HERE = Path(__file__).resolve().parent
LIMIT = 1.2
ANSWER_S = 0.02
BASELINE = {"alive": "plain", "hanging": "plain", "refusing": "plain", "durable": "plain sqlite"}
VARIANTS = ("plain", *BASELINE, "plain sqlite")


def alert_often(adapter: GenOpsHeliconeAsyncAdapter, url: str, every: int) -> None:
    """Has one call in so many raise an alert: it is the first slow one, since the state of crossings is forgotten."""
    adapter.configure_webhooks(performance_webhook=url, triggers={"slow_response": {"threshold": 1e-6}})
    watch = adapter._parts.side.alerts._plan.slow
    assert watch is not None
    ended = itertools.count(1)

    def forget(record: object) -> None:
        if next(ended) % every == 0:
            watch._slow.clear()

    adapter._parts.shared.sinks.add(forget)


async def p95_ms(adapter: GenOpsHeliconeAsyncAdapter, calls: int, in_flight: int) -> float:
    """Of so many calls, with so many on their way at any time."""
    left, took = iter(range(calls)), []

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            await adapter.chat_async("Say when", provider="openai", model="gpt-4o-mini")
            took.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return statistics.quantiles(took, n=20)[-1]


async def measure(port: int, given: argparse.Namespace, folder: str) -> dict[str, list[float]]:
    """The p95 of every variant in every round."""
    calls, in_flight = given.calls, given.in_flight
    figures: dict[str, list[float]] = {name: [] for name in VARIANTS}
    hanging = socket.create_server(("127.0.0.1", 0), backlog=4096)  # connections are made, and nobody takes them
    taker = await asyncio.start_server(take, "127.0.0.1", 0)
    urls = {
        "alive": f"http://127.0.0.1:{taker.sockets[0].getsockname()[1]}/",
        "hanging": f"http://127.0.0.1:{hanging.getsockname()[1]}/",
        "refusing": "http://127.0.0.1:9/",
        "durable": f"http://127.0.0.1:{hanging.getsockname()[1]}/",
    }
    async with AsyncExitStack() as stack:
        stack.callback(hanging.close)
        stack.callback(taker.close)
        adapters = {}
        for name in VARIANTS:
            stored = name in ("durable", "plain sqlite")
            state_url = f"sqlite:///{folder}/{name.replace(' ', '-')}.db" if stored else None
            adapters[name] = await stack.enter_async_context(
                GenOpsHeliconeAsyncAdapter("key", gateway_url=f"http://127.0.0.1:{port}", state_url=state_url)
            )
            if name in urls:
                alert_often(adapters[name], urls[name], given.every)
            await p95_ms(adapters[name], in_flight * 4, in_flight)
        for number in range(given.rounds):
            at = number % len(VARIANTS)
            for name in (*VARIANTS[at:], *VARIANTS[:at]):
                figures[name].append(await p95_ms(adapters[name], calls, in_flight))
        for name in urls:
            told = adapters[name]._parts.side.webhook_statistics()
            assert told.waiting + told.delivered + told.dropped >= calls * given.rounds // given.every, told
    return figures


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A receiver that takes everything on one connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def main() -> int:
    """Runs the rounds and prints what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.getLogger("genops_helicone_async").setLevel(logging.CRITICAL)  # that receivers are dead is the point
    server = subprocess.Popen(
        [sys.executable, str(HERE / "loopback_server.py"), str(ANSWER_S)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            figures = asyncio.run(measure(port, given, folder))
    finally:
        server.communicate("")
    ratios = {
        name: statistics.median(a / b for a, b in zip(figures[name], figures[base], strict=True))
        for name, base in BASELINE.items()
    }
    p95s = {name: statistics.median(each) for name, each in figures.items()}
    if given.json:
        print(json.dumps({"p95_ms": p95s, "ratio": ratios, "limit": LIMIT}))
    else:
        for name in VARIANTS:
            told = f"{ratios[name]:6.2f} x {BASELINE[name]}" if name in ratios else ""
            print(f"{name:14}{p95s[name]:8.2f} ms p95 {told}")
    return 1 if max(ratios[name] for name in ("hanging", "refusing", "durable")) > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())

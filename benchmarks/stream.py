"""CPU for each chunk of a streamed answer: ours against aiohttp's line iterator, and openai's where it is installed.

    python benchmarks/stream.py [--rounds 5] [--streams 96] [--in-flight 8] [--events 400] [--quick] [--json]

Bursts: the server sends 16 events at a time, as fast as they are read; that is what parsing costs. One by one: each
event comes in a read of its own, 2 ms apart, in many streams at once; there waking up is the largest part. The
baseline is what people write: `async for line in response.content`, `json.loads`, `["choices"][0]["delta"]`.
`undecoded` is that without the JSON: no text, no usage, no cost.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import clients
import harness
from charts import bar_chart, spread_bar
from loopback_server import TEXT_OF_EVENT

BASE = "aiohttp lines"
UNDECODED = "aiohttp undecoded"
SIDES = (BASE, UNDECODED, "genops off", "genops spans", "openai")
LIMIT = 1.5
PATTERNS = {"bursts": ("--events-per-write", "16"), "one by one": ("--events-per-write", "1", "--interval", "0.002")}
Read = Callable[[], Awaitable[tuple[int, str]]]
Close = Callable[[], Awaitable[object]]


async def lines(port: int, *, is_decoded: bool = True) -> tuple[Read, Close]:
    """aiohttp's own line iterator."""
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"http://127.0.0.1:{port}{clients.PATH}"
    body = {"model": clients.MODEL, "messages": clients.MESSAGES, "stream": True}

    async def read() -> tuple[int, str]:
        chunks, text = 0, []
        async with session.post(url, json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                    chunks += 1
                    if is_decoded:
                        text += [choice["delta"].get("content") or "" for choice in json.loads(line[6:])["choices"]]
        return chunks, "".join(text) if is_decoded else TEXT_OF_EVENT * (chunks - 3)

    return read, session.close


async def ours(port: int, telemetry: str) -> tuple[Read, Close]:
    """`stream_async`, and the exact cost at its end."""
    adapter = clients.adapter(port, telemetry)

    async def read() -> tuple[int, str]:
        chunks, text = 0, []
        async with adapter.stream_async(
            clients.MESSAGES, provider="openai", model="gpt-4o-mini", team="bench"
        ) as stream:
            async for chunk in stream:
                text.append(chunk.content)
                chunks += 1
        assert stream.response.cost > 0
        return chunks, "".join(text)

    return read, adapter.aclose


async def openai(port: int) -> tuple[Read, Close]:
    """The official client."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="key", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)

    async def read() -> tuple[int, str]:
        chunks, text = 0, []
        stream: Any = await client.chat.completions.create(model=clients.MODEL, messages=clients.MESSAGES, stream=True)
        async for chunk in stream:
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                chunks += 1
        return chunks, "".join(text)

    return read, client.close


async def measure(side: str, options: argparse.Namespace) -> harness.Row:
    """One side, in this process."""
    if side.startswith("genops "):
        read, close = await ours(options.port, side.removeprefix("genops "))
    else:
        read, close = await (openai(options.port) if side == "openai" else lines(options.port, is_decoded=side == BASE))
    streams = max(2, options.streams // 8) if side == "openai" else options.streams
    left = 0

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            chunks, text = await read()
            if text != TEXT_OF_EVENT * options.events or chunks < options.events:
                raise AssertionError(f"{chunks} chunks and {len(text)} characters")

    async def drive(count: int) -> None:
        nonlocal left
        left = count
        await asyncio.gather(*(worker() for _ in range(min(options.in_flight, count))))

    await drive(min(2, options.in_flight))
    with harness.Meter(options.port) as meter:
        await drive(streams)
    await close()
    return meter.per(streams * options.events)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both patterns, all rounds."""
    told = harness.surroundings()
    sides = [side for side in SIDES if side != "openai" or importlib.util.find_spec("openai")]
    if options.quick:
        sides = [BASE, "genops spans"]
    tables = {}
    for pattern, arguments in tuple(PATTERNS.items())[: 1 if options.quick else None]:
        in_flight = options.in_flight * (4 if pattern == "one by one" else 1)
        passed = ["--streams", str(options.streams), "--events", str(options.events), "--in-flight", str(in_flight)]

        def of(side: str, port: int, passed: list[str] = passed) -> harness.Row:
            row: harness.Row = harness.child(__file__, side, "--port", str(port), *passed)
            return row

        with harness.server("--events", str(options.events), *arguments) as port:
            tables[pattern] = harness.compared(
                harness.in_turns(sides, options, lambda side, port=port, of=of: of(side, port)), BASE
            )
        harness.check_server(tables[pattern])
    return {
        "surroundings": told,
        "rounds": options.rounds,
        "streams": options.streams,
        "events": options.events,
        "limit": LIMIT,
        "patterns": tables,
    }


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'':<11}{'':<19}{'user µs a chunk':>16}{'× lines':>9}{'CPU µs':>9}{'× lines':>9}{'server µs':>11}"]
    for pattern, rows in result["patterns"].items():
        for side, row in rows.items():
            lines.append(
                f"{pattern:<11}{side:<19}{row['user_us']['median']:>16.2f}{row['user_us_ratio']['median']:>9.2f}"
                f"{row['cpu_us']['median']:>9.2f}{row['cpu_us_ratio']['median']:>9.2f}"
                f"{row['server_us']['median']:>11.2f}"
            )
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart; what is far off the scale is in the table only."""
    titles = {
        "bursts": "16 events at a time, as fast as they are read",
        "one by one": "each event in a read of its own, 2 ms apart",
    }
    groups = {
        titles[pattern]: [
            spread_bar(
                side,
                row["user_us"],
                f"{row['user_us']['median']:.1f} µs · {row['user_us_ratio']['median']:.2f} ×",
                is_ours=side.startswith("genops"),
            )
            for side, row in rows.items()
        ]
        for pattern, rows in result["patterns"].items()
    }
    caption = (
        f"{harness.method(options, result['surroundings'])} {result['streams']} streams of {result['events']} events. "
        "aiohttp lines: async for line in response.content, json.loads. ×: to that, in the same round."
    )
    return bar_chart("User CPU for each chunk of a stream", "µs a chunk", groups, caption)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    parser = harness.parser(__doc__, rounds=5)
    parser.add_argument("--streams", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=8, help="streams at once; four times as many one by one")
    parser.add_argument("--events", type=int, default=400, help="in a stream")
    options = harness.parsed(parser)
    if harness.is_child(options, lambda side: asyncio.run(measure(side, options))):
        return
    if options.quick:
        options.rounds, options.streams, options.events = 1, 4, 40
    result = run(options)
    harness.publish("stream", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())

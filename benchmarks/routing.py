"""Microseconds to decide who is asked, and to keep the books of it: routing, limits and health, CPU per call.

    python benchmarks/routing.py [--json] [--rounds 5] [--calls 2000]

Of each strategy with 1, 3, 10 and 50 candidates, all of them known to be healthy:
- `route`: the strategy over the candidates' health and prices, with its reasons, as it stands on every response.
- `whole`: the same and what surrounds an attempt that is answered at once: circuit, limits (buckets of requests and
  tokens, so high that nobody has to wait), health, and the decision that nothing has to be repeated.
Only the answer itself is a stand-in. The baseline in the same run is the attempt without a choice. The limit of 10 µs
is for the whole with up to 3 candidates. Figures are CPU time, the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._flow.pipeline import Pipeline
from genops_helicone_async._flow.ticket import Charge, Outcome, Target, Ticket
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async.chat_request import ChatRequest, make_request
from genops_helicone_async.errors import Attempt

LIMIT_US = 10.0
LIMITED_CANDIDATES = 3
CANDIDATES = (1, 3, 10, 50)
STRATEGIES = (
    "failover",
    "round_robin",
    "weighted",
    "least_busy",
    "cost_optimized",
    "performance_optimized",
    "quality_optimized",
    "custom",
)
MESSAGES = [{"role": "user", "content": "Explain how a token bucket works and where it is used. " * 4}]
MODEL = "gpt-4o-mini"
ATTEMPT = Attempt(provider="", model="", request_id="", billed="yes")
ROW = LedgerRow(
    request_id="", at_s=0.0, provider="", model="", status="ok", cost_pusd=1, input_tokens=100, output_tokens=50
)
Call = Callable[[], Awaitable[object]]


def adapter_of(most: int) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that knows as many providers, all with prices; nothing is ever sent to them."""
    names = [f"provider-{number}" for number in range(most)]
    adapter = GenOpsHeliconeAsyncAdapter(
        "key",
        provider_urls={name: f"http://127.0.0.1:9/{name}/v1" for name in names},
        prices={f"{name}/{MODEL}": {"input": 1.0 + i / 10, "output": 2.0} for i, name in enumerate(names)},
    )
    adapter.register_routing_strategy("custom", lambda providers, message, context: providers[-1])
    adapter.configure_rate_limits(requests_per_minute=1e9, burst_allowance=10**9, tokens_per_minute=1e9)
    return adapter


def request_of(strategy: str, count: int) -> ChatRequest:
    """One call over this many candidates."""
    names = [f"provider-{number}" for number in range(count)]
    options: dict[str, Any] = {"model_preferences": dict.fromkeys(names, MODEL), "routing_strategy": strategy}
    if strategy == "weighted":
        options["provider_preferences"] = {name: 1.0 + number % 3 for number, name in enumerate(names)}
    else:
        options["providers"] = names
    return make_request(MESSAGES, {**options, "max_tokens": 100})


class Rig:
    """The parts that are measured, and a stand-in for the answer."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.loop_s = asyncio.get_running_loop().time

    def ticket(self, request: ChatRequest) -> Ticket:
        """A call that has begun."""
        now_s = self.loop_s()
        return Ticket(request=request, attribution={}, headers={}, started=now_s, deadline=now_s + 60)

    def answering(self, target: Target) -> Callable[[Ticket, Target, float], Awaitable[Outcome]]:
        """Answers at once, always the same."""
        outcome = Outcome(
            target=target,
            request_id="",
            reply=Reply(content="Hello", finish_reason="stop", usage=None),
            headers={},
            body=b"",
            duration_s=0.2,
            charge=Charge(),
            counts=TokenCounts(),
        )

        async def ask(ticket: Ticket, target: Target, until: float) -> Outcome:
            ticket.attempts.append(ATTEMPT)
            ticket.rows.append(ROW)
            return outcome

        return ask

    async def warm(self, targets: list[Target]) -> None:
        """Every target has answered, so that nobody is unknown."""
        for target in targets:
            for _ in range(30):
                ticket = self.ticket(make_request(MESSAGES, {}))
                await self.pipeline.failover.run(ticket, [target], self.answering(target))
                ticket.end_turn()

    async def calls(self, strategy: str, count: int) -> dict[str, Call]:
        """What is timed."""
        request = request_of(strategy, count)
        targets = await self.pipeline.candidates.of(request)
        await self.warm(targets)
        ask = self.answering(targets[0])
        router, failover = self.pipeline.router, self.pipeline.failover

        async def route() -> object:
            return await router.route(self.ticket(request), targets)

        async def whole() -> object:
            ticket = self.ticket(request)
            outcome = await failover.run(ticket, await router.route(ticket, targets), ask)
            ticket.end_turn()
            return outcome

        return {"route": route, "whole": whole}

    async def baseline(self) -> Call:
        """An attempt without a choice and without books: the stand-in alone, with the ticket that all have."""
        request = request_of("failover", 1)
        (target,) = await self.pipeline.candidates.of(request)
        ask = self.answering(target)

        async def attempt() -> object:
            return await ask(self.ticket(request), target, 0.0)

        return attempt


async def timed_us(call: Call, calls: int) -> float:
    """CPU µs a call."""
    started_s = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - started_s) * 1e6 / calls


async def measure(rounds: int, calls: int) -> dict[str, dict[str, dict[int, float]]]:
    """Strategy → figure → candidates → median µs above the baseline, all of them taking turns."""
    adapter = adapter_of(max(CANDIDATES))
    rig = Rig(adapter._pipeline())
    todo: list[tuple[str, str, int, Call]] = []
    for strategy in STRATEGIES:
        for count in CANDIDATES:
            todo += [(strategy, name, count, call) for name, call in (await rig.calls(strategy, count)).items()]
    baseline = await rig.baseline()
    samples: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(rounds):
        least_us = await timed_us(baseline, calls)
        for strategy, name, count, call in todo:
            took_us = await timed_us(call, calls if count <= 10 else max(1, calls // 4))
            samples.setdefault((strategy, name, count), []).append(took_us - least_us)
    await adapter.aclose()
    table: dict[str, dict[str, dict[int, float]]] = {}
    for (strategy, name, count), values in samples.items():
        table.setdefault(strategy, {}).setdefault(name, {})[count] = statistics.median(values)
    return table


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where the whole is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    given = parser.parse_args()
    table = asyncio.run(measure(given.rounds, given.calls))
    worst_us = max(us for row in table.values() for n, us in row["whole"].items() if n <= LIMITED_CANDIDATES)
    if given.json:
        print(json.dumps({"us_per_call": table, "limit_us": LIMIT_US, "worst_us": worst_us}, indent=2))
    else:
        print("µs of CPU per call; candidates:")
        print(f"{'':<30}" + "".join(f"{count:>8}" for count in CANDIDATES))
        for name in ("route", "whole"):
            for strategy, row in table.items():
                print(f"{name + ', ' + strategy:<30}" + "".join(f"{row[name][n]:>8.1f}" for n in CANDIDATES))
        print(f"\nthe whole with up to {LIMITED_CANDIDATES} candidates: {worst_us:.1f} µs; limit {LIMIT_US:.0f} µs")
    return 0 if worst_us <= LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())

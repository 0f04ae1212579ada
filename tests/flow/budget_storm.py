"""A storm over one adapter: faults, cancellations, deserters, and tight budgets watched at every settlement."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from genops_helicone_async import (
    BudgetExceededError,
    BudgetOverrun,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
)
from genops_helicone_async._flow.ticket import RequestRecord
from genops_helicone_async.models import PUSD_PER_USD
from genops_helicone_async.testing import Fault

PROVIDERS = ("openai", "groq", "anthropic")
TEAMS = ("research", "product", "")
CUSTOMERS = ("acme", "globex", "")
SHOWN_OUTPUT = 700
"""The output tokens that a provider claims under the fault `wrong_usage`, far above any `max_tokens` of the storm."""
DAILY, TEAM, CUSTOMER, SESSION = 0.005, 0.0025, 0.002, 0.0045


def pusd(dollars: float) -> int:
    """Dollars as whole pico-dollars."""
    return round(dollars * PUSD_PER_USD)


def faults(dice: random.Random) -> list[Fault]:
    """Every kind of misfortune, each with a chance of its own; the first that strikes a call decides."""
    chances: Sequence[tuple[float, dict[str, Any]]] = (
        (0.12, {"kind": "status", "status": dice.choice([500, 503, 529])}),
        (0.06, {"kind": "status", "status": 429, "retry_after_ms": 15}),
        (0.03, {"kind": "status", "status": 429, "retry_after": 1.0}),
        (0.03, {"kind": "gateway_status", "status": 502}),
        (0.05, {"kind": "reset"}),
        (0.06, {"kind": "reset_mid_body"}),
        (0.06, {"kind": "cut", "at_chunk": dice.choice([None, 0, 3])}),
        (0.04, {"kind": "no_finish_reason"}),
        (0.04, {"kind": "error_event", "at_chunk": 2}),
        (0.03, {"kind": "hang"}),
        (0.06, {"kind": "slow_drip", "delay_s": 0.002}),
        (0.05, {"kind": "wrong_usage", "body": "missing"}),
        (0.02, {"kind": "wrong_usage", "body": {"completion_tokens": SHOWN_OUTPUT, "output_tokens": SHOWN_OUTPUT}}),
        (0.04, {"kind": "truncated_json"}),
        (0.3, {"kind": "delay", "delay_s": 0.01}),
    )
    return [Fault(probability=chance, **fault) for chance, fault in chances]


class Storm:
    """Makes calls of every kind on an adapter, and notes what came back and what the books said meanwhile."""

    def __init__(self, adapter: GenOpsHeliconeAsyncAdapter, dice: random.Random) -> None:
        self.adapter = adapter
        self.dice = dice
        self.returned: dict[str, int] = {}
        self.outcomes: Counter[str] = Counter()
        self.records: list[RequestRecord] = []
        self.overruns: list[BudgetOverrun] = []
        self.breaches: list[str] = []
        adapter._parts.shared.sinks.add(self._look)
        adapter.on_budget_event(lambda event: self.overruns.append(event) if isinstance(event, BudgetOverrun) else None)

    def _look(self, record: RequestRecord) -> None:
        """At every settlement: no budget holds more than its limit, but for what overruns have put on top."""
        self.records.append(record)
        excess = sum(pusd(overrun.cost) - pusd(overrun.held) for overrun in self.overruns)
        for status in self.adapter.get_budget_status():
            if pusd(status.settled) + pusd(status.held) > pusd(status.limit) + excess or status.held < 0:
                self.breaches.append(str(status))

    async def rage(self, calls: int) -> None:
        """That many calls, begun in little groups, each of a kind and a fate that the dice decide."""
        kinds: list[Callable[[dict[str, Any]], Awaitable[None]]] = [
            *(self._chat, self._chat, self._chat, self._read_stream, self._leave_stream, self._drop_stream),
            *(self._ask_all, self._leave_many),
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(self._one(self.dice.choice(kinds), number))
                if self.dice.random() < 0.2:
                    await asyncio.sleep(self.dice.random() * 0.01)
        gc.collect()

    async def _one(self, kind: Callable[[dict[str, Any]], Awaitable[None]], number: int) -> None:
        dice = self.dice
        options = {
            "message": f"Number {number}: say hello to everybody in the room. " * dice.choice([1, 1, 8]),
            "providers": dice.sample(PROVIDERS, dice.choice([1, 2, 3])),
            "max_tokens": dice.choice([20, 60, 150]),
            "team": dice.choice(TEAMS) or None,
            "customer_id": dice.choice(CUSTOMERS) or None,
            "timeout_seconds": dice.choice([0.05, 0.3, 0.6]),
        }
        stop_after_s = dice.choice([None, None, None, None, 0.0, 0.005, 0.02, 0.05])
        try:
            async with asyncio.timeout(stop_after_s):
                await kind(options)
        except BudgetExceededError:
            self.outcomes["refused"] += 1
        except HeliconeError:
            self.outcomes["failed"] += 1
        except TimeoutError:
            self.outcomes["cancelled"] += 1
        else:
            self.outcomes[kind.__name__] += 1

    def _note(self, response: Any) -> None:
        self.returned[response.request_id] = pusd(response.cost)

    async def _chat(self, options: dict[str, Any]) -> None:
        self._note(await self.adapter.chat_async(**options))

    async def _read_stream(self, options: dict[str, Any]) -> None:
        async with self.adapter.stream_async(**options) as stream:
            async for _ in stream:
                pass
        self._note(stream.response)

    async def _leave_stream(self, options: dict[str, Any]) -> None:
        async with self.adapter.stream_async(**options) as stream:
            async for _ in stream:
                if self.dice.random() < 0.3:
                    break

    async def _drop_stream(self, options: dict[str, Any]) -> None:
        stream = self.adapter.stream_async(**options)
        await stream.__aenter__()
        await anext(aiter(stream), None)

    async def _ask_all(self, options: dict[str, Any]) -> None:
        answered = await self.adapter.multi_provider_chat_async(**options)
        for response in answered.responses.values():
            self._note(response)

    async def _leave_many(self, options: dict[str, Any]) -> None:
        del options["message"]
        rows = [f"Row {number} of many" for number in range(6)]
        async with self.adapter.chat_many(rows, max_in_flight=3, ordered=self.dice.random() < 0.5, **options) as many:
            async for result in many:
                if result.response is not None:
                    self._note(result.response)
                if self.dice.random() < 0.3:
                    break

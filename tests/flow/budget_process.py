"""What the tests run in a process of its own: calls under a shared limit; `python budget_process.py JSON`.

Prints `{"ready": true}` and begins at the next line of its standard input; then prints a line for every answer as soon
as the caller has it.
"""

import asyncio
import json
import os
import random
import sys
from typing import Any

from genops_helicone_async import BudgetExceededError, GenOpsHeliconeAsyncAdapter, HeliconeError

PRICES = {"gpt-4o-mini": {"input": 1.0, "output": 2.0}, "llama-3.1-8b-instant": {"input": 0.5, "output": 1.0}}
BILLED = {("openai", "gpt-4o-mini"): (1.0, 2.0), ("groq", "llama-3.1-8b-instant"): (0.5, 1.0)}


def tell(value: Any) -> None:
    """One line, at once, whatever happens to the process next."""
    os.write(1, json.dumps(value).encode() + b"\n")


async def main(url: str, key: str, state_url: str, limit: float, calls: int, seed: int, haste: bool) -> None:
    """Makes the calls, eight at a time; in `haste` some are cancelled, and some have too little time."""
    dice = random.Random(seed)
    adapter = GenOpsHeliconeAsyncAdapter(key, gateway_url=url, state_url=state_url, prices=PRICES, retry_attempts=1)
    adapter.set_budget_limits(monthly_limit=limit, per_team_limits={"research": limit})
    slots = asyncio.Semaphore(8)
    outcomes: dict[str, int] = {"refused": 0, "failed": 0, "answered": 0}

    async def one(number: int, stop_after_s: float | None, timeout_s: float) -> None:
        try:
            async with slots, asyncio.timeout(stop_after_s):
                response = await adapter.chat_async(
                    f"Number {number}: say hello to everybody in the room.", providers=["openai", "groq"],
                    max_tokens=60, team="research", timeout_seconds=timeout_s,
                )  # fmt: skip
        except BudgetExceededError:
            outcomes["refused"] += 1
        except (HeliconeError, TimeoutError):
            outcomes["failed"] += 1
        else:
            outcomes["answered"] += 1
            tell({"request_id": response.request_id, "cost_pusd": round(response.cost * 10**12)})

    tell({"ready": True})
    await asyncio.to_thread(sys.stdin.readline)
    stops = [dice.choice([None] * 6 + [0.05 if haste else None]) for _ in range(calls)]
    timeouts = [dice.choice([20.0] * 6 + [0.05 if haste else 20.0]) for _ in range(calls)]
    await asyncio.gather(*map(one, range(calls), stops, timeouts))
    await adapter.aclose()
    tell(outcomes)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))

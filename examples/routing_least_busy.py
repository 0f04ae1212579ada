"""Fewest calls in flight first: who answers slowly gets fewer calls, without any limit being set."""

import asyncio
from collections import Counter

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway

PROVIDERS = ["openai", "groq"]


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        sandbox.faults.add(
            Fault(kind="delay", provider="openai", delay_s=0.09), Fault(kind="delay", provider="groq", delay_s=0.03)
        )
        asked: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        rows = ["Hello"] * 120
        async for result in adapter.chat_many(
            rows, max_in_flight=12, providers=PROVIDERS, routing_strategy="least_busy", on_error="raise"
        ):
            assert result.response is not None
            asked[result.response.provider] += 1
            reasons[f"{result.response.provider}: {result.response.routing.reason}"] += 1
        print(f"groq answers three times as fast, and got more of the calls: {dict(asked.most_common())}")
        for reason, times in reasons.most_common(4):
            print(f"  {times} × {reason}")


asyncio.run(main())

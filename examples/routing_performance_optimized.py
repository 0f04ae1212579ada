"""The fastest provider, by moving averages: everybody is tried, the fast one is preferred, a change is noticed."""

import asyncio
from collections import Counter

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway

PROVIDERS = ["openai", "anthropic", "groq"]


async def ask(adapter: GenOpsHeliconeAsyncAdapter, times: int) -> None:
    """Asks some times, and says who answered and why the last one was chosen."""
    asked: Counter[str] = Counter()
    for _ in range(times):
        response = await adapter.chat_async("Hello", providers=PROVIDERS, routing_strategy="performance_optimized")
        asked[response.provider] += 1
    print(dict(asked.most_common()))
    for candidate in response.routing.candidates:
        print(f"  {candidate.provider}: {candidate.reason}")


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        sandbox.faults.add(
            Fault(kind="delay", provider="openai", delay_s=0.03),
            Fault(kind="delay", provider="anthropic", delay_s=0.02),
        )
        print("groq is the fastest:")
        await ask(adapter, 30)
        sandbox.faults.add(Fault(kind="delay", provider="groq", delay_s=0.08))
        print("now groq has become slow:")
        await ask(adapter, 30)


asyncio.run(main())

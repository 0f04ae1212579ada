"""A late answer brings the next provider in; extra calls are capped, and the slower one of the two is cancelled."""

import asyncio

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0.1) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        sandbox.faults.add(Fault(kind="delay", provider="openai", delay_s=30, after=20, times=1))
        for _ in range(20):  # without `hedge_after_s`, what 95 % of a provider's answers take has to be known first
            await adapter.chat_async("Hello", provider="openai", max_tokens=20)
        for _ in range(2):  # the first is late, the second is not
            response = await adapter.multi_provider_chat_async(
                "Name one prime.", ["openai", "groq"], routing_strategy="hedged", max_tokens=20
            )
            print(response.routing_decision.reason)
            for candidate in response.routing_decision.candidates:
                print(f"  {candidate.provider}: {candidate.reason}")
        await sandbox.idle()
        print("seen upstream:", [request.provider for request in sandbox.requests if request.cancelled], "cancelled")


asyncio.run(main())

"""The order given: the second is asked when the first fails, and a circuit keeps calls away from who keeps failing."""

import asyncio

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

PROVIDERS = ["openai", "anthropic", "groq"]


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        sandbox.faults.down("openai")
        for number in range(8):
            response = await adapter.chat_async("Hello", providers=PROVIDERS, routing_strategy="failover")
            tried = ", ".join(f"{attempt.provider} ({attempt.error or 'answered'})" for attempt in response.attempts)
            print(f"call {number}: {tried}")
        for candidate in response.routing.candidates:
            print(f"  {candidate.provider}: {candidate.reason}")


asyncio.run(main())

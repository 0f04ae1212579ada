"""A provider fails, the next one answers; every attempt leaves a receipt."""

import asyncio

from genops_helicone_async import AllProvidersFailedError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway


async def main() -> None:
    async with (
        SandboxGateway(latency_scale=0.1) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        sandbox.faults.add(Fault(kind="status", provider="openai", status=503))
        response = await adapter.chat_async("Hello", providers=["openai", "anthropic", "groq"], timeout_seconds=10)
        for attempt in response.attempts:
            print(f"{attempt.provider}: {attempt.error or 'answered'}, ${attempt.cost:.6f}")

        sandbox.faults.add(Fault(kind="status", status=500))
        try:
            await adapter.chat_async("Hello", providers=["openai", "groq"], timeout_seconds=2)
        except AllProvidersFailedError as error:
            print(f"nobody answered after {len(error.attempts)} attempts, billed: {error.billed}")


asyncio.run(main())

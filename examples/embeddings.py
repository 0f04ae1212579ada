"""Vectors for texts, with the same budgets, costs and receipts as chats."""

import asyncio
import os

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

TEXTS = ["a red apple", "a green apple", "a fast car"]


async def embed(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    adapter.set_budget_limits(daily_limit=1.0)
    response = await adapter.embed_async(TEXTS, provider="openai", team="search")
    first, *others = response.embeddings
    for text, vector in zip(TEXTS[1:], others, strict=True):
        print(f"{TEXTS[0]} · {text} = {sum(a * b for a, b in zip(first, vector, strict=True)):.3f}")
    print(f"{response.model}: {len(first)} dimensions, {response.usage.input_tokens} tokens, ${response.cost:.9f}")


async def main() -> None:
    # The AI Gateway has no embeddings: they go through the provider's own Helicone host, with the provider's key.
    if os.environ.get("HELICONE_API_KEY") and os.environ.get("OPENAI_API_KEY"):
        async with GenOpsHeliconeAsyncAdapter() as adapter:
            await embed(adapter)
        return
    async with (
        SandboxGateway(latency_scale=0.1) as sandbox,
        GenOpsHeliconeAsyncAdapter(
            sandbox.api_key, sandbox.provider_keys, provider_urls=sandbox.provider_urls
        ) as adapter,
    ):
        await embed(adapter)


asyncio.run(main())

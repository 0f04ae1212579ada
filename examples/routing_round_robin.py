"""Each in turn: the calls are spread evenly, and who follows stands by for who fails."""

import asyncio
from collections import Counter

from gateway_to_talk_to import adapter_to_talk_to

PROVIDERS = ["openai", "anthropic", "groq"]


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        asked: Counter[str] = Counter()
        for _ in range(9):
            response = await adapter.chat_async("Hello", providers=PROVIDERS, routing_strategy="round_robin")
            asked[response.provider] += 1
            order = " → ".join(candidate.provider for candidate in response.routing.candidates)
            print(f"{order}: {response.routing.reason}")
        print(dict(asked))


asyncio.run(main())

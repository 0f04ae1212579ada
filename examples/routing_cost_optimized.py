"""The cheapest provider for this very request: its tokens times each one's prices, not a comparison of price lists."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to

PROVIDERS = ["openai", "anthropic", "groq"]


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        for message, max_tokens in (("Is 7919 a prime?", 20), ("Summarise: " + "lorem ipsum " * 2000, 400)):
            response = await adapter.chat_async(
                message, providers=PROVIDERS, routing_strategy="cost_optimized", max_tokens=max_tokens
            )
            print(f"{len(message)} characters → {response.provider}, billed ${response.cost:.6f}")
            for candidate in response.routing.candidates:
                print(f"  {candidate.provider}/{candidate.model}: {candidate.reason}")


asyncio.run(main())

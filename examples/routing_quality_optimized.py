"""The best model first, by a dated table of published scores; the others stand by."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        response = await adapter.chat_async(
            "Prove that there are infinitely many primes.",
            providers=["groq", "openai", "anthropic"],
            model_preferences={"openai": "gpt-4o", "anthropic": "claude-3-5-sonnet"},
            routing_strategy="quality_optimized",
        )
        for place, candidate in enumerate(response.routing.candidates, 1):
            print(f"{place}. {candidate.provider}/{candidate.model}: {candidate.reason}")
        print(f"asked: {response.provider}/{response.model}, ${response.cost:.6f}")


asyncio.run(main())

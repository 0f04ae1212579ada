"""Everybody is asked, the first answer counts: the others' connections are dropped, and what they cost is told."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        response = await adapter.multi_provider_chat_async(
            "Name one prime.", ["openai", "anthropic", "groq"], routing_strategy="race", max_tokens=60
        )
        print(f"{response.primary_response.provider}: {response.content[:60]}")
        for candidate in response.routing_decision.candidates:
            print(f"  {candidate.provider}: {candidate.reason}")
        for attempt in response.attempts:
            print(f"  {attempt.provider}: ${attempt.cost:.6f} ({attempt.cost_source})")
        print(f"in all ${response.cost:.6f}")


asyncio.run(main())

"""Everybody is asked, and what most of them say counts; a key function says what is the same."""

import asyncio
from typing import Literal

import msgspec
from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import HeliconeResponse


class Verdict(msgspec.Struct):
    sentiment: Literal["positive", "negative"]
    why: str


def sentiment(response: HeliconeResponse) -> str:
    """What has to be the same; each may give reasons of its own."""
    verdict: Verdict = response.parsed
    return verdict.sentiment


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        response = await adapter.multi_provider_chat_async(
            "The delivery was late, but the service made up for it.",
            ["openai", "anthropic", "groq"],
            routing_strategy="consensus",
            consensus_key=sentiment,
            response_model=Verdict,
        )
        print(f"{response.routing_decision.reason}: {sentiment(response.primary_response)}")
        for candidate in response.routing_decision.candidates:
            print(f"  {candidate.provider}: {candidate.reason}, ${response.cost_comparison[candidate.provider]:.6f}")
        print(f"in all ${response.cost:.6f}")


asyncio.run(main())

"""Shares of the traffic: weights need not add up to anything; they are shares of their sum."""

import asyncio
from collections import Counter

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import ConfigurationError

PREFERENCES = {"groq": 7, "openai": 2, "anthropic": 1}


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        asked: Counter[str] = Counter()
        async for result in adapter.chat_many(["Hello"] * 100, provider_preferences=PREFERENCES, on_error="raise"):
            assert result.response is not None
            asked[result.response.provider] += 1
        print(f"of 100 calls: {dict(asked.most_common())}")
        print(f"the last one: {result.response.routing.reason}")
        try:
            await adapter.chat_async("Hello", provider_preferences={"groq": -1, "openai": 2})
        except ConfigurationError as error:
            print(f"refused: {error}")


asyncio.run(main())

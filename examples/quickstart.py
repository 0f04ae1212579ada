"""One answer, what it cost, and who gave it."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        response = await adapter.chat_async("Explain a token bucket in one sentence.", provider="openai")
        print(response.content)
        print(f"{response.provider}/{response.model}: {response.usage.total_tokens} tokens, ${response.cost:.6f}")


asyncio.run(main())

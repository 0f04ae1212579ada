"""A streamed answer, and its cost at the end."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to


async def main() -> None:
    async with (
        adapter_to_talk_to() as adapter,
        adapter.stream_async("Tell me a very short story.", provider="anthropic") as stream,
    ):
        async for chunk in stream:
            print(chunk.content, end="", flush=True)
    print(f"\n{stream.response.usage.output_tokens} tokens, ${stream.response.cost:.6f}")


asyncio.run(main())

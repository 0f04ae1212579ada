"""What was asked before is answered from a cache: 100 identical calls cost one, and streams are replayed as streams."""

import asyncio
import tempfile
from pathlib import Path

from gateway_to_talk_to import adapter_to_talk_to

QUESTION = "What is the capital of France?"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with adapter_to_talk_to() as adapter:
            # "memory" is for this process, "disk" for all of this machine, "redis" for all machines.
            adapter.enable_caching("disk", cache_ttl=3600, path=Path(folder) / "answers.db")

            answers = await asyncio.gather(*(adapter.chat_async(QUESTION, provider="openai") for _ in range(100)))
            asked = [answer for answer in answers if not answer.cached]
            print(f"100 identical calls at once: {len(asked)} asked a provider, ${asked[0].cost:.6f} for all of them")

            again = await adapter.chat_async(f"  {QUESTION}\n", provider="openai")
            print(f"Asked again: cached={again.cached}, cost ${again.cost:.6f}, ${again.usage.saved_cost:.6f} saved")

            other = await adapter.chat_async(QUESTION, provider="openai", customer_id="another")
            print(f"For another customer: cached={other.cached}")
            fresh = await adapter.chat_async(QUESTION, provider="openai", cache=False)
            print(f"With cache=False: cached={fresh.cached}")

            for _ in range(2):
                async with adapter.stream_async(QUESTION, provider="openai") as stream:
                    pieces = [chunk async for chunk in stream]
                print(f"A stream in {len(pieces)} pieces: cached={stream.response.cached}")

            summary = adapter.get_usage_summary()
            print(
                f"{summary.request_count} calls, {summary.cache_hits} from the cache, ${summary.saved_cost:.6f} saved"
            )


asyncio.run(main())

"""Rating answers: what people say of an answer, and what your own checks make of it, beside the call in Helicone."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        response = await adapter.chat_async(
            "Name the three primary colours.", provider="openai", session_id="colours-1", session_path="/ask"
        )
        print(response.content)

        # Helicone finds a call once it has logged it, so that the first rating may take a while.
        await adapter.feedback_async(response, True, timeout_seconds=120)
        words = len(response.content.split())
        await adapter.score_async(response, {"words": words, "short_enough": words < 100}, timeout_seconds=120)
        print(f"Helicone knows call {response.metadata['helicone_id']} as good, of {words} words.")


asyncio.run(main())

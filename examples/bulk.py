"""Hundreds of calls at once in bounded memory; a bad row is a result of its own."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to

ROWS: list[object] = [f"Summarise ticket number {number}." for number in range(200)]
ROWS.insert(100, {"message": "", "team": "support"})  # an empty message: refused by name, the rest runs


async def main() -> None:
    answered, failed, cost = 0, 0, 0.0
    async with adapter_to_talk_to() as adapter:
        async for result in adapter.chat_many(ROWS, max_in_flight=64, provider="groq", team="support"):
            if result.response is not None:
                answered, cost = answered + 1, cost + result.response.cost
            else:
                failed += 1
                print(f"row {result.index}: {result.error}")
    print(f"{answered} answered, {failed} failed, ${cost:.6f}")


asyncio.run(main())

"""A long run told in a line, and an error that ends it without losing what was paid for."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import BulkProgress, ConfigurationError


def show(progress: BulkProgress) -> None:
    """Called ten times a second at most, and once when it is over."""
    ending = "over" if progress.is_over else f"{progress.in_flight} in flight"
    print(
        f"{progress.elapsed_s:4.1f} s: {progress.done} done, {progress.failed} failed, ${progress.cost:.6f}, {ending}"
    )


async def main() -> None:
    rows = [*(f"Summarise ticket {number}." for number in range(300)), "", *("Hello" for _ in range(50))]
    async with (
        adapter_to_talk_to() as adapter,
        adapter.chat_many(rows, max_in_flight=64, provider="groq", on_error="raise", on_progress=show) as results,
    ):
        answered = 0
        try:
            async for _ in results:
                answered += 1
        except ConfigurationError as error:
            print(f"{answered} answers were given before the run ended: {error}")


asyncio.run(main())

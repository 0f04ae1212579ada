"""A function of your own decides, by who asks, what it would cost and how everybody is doing."""

import asyncio
from typing import Any

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import RoutingContext

PROVIDERS = ["openai", "anthropic", "groq"]


def by_contract(providers: list[str], message: Any, context: RoutingContext) -> str | list[str] | None:
    """Legal's calls go to Anthropic, long prompts to whoever is cheapest, everything else where it was meant to go."""
    if context.team == "legal":
        return "anthropic"
    if context.input_tokens > 500:
        costs = {c.provider: c.expected_cost for c in context.candidates if c.expected_cost is not None}
        return sorted(costs, key=lambda provider: costs[provider])
    return None


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        adapter.register_routing_strategy("by_contract", by_contract)
        for team, message in (("legal", "Is this binding?"), ("web", "lorem ipsum " * 1000), ("web", "Hello")):
            response = await adapter.chat_async(
                message, providers=PROVIDERS, routing_strategy="by_contract", team=team, max_tokens=50
            )
            order = " → ".join(candidate.provider for candidate in response.routing.candidates)
            print(f"{team}, {len(message)} characters: {order} ({response.routing.reason})")


asyncio.run(main())

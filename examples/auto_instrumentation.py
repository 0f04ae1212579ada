"""Calls of other clients, here plain aiohttp, are accounted for: costs, budgets, attribution, spans."""

import asyncio
import os

import aiohttp

import genops
from genops_helicone_async import BudgetExceededError, multi_provider_cost_tracking
from genops_helicone_async.testing import SandboxGateway

ASK = {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 100}


async def main(url: str, key: str) -> None:
    governed = genops.init(gateway_url=url, team="platform", enforce=True)
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            await ask(session, url)
            with genops.attributes(team="research", customer_id="acme"):
                await ask(session, url)
            try:
                with multi_provider_cost_tracking("nightly", budget=0.000001):
                    await ask(session, url)
            except BudgetExceededError as error:
                print(f"refused, nothing was sent: {error}")
        summary = governed.governance.get_usage_summary()
        print(f"{summary.request_count} calls, ${summary.total_cost:.6f}, by team: {summary.cost_by_team}")
    finally:
        genops.uninstrument()


async def ask(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(f"{url}/v1/chat/completions", json=ASK) as response:
        print((await response.json())["choices"][0]["message"]["content"])


async def with_sandbox() -> None:
    async with SandboxGateway(latency_scale=0.1) as sandbox:
        await main(sandbox.url, sandbox.api_key)


if key := os.environ.get("HELICONE_API_KEY"):
    asyncio.run(main("https://ai-gateway.helicone.ai", key))
else:
    asyncio.run(with_sandbox())

"""One call of each of the other clients, as their documentation writes it, in an environment with that client only.

Every function gets the server's port and gives a call and the end of it all. Imports are inside: each environment has
one of them.
"""

from __future__ import annotations

import os
from typing import Any

from clients import EXPECTED, MESSAGES, MODEL, Client

MOST_IN_FLIGHT = 64


async def nothing() -> None:
    """What has no end."""


async def openai(port: int) -> Client:
    """The official client as it comes."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="key", base_url=f"http://127.0.0.1:{port}/v1")

    async def call() -> object:
        reply: Any = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        return reply.choices[0].message.content

    return Client(call, client.close)


async def openai_aiohttp(port: int) -> Client:
    """The official client over aiohttp, which it recommends for many calls at once."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http = DefaultAioHttpClient()
    client = AsyncOpenAI(api_key="key", base_url=f"http://127.0.0.1:{port}/v1", http_client=http)

    async def call() -> object:
        reply: Any = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        return reply.choices[0].message.content

    return Client(call, client.close)


async def litellm(port: int) -> Client:
    """`acompletion`; the price list is the one it brings along."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as module

    module.telemetry = False

    async def call() -> object:
        reply: Any = await module.acompletion(
            model="openai/gpt-4o-mini", messages=MESSAGES, api_key="key", api_base=f"http://127.0.0.1:{port}/v1"
        )
        return reply.choices[0].message.content

    return Client(call, nothing)


async def litellm_router(port: int) -> Client:
    """Its router, which has the limits and the failover; one deployment."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as module

    module.telemetry = False
    where = {"model": "openai/gpt-4o-mini", "api_key": "key", "api_base": f"http://127.0.0.1:{port}/v1"}
    router = module.Router(model_list=[{"model_name": "mini", "litellm_params": where}])

    async def call() -> object:
        reply: Any = await router.acompletion(model="mini", messages=MESSAGES)
        return reply.choices[0].message.content

    return Client(call, nothing)


async def lm_deluge(port: int) -> Client:
    """A client made for batches, with limits far above what is asked, over one session as in its batches."""
    os.environ["BENCHMARK_KEY"] = "key"
    import aiohttp
    from lm_deluge import Conversation, LLMClient
    from lm_deluge.models import register_model

    register_model(
        id="mini",
        name="gpt-4o-mini",
        api_base=f"http://127.0.0.1:{port}/v1",
        api_key_env_var="BENCHMARK_KEY",
        input_cost=0.15,
        output_cost=0.6,
    )
    client = LLMClient(
        "mini",
        max_requests_per_minute=10**9,
        max_tokens_per_minute=10**12,
        max_concurrent_requests=MOST_IN_FLIGHT * 2,
        progress="manual",
    )
    client.open(show_progress=False)
    system, user = (message["content"] for message in MESSAGES)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MOST_IN_FLIGHT * 3))

    async def call() -> object:
        number = client.start_nowait(Conversation().system(system).user(user), http_session=session)
        reply = await client.wait_for(number)
        if reply.is_error:
            raise AssertionError(reply.error_message)
        return reply.completion

    return Client(call, session.close)


async def any_llm(port: int) -> Client:
    """Its client object, used again for every call."""
    from any_llm import AnyLLM

    client = AnyLLM.create("openai", api_key="key", api_base=f"http://127.0.0.1:{port}/v1")

    async def call() -> object:
        reply: Any = await client.acompletion(model="gpt-4o-mini", messages=MESSAGES)
        return reply.choices[0].message.content

    return Client(call, nothing)


CALLS = {
    "openai": openai,
    "openai + aiohttp": openai_aiohttp,
    "litellm": litellm,
    "litellm Router": litellm_router,
    "lm-deluge": lm_deluge,
    "any-llm": any_llm,
}

__all__ = ["CALLS", "EXPECTED", "MOST_IN_FLIGHT"]

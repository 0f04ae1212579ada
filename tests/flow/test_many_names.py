"""The names that many calls go by."""

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio


async def test_many_calls_have_the_suffix_of_the_other_verbs_too() -> None:
    """`chat_many_async` is `chat_many`: who knows the other verbs' names finds it."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, chat_body("Hi"))

    async with LoopbackServer(handle) as server:
        urls = server.provider_urls("openai")
        async with GenOpsHeliconeAsyncAdapter(KEY, provider_urls=urls, prices=PRICES) as adapter:
            results = [one async for one in adapter.chat_many_async(["One", "Two"], provider="openai", ordered=True)]
    assert [one.response.content for one in results if one.response is not None] == ["Hi", "Hi"]

"""A gateway behind an identity provider: tokens are fetched once, renewed ahead, and replaced when they are revoked."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from genops_helicone_async import AuthenticationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway


@asynccontextmanager
async def identity_provider(gateway: SandboxGateway, issued: list[str]) -> AsyncIterator[str]:
    """Your company's token endpoint; here one of our own, whose tokens the sandbox takes."""

    async def token(request: web.Request) -> web.Response:
        issued.append(secrets.token_urlsafe())
        gateway.accept(issued[-1])
        return web.json_response({"access_token": issued[-1], "token_type": "Bearer", "expires_in": 3600})

    application = web.Application()
    application.router.add_post("/token", token)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    await runner.cleanup()


async def main() -> None:
    issued: list[str] = []
    async with SandboxGateway(latency_scale=0.1, api_keys=()) as gateway, identity_provider(gateway, issued) as url:
        config = {"client_id": "billing-service", "client_secret": "…", "token_url": url, "scopes": ["llm.chat"]}
        async with GenOpsHeliconeAsyncAdapter(
            gateway_url=gateway.url, auth_mode="oauth2", oauth_config=config
        ) as adapter:
            print(adapter.settings.oauth)  # secrets never show
            await asyncio.gather(*(adapter.chat_async("Hello", provider="openai") for _ in range(20)))
            print(f"20 calls at once: {len(issued)} token")
            gateway.revoke(issued[-1])
            await adapter.chat_async("Hello", provider="openai")
            print(f"after a revocation: {len(issued)} tokens, and the caller noticed nothing")
            print(adapter.statistics().tokens["oauth2"])

        config["token_url"] = url.replace("/token", "/nowhere")
        async with GenOpsHeliconeAsyncAdapter(
            gateway_url=gateway.url, auth_mode="oauth2", oauth_config=config
        ) as adapter:
            try:
                await adapter.chat_async("Hello", provider="openai")
            except AuthenticationError as error:
                print(error.message)


asyncio.run(main())

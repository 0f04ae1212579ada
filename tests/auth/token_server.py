"""A real token endpoint on loopback: it issues numbered tokens, remembers who asked how, and fails on demand."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from genops_helicone_async.testing import SandboxGateway

CLIENT_ID = "our-client"
CLIENT_SECRET = "hush+hush/ö=&"


class TokenServer:
    """`async with TokenServer(gateway) as server`: its tokens are taken by the gateway from the moment they are issued.

    `asked` has every request's form with the `Authorization` header under that name. `answer` may be replaced by a
    function from the request's number, counted from 1, to a response; None issues a token. While `hold` is cleared,
    requests wait.
    """

    def __init__(self, gateway: SandboxGateway | None = None, *, expires_in: Any = 3600) -> None:
        self.gateway = gateway
        self.expires_in = expires_in
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[int], web.Response | None] = lambda _: None
        self.hold = asyncio.Event()
        self.hold.set()
        self.port = 0
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The token endpoint."""
        return f"http://127.0.0.1:{self.port}/oauth/token"

    def config(self, **more: Any) -> dict[str, Any]:
        """An `oauth_config` for it."""
        return {"token_url": self.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **more}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/oauth/token", self._respond)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.hold.set()
        await self._runner.cleanup()

    async def until_asked(self, times: int) -> None:
        """Returns once it has been asked so often."""
        while len(self.asked) < times:
            self._changed.clear()
            await self._changed.wait()

    async def _respond(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append({**form, "Authorization": request.headers.get("Authorization", "")})
        self._changed.set()
        number = len(self.asked)
        await self.hold.wait()
        answered = self.answer(number)
        if answered is not None:
            return answered
        token = f"token-{number}"
        if self.gateway is not None:
            self.gateway.accept(token)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
        return web.json_response({name: value for name, value in told.items() if value is not None})


def bearers(gateway: SandboxGateway) -> list[str]:
    """What the gateway was shown, request by request."""
    return [seen.headers.get("authorization", "").removeprefix("Bearer ") for seen in gateway.requests]

"""Puts tokens into requests on their way out: once again with a fresh one where the first was refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from ..._values import Credential, HttpReply, HttpRequest
from .keeper import Sender, Token, TokenKeeper

_REFUSED = 401
_BLANK = b"<secret>"


class Body(Protocol):
    """A reply whose body is still arriving."""

    status: int
    headers: Mapping[str, str]

    async def read(self, deadline: float) -> bytes:
        """The next bytes of the body as they arrive; empty at the end."""
        ...

    async def read_all(self, deadline: float) -> bytes:
        """The rest of the body."""
        ...

    def close(self) -> None:
        """Ends the reply."""
        ...


class Transport(Sender, Protocol):
    """What sends the requests in the end."""

    async def open(self, request: HttpRequest, deadline: float) -> Body:
        """Sends the request and returns when the reply's head is here."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


Answer = TypeVar("Answer", HttpReply, Body)


class AuthorizedTransport:
    """A transport for requests that name a credential; all others pass as they are.

    A call whose token is refused (401, which bills nothing) is sent once more with a fresh one, within its deadline.
    """

    __slots__ = ("_keepers", "inner")

    def __init__(self, inner: Transport, keepers: Mapping[Credential, TokenKeeper]) -> None:
        self.inner = inner
        self._keepers = keepers

    def __repr__(self) -> str:
        return f"AuthorizedTransport({', '.join(self._keepers)}, over {self.inner!r})"

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply; raises as the transport does, and `AuthenticationError`."""
        if not request.credential:
            return await self.inner.send(request, deadline)
        reply, token = await self._asked(request, deadline, self.inner.send)
        if reply.status >= 400 and token.text.encode() in reply.body:  # some gateways quote what they refuse
            body = reply.body.replace(token.text.encode(), _BLANK)
            return HttpReply(status=reply.status, headers=reply.headers, body=body)
        return reply

    async def open(self, request: HttpRequest, deadline: float) -> Body:
        """Sends the request and returns when the reply's head is here; raises as `send` does."""
        if not request.credential:
            return await self.inner.open(request, deadline)
        body, token = await self._asked(request, deadline, self.inner.open)
        return _Blanked(body, token) if body.status >= 400 else body

    async def _asked(
        self, request: HttpRequest, deadline: float, ask: Callable[[HttpRequest, float], Awaitable[Answer]]
    ) -> tuple[Answer, Token]:
        keeper = self._keepers[request.credential]
        token = await keeper.token(self.inner, deadline)
        answer = await ask(_with(request, token), deadline)
        if answer.status == _REFUSED and keeper.refused(token):
            if not isinstance(answer, HttpReply):
                answer.close()
            request.sent = False  # nothing that was refused is billed
            token = await keeper.token(self.inner, deadline)
            answer = await ask(_with(request, token), deadline)
        if answer.status != _REFUSED:
            token.proven = True
        return answer, token

    async def aclose(self) -> None:
        """Gives up what is being fetched on this loop, and closes every connection."""
        for keeper in self._keepers.values():
            await keeper.aclose()
        await self.inner.aclose()


class _Blanked:
    """The body of a refusal, in which the token does not show."""

    __slots__ = ("_body", "_token", "headers", "status")

    def __init__(self, body: Body, token: Token) -> None:
        self._body = body
        self._token = token
        self.status = body.status
        self.headers = body.headers

    async def read(self, deadline: float) -> bytes:
        return await self.read_all(deadline)

    async def read_all(self, deadline: float) -> bytes:
        return (await self._body.read_all(deadline)).replace(self._token.text.encode(), _BLANK)

    def close(self) -> None:
        self._body.close()


def _with(request: HttpRequest, token: Token) -> HttpRequest:
    request.headers["Authorization"] = f"Bearer {token.text}"
    return request


__all__ = ["AuthorizedTransport"]

"""Tokens for OAuth 2.0 client credentials, from the token endpoint of `oauth_config`."""

from __future__ import annotations

from typing import Literal

from ..._oauth_settings import OAuth
from ..._values import HttpReply
from ..._wire.oauth import Grant, place_of, read_grant, refuses_the_way, token_request
from ...errors import AuthenticationError, HeliconeError
from .keeper import Sender, no_token


class ClientCredentials:
    """Exchanges the client's id and secret for tokens."""

    __slots__ = ("_method", "_oauth")

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth
        self._method: Literal["basic", "post"] = "post" if oauth.auth_method == "client_secret_post" else "basic"

    def __repr__(self) -> str:
        return f"ClientCredentials({self._oauth!r})"

    @property
    def place(self) -> str:
        """The token endpoint."""
        return place_of(self._oauth.token_url)

    async def fetch(self, sender: Sender, deadline: float) -> Grant:
        """A new token.

        With `auth_method` left to `auto`, a server that refuses the client in the header is asked with the form, and
        from then on in the way that it took.

        Raises:
            AuthenticationError: there is none to be had; the endpoint is named, no secret is.
        """
        reply = await self._ask(sender, deadline)
        if self._oauth.auth_method == "auto" and refuses_the_way(reply):
            self._method, before = "post" if self._method == "basic" else "basic", self._method
            second = await self._ask(sender, deadline)
            if second.status != 200:
                self._method = before
                return read_grant(reply, self._oauth)
            reply = second
        return read_grant(reply, self._oauth)

    async def _ask(self, sender: Sender, deadline: float) -> HttpReply:
        try:
            return await sender.send(token_request(self._oauth, self._method), deadline)
        except AuthenticationError:
            raise
        except HeliconeError as exc:
            raise no_token(self.place, exc.message, retry_safe=True) from exc


__all__ = ["ClientCredentials"]

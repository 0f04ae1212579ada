"""Google's access tokens for Vertex AI, from a service account's key file, through google-auth (extra `[vertex]`)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..._arguments import is_seen_by_the_network
from ..._secret import Secret
from ..._values import HttpReply, HttpRequest
from ..._wire.failures import scrub
from ..._wire.oauth import Grant
from ...errors import AuthenticationError, HeliconeError
from .keeper import FETCH_TIMEOUT_S, Sender, no_token

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LONGEST_REASON = 200


class ServiceAccount:
    """Tokens of the service account whose key file `VERTEX_AI_CREDENTIALS` names.

    The file is read, and its key used, in a thread: neither may hold up the event loop. What is sent goes out on the
    loop, over the adapter's own transport.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Secret) -> None:
        self._path = path

    def __repr__(self) -> str:
        return "ServiceAccount(<a key file>)"

    @property
    def place(self) -> str:
        """The credential by the name of its variable: the path may be a key that somebody put in its place."""
        return "the service account of VERTEX_AI_CREDENTIALS"

    async def fetch(self, sender: Sender, deadline: float) -> Grant:
        """A new token.

        Raises:
            AuthenticationError: there is none to be had, or google-auth is not installed.
        """
        relay = _Relay(sender, asyncio.get_running_loop(), deadline)
        try:
            return await asyncio.to_thread(self._fetch, relay)
        finally:
            relay.stop()

    def _fetch(self, relay: _Relay) -> Grant:
        """In a thread."""
        try:
            from google.auth import exceptions
            from google.oauth2 import service_account
        except ImportError as exc:
            raise self._none("install google-auth: pip install 'genops-helicone-async[vertex]'") from exc
        facts = self._key_file()
        try:
            credentials: Any = service_account.Credentials.from_service_account_info(facts, scopes=[SCOPE])  # type: ignore[no-untyped-call, unused-ignore]
        except (ValueError, KeyError, TypeError) as exc:
            raise self._none("its key file is not complete: download a new one") from exc
        try:
            credentials.refresh(relay)
        except (exceptions.GoogleAuthError, HeliconeError) as exc:
            told = exc.message if isinstance(exc, HeliconeError) else str(exc.args[0] if exc.args else exc)
            may_help = getattr(exc, "retryable", False) or isinstance(exc, HeliconeError)
            raise self._none(f"{facts['token_uri']}: {_shortened(told)}", retry_safe=may_help) from exc
        except concurrent.futures.CancelledError as exc:
            raise self._none("the adapter was closed") from exc
        return _grant(credentials)

    def _key_file(self) -> dict[str, Any]:
        try:
            facts = json.loads(Path(self._path.reveal()).read_bytes())
        except FileNotFoundError as exc:
            raise self._none("there is no such file") from exc
        except OSError as exc:
            raise self._none(f"its key file cannot be read ({exc.strerror})") from exc
        except ValueError as exc:
            raise self._none("its key file is no JSON") from exc
        if not isinstance(facts, dict) or facts.get("type") != "service_account":
            raise self._none("the file is no service account's key: its type is not service_account")
        uri = facts.get("token_uri")
        if not isinstance(uri, str) or is_seen_by_the_network(uri):
            raise self._none("its key file has no token_uri with https")
        return facts

    def _none(self, why: str, **facts: object) -> AuthenticationError:
        return no_token(self.place, why, which="provider", provider="vertex", **facts)


class _Answer(msgspec.Struct, frozen=True):
    """A reply as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Relay:
    """What google-auth sends through, from its thread: each request goes out on the event loop."""

    __slots__ = ("_deadline", "_is_stopped", "_loop", "_pending", "_sender")

    def __init__(self, sender: Sender, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self._sender = sender
        self._loop = loop
        self._deadline = deadline
        self._pending: concurrent.futures.Future[HttpReply] | None = None
        self._is_stopped = False

    def __call__(
        self, url: str, method: str = "GET", body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None, timeout: float | None = None, **_options: object,
    ) -> _Answer:  # fmt: skip
        data = body.encode() if isinstance(body, str) else body or b""
        request = HttpRequest(method=method, url=url, headers=dict(headers or {}), body=data)
        if self._is_stopped:
            raise concurrent.futures.CancelledError
        self._pending = asyncio.run_coroutine_threadsafe(self._sender.send(request, self._deadline), self._loop)
        try:
            reply = self._pending.result(2 * FETCH_TIMEOUT_S)  # by then the loop has stopped
        except concurrent.futures.TimeoutError as exc:
            self._pending.cancel()
            if isinstance(exc, HeliconeError):
                raise
            raise concurrent.futures.CancelledError from exc
        return _Answer(reply.status, reply.headers, reply.body)

    def stop(self) -> None:
        """Lets the thread go."""
        self._is_stopped = True
        if self._pending is not None:
            self._pending.cancel()


def _grant(credentials: Any) -> Grant:
    from google.auth import _helpers

    token, expiry = credentials.token, credentials.expiry
    if not isinstance(token, str) or not token or any(not "!" <= char <= "~" for char in token):
        raise no_token("Google", "its answer has no access_token", which="provider", provider="vertex")
    lifetime_s = None if expiry is None else (expiry - _helpers.utcnow()).total_seconds()  # type: ignore[no-untyped-call, unused-ignore]
    return Grant(text=token, lifetime_s=lifetime_s)


def _shortened(text: str) -> str:
    return scrub(" ".join(text.split()))[:_LONGEST_REASON]


__all__ = ["ServiceAccount"]

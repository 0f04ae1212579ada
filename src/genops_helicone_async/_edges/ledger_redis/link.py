"""The only file here that knows the `redis` library: one connection, the script run over it, errors translated.

`redis` is imported when a first connection is opened, in a thread: it takes half a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import anyio.to_thread
import msgspec

from ...errors import ConfigurationError, LedgerError
from .messages import Answer, decode_answer
from .script import EXCHANGE, SCHEMA

if TYPE_CHECKING:
    import redis.asyncio

Entry = tuple[bytes, dict[bytes, bytes]]
Reply = TypeVar("Reply")

SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
PAGE_ROWS: Final = 1_000
_EXAMPLE: Final = "write it as redis://user:password@host:6379/0"
_SHA: Final = hashlib.sha1(EXCHANGE.encode(), usedforsecurity=False).hexdigest()


class Server:
    """Where the shared ledger is kept. Its `repr` and errors show the place, never who logs in or how.

    Raises:
        ConfigurationError: the URL is none of a Redis or Valkey server, or `redis` is not installed.
    """

    __slots__ = ("_secrets", "_timeout_s", "_url", "location")

    def __init__(self, url: str, timeout_s: float) -> None:
        if importlib.util.find_spec("redis") is None:
            raise ConfigurationError(
                "`state_url` names a Redis server, and redis is not installed: "
                "pip install 'genops-helicone-async[redis]'"
            )
        try:
            parts = urlsplit(url)
            self.location = _location(parts)
        except ValueError:
            # The text of the error would quote the URL, or the part of a password that was taken for a port.
            raise ConfigurationError(f"`state_url` is no valid Redis URL: {_EXAMPLE}") from None
        self._url = SCHEMES[parts.scheme] + url[len(parts.scheme) :]
        self._secrets = [secret for secret in (parts.password, parts.query) if secret]
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"Server({self.location!r})"

    def error(self, exc: BaseException | str) -> LedgerError:
        """What is said when the server cannot be used."""
        reason = str(exc) or type(exc).__name__
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return LedgerError(
            f"the shared ledger at {self.location} cannot be used ({reason.rstrip('.')}): calls under a budget are "
            "refused, and what was spent is kept here, until it answers again; check the server and `state_url`",
            retry_safe=True,
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection that opens when first used, and again when it broke; it is closed at the end."""
        connection = Connection(self, self._url, self._timeout_s)
        try:
            yield connection
        finally:
            await connection.aclose()


class Connection:
    """One connection of one event loop. One call at a time."""

    __slots__ = ("_client", "_server", "_timeout_s", "_url")

    def __init__(self, server: Server, url: str, timeout_s: float) -> None:
        self._server = server
        self._url = url
        self._timeout_s = timeout_s
        self._client: redis.asyncio.Redis | None = None

    async def exchange(self, key: str, ask: bytes) -> Answer:
        """Runs the script; a connection that had gone stale is opened anew, once.

        Raises:
            LedgerError: the server did not do it, or it is not known whether it did.
        """

        async def run(client: redis.asyncio.Redis) -> bytes:
            from redis.exceptions import NoScriptError

            try:
                return cast(bytes, await client.evalsha(_SHA, 1, key, ask))
            except NoScriptError:
                return cast(bytes, await client.eval(EXCHANGE, 1, key, ask))

        body = await self._try(run)
        try:
            answer = decode_answer(body)
        except msgspec.DecodeError as exc:
            raise self._server.error("its answer is not understood") from exc
        if answer.status == "schema":
            raise self._server.error(f"its data is of version {answer.born}, not {SCHEMA}: another namespace is needed")
        return answer

    async def page(self, key: str, after: str, start: str) -> list[tuple[str, bytes]]:
        """Rows of the stream, with their ids, behind the id `after`, or from `start` on; empty at the end."""

        async def read(client: redis.asyncio.Redis) -> list[Entry]:
            return cast(list[Entry], await client.xrange(key, f"({after}" if after else start, "+", count=PAGE_ROWS))

        entries = await self._try(read)
        return [(entry.decode(), fields[b"row"]) for entry, fields in entries]

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _try(self, command: Callable[[redis.asyncio.Redis], Awaitable[Reply]]) -> Reply:
        try:
            if self._client is None:
                self._client = await anyio.to_thread.run_sync(_client, self._url, self._timeout_s)
            return await self._in_time(command, self._client)
        except _foreign_errors() as exc:
            raise self._server.error(exc) from exc

    async def _in_time(
        self, command: Callable[[redis.asyncio.Redis], Awaitable[Reply]], client: redis.asyncio.Redis
    ) -> Reply:
        from redis.exceptions import ConnectionError as Broken

        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await command(client)
                except Broken:
                    # The server may have been started anew behind an open connection. A second run of one exchange
                    # is harmless: the script knows its number.
                    return await command(client)
        except TimeoutError as exc:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from exc


def _client(url: str, timeout_s: float) -> redis.asyncio.Redis:
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # Time limits and repeats are this file's own: with `socket_timeout` redis-py starts a task for every command. And
    # without `driver_info=None` every new connection reads redis-py's version from the disk, on the event loop.
    return redis.asyncio.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=1,
        driver_info=None,
    )


def _foreign_errors() -> tuple[type[Exception], ...]:
    """What using the server raises; `TypeError` and `ValueError` are wrong options in the URL."""
    ours = (OSError, TypeError, ValueError)
    exceptions = sys.modules.get("redis.exceptions")
    return ours if exceptions is None else (exceptions.RedisError, *ours)


def _location(parts: SplitResult) -> str:
    """The URL without its user, password and options."""
    if parts.scheme == "unix" and parts.path:
        return f"unix://{parts.path}"
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError("no Redis URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path.rstrip('/') or '/0'}"


__all__ = ["SCHEMES", "Connection", "Server"]

"""The shared rates' connection to the server, and the only file here that knows the `redis` library.

It is imported when a first connection is opened, in a thread: that takes half a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import TYPE_CHECKING, Final, cast

import anyio.to_thread
import msgspec

from ..._wire.redis_url import ServerPlace
from ...errors import LedgerError
from .script import SERVER_TIME, SHARE

if TYPE_CHECKING:
    import redis.asyncio

Ask = tuple[int, float, float, float, bool]
"""Which key, counted from one; amount, below zero what is given back; capacity; rate per microsecond; was it due."""

State = msgspec.Raw
"""A bucket as the server packed it, to remind it of."""

_SCRIPT: Final = SERVER_TIME + SHARE
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[float], list[State]]).decode


class Connection:
    """One connection of one event loop. One call at a time; it opens when first used, and again when it broke."""

    __slots__ = ("_client", "_place", "_timeout_s")

    def __init__(self, place: ServerPlace, timeout_s: float) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._client: redis.asyncio.Redis | None = None

    async def share(
        self, keys: list[bytes], asks: list[Ask], reminders: list[State | None]
    ) -> tuple[list[float], list[State]]:
        """Runs the script: microseconds to wait, one for each ask, and how each key's bucket stands.

        Raises:
            LedgerError: the server did not do it, or it is not known whether it did.
        """
        body = _encode((asks, reminders))
        try:
            if self._client is None:
                self._client = await anyio.to_thread.run_sync(_client, self._place.url, self._timeout_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await _run(self._client, keys, body, repeat=all(ask[1] >= 0 for ask in asks))
            except TimeoutError as exc:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s") from exc
            return _decode(answer)
        except _foreign_errors() as exc:
            raise self._error(exc) from exc

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _error(self, exc: Exception) -> LedgerError:
        reason = self._place.redact(str(exc) or type(exc).__name__).rstrip(".")
        return LedgerError(
            f"the shared rates at {self._place.location} cannot be used ({reason}): nobody knows what other processes "
            "send until it answers again; check the server and its URL",
            retry_safe=True,
        )


async def _run(client: redis.asyncio.Redis, keys: list[bytes], body: bytes, *, repeat: bool) -> bytes:
    from redis.exceptions import ConnectionError as Broken
    from redis.exceptions import NoScriptError

    try:
        return cast(bytes, await client.evalsha(_SHA, len(keys), *keys, body))
    except NoScriptError:
        return cast(bytes, await client.eval(_SCRIPT, len(keys), *keys, body))
    except Broken:
        # The server may have been started anew behind an open connection. Reserving twice waits longer at worst;
        # giving back twice would let too much through.
        if not repeat:
            raise
        return cast(bytes, await client.eval(_SCRIPT, len(keys), *keys, body))


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
    """What using the server raises; `TypeError` and `ValueError` are wrong options in the URL, or a strange answer."""
    ours = (OSError, TypeError, ValueError)
    exceptions = sys.modules.get("redis.exceptions")
    return ours if exceptions is None else (exceptions.RedisError, *ours)


__all__ = ["Ask", "Connection", "State"]

"""Answers on a Redis or Valkey server, shared by many machines; the server ends their time and bounds its memory."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from .._rules.cached_answers import LATER, AnswersUnavailable, Found, StoreStatistics
from .._wire.redis_url import server_place
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import redis.asyncio

TIMEOUT_S: Final = 0.25
"""To connect, and for each answer of the server."""
MOST_CONNECTIONS: Final = 8
"""Of one event loop."""


class _Link:
    """The connections of one event loop, and the task that closes them when the loop or the adapter ends."""

    __slots__ = ("client", "end", "task")

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client
        self.end = asyncio.Event()
        self.task: asyncio.Task[None]


class RedisAnswers:
    """One per adapter; used from any number of event loops.

    Raises:
        ConfigurationError: the URL is wrong, or `redis` is not installed.
    """

    __slots__ = ("_links", "_place", "_prefix")
    name = "redis"

    def __init__(self, url: str, *, prefix: str = "genops:answer:") -> None:
        if importlib.util.find_spec("redis") is None:
            raise ConfigurationError("a cache in Redis needs redis: pip install 'genops-helicone-async[redis]'")
        try:
            self._place = server_place(url)
        except ValueError:
            # The text of the error would quote the URL, or the part of a password that was taken for a port.
            raise ConfigurationError(
                "`url` is no valid Redis URL: write it as redis://user:password@host:6379/0"
            ) from None
        self._prefix = prefix.encode()
        self._links: dict[asyncio.AbstractEventLoop, _Link] = {}

    def __repr__(self) -> str:
        return f"RedisAnswers({self._place.location!r})"

    def get_nowait(self, key: bytes) -> Found:
        """The server has to be asked."""
        return LATER

    async def get(self, key: bytes) -> bytes | None:
        """The bytes under the key, None where there are none, or something that is no text.

        Raises:
            AnswersUnavailable: the server cannot be used.
        """
        value = await self._asked(self._client().get(self._prefix + key.hex().encode()))
        return value if isinstance(value, bytes) else None

    def put_nowait(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """The server has to be waited for."""
        return False

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keeps the bytes for that long, by the server's clock.

        Raises:
            AnswersUnavailable: the server cannot be used, or has no room.
        """
        name = self._prefix + key.hex().encode()
        await self._asked(self._client().set(name, value, px=max(1, round(ttl_s * 1000))))

    async def prepare(self) -> None:
        """Imports the library, in a thread: it takes half a second, once a process.

        Raises:
            AnswersUnavailable: it cannot be imported.
        """
        if "redis.asyncio" not in sys.modules:
            try:
                await anyio.to_thread.run_sync(importlib.import_module, "redis.asyncio", abandon_on_cancel=True)
            except ImportError as exc:
                raise AnswersUnavailable(f"redis cannot be imported: {exc}") from exc

    def statistics(self) -> StoreStatistics:
        """Only the server knows."""
        return StoreStatistics()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        link = self._links.get(asyncio.get_running_loop())
        if link is not None:
            link.end.set()
            await asyncio.wait([link.task])

    def close_nowait(self) -> None:
        """Has the connections of every event loop closed, from any thread."""
        for loop, link in tuple(self._links.items()):
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its connections with it
                loop.call_soon_threadsafe(link.end.set)

    async def _asked(self, command: Any) -> Any:
        from redis.exceptions import RedisError, ResponseError

        try:
            return await command
        except ResponseError as exc:
            if str(exc).startswith("WRONGTYPE"):  # somebody else's entry: nothing is wrong with the server
                return None
            raise self._unavailable(exc) from exc
        except (RedisError, OSError, TypeError, ValueError) as exc:  # the latter two: options in the URL
            raise self._unavailable(exc) from exc

    def _unavailable(self, exc: Exception) -> AnswersUnavailable:
        reason = self._place.redact(str(exc) or type(exc).__name__).rstrip(".")
        return AnswersUnavailable(f"the server {self._place.location}: {reason}")

    def _client(self) -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            for ended in [known for known in tuple(self._links) if known.is_closed()]:
                self._links.pop(ended, None)
            try:
                link = self._links[loop] = _Link(_connect(self._place.url))
            except (TypeError, ValueError) as exc:
                raise self._unavailable(exc) from exc
            # A context of its own: the first caller's span must not live on in here.
            context = contextvars.Context()
            link.task = loop.create_task(self._keep(loop, link), name="genops cache connections", context=context)
        return link.client

    async def _keep(self, loop: asyncio.AbstractEventLoop, link: _Link) -> None:
        try:
            await link.end.wait()
        finally:
            self._links.pop(loop, None)
            await link.client.aclose()


def _connect(url: str) -> redis.asyncio.Redis:
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # Time limits are the caller's: with `socket_timeout` redis-py starts a task for every command. And without
    # `driver_info=None` every new connection reads redis-py's version from the disk, on the event loop.
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        max_connections=MOST_CONNECTIONS,
        timeout=TIMEOUT_S,
        driver_info=None,
    )
    return redis.asyncio.Redis.from_pool(pool)


__all__ = ["MOST_CONNECTIONS", "TIMEOUT_S", "RedisAnswers"]

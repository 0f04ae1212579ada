"""What the tests of the cache are built from: a pipeline with a cache, stores of each kind, and a store to break."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

from flow_parts import Rig

import valkey_server
from genops_helicone_async._edges.answers_disk import DiskAnswers
from genops_helicone_async._edges.answers_memory import MemoryAnswers
from genops_helicone_async._edges.answers_redis import RedisAnswers
from genops_helicone_async._flow.caching import AnswerCache, CacheStatistics
from genops_helicone_async._flow.ports import AnswerStore, Transport
from genops_helicone_async._rules.cache_keys import KeyStrategy
from genops_helicone_async._rules.cached_answers import LATER, AnswersUnavailable, Found, StoreStatistics
from genops_helicone_async._values import Currency, HttpRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, stream_answer

STORES = ("memory", "disk", "redis")


class CacheRig(Rig):
    """A pipeline with a cache whose clocks are the loop's; in memory unless another store is given."""

    def __init__(
        self,
        transport: Transport,
        store: AnswerStore | None = None,
        *,
        ttl_s: float = 60.0,
        strategy: KeyStrategy = "content_hash",
        **given: Any,
    ) -> None:
        super().__init__(transport, **given)
        clock = asyncio.get_running_loop().time
        self.cache = AnswerCache(
            store or MemoryAnswers(2**20, clock), ttl_s=ttl_s, strategy=strategy, clock=clock, steady=clock
        )
        self.pipeline.caching.replace(self.cache)

    @property
    def told(self) -> CacheStatistics:
        """What the cache says of itself."""
        return self.cache.statistics(Currency())

    @property
    def counts(self) -> tuple[int, int, int]:
        """Hits, joined, misses."""
        told = self.told
        return told.hits, told.joined, told.misses

    async def kept(self) -> None:
        """Waits until everything is kept."""
        await self.pipeline.replays.aclose()

    async def aclose(self) -> None:
        """Closes the pipeline and the store."""
        await self.pipeline.aclose()
        await self.cache.store.aclose()


def counting(number: list[int] | None = None) -> ScriptedTransport:
    """A transport whose answers say which request they are to: `1`, `2`, …; streams say it in two pieces."""
    count = number if number is not None else [0]

    def answer(request: HttpRequest) -> Answer:
        count[0] += 1
        if b'"stream":true' in request.body:
            return stream_answer("answer ", str(count[0]))
        return chat_answer(str(count[0]))

    return ScriptedTransport(answer)


def store_of(kind: str, folder: Path, clock: Any, *, max_bytes: int = 2**20) -> AnswerStore:
    """A store of that kind that nobody else uses."""
    if kind == "disk":
        return DiskAnswers(folder / "answers.db", max_bytes, clock)
    if kind == "redis":
        return RedisAnswers(valkey_server.shared_url(), prefix=f"test:{secrets.token_hex(8)}:")
    return MemoryAnswers(max_bytes, clock)


class SlowStore:
    """A store that answers when it is told to; `broken` is what it raises, `delay_s` how long a step takes."""

    name = "slow"

    def __init__(self, *, delay_s: float = 0.0, broken: str | None = None) -> None:
        self.delay_s = delay_s
        self.broken = broken
        self.steps: list[str] = []
        self.held: dict[bytes, bytes] = {}
        self.closed = 0

    def get_nowait(self, key: bytes) -> Found:
        """It has to be waited for."""
        return LATER

    async def get(self, key: bytes) -> bytes | None:
        """What is held, later."""
        await self._step("get")
        return self.held.get(key)

    def put_nowait(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """It has to be waited for."""
        return False

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Holds it, later."""
        await self._step("put")
        self.held[key] = value

    async def prepare(self) -> None:
        """Nothing."""

    def statistics(self) -> StoreStatistics:
        """What is held."""
        return StoreStatistics(entries=len(self.held))

    def close_nowait(self) -> None:
        """Notes it."""
        self.closed += 1

    async def aclose(self) -> None:
        """Notes it."""
        self.closed += 1

    async def _step(self, name: str) -> None:
        self.steps.append(name)
        await asyncio.sleep(self.delay_s)
        if self.broken is not None:
            raise AnswersUnavailable(self.broken)

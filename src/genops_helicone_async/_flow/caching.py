"""The cache of an adapter: looks answers up and keeps them, and sees to it that no call ever suffers from its store.

A store that fails, or is slow, is left alone for a while: then every look-up is a miss. That is said once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from .._rules.cache_keys import KeyStrategy
from .._rules.cached_answers import (
    LATER,
    Answer,
    AnswersUnavailable,
    Later,
    StoreStatistics,
    decode_answer,
    encode_answer,
)
from .._values import Currency
from .ports import AnswerStore

LOOK_UP_S = 0.25
"""The most that a look-up adds to a call."""
GRACE_S = 0.05
"""What it may take longer where the event loop itself was held up for longer than that."""
WRITE_S = 5.0
"""How long a store may take to keep an answer, which nobody waits for."""
REST_S = 5.0
"""How long a store that failed is left alone."""
MOST_PENDING_BYTES = 64 * 2**20
"""Of answers that wait to be kept; what comes above is not kept."""
_log = logging.getLogger("genops_helicone_async.cache")


class CacheStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache did since it was enabled: `saved_cost` is what its answers had cost when they were asked for.

    `hits` were answered by the store, `joined` by an identical call in flight, `misses` asked a provider. `failures`
    are steps that the store did not do; while it `is_resting` after one it is not asked. `entries`, `bytes` and
    `evictions` are the store's, None where only a server knows them.
    """

    provider: str
    key_strategy: KeyStrategy
    ttl_s: float
    hits: int
    misses: int
    joined: int
    stored: int
    failures: int
    is_resting: bool
    saved_cost: float
    entries: int | None
    bytes: int | None
    evictions: int | None


class AnswerCache:
    """One cache as it was enabled. `clock` gives Unix seconds, `steady` seconds that never go back.

    `account` is who asks, where no key of a provider or of Helicone says so.
    """

    __slots__ = (
        "_clock", "_counts", "_is_armed", "_is_retired", "_lock", "_pending_bytes", "_rests_until_s", "_saved_pusd",
        "_steady", "_worked", "account", "store", "strategy", "ttl_s",
    )  # fmt: skip

    def __init__(
        self,
        store: AnswerStore,
        *,
        ttl_s: float,
        strategy: KeyStrategy,
        clock: Callable[[], float],
        steady: Callable[[], float],
        account: tuple[str, ...] = (),
    ) -> None:
        self.store = store
        self.account = account
        self.ttl_s = ttl_s
        self.strategy: KeyStrategy = strategy
        self._clock = clock
        self._steady = steady
        self._lock = threading.Lock()
        self._counts = {"hits": 0, "misses": 0, "joined": 0, "stored": 0, "failures": 0}
        self._saved_pusd = 0
        self._pending_bytes = 0
        self._rests_until_s = 0.0
        self._is_armed = True
        self._worked: set[str] = set()
        self._is_retired = False

    def __repr__(self) -> str:
        told = self._counts
        return (
            f"AnswerCache({self.store.name}, {self.strategy}, {self.ttl_s:g} s, {told['hits']} hits, "
            f"{told['joined']} joined, {told['misses']} misses)"
        )

    def now_s(self) -> float:
        """Unix seconds."""
        return self._clock()

    def count(self, what: str, saved_pusd: int = 0) -> None:
        """Counts one of the statistics."""
        with self._lock:
            self._counts[what] += 1
            self._saved_pusd += saved_pusd

    def find_nowait(self, key: bytes) -> Answer | Later | None:
        """The answer kept under the key, None where there is none; `LATER` where that takes a wait: then use `find`."""
        if self._is_retired or self._steady() < self._rests_until_s:
            return None
        found = self.store.get_nowait(key)
        return LATER if isinstance(found, Later) else self._read(key, found)

    async def find(self, key: bytes, left_s: float) -> Answer | None:
        """The same, waiting a moment at most; a store that cannot be used, or not in the time left, has nothing."""
        try:
            async with asyncio.timeout(left_s):
                await self.store.prepare()
            async with _at_most(min(LOOK_UP_S, left_s)):
                found = await self.store.get(key)
        except (AnswersUnavailable, TimeoutError) as exc:
            if isinstance(exc, AnswersUnavailable) or left_s >= LOOK_UP_S:
                self._failed(exc, LOOK_UP_S)
            return None
        self._did("get")
        return self._read(key, found)

    def keep_nowait(self, answer: Answer) -> bytes | None:
        """Keeps an answer; where that takes a wait, gives the bytes for `keep`."""
        value = None if self._is_retired else encode_answer(answer)
        if value is None:
            return None
        if self.store.put_nowait(answer.key, value, self.ttl_s):
            self.count("stored")
            return None
        if self._steady() < self._rests_until_s:
            return None
        if self._pending_bytes + len(value) > MOST_PENDING_BYTES:
            self.count("failures")
            return None
        self._pending_bytes += len(value)
        return value

    async def keep(self, key: bytes, value: bytes) -> None:
        """Keeps the bytes, in the background: raises nothing but its own cancellation."""
        try:
            await self.store.prepare()
            async with asyncio.timeout(WRITE_S):
                await self.store.put(key, value, self.ttl_s)
        except (AnswersUnavailable, TimeoutError) as exc:
            self._failed(exc, WRITE_S)
        else:
            self._did("put")
            self.count("stored")
        finally:
            self._pending_bytes -= len(value)

    def retire(self) -> None:
        """Another has taken its place, or none."""
        self._is_retired = True
        self.store.close_nowait()

    def statistics(self, currency: Currency) -> CacheStatistics:
        """What was counted, money in the adapter's currency."""
        held: StoreStatistics = self.store.statistics()
        with self._lock:
            return CacheStatistics(
                provider=self.store.name,
                key_strategy=self.strategy,
                ttl_s=self.ttl_s,
                **self._counts,
                is_resting=self._steady() < self._rests_until_s,
                saved_cost=currency.of(self._saved_pusd),
                entries=held.entries,
                bytes=held.bytes,
                evictions=held.evictions,
            )

    def _read(self, key: bytes, found: bytes | None) -> Answer | None:
        """The answer in what was found; one that is older than this cache keeps answers is none."""
        if found is None:
            return None
        answer = decode_answer(found, key)
        return answer if answer is not None and self._clock() - answer.kept_at_s < self.ttl_s else None

    def _did(self, what: str) -> None:
        """A store that reads and writes again is worth a warning when it fails the next time."""
        if not self._is_armed:
            self._worked.add(what)
            self._is_armed = len(self._worked) == 2

    def _failed(self, exc: Exception, most_s: float) -> None:
        self.count("failures")
        self._rests_until_s = self._steady() + REST_S
        self._worked.clear()
        if self._is_armed and not self._is_retired:
            self._is_armed = False
            why = f"no answer within {most_s:g} s" if isinstance(exc, TimeoutError) else str(exc)
            _log.warning("the cache in %r cannot be used, calls go on without it: %s", self.store, why)


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """A time limit that is not used up by an event loop that was held up: then the answer may be here already.

    Raises:
        TimeoutError: the time is over.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + seconds
    timer: asyncio.TimerHandle

    def expire() -> None:
        nonlocal due_s, timer
        now_s = loop.time()
        if now_s - due_s > GRACE_S:
            due_s = now_s + GRACE_S
            timer = loop.call_at(due_s, expire)
        else:
            scope.reschedule(now_s)

    timer = loop.call_at(due_s, expire)
    try:
        async with asyncio.timeout(None) as scope:
            yield
    finally:
        timer.cancel()


class Caching:
    """The cache that calls use at the moment; `current` is None where there is none."""

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: AnswerCache | None = None

    def __repr__(self) -> str:
        return f"Caching({self.current or 'off'})"

    def replace(self, cache: AnswerCache | None) -> None:
        """Puts another in its place at once, also while calls are in flight."""
        before, self.current = self.current, cache
        if before is not None:
            before.retire()

    def statistics(self, currency: Currency) -> CacheStatistics | None:
        """What the current one did."""
        return None if self.current is None else self.current.statistics(currency)

    async def aclose(self) -> None:
        """Closes its store; what it keeps outside of this process stays."""
        if self.current is not None:
            await self.current.store.aclose()


__all__ = ["LOOK_UP_S", "REST_S", "AnswerCache", "CacheStatistics", "Caching"]

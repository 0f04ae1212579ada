"""Rates that many processes keep together, on a Redis or Valkey server.

Who wants to send reserves an amount (calls, tokens) from a named bucket and is told how long to wait; nobody polls.
The script (`script.py`) gives out the moments in the order of asking, over all processes, by the server's clock; only
what was given back meanwhile goes to the next who asks. Of amounts up to the capacity, what becomes usable in any W
seconds, less what was given back in them after use, is at most `capacity + rate_per_s * W`. A larger amount is usable
once all of it has flowed in, and counts for the capacity in the windows that begin with it. A late answer makes a
moment later, never earlier; two that come late by different times come closer together than they were given out.

One task per event loop carries what waits there in one round trip at a time. It ends after five idle seconds, with its
loop, or in `aclose`.

When the server is away `LedgerError` is raised within about a second; what was reserved then may be lost to all,
never doubled. A server that lost its data is reminded of each bucket by the next process that uses it; what others
reserved since that one last asked is forgotten, and at most one capacity too much let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib.util
import math
from collections import deque
from typing import Final

import msgspec

from ..._wire.redis_url import server_place
from ...errors import ConfigurationError, LedgerError
from .connection import Connection, State

IDLE_S: Final = 5.0
TIMEOUT_S: Final = 1.0
MOST_AT_ONCE: Final = 200
"""Asks in one round trip: 200 take the script 0.24 ms, and the server does nothing else meanwhile."""

KEPT_STATES: Final = 1_000
LONGEST_S: Final = 1e8
"""Three years: beyond it microseconds are no longer exact."""


class SharedRatesStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since this process began; `waiting` asks are on their way. `failures` are round trips without answer."""

    reserved: int
    given_back: int
    exchanges: int
    failures: int
    waiting: int


class _Ask:
    """One call's amount, below zero what it gives back, and who waits to hear of it, if anybody does."""

    __slots__ = ("amount", "capacity", "future", "is_due", "key", "rate_per_s")

    def __init__(self, key: bytes, amount: float, capacity: float, rate_per_s: float, *, is_due: bool = False) -> None:
        self.key = key
        self.amount = amount
        self.is_due = is_due
        self.capacity = capacity
        self.rate_per_s = rate_per_s
        self.future: asyncio.Future[float] | None = None

    @property
    def is_pointless(self) -> bool:
        """Whether nobody wants it any more."""
        return self.amount >= 0 and self.future is not None and self.future.cancelled()

    def returned(self, *, is_due: bool = False) -> _Ask:
        """What undoes it."""
        return _Ask(self.key, -self.amount, self.capacity, self.rate_per_s, is_due=is_due)

    def fail(self, error: LedgerError) -> None:
        """Tells who waits; an error of its own for each: a raised one belongs to who catches it."""
        if self.future is not None and not self.future.done():
            copy = LedgerError(error.message, retry_safe=error.retry_safe)
            copy.__cause__ = error.__cause__
            self.future.set_exception(copy)


class _Line:
    """What waits on one event loop, the task that carries it, and the bell that wakes it."""

    __slots__ = ("bell", "loop", "sent", "task", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bell = asyncio.Event()
        self.waiting: deque[_Ask] = deque()
        self.sent: list[_Ask] = []
        self.task: asyncio.Task[None]

    def fail(self, error: LedgerError) -> None:
        """Tells everybody who waits."""
        for ask in (*self.sent, *self.waiting):
            ask.fail(error)
        self.waiting.clear()


class SharedRates:
    """One per adapter and process; used from any number of event loops, not from a forked child.

    Args:
        url: `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`; options of `redis-py` as a query.
        prefix: Buckets of different prefixes on one server know nothing of each other.
        timeout_s: How long the server may take to connect and to answer.

    Raises:
        ConfigurationError: the URL or the prefix is wrong, or `redis` is not installed.
    """

    __slots__ = ("_closing", "_counts", "_lines", "_place", "_prefix", "_states", "_timeout_s")

    def __init__(self, url: str, *, prefix: str = "genops:rate", timeout_s: float = TIMEOUT_S) -> None:
        if importlib.util.find_spec("redis") is None:
            raise ConfigurationError("shared rates need redis: pip install 'genops-helicone-async[redis]'")
        if not prefix or set(prefix) & set("{}"):
            raise ConfigurationError("`prefix` of shared rates must be a text without braces")
        try:
            self._place = server_place(url)
        except ValueError:
            # The text of the error would quote the URL, or the part of a password that was taken for a port.
            raise ConfigurationError(
                "the URL of the shared rates is no valid Redis URL: write it as redis://user:password@host:6379/0"
            ) from None
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        self._states: dict[bytes, State] = {}
        self._counts = {"reserved": 0, "given_back": 0, "exchanges": 0, "failures": 0}
        self._closing = False

    def __repr__(self) -> str:
        told = self.statistics()
        return f"SharedRates({self._place.location!r}, {told.reserved} reserved, {told.waiting} waiting)"

    def statistics(self) -> SharedRatesStatistics:
        """Counts since this process began."""
        waiting = sum(len(line.waiting) + len(line.sent) for line in tuple(self._lines.values()))
        return SharedRatesStatistics(**self._counts, waiting=waiting)

    async def reserve(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> float:
        """Seconds to wait, from when this returns, before `amount` of the bucket may be used; 0.0 now.

        Another capacity or rate holds for this and all following reservations; what is reserved stays as it was told.
        Cancelled, it gives back what it took, in the background; after an error it may have taken it nevertheless.

        Raises:
            LedgerError: the server cannot be used.
            ValueError: a figure is not finite or too small.
        """
        return await self._answer(self._ask(name, amount, capacity, rate_per_s))

    async def give_back(
        self, name: str, amount: float, *, capacity: float, rate_per_s: float, is_due: bool = False
    ) -> None:
        """Returns what was reserved and not used; what the bucket could not have held is lost.

        With `is_due` the moment of its reservation has come (a call that used less than it reserved), and the next who
        asks may use it at once. Without, it may be still to come, and it is usable behind all that is given out.
        Cancelled, it is done nevertheless, in the background.

        Raises:
            LedgerError: the server cannot be used; whether it was given back is not known, it is not said again.
            ValueError: a figure is not finite or too small.
        """
        ask = self._ask(name, amount, capacity, rate_per_s)
        await self._answer(ask.returned(is_due=is_due))

    def return_later(self, name: str, amount: float, *, capacity: float, rate_per_s: float) -> None:
        """As `give_back` of what is due, in the background; what cannot be carried out is lost."""
        if not self._closing:
            self._put(self._ask(name, amount, capacity, rate_per_s).returned(is_due=True))

    async def aclose(self) -> None:
        """Carries what is still to be given back and ends the task; those of other loops end by themselves, soon.

        Afterwards it can be used again.
        """
        self._closing = True
        try:
            own = asyncio.get_running_loop()
            while line := self._lines.get(own):
                line.bell.set()
                await asyncio.wait([line.task])
            for line in tuple(self._lines.values()):
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    line.loop.call_soon_threadsafe(line.bell.set)
        finally:
            self._closing = False

    def _ask(self, name: str, amount: float, capacity: float, rate_per_s: float) -> _Ask:
        if not (0 < capacity < math.inf and 0 < rate_per_s < math.inf and 0 <= amount < math.inf):
            raise ValueError(f"no rate: {amount=}, {capacity=}, {rate_per_s=} must be finite, the last two above 0")
        if max(amount, capacity) > LONGEST_S * rate_per_s:
            raise ValueError(f"{rate_per_s=} is too small for {amount=} and {capacity=}: it would take years")
        key = f"{{{self._prefix}}}:{name}".encode("utf-8", "backslashreplace")
        return _Ask(key, float(amount), float(capacity), float(rate_per_s))

    async def _answer(self, ask: _Ask) -> float:
        if self._closing:
            raise LedgerError("the shared rates are being closed")
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        ask.future = future
        self._put(ask)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and ask.amount > 0:
                self._put(ask.returned())  # the answer had come and was not looked at yet
            raise

    def _put(self, ask: _Ask) -> None:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            for other in [other for other in tuple(self._lines) if other.is_closed()]:
                self._lines.pop(other, None)
            line = self._lines[loop] = _Line(loop)
            # A context of its own: the first caller's span must not live on in here.
            line.task = loop.create_task(self._carry(line), name="genops shared rates", context=contextvars.Context())
        line.waiting.append(ask)
        line.bell.set()

    async def _carry(self, line: _Line) -> None:
        connection = Connection(self._place, self._timeout_s)
        try:
            while line.waiting or (not self._closing and await self._listen(line)):
                await self._exchange(line, connection)
        finally:
            # Before the connection's end is awaited: whoever comes from here on starts a new line.
            self._lines.pop(line.loop, None)
            line.fail(LedgerError("the shared rates were closed"))
            await connection.aclose()

    async def _listen(self, line: _Line) -> bool:
        """Waits for something to do; whether there is."""
        line.bell.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await line.bell.wait()
        return bool(line.waiting)

    async def _exchange(self, line: _Line, connection: Connection) -> None:
        while line.waiting and len(line.sent) < MOST_AT_ONCE:
            ask = line.waiting.popleft()
            if not ask.is_pointless:
                line.sent.append(ask)
        if not line.sent:
            return
        numbers: dict[bytes, int] = {}
        asks = [
            (numbers.setdefault(ask.key, len(numbers) + 1), ask.amount, ask.capacity, ask.rate_per_s / 1e6, ask.is_due)
            for ask in line.sent
        ]
        keys = list(numbers)
        self._counts["exchanges"] += 1
        try:
            waits_us, states = await connection.share(keys, asks, [self._states.get(key) for key in keys])
        except LedgerError as error:
            self._counts["failures"] += 1
            line.fail(error)
        else:
            self._remember(keys, states)
            self._tell(line, waits_us)
        line.sent = []

    def _remember(self, keys: list[bytes], states: list[State]) -> None:
        if len(self._states) > KEPT_STATES:
            self._states.clear()
        for key, state in zip(keys, states, strict=True):
            self._states[key] = state.copy()  # without the answer that it is a part of

    def _tell(self, line: _Line, waits_us: list[float]) -> None:
        for ask, wait_us in zip(line.sent, waits_us, strict=True):
            self._counts["reserved" if ask.amount >= 0 else "given_back"] += 1
            if ask.is_pointless:
                line.waiting.appendleft(ask.returned())
            elif ask.future is not None and not ask.future.done():
                ask.future.set_result(wait_us / 1e6)


__all__ = ["SharedRates", "SharedRatesStatistics"]

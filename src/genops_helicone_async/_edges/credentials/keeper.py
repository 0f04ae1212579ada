"""Keeps a credential's token: fetched once for everybody who waits, renewed ahead of its end, replaced if refused.

A keeper serves every event loop and thread of an adapter. A fetch is a task of the loop that needed it first; it is
nobody's in particular, so that a cancelled call takes no token from the others.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import msgspec

from ..._rules.token_life import TokenLife, life_of
from ..._values import HttpReply, HttpRequest
from ..._wire.oauth import Grant
from ...errors import AuthenticationError, DeadlineExceededError

FETCH_TIMEOUT_S = 30.0
_PAUSE_S = 5.0
"""After a renewal that failed while the token still serves."""
_HOPELESS_S = 10.0
"""For how long a fresh token that was refused at once is not replaced: it is not the token's fault."""


class Sender(Protocol):
    """What sends; every failure is a `HeliconeError`, the deadline is on the event loop's clock."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Sends the request and reads the whole reply."""
        ...


class TokenSource(Protocol):
    """Where tokens come from."""

    @property
    def place(self) -> str:
        """What messages call it, such as its URL."""
        ...

    async def fetch(self, sender: Sender, deadline: float) -> Grant:
        """A new token; raises `AuthenticationError` where there is none."""
        ...


class TokenStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens asked for, those that did not come, those refused; seconds that the current one still serves, or None."""

    fetches: int
    failures: int
    refusals: int
    serves_s: float | None


class Token(msgspec.Struct, kw_only=True, eq=False):
    """A token in use. `proven`: it was accepted; `replaces_refused`: it was fetched for the one before was refused."""

    text: str
    life: TokenLife
    fetched_at_s: float
    replaces_refused: bool
    proven: bool = False

    def __repr__(self) -> str:
        return f"Token(<secret>, proven={self.proven})"


class _Flight:
    """A fetch under way and what came of it: a token, an error, or None where its loop gave up."""

    __slots__ = ("began_s", "landed", "loop", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, began_s: float) -> None:
        self.loop = loop
        self.began_s = began_s
        self.landed: Future[Token | Exception | None] = Future()
        self.landed.set_running_or_notify_cancel()  # from here on who waits cannot cancel it for the others
        self.task: asyncio.Task[None] | None = None

    def is_lost(self, now_s: float) -> bool:
        """Whether it will never land: its loop was closed, or stopped and forgotten."""
        return self.loop.is_closed() or now_s - self.began_s > 2 * FETCH_TIMEOUT_S


class TokenKeeper:
    """The token of one credential. `clock` is a steady one, in seconds, the same in every thread."""

    __slots__ = ("_clock", "_counts", "_flight", "_lock", "_not_before_s", "_replaces_refused", "_source", "_token")

    def __init__(self, source: TokenSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._flight: _Flight | None = None
        self._not_before_s = 0.0
        self._replaces_refused = False
        self._counts = [0, 0, 0]

    def __repr__(self) -> str:
        return f"TokenKeeper({self._source.place}, {self.statistics()})"

    def statistics(self) -> TokenStatistics:
        """What became of the tokens so far."""
        token, (fetches, failures, refusals) = self._token, self._counts
        serves_s = None if token is None else max(0.0, token.life.ends_at_s - self._clock())
        return TokenStatistics(fetches=fetches, failures=failures, refusals=refusals, serves_s=serves_s)

    async def token(self, sender: Sender, deadline: float) -> Token:
        """The token that serves now, at once where there is one; renewed in the background when its end is near.

        Cancelling leaves a fetch under way to the others. `deadline` is on the running loop's clock.

        Raises:
            AuthenticationError: there is none to be had.
            DeadlineExceededError: none came in time.
        """
        while True:
            now, token = self._clock(), self._token
            if token is not None and now < token.life.ends_at_s:
                if token.life.renew_at_s <= now and self._not_before_s <= now:
                    self._flight_under_way(sender)
                return token
            flight = self._flight_under_way(sender)
            try:
                async with asyncio.timeout_at(deadline):
                    result = await asyncio.wrap_future(flight.landed)
            except TimeoutError as exc:
                late = f"no token came from {self._source.place} before the deadline"
                raise DeadlineExceededError(late) from exc
            if isinstance(result, Exception):  # a copy for each: a call writes its own facts on its error
                raise copy.copy(result) from result.__cause__
            if result is not None:
                return result

    def refused(self, token: Token) -> bool:
        """Notes that the token was refused; whether the same call may succeed with the next one."""
        with self._lock:
            self._counts[2] += 1
            if self._token is not token:
                return True  # another has come, or is on its way
            fresh = self._clock() - token.fetched_at_s < _HOPELESS_S
            if token.replaces_refused and not token.proven and fresh:
                return False
            self._token, self._replaces_refused = None, True
            return True

    async def aclose(self) -> None:
        """Gives up what is being fetched on the running loop; calls on other loops fetch for themselves."""
        flight = self._flight
        if flight is None or flight.task is None or flight.loop is not asyncio.get_running_loop():
            return
        flight.task.cancel()
        await asyncio.wait([flight.task])

    def _flight_under_way(self, sender: Sender) -> _Flight:
        """The fetch under way, begun if there is none."""
        with self._lock:
            flight, now = self._flight, self._clock()
            if flight is None or flight.is_lost(now):
                loop = asyncio.get_running_loop()
                flight = self._flight = _Flight(loop, now)
                flight.task = loop.create_task(self._fly(flight, sender))
            return flight

    async def _fly(self, flight: _Flight, sender: Sender) -> None:
        result: Token | Exception | None = None
        self._counts[0] += 1
        try:
            grant = await self._source.fetch(sender, flight.loop.time() + FETCH_TIMEOUT_S)
            result = self._kept(grant, flight)
        except Exception as exc:  # noqa: BLE001  a task's root: those who wait get it
            result = exc
            self._counts[1] += 1
            self._not_before_s = self._clock() + _PAUSE_S
        finally:
            with self._lock:
                if self._flight is flight:
                    self._flight = None
            flight.landed.set_result(result)

    def _kept(self, grant: Grant, flight: _Flight) -> Token:
        with self._lock:
            token = Token(
                text=grant.text,
                life=life_of(flight.began_s, grant.lifetime_s),
                fetched_at_s=self._clock(),
                replaces_refused=self._replaces_refused,
            )
            self._token, self._replaces_refused = token, False
        return token


def no_token(place: str, why: str, **facts: object) -> AuthenticationError:
    """The error of a credential that brought no token."""
    return AuthenticationError(f"no token from {place}: {why}", **facts)  # type: ignore[arg-type]


__all__ = ["FETCH_TIMEOUT_S", "Sender", "Token", "TokenKeeper", "TokenSource", "TokenStatistics", "no_token"]

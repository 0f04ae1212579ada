"""The way to one provider on one event loop: calls wait here for its limits, in fair order, and go on together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping

import msgspec

from ..._rules.adaptive import RateStatistics
from ..._rules.fair_queue import FairQueue, Place
from ..._rules.rate_limits import RateLimits
from ..._rules.told_limits import ToldStatistics
from ...errors import ConfigurationError, DeadlineExceededError, RateLimitExceededError
from .conditions import Conditions
from .found import MOST_UNREAD
from .shared import Store
from .slots import Slots


class GateStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's gate as it stands, times in seconds.

    `entered` counts calls that were let through, `queued` those that had to wait, `queue_wait_s` how long altogether.
    `throttled` counts refusals by the provider, `paused_s` is what is left of the pause it asked for. `rate` is where
    the search for its hidden limit stands, None before the first refusal; `told` are the limits its replies tell, by
    model.
    """

    provider: str
    limits: RateLimits
    in_flight: int = 0
    waiting: int = 0
    entered: int = 0
    queued: int = 0
    queue_wait_s: float = 0.0
    throttled: int = 0
    paused_s: float = 0.0
    rate: RateStatistics | None = None
    told: Mapping[str, tuple[ToldStatistics, ...]] = {}


class _Waiter:
    __slots__ = ("future", "model", "tokens")

    def __init__(self, future: asyncio.Future[None], model: str, tokens: float) -> None:
        self.future = future
        self.model = model
        self.tokens = tokens


class Gate:
    """Where calls to one provider wait: `enter` before each attempt, `leave` after it, exactly once each."""

    __slots__ = ("_clock", "_conditions", "_queue", "_queue_wait_s", "_queued", "_server", "_slots", "_wake")

    def __init__(
        self, provider: str, limits: RateLimits, slots: Slots, clock: Callable[[], float], store: Store | None = None
    ) -> None:
        self._conditions = Conditions(provider, limits, clock, store)
        self._slots = slots
        self._clock = clock
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._server: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._queued = 0
        self._queue_wait_s = 0.0

    def __repr__(self) -> str:
        paused_s, conditions = self.paused_s(), self._conditions
        paused = f", paused for {paused_s:.1f} s" if paused_s else ""
        return f"Gate({conditions.provider}, {conditions.in_flight} in flight, {len(self._queue)} waiting{paused})"

    @property
    def counts_tokens(self) -> bool:
        """Whether `enter` has to know how many tokens a call is likely to take."""
        conditions = self._conditions
        return conditions.has_token_limit or (not conditions.found.is_unlimited and conditions.counts_tokens)

    def is_short(self) -> bool:
        """Whether a call would have to wait."""
        return len(self._queue) > 0 or not self._slots.has_free or not self._conditions.may_go("", 1.0)

    @property
    def is_paused(self) -> bool:
        """Whether the provider has asked to be left alone."""
        found = self._conditions.found
        return not found.is_unlimited and found.paused_s(self._clock()) > 0.0

    def paused_s(self) -> float:
        """What is left of the pause that the provider asked for; 0.0 without one."""
        return self._conditions.found.paused_s(self._clock())

    def enter_nowait(self, model: str, tokens: float) -> bool:
        """Lets a call through where it need not wait; otherwise False, and nothing has changed: then `enter`."""
        slots = self._slots  # without a server nobody waits
        if self._server is None and slots.taken < slots.limit and self._conditions.begin_nowait(model, tokens):
            slots.taken += 1
            return True
        return False

    async def enter(
        self, model: str, tokens: float, *, priority: int, tenant: Hashable, deadline: float, again: bool = False
    ) -> None:
        """Waits for the call's turn; `again` puts it before others of its priority. Cancelling leaves nothing taken.

        Raises:
            DeadlineExceededError: its turn did not come before `deadline` on the loop's clock; nothing was sent.
            RateLimitExceededError: a million calls are waiting already.
        """
        if self.enter_nowait(model, tokens):
            return
        since_s, loop = self._clock(), asyncio.get_running_loop()
        # a repeat has waited once already: half a priority more, and so still behind the next higher one
        place = self._line_up(_Waiter(loop.create_future(), model, tokens), 2 * priority + again, tenant)
        timer = loop.call_at(deadline, self._expire, place)
        try:
            await place.item.future
        except BaseException:
            self._withdraw(place)
            raise
        finally:
            timer.cancel()
        self._queue_wait_s += self._clock() - since_s

    def leave(self, model: str, reserved: float, used: float, *, unsent: bool = False) -> None:
        """The attempt is over: it had reserved so many tokens and used so many; `unsent`: it never went out."""
        slots, conditions = self._slots, self._conditions
        if slots.waiters:
            slots.release()
        else:
            slots.taken -= 1
        conditions.end(model, reserved, used, unsent=unsent)
        if self._wake is not None and conditions.held_by != "pace":  # which other calls' ends do not change
            self._poke()

    def accepted(self) -> None:
        """The provider took a call, whatever came of it."""
        conditions = self._conditions
        if conditions.is_plain:  # nobody asks for that before a refusal
            unread_s = conditions.found.unread_s
            unread_s.append(self._clock())
            if len(unread_s) >= MOST_UNREAD:
                conditions.found.catch_up()
        else:
            conditions.found.accepted(self._clock(), was_paced=conditions.held_by == "pace")

    def refused(self, model: str, started_s: float, retry_after_s: float | None) -> None:
        """The provider refused a call that began at `started_s`, because there were too many."""
        self._conditions.refused(model, started_s, retry_after_s)

    def heard(self, model: str, headers: Mapping[str, str]) -> None:
        """Looks at a reply's headers for limits of the provider's own."""
        conditions, now_s = self._conditions, self._clock()
        if now_s >= conditions.found.look_s:
            conditions.heard(model, headers, now_s)

    def configure(self, limits: RateLimits) -> None:
        """Other limits from now on; who waits keeps its place."""
        if limits != self._conditions.limits:
            self._conditions.configure(limits)
            self._stop_serving()  # it may be waiting for the old limit
            if self._queue:
                self._start_serving()

    def close(self) -> None:
        """Whoever waits is told that the adapter is closed."""
        self._stop_serving()
        for place in self._queue.drain():
            if not place.item.future.done():
                why = "the adapter was closed while the call waited for its turn: close it when all are done"
                place.item.future.set_exception(ConfigurationError(why))

    def statistics(self) -> GateStatistics:
        """The gate as it stands."""
        conditions, found = self._conditions, self._conditions.found
        return GateStatistics(
            provider=conditions.provider,
            limits=conditions.limits,
            in_flight=conditions.in_flight,
            waiting=len(self._queue),
            entered=conditions.entered,
            queued=self._queued,
            queue_wait_s=self._queue_wait_s,
            throttled=found.throttled,
            paused_s=self.paused_s(),
            rate=found.rate(),
            told=found.told(),
        )

    def _line_up(self, waiter: _Waiter, priority: int, tenant: Hashable) -> Place[_Waiter]:
        try:
            place = self._queue.push(waiter, tenant=tenant, priority=priority)
        except OverflowError as exc:
            why = f"{exc}: begin fewer at once, for example with chat_many"
            raise RateLimitExceededError(why, provider=self._conditions.provider, limited_by="client") from exc
        self._queued += 1
        if self._server is None:
            self._start_serving()
        elif self._queue.head() is place:
            self._poke()
        return place

    def _expire(self, place: Place[_Waiter]) -> None:
        """Its deadline has come: it is told so, unless it was just let through."""
        if self._take_out(place) and not place.item.future.done():
            told = ", ".join([f"{len(self._queue)} others wait", *self._conditions.told()])
            why = (
                f"the deadline passed while this call waited for its turn at {self._conditions.provider} ({told}): "
                "raise timeout_seconds, the limits or max_connections"
            )
            place.item.future.set_exception(DeadlineExceededError(why))

    def _withdraw(self, place: Place[_Waiter]) -> None:
        """It waits no longer, or was told why; if it had just been let through, it gives everything back."""
        waiter, future = place.item, place.item.future
        if not self._take_out(place) and future.done() and not future.cancelled() and future.exception() is None:
            self.leave(waiter.model, waiter.tokens, 0.0, unsent=True)

    def _take_out(self, place: Place[_Waiter]) -> bool:
        if not self._queue.cancel(place):
            return False
        if self._queue:
            self._poke()  # the next one may need less than this one waited for
        else:
            self._stop_serving()
        return True

    def _start_serving(self) -> None:
        self._server = asyncio.get_running_loop().create_task(self._serve())

    def _stop_serving(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.cancel()

    async def _serve(self) -> None:
        """Lets one call after the other through, in the queue's order, while any wait."""
        conditions, slots, has_slot = self._conditions, self._slots, False
        try:
            while (place := self._queue.head()) is not None:
                waiter = place.item
                held_s = conditions.held_s(waiter.model, waiter.tokens)
                if held_s != 0.0 or not conditions.is_ready(waiter.tokens):
                    if has_slot:  # others may need it meanwhile
                        slots.release()
                        has_slot = False
                    await self._nap(await conditions.get_ready(waiter.tokens) if held_s == 0.0 else held_s)
                elif not has_slot:
                    if not slots.take_nowait():
                        await slots.take(None)
                    has_slot = True
                else:
                    self._queue.pop()
                    if not waiter.future.done():
                        has_slot = False
                        conditions.begin(waiter.model, waiter.tokens)
                        waiter.future.set_result(None)
            self._server = None
        except Exception as exc:
            for place in self._queue.drain():
                if not place.item.future.done():
                    place.item.future.set_exception(exc)
            self._server = None
            raise
        finally:
            if has_slot:
                slots.release()

    async def _nap(self, seconds: float | None) -> None:
        """Sleeps so long, None for ever, or until `_poke`."""
        if seconds == 0.0:
            return
        loop = asyncio.get_running_loop()
        self._wake = wake = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._poke)
        try:
            await wake
        finally:
            if timer is not None:
                timer.cancel()

    def _poke(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


__all__ = ["Gate", "GateStatistics"]

"""A call that was made before, or is being made: it is answered with that answer, and costs nothing.

Before anything is set aside or sent. A call that finds nothing leads: its answer is kept, and given to identical
calls that came meanwhile. Streams are kept and given again, too, but nobody waits for one that is being read: it goes
as fast as its reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING

from .._rules.cache_keys import Place, call_key, normalised
from .._rules.cached_answers import Answer, Later
from .._values import Currency
from ..errors import HeliconeError
from ..models import HeliconeResponse, StreamChunk
from .attempt import encode
from .caching import AnswerCache, Caching
from .flights import Flight, Turn
from .replayed import How, Replay, answer_of, replay_of
from .sinks import Sinks
from .ticket import Outcome, Target, Ticket, record_of

if TYPE_CHECKING:
    from ..chat_request import ChatRequest

GOODBYE_S = 2.0
"""How long closing waits for answers that are being kept."""


class Lead:
    """What a call that asks a provider does for others; `chunks` collects those of a stream. It ends once."""

    __slots__ = ("_cache", "_flight", "_key", "_replays", "chunks")

    def __init__(self, replays: Replays, cache: AnswerCache, key: bytes, flight: Flight | None) -> None:
        self._replays = replays
        self._cache = cache
        self._key = key
        self._flight = flight
        self.chunks: list[StreamChunk] = []

    def land(self, outcome: Outcome) -> None:
        """The call was answered: the answer is kept, if it is whole, and given to who waits for it."""
        flight, answer = self._flight, answer_of(self._key, outcome, self.chunks, self._cache.now_s())
        if answer is None:
            if flight is not None:
                flight.release()
            return
        if flight is not None:
            flight.land(answer)
        self._replays.keep(self._cache, answer, flight)

    def give_up(self, exc: BaseException | None) -> None:
        """The call was not answered: somebody else is to ask. Its error is its own."""
        flight = self._flight
        if flight is None:
            return
        if isinstance(exc, HeliconeError):
            flight.failed()
        else:
            flight.hand_over()


class Replays:
    """Answers given again on one event loop. `clock` is that loop's, `new_id` names calls that send nothing."""

    __slots__ = ("_caching", "_clock", "_currency", "_flights", "_new_id", "_sinks", "_writing")

    def __init__(
        self,
        caching: Caching,
        sinks: Sinks,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        currency: Currency,
    ) -> None:
        self._caching = caching
        self._sinks = sinks
        self._clock = clock
        self._new_id = new_id
        self._currency = currency
        self._flights: dict[bytes, Flight] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Replays({self._caching!r}, {len(self._flights)} in flight, {len(self._writing)} being kept)"

    async def find(self, ticket: Ticket, targets: Sequence[Target], *, streamed: bool = False) -> Replay | None:
        """The answer, if there is one; else None, and the ticket has the lead if the call may be cached.

        Raises:
            DeadlineExceededError: an identical call took too long.
        """
        cache = self._caching.current
        if cache is None or ticket.request.cache is False:
            return None
        key = key_of(cache, ticket, targets, streamed=streamed)
        if key is None:
            return None
        flight = self._flights.get(key)
        if flight is None:
            return await self._look_up(cache, key, ticket, streamed=streamed)
        if flight.landed is not None:
            return self._given(cache, key, ticket, flight.landed, "hit")
        told = await flight.join(ticket.deadline)
        if isinstance(told, Answer):
            return self._given(cache, key, ticket, told, "joined")
        self._lead(cache, key, ticket, flight if told is Turn.LEAD else None)
        return None

    def settle(self, ticket: Ticket, replay: Replay) -> HeliconeResponse:
        """Books a call that cost nothing. No await, so nothing can tear it."""
        ticket.settled = True
        ticket.routing = replay.response.routing
        ticket.hold.settle(ticket.rows, failed=False, cached=True, saved_pusd=replay.saved_pusd)
        if self._caching.current is not None:
            self._caching.current.count("hits" if replay.how == "hit" else "joined", replay.saved_pusd)
        response, saved_pusd = replay.response, replay.saved_pusd
        self._sinks.emit(record_of(ticket, self._clock(), response=response, saved_pusd=saved_pusd))
        return response

    def keep(self, cache: AnswerCache, answer: Answer, flight: Flight | None) -> None:
        """Has an answer kept; until the store has it, the flight does."""
        value = cache.keep_nowait(answer)
        if value is None:
            if flight is not None:
                flight.end()
            return
        if flight is None and answer.key not in self._flights:  # a stream, which nobody waits for
            flight = Flight(self._flights, answer.key)
            flight.land(answer)
        # A context of its own: the caller's span must not live on in here.
        task = asyncio.get_running_loop().create_task(cache.keep(answer.key, value), context=Context())
        self._writing.add(task)

        def kept(done: asyncio.Task[None]) -> None:
            self._writing.discard(done)
            if flight is not None:
                flight.end()

        task.add_done_callback(kept)

    def cancel(self, error: HeliconeError) -> None:
        """Nobody waits for others any more: the adapter is being closed."""
        for flight in tuple(self._flights.values()):
            flight.cancel(error)

    async def aclose(self) -> None:
        """Waits a moment for what is being kept."""
        if self._writing:
            _, late = await asyncio.wait(tuple(self._writing), timeout=GOODBYE_S)
            for task in late:
                task.cancel()

    async def _look_up(self, cache: AnswerCache, key: bytes, ticket: Ticket, *, streamed: bool) -> Replay | None:
        """Looks in the store; whoever asks for the same meanwhile waits for what comes of it."""
        found = cache.find_nowait(key)
        if isinstance(found, Later):
            flight = None if streamed else Flight(self._flights, key)
            ticket.lead = Lead(self, cache, key, flight)
            found = await cache.find(key, max(0.0, ticket.deadline - self._clock()))
            if found is not None and flight is not None:
                flight.land(found)
                flight.end()
        if found is not None:
            return self._given(cache, key, ticket, found, "hit")
        if ticket.lead is None:
            self._lead(cache, key, ticket, None if streamed else Flight(self._flights, key))
        else:
            cache.count("misses")
        return None

    def _given(self, cache: AnswerCache, key: bytes, ticket: Ticket, answer: Answer, how: How) -> Replay | None:
        """The answer as this call's; where it does not fit, the call asks for itself."""
        replay = replay_of(
            answer,
            how,
            ticket.request,
            request_id=self._new_id(),
            store=cache.store.name,
            age_s=max(0.0, cache.now_s() - answer.kept_at_s),
            duration_s=self._clock() - ticket.started,
            currency=self._currency,
        )
        if replay is None:
            self._lead(cache, key, ticket, None)
            return None
        ticket.lead = None
        return replay

    def _lead(self, cache: AnswerCache, key: bytes, ticket: Ticket, flight: Flight | None) -> None:
        cache.count("misses")
        ticket.lead = Lead(self, cache, key, flight)


def key_of(cache: AnswerCache, ticket: Ticket, targets: Sequence[Target], *, streamed: bool) -> bytes | None:
    """The key of a call; None where it has none, because something in it cannot be written down.

    What is wrong with such a call its own attempt will say.
    """
    request = ticket.request
    try:
        seen = normalised(request) if cache.strategy == "content_hash" else request
        places = [_place(seen, target, streamed=streamed) for target in targets]
        return call_key(cache.strategy, seen, ticket.attribution, places, streamed=streamed, account=cache.account)
    except (HeliconeError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _place(request: ChatRequest, target: Target, *, streamed: bool) -> Place:
    endpoint = target.endpoint
    return Place(
        provider=endpoint.provider,
        model=endpoint.model,
        dialect=endpoint.dialect,
        shape=endpoint.shape,
        url=endpoint.chat_url,
        wire_model=endpoint.wire_model,
        headers=endpoint.headers,
        body=encode(request, endpoint, stream=streamed),
    )


__all__ = ["GOODBYE_S", "Lead", "Replays", "key_of"]

"""The way in: attribution, who could answer, the cache, the budget's hold. The way out: everything is given back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import msgspec

from ..chat_request import ChatRequest, EmbedRequest
from ..errors import BudgetExceededError, ConfigurationError, HeliconeError
from .affordable import cases_of
from .in_time import in_time
from .ticket import Target, Ticket, record_of

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .replayed import Replay


class Admission(msgspec.Struct, eq=False):
    """`with` around one call: `ticket` inside; outside nothing of it remains, however it ended.

    Nearly every call can be admitted without waiting. Where one cannot, `is_whole` is False inside, and `complete` has
    to be awaited first; `async with` does both. `replay` is the answer where a cache has it: then nothing is set
    aside, and nobody is to be asked. `targets` are those who could answer.
    """

    pipeline: Pipeline
    request: ChatRequest
    streamed: bool = False
    replay: Replay | None = None
    is_whole: bool = False
    targets: list[Target] = []
    ticket: Ticket = cast("Ticket", None)  # there is one inside

    def __enter__(self) -> Self:
        """Admits the call as far as nothing has to be waited for.

        Raises:
            ConfigurationError: it names something unknown.
        """
        pipeline, request = self.pipeline, self.request
        if request.cache or request.custom_metrics:
            self._refuse_what_is_not_there()
        started = pipeline.clock()
        merged, headers = pipeline.attribution.of(request)
        hold = pipeline.budget.open(merged, enforce=request.enforce_budget)
        self.ticket = ticket = Ticket(
            request=request,
            attribution=merged,
            headers=headers,
            started=started,
            deadline=started + (request.timeout_seconds or pipeline.settings.timeout_s),
            hold=hold,
        )
        pipeline.in_flight.add(self)
        try:
            self.targets = targets = pipeline.candidates.of_nowait(request)
            if targets and pipeline.caching.current is None and pipeline.audit is None:
                target = targets[0]
                ticket.meant = target.endpoint
                if request.max_cost is not None or (hold.is_limited and len(targets) > 1):
                    self.is_whole = self._set_aside_nowait(ticket)
                elif hold.is_limited and (worst := pipeline.estimates.worst_case_pusd(request, target)) is not None:
                    self.is_whole = hold.raise_nowait(worst)
                else:
                    self.is_whole = not hold.is_limited or self._set_aside_nowait(ticket)
        except BaseException as exc:
            self.close(exc)
            raise
        return self

    def _refuse_what_is_not_there(self) -> None:
        pipeline, request = self.pipeline, self.request
        caching = pipeline.caching.current is not None
        if request.cache and (not caching or isinstance(request, EmbedRequest)):
            why = "this adapter has none: call enable_caching, or" if not caching else "embeddings have none:"
            raise ConfigurationError(f"`cache` is True, but {why} leave it out")
        if request.custom_metrics:
            pipeline.custom_metrics.check(request.custom_metrics)

    async def complete(self) -> None:
        """Waits for what admission needs and could not have at once: prices, a cache, the budgets' store, the log.

        Raises:
            ConfigurationError: the call names something unknown.
            BudgetExceededError: a budget has no room for its worst case.
            DeadlineExceededError: its turn did not come in time.
            PolicyDeniedError: the adapter's policy refuses it, or it cannot be recorded as it has to be.
        """
        pipeline, request, ticket = self.pipeline, self.request, self.ticket
        self.targets = self.targets or await pipeline.candidates.of(request, ticket.deadline)
        ticket.meant = self.targets[0].endpoint
        if pipeline.caching.current is not None and not isinstance(request, EmbedRequest):
            self.replay = await pipeline.replays.find(ticket, self.targets, streamed=self.streamed)
        if self.replay is None and (ticket.hold.is_limited or request.max_cost is not None):
            await self._set_aside(ticket)
        if pipeline.audit is not None:
            await pipeline.audit.admit(ticket, self.targets)
        self.is_whole = True

    async def __aenter__(self) -> Self:
        """Admits the call, whatever has to be waited for; raises what `complete` does."""
        self.__enter__()
        if not self.is_whole:
            try:
                await self.complete()
            except BaseException as exc:
                self.close(exc)
                raise
        return self

    def _set_aside_nowait(self, ticket: Ticket) -> bool:
        """Holds the worst case of the dearest candidate; False where a store has to be asked or there is no room."""
        targets = self.targets
        cases = cases_of(ticket, targets, self.pipeline.estimates, self.pipeline.currency)
        try:
            is_held = ticket.hold.raise_nowait(max([cost for _, cost in cases]))
        except BudgetExceededError:  # perhaps not for all of them: `_set_aside` looks
            return False
        if is_held and len(cases) < len(targets):
            self.targets = [target for target, _ in cases]
        return is_held

    async def _set_aside(self, ticket: Ticket) -> None:
        """Holds the worst case of the dearest candidate that the budgets have room for; dearer ones drop out."""
        pipeline, hold = self.pipeline, ticket.hold
        cases = cases_of(ticket, self.targets, pipeline.estimates, pipeline.currency)
        for total in sorted({cost for _, cost in cases}, reverse=True):
            try:
                if not hold.raise_nowait(total):
                    await in_time(hold.raise_to(total), ticket.deadline, "its budget was asked")
            except BudgetExceededError as exc:
                refusal = exc
            else:
                self.targets = [target for target, cost in cases if cost <= total]
                return
        raise refusal

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the admission; where the call was not settled, settles it as failed."""
        ticket, pipeline = self.ticket, self.pipeline
        pipeline.in_flight.discard(self)
        ticket.end_turn()
        if not ticket.settled:
            ticket.settled = True
            ticket.durable = ticket.hold.settle(ticket.rows, failed=exc is not None, cached=False)
            if isinstance(exc, HeliconeError):
                exc.attempts = tuple(ticket.attempts)
            pipeline.sinks.emit(record_of(ticket, pipeline.clock(), error=exc))
        if (lead := ticket.lead) is not None:
            ticket.lead = None
            lead.give_up(exc)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The same; it never waits."""
        self.__exit__(kind, exc, trace)

    def close(self, exc: BaseException | None) -> None:
        """The same; safe to call more than once. A stream that its reader left on purpose has not failed."""
        self.__exit__(None, exc, None)


__all__ = ["Admission"]

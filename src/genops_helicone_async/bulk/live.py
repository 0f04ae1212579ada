"""Rows answered by this process, through its adapter: waits out an outage and stops at the money wall."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from .. import (
    BulkResult,
    ChatRequest,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    HeliconeResponse,
)
from .._flow.checks import check_providers
from ..errors import Attempt, BudgetExceededError, LedgerError
from .outage import Outage, is_lost, is_unreached
from .output_lines import answered_line, output_line
from .ports import Outcome
from .rows import Row
from .tally import attempts_of
from .unsent import UnsentError
from .wall import Wall
from .workers import Workers

WAIT_FOR_GATEWAY_S = 600.0
_LOOK_S = 2.0
_PAUSE_S = 0.25
_ANSWERED = frozenset({"ok", "key_refused", "unsupported"})
_MOST_ASKED = 8
_STRIKES = 1
"""How often a row may find nobody while others are answered, before it fails: then it is its own provider's trouble."""


def _say_nothing(text: str) -> None:
    pass


class LiveRows:
    """An `Executor`: at most `max_in_flight` calls at once, each with the deadline, retries and failover of a chat.

    While nobody can be reached, rows wait, up to `wait_s` seconds; then they are given back. So are rows that a budget
    has no room for, and no more are taken. `note` is told of both. `stopped` is why it took no more. With `is_limited`
    budgets hold for rows, too, that say `enforce_budget: false`, and lost replies count with the most they may cost.
    """

    __slots__ = (
        "_adapter", "_before_repeat", "_found_away", "_have_answered", "_is_limited", "_looked_at", "_looking",
        "_max_in_flight", "_note", "_outage", "_pipeline", "_wall", "stopped",
    )  # fmt: skip

    def __init__(
        self, adapter: GenOpsHeliconeAsyncAdapter, *, max_in_flight: int = 256, wait_s: float = WAIT_FOR_GATEWAY_S,
        note: Callable[[str], None] = _say_nothing, clock: Callable[[], float] = time.monotonic,
        is_limited: bool = False,
    ) -> None:  # fmt: skip
        self._adapter = adapter
        self._max_in_flight = max_in_flight
        self._note = note
        self._outage = Outage(wait_s, note, clock)
        self._wall = Wall()
        self._before_repeat: Callable[[Row], Awaitable[None]] | None = None
        self._is_limited = is_limited
        self._looking = asyncio.Lock()
        self._looked_at = -1.0
        self._have_answered: set[str] = set()
        self._found_away = False
        self.stopped: str | None = None

    @property
    def window(self) -> int:
        """How many rows are out at once at most."""
        return self._max_in_flight

    def tell_repeats_to(self, before_repeat: Callable[[Row], Awaitable[None]]) -> None:
        """Has this awaited with a row whose last try may be billed, before it is tried once more."""
        self._before_repeat = before_repeat

    @asynccontextmanager
    async def outcomes(self, rows: AsyncIterator[Row]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """As `Executor` has it."""
        self._pipeline = pipeline = self._adapter._pipeline()
        workers = Workers(rows, self._outcome, self._max_in_flight, lambda: self.stopped is not None)
        estimates = pipeline.estimates
        before, estimates.fears_for_lost = estimates.fears_for_lost, self._is_limited or estimates.fears_for_lost
        try:
            yield workers.outcomes()
        finally:
            await workers.aclose()
            estimates.fears_for_lost = before

    async def _outcome(self, row: Row) -> Outcome:
        request = row.request
        if self._is_limited and request.enforce_budget is False:  # the job's limit holds for every row
            request = msgspec.structs.replace(request, enforce_budget=None)
        try:
            response = await self._run(row, request)
        except ConfigurationError as exc:
            if row.is_default_target:
                raise  # so it would be with every row
            return failed_outcome(row, request, exc)
        except Exception as exc:  # noqa: BLE001  every row's error is an outcome of its own
            return failed_outcome(row, request, exc)
        return Outcome(
            line=row.line, custom_id=row.custom_id, kind="answered", data=answered_line(row, response),
            attempts=response.attempts,
        )  # fmt: skip

    async def _run(self, row: Row, request: ChatRequest) -> HeliconeResponse:
        """One call, until it is answered or has failed for a reason of its own."""
        lost: list[Attempt] = []
        error: HeliconeError | None = None
        try:
            if not self._outage.is_open:  # nearly always: and then nothing is between the row and its call
                try:
                    return await self._sent(request)
                except HeliconeError as exc:
                    error = exc
            response = await self._answer(row, request, lost, error)
        except UnsentError as exc:
            self.stopped = exc.message
            if lost:  # what was sent before may be billed: it failed, and is not given back
                raise HeliconeError(exc.message, attempts=tuple(lost), billed="maybe") from exc
            raise
        except HeliconeError as exc:
            exc.attempts = (*lost, *exc.attempts)
            raise
        return msgspec.structs.replace(response, attempts=(*lost, *response.attempts)) if lost else response

    async def _answer(
        self, row: Row, request: ChatRequest, lost: list[Attempt], error: HeliconeError | None
    ) -> HeliconeResponse:
        """Tries, or goes on after an error, as long as it is worth it; `lost` gets attempts that may be billed."""
        strikes = 0
        is_away = error is not None and await self._is_away(error, was_asking=False)
        while True:
            if error is not None:
                known = len(lost)
                strikes += await self._endured(error, lost, strikes, is_away=is_away)
                if len(lost) > known and self._before_repeat is not None:
                    await self._before_repeat(row)
            is_asking = await self._outage.enter()
            try:
                return await self._sent(request)
            except HeliconeError as exc:
                error = exc
                is_away = await self._is_away(exc, was_asking=is_asking)
            finally:
                self._outage.leave(was_asking=is_asking)

    async def _endured(self, error: HeliconeError, lost: list[Attempt], strikes: int, *, is_away: bool) -> int:
        """Returns when another try is worth it, 1 if that is the row's last; raises the error where none is."""
        is_last = not is_away and is_unreached(error) and strikes < _STRIKES
        if _is_refusal(error):
            await self._no_room(error)
            return 0
        if not is_away and not is_last:
            raise error
        lost += [attempt for attempt in error.attempts if attempt.billed == "maybe"]
        if is_last:  # the others are answered: once more, and then it fails
            await asyncio.sleep(_PAUSE_S)
        return int(is_last)

    async def _sent(self, request: ChatRequest) -> HeliconeResponse:
        """One try."""
        self._wall.enter()
        try:
            response = await self._pipeline.run(request)
        except BaseException as exc:
            self._wall.leave(exc)
            raise
        self._wall.leave()
        self._outage.reached()
        if len(self._have_answered) < _MOST_ASKED:
            self._have_answered.add(response.provider)
        return response

    async def worst_case_pusd(self, request: ChatRequest) -> int:
        """The most that one try of a row may cost, in pico-dollars, as far as prices are known.

        That is each of its targets once: a try goes on to the next where one was lost after sending, and asks nobody
        again who may have been paid.
        """
        pipeline = self._adapter._pipeline()
        try:
            targets = await pipeline.candidates.of(request)
        except HeliconeError:
            return 0
        return sum(pipeline.estimates.worst_case_pusd(request, target) or 0 for target in targets)

    async def _no_room(self, exc: HeliconeError) -> None:
        was_reached = self._wall.reached is not None
        try:
            await self._wall.refused(exc)
        except UnsentError:
            if not was_reached:
                self._note(f"stopping: {exc.message}; calls on their way are finished")
            raise

    async def _is_away(self, error: HeliconeError, *, was_asking: bool) -> bool:
        """Whether the call failed because nobody can be reached; then the row is to try again, and wait before that."""
        if isinstance(error, LedgerError) and is_unreached(error):
            self._outage.begin(error.message)
            return True
        if not is_unreached(error) and not is_lost(error):
            if any(attempt.http_status is not None for attempt in error.attempts):
                self._outage.reached()
            return False
        failed_at = time.monotonic()
        async with self._looking:
            if self._outage.is_open and not was_asking:
                return True
            if self._looked_at < failed_at:
                self._found_away = await self._nobody_answers()
                self._looked_at = time.monotonic()
            if self._found_away:
                self._outage.begin(error.message)
            else:
                self._outage.reached()
            return self._found_away

    async def _nobody_answers(self) -> bool:
        """Asks all providers something that costs nothing."""
        checks = await check_providers(self._adapter._pipeline(), _LOOK_S, others=self._have_answered)
        return not any(check.status in _ANSWERED for check in checks.values())


def _is_refusal(error: HeliconeError) -> bool:
    """Whether a budget had no room, and nothing was paid before it was found out."""
    if not isinstance(error, BudgetExceededError) or error.scope == "request":
        return False
    return all(attempt.billed == "no" for attempt in error.attempts)


async def check_target(adapter: GenOpsHeliconeAsyncAdapter, defaults: Mapping[str, Any]) -> None:
    """Finds out whether the defaults of a job name somebody who can be asked, before anything is touched.

    Raises:
        HeliconeError: they do not.
    """
    if any(name in defaults for name in ("provider", "providers", "model", "model_preferences")):
        await adapter._pipeline().candidates.of(ChatRequest(message="only to see who answers", **defaults))


def failed_outcome(row: Row, request: ChatRequest, error: Exception) -> Outcome:
    """The outcome of a row that has no answer: a failure, or that it was given back."""
    if isinstance(error, UnsentError):
        return Outcome(line=row.line, custom_id=row.custom_id, kind="unsent", reason=error.message)
    result = BulkResult(index=row.line, request=request, error=error)
    return Outcome(
        line=row.line, custom_id=row.custom_id, kind="failed", data=msgspec.json.encode(output_line(row, result)),
        attempts=tuple(attempts_of(result)), error=type(error).__name__, reason=str(error),
    )  # fmt: skip


__all__ = ["WAIT_FOR_GATEWAY_S", "LiveRows", "check_target", "failed_outcome"]

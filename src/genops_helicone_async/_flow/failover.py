"""From target to target until one answers: asks the decision function what to do after each failure, and does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from .._rules.health import HealthBoard
from .._rules.retry import Failure, RetryPolicy, RetryQuota, Stop, decide, repeatable
from .._values import Currency
from ..chat_request import ChatRequest
from ..errors import DeadlineExceededError, HeliconeError, ProviderError, RateLimitExceededError
from .affordable import beyond_max_cost, most_pusd
from .circuits import Circuits, Passage, beyond_deadline
from .estimates import Estimates
from .final_error import final_error
from .in_time import in_time
from .limit_ports import Limits
from .queues import Queues
from .ticket import Outcome, Target, Ticket, Turn

Answer = TypeVar("Answer")
Ask = Callable[[Ticket, Target, float], Awaitable[Answer]]

SHARE_OF_TIME = 2 / 3
"""An attempt's part of the time left while another candidate has not been asked: a hanging provider fails over."""


class Failover:
    """The loop around attempts. `clock` is the event loop's, `random` gives numbers from 0 up to 1."""

    __slots__ = (
        *("_circuits", "_clock", "_currency", "_estimates", "_health", "_limits", "_policy", "_queues", "_quota"),
        "_random",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        quota: RetryQuota,
        clock: Callable[[], float],
        random: Callable[[], float],
        *,
        estimates: Estimates,
        currency: Currency,
        health: HealthBoard,
        limits: Limits,
    ) -> None:
        self._circuits = Circuits(health, clock)
        self._queues = Queues()
        self._health = health
        self._limits = limits
        self._estimates = estimates
        self._currency = currency
        self._policy = policy
        self._quota = quota
        self._clock = clock
        self._random = random

    async def run(self, ticket: Ticket, targets: list[Target], ask: Ask[Answer]) -> Answer:
        """The first answer any target gives, all within the ticket's deadline.

        Raises:
            AllProvidersFailedError: several targets were asked and none answered.
            HeliconeError: the one target's own error, or one that no other target could have cured.
        """
        failures: list[Failure] = []
        at = 0
        try:
            while True:
                passage: Passage = "free"
                target = targets[at]
                if is_late := ticket.failed_pusd > 0 or not self._begin_nowait(ticket, target):
                    if not self._is_open(target):
                        at = await self._open_one(ticket, targets, at, failures)
                        target = targets[at]
                    if ticket.failed_pusd:
                        await self._cover(ticket, target, failures)
                try:
                    until = ticket.deadline if len(targets) == 1 else self._until(ticket, targets, at, failures)
                    if is_late:
                        if not await self._take_turn(ticket, targets, at, until, failures):
                            continue
                        if (passage := self._begin(target)) == "none":
                            ticket.end_turn()
                            continue
                    started = self._clock()
                    try:
                        answer = await ask(ticket, target, until)
                    except BaseException as exc:
                        self._failed(ticket, target, exc, started, passage)
                        raise
                    self._answered(ticket, target, answer, started, passage)
                except HeliconeError as error:
                    ticket.end_turn()
                    failures.append(Failure(candidate=at, error=error, at_s=self._clock()))
                else:
                    self._quota.succeeded(after_retry=ticket.retried)
                    return answer
                at = await self._next(ticket, targets, failures)
        finally:
            failures.clear()  # an error whose traceback holds this frame, and this frame it, would be a cycle

    async def _next(self, ticket: Ticket, targets: list[Target], failures: list[Failure]) -> int:
        """Whom to ask after the last failure, once it is time; raises the call's error where there is nobody."""
        now, policy = self._clock(), self._policy
        if policy.strategy != self._limits.plan.backoff_strategy:
            policy = self._policy = replace(policy, strategy=self._limits.plan.backoff_strategy)
        step = decide(
            failures,
            len(targets),
            now_s=now,
            remaining_s=ticket.deadline - now,
            policy=policy,
            quota=self._quota,
            random=self._random,
            has_fallback=names_fallback(ticket.request),
        )
        if isinstance(step, Stop) or ticket.deadline <= now:
            raise final_error(failures, targets)
        ticket.retried = ticket.retried or step.is_retry
        if step.delay_s > 0:
            await asyncio.sleep(step.delay_s)
        return step.candidate

    async def _open_one(self, ticket: Ticket, targets: list[Target], at: int, failures: list[Failure]) -> int:
        """The target to ask: `at`, or another where that one rests or is paused, and if need be after a wait.

        Others are those not asked yet, and those that may be asked again. Where all rest or are paused, the one that
        is ready first is waited for, if that is before the deadline.
        """
        while True:
            asked, again = {failure.candidate for failure in failures}, repeatable(failures, self._clock())
            left = [at, *(i for i in range(len(targets)) if i != at and (i not in asked or i in again))]
            pauses = {i: self._paused_s(targets[i]) for i in left if self._circuits.is_usable(targets[i])}
            soonest = min(pauses, key=lambda i: pauses[i], default=at)
            if pauses.get(soonest) == 0.0:
                return soonest
            resting = [targets[i] for i in left if i not in pauses]
            try:
                if soonest not in pauses or self._circuits.recovery_s(resting) < pauses[soonest]:
                    await self._circuits.until_recovery(resting, ticket.deadline)
                elif pauses[soonest] < ticket.deadline - self._clock():
                    return soonest
                else:
                    raise beyond_deadline(targets[soonest], pauses[soonest])
            except HeliconeError:
                if not failures:
                    raise
                break
        raise final_error(failures, targets)

    def _paused_s(self, target: Target) -> float:
        return self._limits.gate(target.endpoint.provider).paused_s()

    def _is_open(self, target: Target) -> bool:
        """Whether nothing speaks against asking it now."""
        endpoint = target.endpoint
        return self._health.is_closed(endpoint.key) and not self._limits.gate(endpoint.provider).is_paused

    def _begin_nowait(self, ticket: Ticket, target: Target) -> bool:
        """Begins an attempt where nothing speaks against the target, and its limits let the call through at once.

        Otherwise False, and nothing is taken.
        """
        endpoint = target.endpoint
        if not self._health.begin_closed(endpoint.key):
            return False
        gate, model, tokens = self._limits.gate(endpoint.provider), endpoint.model, 0.0
        if gate.counts_tokens:
            tokens = float(self._estimates.likely_tokens(ticket.request, target))
        if gate.enter_nowait(model, tokens):  # never where the provider has asked for a pause
            ticket.turn = Turn(gate, model, tokens)
            return True
        self._health.end(endpoint.key)
        return False

    async def _take_turn(
        self, ticket: Ticket, targets: list[Target], at: int, until: float, failures: list[Failure]
    ) -> bool:
        """Waits for the target's limits; what is taken there is given back when the attempt has ended.

        False where the target was paused meanwhile and another is open: then nothing was taken.
        """
        target, who = targets[at], ticket.attribution
        endpoint = target.endpoint
        gate = self._limits.gate(endpoint.provider)
        tokens = float(self._estimates.likely_tokens(ticket.request, target)) if gate.counts_tokens else 0.0
        began = self._clock()
        turn = gate.enter(
            endpoint.model,
            tokens,
            priority=ticket.request.priority or 0,
            tenant=(who.get("team"), who.get("customer_id")),
            deadline=until,
            again=ticket.retried,
        )
        try:
            if until >= ticket.deadline or not gate.is_short():
                await turn
            elif not await self._queues.wait(endpoint.provider, turn, partial(self._has_other, targets, failures, at)):
                return False
        except (DeadlineExceededError, RateLimitExceededError) as exc:
            ticket.refused(target, exc, began, self._clock())
            if until >= ticket.deadline or isinstance(exc, RateLimitExceededError):
                raise
            raise ProviderError(exc.message, code="no_turn", retry_safe=True, provider=endpoint.provider) from exc
        ticket.turn = Turn(gate, endpoint.model, tokens)
        return True

    def _has_other(self, targets: list[Target], failures: list[Failure], at: int) -> bool:
        """Whether one that was not asked yet could be asked now."""
        asked = {at, *(failure.candidate for failure in failures)}
        return any(i not in asked and self._is_open(target) for i, target in enumerate(targets))

    def _begin(self, target: Target) -> Passage:
        """Begins an attempt whose turn has come, if the target's circuit still lets it pass."""
        key = target.endpoint.key
        passage = self._circuits.passage(key)
        if passage != "none":
            self._health.begin(key)
        return passage

    def _failed(self, ticket: Ticket, target: Target, exc: BaseException, started: float, passage: Passage) -> None:
        """Tells the target's health and limits of an attempt that failed."""
        key, turn = target.endpoint.key, ticket.turn
        self._circuits.failed(key, exc, started, passage)
        if turn is not None and isinstance(exc, RateLimitExceededError) and exc.limited_by == "provider":
            turn.gate.refused(key[1], started, exc.retry_after_s)
            if turn.gate.paused_s():
                self._queues.paused(key[0])
        self._health.end(key)

    def _answered(self, ticket: Ticket, target: Target, answer: object, started: float, passage: Passage) -> None:
        """The same of one that was answered; a whole answer tells how long it took, too."""
        key = target.endpoint.key
        if passage == "free" and isinstance(answer, Outcome):
            self._health.end_answered(key, self._clock(), answer.duration_s)
        else:
            duration_s = answer.duration_s if isinstance(answer, Outcome) else None
            self._health.end(key)
            self._circuits.answered(key, started, duration_s, passage)
        if ticket.turn is not None:
            ticket.turn.gate.accepted()

    async def _cover(self, ticket: Ticket, target: Target, failures: list[Failure]) -> None:
        """Before another attempt: what failed ones may have cost is no longer there for this one."""
        request, spent = ticket.request, ticket.failed_pusd
        most = most_pusd(request, self._currency)
        if most is None and not ticket.hold.is_limited:
            return  # nothing is counted for nobody: the first count loads a tokenizer
        worst = self._estimates.worst_case_pusd(request, target) or 0
        try:
            if most is not None and spent + worst > most:
                raise beyond_max_cost(request, self._currency, worst, spent_pusd=spent)
            if ticket.hold.is_limited and not ticket.hold.raise_nowait(spent + worst):
                await in_time(ticket.hold.raise_to(spent + worst), ticket.deadline, "its budget was asked")
        except HeliconeError as exc:
            exc.billed = "maybe"
            raise exc from failures[-1].error

    def _until(self, ticket: Ticket, targets: list[Target], at: int, failures: list[Failure]) -> float:
        """When an attempt must have answered: the deadline, or its share of the time while others wait to be asked.

        Its share begins when the target's pause ends: nobody else is ready before.
        """
        if len(targets) == 1 or len(targets) - len({failure.candidate for failure in failures}) <= 1:
            return ticket.deadline
        begin = self._clock() + self._paused_s(targets[at])
        return begin + (ticket.deadline - begin) * SHARE_OF_TIME


def names_fallback(request: ChatRequest) -> bool:
    """Whether the caller said who is to answer where the first cannot."""
    named = request.providers or request.provider_preferences or ()
    return request.fallback_strategy is not None or len(named) > 1


__all__ = ["SHARE_OF_TIME", "Failover"]

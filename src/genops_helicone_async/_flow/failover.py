"""From target to target until one answers: asks the decision function what to do after each failure, and does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._rules.health import HealthBoard
from .._rules.retry import Failure, RetryPolicy, RetryQuota, Stop, decide
from .._values import Currency
from ..errors import (
    AllProvidersFailedError,
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    HeliconeError,
    ProviderError,
)
from .affordable import beyond_max_cost, most_pusd
from .estimates import Estimates
from .in_time import in_time
from .ticket import Outcome, Target, Ticket

Answer = TypeVar("Answer")
Ask = Callable[[Ticket, Target, float], Awaitable[Answer]]

SHARE_OF_TIME = 2 / 3
"""An attempt's part of the time left while another candidate has not been asked: a hanging provider fails over."""


class Failover:
    """The loop around attempts. `clock` is the event loop's, `random` gives numbers from 0 up to 1."""

    __slots__ = ("_clock", "_currency", "_estimates", "_health", "_policy", "_quota", "_random")

    def __init__(
        self,
        policy: RetryPolicy,
        quota: RetryQuota,
        clock: Callable[[], float],
        random: Callable[[], float],
        estimates: Estimates,
        currency: Currency,
        health: HealthBoard,
    ) -> None:
        self._health = health
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
        while True:
            if ticket.failed_pusd:
                await self._cover(ticket, targets[at], failures)
            try:
                until = self._until(ticket, len(targets) - len(failures))
                answer = await self._observed(ticket, targets[at], until, ask)
            except HeliconeError as error:
                failure = error
            else:
                self._quota.succeeded(after_retry=ticket.retried)
                return answer
            now = self._clock()
            failures.append(Failure(candidate=at, error=failure, at_s=now))
            step = decide(
                failures,
                len(targets),
                now_s=now,
                remaining_s=ticket.deadline - now,
                policy=self._policy,
                quota=self._quota,
                random=self._random,
            )
            if isinstance(step, Stop) or ticket.deadline <= now:
                raise _final(failures, targets)
            at = step.candidate
            ticket.retried = ticket.retried or step.is_retry
            if step.delay_s > 0:
                await asyncio.sleep(step.delay_s)

    async def _observed(self, ticket: Ticket, target: Target, until: float, ask: Ask[Answer]) -> Answer:
        """Asks, and tells the health of the target how it went; a whole answer tells how long it took, too."""
        health, key, started = self._health, (target.endpoint.provider, target.endpoint.model), self._clock()
        probing = not health.is_closed(key) and health.take_probe(key, started)
        health.begin(key)
        try:
            answer = await ask(ticket, target, until)
        except BaseException as exc:
            if speaks_against(exc):
                health.observe_failure(key, self._clock(), started)
            elif probing:
                health.observe_end(key)
            raise
        finally:
            health.end(key)
        if isinstance(answer, Outcome):
            health.observe_success(key, self._clock(), answer.duration_s)
        elif probing:
            health.observe_end(key)
        return answer

    async def _cover(self, ticket: Ticket, target: Target, failures: list[Failure]) -> None:
        """Before another attempt: what failed ones may have cost is no longer there for this one."""
        request, spent = ticket.request, ticket.failed_pusd
        worst = self._estimates.worst_case_pusd(request, target) or 0
        most = most_pusd(request, self._currency)
        try:
            if most is not None and spent + worst > most:
                raise beyond_max_cost(request, self._currency, worst, spent_pusd=spent)
            if ticket.hold.is_limited and not ticket.hold.raise_nowait(spent + worst):
                await in_time(ticket.hold.raise_to(spent + worst), ticket.deadline, "its budget was asked")
        except HeliconeError as exc:
            exc.billed = "maybe"
            raise exc from failures[-1].error

    def _until(self, ticket: Ticket, unasked: int) -> float:
        """When an attempt must have answered: the deadline, or its share of the time while others wait to be asked."""
        if unasked <= 1:
            return ticket.deadline
        now = self._clock()
        return now + (ticket.deadline - now) * SHARE_OF_TIME


def speaks_against(error: BaseException) -> bool:
    """Whether an error tells that the provider or the way to it is unwell: no refusal, no throttling, no cancelling."""
    if isinstance(error, DecodeError | DeadlineExceededError):
        return error.billed == "maybe"
    if not isinstance(error, ProviderError | GatewayError) or error.throttled:
        return False
    return error.retry_safe or error.code == "attempt_timeout" or error.billed == "maybe"


def _final(failures: list[Failure], targets: list[Target]) -> HeliconeError:
    """The error the caller gets."""
    last = failures[-1].error
    asked = {failure.candidate for failure in failures}
    if len(asked) == 1 or isinstance(last, DeadlineExceededError):
        return last
    stories = "; ".join(
        f"{targets[f.candidate].endpoint.provider}: {f.error.message}"
        for f in {failure.candidate: failure for failure in failures}.values()
    )
    errors = [failure.error for failure in failures]
    waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
    summary = AllProvidersFailedError(
        f"none of {len(asked)} providers answered: {stories}",
        request_id=last.request_id,
        status_code=last.status_code,
        http_status=last.http_status,
        retry_safe=any(error.retry_safe for error in errors),
        retry_after_s=min(waits, default=None),
        throttled=all(error.throttled for error in errors),
        billed="maybe" if any(error.billed != "no" for error in errors) else "no",
        provider=last.provider,
        model=last.model,
        code=last.code,
    )
    summary.__cause__ = last
    return summary


__all__ = ["SHARE_OF_TIME", "Failover", "speaks_against"]

"""The branches of a call to several providers: each is started, ends or is called off, and leaves its receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.abc import TaskGroup

from ..chat_request import ChatRequest
from ..errors import (
    AllProvidersFailedError,
    Attempt,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    HeliconeError,
)
from ..models import Candidate, HeliconeResponse, MultiProviderResponse, RoutingDecision
from .admit import Admission
from .ticket import Target, Ticket

if TYPE_CHECKING:
    from .pipeline import Pipeline

Admit = Callable[[ChatRequest], Admission]


class Branch:
    """One provider's part of a call: `response` or `error` once it has ended, neither where it was called off.

    `why` says in words how it came to be asked, `verdict` what became of it where the strategy has its own word.
    """

    __slots__ = (
        "_admission", "_scope", "error", "is_asked", "is_called_off", "model", "provider", "response", "target",
        "verdict", "why",
    )  # fmt: skip

    def __init__(self, provider: str, model: str | None, target: Target) -> None:
        self.provider = provider
        self.model = model
        self.target = target
        self.why = "not asked"
        self.verdict = ""
        self.is_asked = False
        self.is_called_off = False
        self.response: HeliconeResponse | None = None
        self.error: HeliconeError | None = None
        self._admission: Admission | None = None
        self._scope = anyio.CancelScope()

    def __repr__(self) -> str:
        return f"Branch({self.provider}/{self.target.endpoint.model}, {len(self.attempts)} attempts)"

    @property
    def key(self) -> tuple[str, str]:
        """The name of its target on the board of health."""
        return self.target.endpoint.provider, self.target.endpoint.model

    @property
    def is_over(self) -> bool:
        """Whether it was answered or has failed."""
        return self.response is not None or self.error is not None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt, with what it cost or may have cost; those of a branch that was called off, too."""
        ticket = self._ticket
        return () if ticket is None else tuple(ticket.attempts)

    @property
    def _ticket(self) -> Ticket | None:
        return getattr(self._admission, "ticket", None)  # there is none where it was refused at the door

    def call_off(self) -> None:
        """Drops its connection and lets it settle. An answer that is paid for and about to be given is kept."""
        ticket = self._ticket
        if self.is_asked and not self.is_over and (ticket is None or not ticket.settled):
            self.is_called_off = True
            self._scope.cancel()

    def fresh(self) -> Branch:
        """The same, as if it had not been asked."""
        return Branch(self.provider, self.model, self.target)

    async def run(self, pipeline: Pipeline, request: ChatRequest, until: float, admit: Admit) -> None:
        """Asks the provider, until then on the loop's clock."""
        if self.is_called_off:
            return
        left_s = until - pipeline.clock()
        if left_s <= 0:
            self.error = DeadlineExceededError(
                f"the deadline passed before {self.provider} was asked: raise timeout_seconds", provider=self.provider
            )
            return
        alone = {"providers": None, "model_preferences": None, "routing_strategy": None, "timeout_seconds": left_s}
        own = msgspec.structs.replace(request, provider=self.provider, model=self.model, **alone)
        self._admission = admit(own)
        with self._scope:
            try:
                self.response = await pipeline.run_admission(self._admission)
            except HeliconeError as exc:
                self.error = exc


class Branches:
    """All branches of one call, in the order in which they may be asked, within one `deadline` on the loop's clock."""

    __slots__ = ("_ended", "_group", "_stopped_by", "all", "deadline", "pipeline", "request", "winner")

    def __init__(self, pipeline: Pipeline, request: ChatRequest, branches: Sequence[Branch], deadline: float) -> None:
        self.pipeline = pipeline
        self.request = request
        self.all = list(branches)
        self.deadline = deadline
        self.winner: Branch | None = None
        self._group: TaskGroup
        self._ended: Callable[[Branch], None]
        self._stopped_by: BaseException | None = None

    async def run(self, begin: Callable[[], None], ended: Callable[[Branch], None]) -> None:
        """Begins, and returns when every branch that was started has ended.

        `ended` is told of each that was answered or has failed; it is plain, and may start others. Cancelling this
        cancels and settles them all. What is raised in a branch and is no `HeliconeError` stops the others and is
        raised here as it is, never in a group.
        """
        self._ended = ended
        async with anyio.create_task_group() as self._group:
            self._do(begin)
        if self._stopped_by is not None:
            raise self._stopped_by

    def start(self, branch: Branch, why: str, *, until: float | None = None, admit: Admit | None = None) -> None:
        """Starts a branch, with all the time there is unless it has only `until`."""
        branch.why, branch.is_asked = why, True
        self._group.start_soon(self._one, branch, until or self.deadline, admit or self.pipeline.admit)

    def start_all(self) -> None:
        """Starts every branch."""
        for branch in self.all:
            self.start(branch, "asked at once with the others")

    def wake(self, scope: anyio.CancelScope, after_s: float, do: Callable[[], None]) -> None:
        """Does it after a while, unless the scope is cancelled before."""
        self._group.start_soon(self._later, scope, after_s, do)

    def win(self, branch: Branch) -> None:
        """The first answer is there: all others are called off."""
        self.winner = branch
        branch.verdict = "answered first"
        for other in self.all:
            other.call_off()

    async def _one(self, branch: Branch, until: float, admit: Admit) -> None:
        try:
            await branch.run(self.pipeline, self.request, until, admit)
        except (KeyboardInterrupt, SystemExit, Exception) as exc:  # noqa: BLE001  a task's root: raised by `run`
            self._stop(exc)
        if branch.is_over:
            self._do(lambda: self._ended(branch))

    async def _later(self, scope: anyio.CancelScope, after_s: float, do: Callable[[], None]) -> None:
        with scope:
            await anyio.sleep(after_s)
            self._do(do)

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (KeyboardInterrupt, SystemExit, Exception) as exc:  # noqa: BLE001  a task's root: raised by `run`
            self._stop(exc)

    def _stop(self, exc: BaseException) -> None:
        """Ends all branches; the first reason is what `run` raises."""
        self._stopped_by = self._stopped_by or exc
        self._group.cancel_scope.cancel()

    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt of every branch."""
        return tuple(attempt for branch in self.all for attempt in branch.attempts)

    def answered(self) -> list[Branch]:
        """Those that were answered, in order."""
        return [branch for branch in self.all if branch.response is not None]

    def together(self, primary: Branch, reason: str) -> MultiProviderResponse:
        """What the caller gets."""
        assert primary.response is not None
        responses = {branch.provider: branch.response for branch in self.all if branch.response is not None}
        candidates = tuple(
            Candidate(
                provider=branch.provider,
                model=branch.target.endpoint.model,
                score=float(place),
                reason=f"{branch.why}; {told}" if (told := self._outcome(branch)) else branch.why,
            )
            for place, branch in enumerate(self.all)
        )
        attempts = self.attempts()
        return MultiProviderResponse(
            primary_response=primary.response,
            responses=responses,
            errors={branch.provider: branch.error for branch in self.all if branch.error is not None},
            routing_decision=RoutingDecision(
                strategy=self.request.routing_strategy or "fan_out",
                candidates=candidates,
                selected=primary.provider,
                reason=reason,
            ),
            cost_comparison={name: response.cost for name, response in responses.items()},
            performance_metrics={name: response.usage.request_time for name, response in responses.items()},
            billed_cost=sum(attempt.cost for attempt in attempts),
            attempts=attempts,
        )

    def _outcome(self, branch: Branch) -> str:
        if branch.error is not None:
            return f"failed: {type(branch.error).__name__}"
        if branch.is_called_off and self.winner is not None:
            return f"cancelled: {self.winner.provider} answered first"
        return branch.verdict or ("answered" if branch.response is not None else "")

    def all_failed(self) -> HeliconeError:
        """The error for a call that nobody answered, with every attempt; where all were refused alike, the refusal."""
        failed = [(branch.provider, branch.error) for branch in self.all if branch.error is not None]
        errors = [error for _, error in failed]
        last, attempts = errors[-1], self.attempts()
        for refusal in (BudgetExceededError, ConfigurationError):
            if not attempts and all(isinstance(error, refusal) for error in errors):
                return errors[0]
        waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
        summary = AllProvidersFailedError(
            f"none of {len(errors)} providers answered: "
            + "; ".join(f"{provider}: {error.message}" for provider, error in failed),
            attempts=attempts,
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


__all__ = ["Admit", "Branch", "Branches"]

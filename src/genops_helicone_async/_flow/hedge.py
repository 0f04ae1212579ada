"""One provider after the other, and the next already while an answer is late: the first answer counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import anyio
import msgspec

from .._rules.hedging import HedgeQuota
from ..chat_request import ChatRequest
from ..errors import Attempt, BudgetExceededError
from ..models import MultiProviderResponse
from .admit import Admission
from .branches import Branch, Branches
from .failover import SHARE_OF_TIME
from .ticket import Ticket


async def hedge(branches: Branches, after_s: float | None, quota: HedgeQuota) -> MultiProviderResponse:
    """The first answer of those that were asked. `after_s` is when the next is asked, by default the observed p95.

    Raises:
        AllProvidersFailedError: none answered.
        BudgetExceededError: no budget had room for anybody; nothing was sent.
    """
    hedging = Hedging(branches, after_s, quota)
    try:
        await branches.run(hedging.begin, hedging.ended)
    finally:
        hedging.close()
    if branches.winner is None:
        raise branches.all_failed()
    return branches.together(branches.winner, hedging.reason())


class Hedging:
    """Decides who is asked next and when, in plain functions.

    A failure starts the next at once, and a provider asks nobody twice while another has not been asked. An answer
    that is late starts the next one, too, if the quota pays for it and the other has room: its circuit is closed, no
    limit makes it wait, and the budgets can hold both calls. As with failover, a provider has two thirds of the time
    left while another has not been asked, unless it is to be hedged even later.
    """

    __slots__ = ("_after_s", "_branches", "_by_time", "_declined", "_quota", "_running", "_unasked", "_watches")

    def __init__(self, branches: Branches, after_s: float | None, quota: HedgeQuota) -> None:
        self._branches = branches
        self._after_s = after_s
        self._quota = quota
        self._unasked = list(branches.all)
        self._running: list[Branch] = []
        self._by_time: list[Branch] = []
        self._declined: set[str] = set()
        self._watches: dict[Branch, anyio.CancelScope] = {}

    def begin(self) -> None:
        """Asks the first; those whose circuit is open come last."""
        board, now_s = self._branches.pipeline.health, self._branches.pipeline.clock()
        self._unasked.sort(key=lambda branch: not board.is_usable(branch.key, now_s))
        self._branches.all[:] = self._unasked
        self._quota.earn()
        self._ask(self._unasked[0], "asked first")

    def ended(self, branch: Branch) -> None:
        """What follows from an answer or a failure."""
        self._running.remove(branch)
        if (watch := self._watches.pop(branch, None)) is not None:
            watch.cancel()
        if branch in self._by_time and isinstance(branch.error, BudgetExceededError) and not branch.attempts:
            self._decline(branch)
        elif self._branches.winner is not None:
            return
        elif branch.response is not None:
            for watch in self._watches.values():
                watch.cancel()
            self._branches.win(branch)
        elif self._unasked:
            self._ask(self._unasked[0], f"asked because {branch.provider} failed")

    def close(self) -> None:
        """Takes back what was paid for hedges that were called off before they were sent."""
        for branch in self._by_time:
            if not branch.attempts:
                self._quota.give_back()
        self._by_time.clear()

    def reason(self) -> str:
        """Who won, and over whom."""
        winner = self._branches.winner
        assert winner is not None
        asked = len(self._branches.all) - len(self._unasked)
        return f"{winner.provider} answered first, of {asked} asked" if asked > 1 else f"{winner.provider} answered"

    def _ask(self, branch: Branch, why: str) -> None:
        branches = self._branches
        self._unasked.remove(branch)
        self._running.append(branch)
        now = branches.pipeline.clock()
        after_s = self._after_s
        if after_s is None:
            after_s = branches.pipeline.health.p95_latency_s(branch.key)
        share_s = (branches.deadline - now) * SHARE_OF_TIME
        is_last = not self._unasked or (after_s is not None and after_s >= share_s)
        branches.start(branch, why, until=branches.deadline if is_last else now + share_s, admit=self._admit)
        if self._unasked and after_s is not None:
            watch = self._watches[branch] = anyio.CancelScope()
            branches.wake(watch, after_s, lambda: self._late(branch, after_s))

    def _late(self, branch: Branch, after_s: float) -> None:
        """An answer did not come in time: asks another, too, if one has room for an extra call."""
        if branch.is_over:
            return
        other = next((other for other in self._unasked if self._has_room(other)), None)
        if other is None:
            return
        if not self._quota.take():
            other.why = "not asked: the hedges are used up"
            return
        self._by_time.append(other)
        self._ask(other, f"asked after {after_s:.3g} s without an answer from {branch.provider}")

    def _has_room(self, branch: Branch) -> bool:
        pipeline = self._branches.pipeline
        if branch.provider in self._declined:
            return False
        if not pipeline.health.is_closed(branch.key):
            branch.why = "not asked: its circuit is open"
        elif pipeline.is_short(branch.provider):
            branch.why = "not asked: it would have had to wait"
        else:
            return True
        return False

    def _decline(self, branch: Branch) -> None:
        """No budget for a second call at the same time: it is as if nobody had been asked, until somebody fails."""
        self._by_time.remove(branch)
        self._quota.give_back()
        self._declined.add(branch.provider)
        again = branch.fresh()
        again.why = "not asked: a budget has no room for an extra call"
        self._branches.all[self._branches.all.index(branch)] = again
        self._unasked.append(again)
        self._unasked.sort(key=self._branches.all.index)
        if not self._running and self._branches.winner is None:
            self._ask(self._unasked[0], "asked because the others failed")

    def _admit(self, request: ChatRequest) -> Admission:
        return _Admission(self._branches.pipeline, request, unasked=self._unasked)


class _Admission(Admission):
    """Lets in a branch that yields to those not asked yet."""

    unasked: list[Branch] = msgspec.field(default_factory=list)

    def __enter__(self) -> Self:
        super().__enter__()
        self.ticket.attempts = _Attempts(self.ticket, self.pipeline.clock, self.unasked)
        return self


class _Attempts(list[Attempt]):
    """The attempts of a branch. While others have not been asked, one that fails ends the branch's time.

    So nothing is repeated, and nothing taken from the retry quota, before everybody was asked once.
    """

    __slots__ = ("_clock", "_ticket", "_unasked")

    def __init__(self, ticket: Ticket, clock: Callable[[], float], unasked: list[Branch]) -> None:
        super().__init__()
        self._ticket = ticket
        self._clock = clock
        self._unasked = unasked

    def append(self, attempt: Attempt) -> None:
        """Adds one that has just ended."""
        super().append(attempt)
        if not attempt.ok and self._unasked:
            self._ticket.deadline = self._clock()


__all__ = ["Hedging", "hedge"]

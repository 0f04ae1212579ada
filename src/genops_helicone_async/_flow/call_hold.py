"""The money set aside for one call: raised before anything is sent, settled once when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._rules.ledger import WAIT, LedgerRow, Movement, Scope, cost_of
from ..models import BudgetAlert
from .budget_standing import BudgetStanding, tightest
from .ports import Durable, Ledger
from .tracking import CostTracker

if TYPE_CHECKING:
    from .budgets import Budgets


class CallHold:
    """The money set aside for one call, over its budgets and the trackers around it. Ended exactly once."""

    __slots__ = ("_alerts", "_budgets", "_ended", "_enforce", "_held", "_ledger", "_limited", "_scopes", "_trackers")

    def __init__(
        self, budgets: Budgets, ledger: Ledger, scopes: tuple[Scope, ...], trackers: tuple[CostTracker, ...],
        limited: bool, enforce: bool,
    ) -> None:  # fmt: skip
        self._budgets = budgets
        self._ledger = ledger
        self._scopes = scopes
        self._trackers = trackers
        self._enforce = enforce
        self._held = 0
        self._ended = False
        self._limited = limited
        self._alerts: tuple[BudgetAlert, ...] = ()

    @property
    def held_pusd(self) -> int:
        """The most that was set aside."""
        return self._held

    @property
    def is_limited(self) -> bool:
        """Whether any budget with a limit applies."""
        return self._limited

    @property
    def is_enforced(self) -> bool:
        """Whether a budget applies to this call and refuses it where there is no room."""
        return self._limited and self._enforce

    def left_pusd(self) -> int | None:
        """What the tightest budget of the ledger has left, as far as this process knows; None without a limit."""
        standing = self.standing()
        return None if standing is None else standing.left_pusd

    def standing(self) -> BudgetStanding | None:
        """What the tightest budget of the ledger stands at, as far as this process knows; None without a limit."""
        limited = [scope for scope in self._scopes if scope.limit_pusd is not None]
        return tightest(limited, self._ledger.accounts(limited), enforced=self._enforce)

    @property
    def alerts(self) -> tuple[BudgetAlert, ...]:
        """Thresholds that settling has passed, where the ledger has booked it at once."""
        return self._alerts

    def _booked(self, movements: tuple[Movement, ...]) -> None:
        self._alerts = self._budgets.booked(movements)

    def raise_nowait(self, total_pusd: int) -> bool:
        """Sets aside as much as is missing to the total, unless the store has to be asked: then False, and nothing.

        Raises:
            BudgetExceededError: a budget has no room for it; what is held already stays.
        """
        more = total_pusd - self._held
        if more <= 0 or not self._limited or self._ended:
            return True
        if self._trackers:
            self._hold_in_trackers(more)
        answer = self._ledger.hold_nowait(self._scopes, more, enforce=self._enforce)
        if answer is None:
            self._held += more
            return True
        self._release_trackers(self._trackers, more)
        if answer is WAIT:
            return False
        raise self._budgets.refused(answer)

    async def raise_to(self, total_pusd: int) -> None:
        """Sets aside as much as is missing to the total; what is held already stays in any case.

        Raises:
            BudgetExceededError: a budget has no room for it.
            LedgerError: the store cannot be asked.
        """
        if self.raise_nowait(total_pusd):
            return
        more = total_pusd - self._held
        self._hold_in_trackers(more)
        try:
            refusal = await self._ledger.hold(self._scopes, more, enforce=self._enforce)
            if refusal is not None:
                raise self._budgets.refused(refusal)
        except BaseException:
            self._release_trackers(self._trackers, more)
            raise
        self._held += more

    def _hold_in_trackers(self, more_pusd: int) -> None:
        """Sets the amount aside in every tracker's own budget, or in none."""
        for number, tracker in enumerate(self._trackers):
            refusal = tracker.hold(more_pusd, enforce=self._enforce)
            if refusal is not None:
                self._release_trackers(self._trackers[:number], more_pusd)
                raise self._budgets.refused(refusal)

    @staticmethod
    def _release_trackers(trackers: tuple[CostTracker, ...], held_pusd: int) -> None:
        for tracker in trackers:
            tracker.release(held_pusd)

    def lower_by(self, amount_pusd: int) -> Durable:
        """Frees a part of what is held, without a call: for a hold over many rows, one of which is over."""
        freed = min(amount_pusd, self._held)
        if freed <= 0 or self._ended:
            return None
        self._held -= freed
        self._release_trackers(self._trackers, freed)
        return self._ledger.settle(self._scopes, freed, [], self._booked)

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> Durable:
        """Books what the call cost and frees the rest. Plain, so nothing can tear it; a second end has no effect."""
        if self._ended:
            return None
        self._ended = True
        if self._limited and (cost_pusd := cost_of(rows)) > self._held:
            self._budgets.overran(rows, cost_pusd, self._held)
        for tracker in self._trackers:
            tracker.settle(self._held, rows, failed=failed, cached=cached, saved_pusd=saved_pusd)
        if not rows and not self._held:
            return None
        return self._ledger.settle(self._scopes, self._held, rows, self._booked)


__all__ = ["CallHold"]

"""The money set aside for one call: raised before anything is sent, settled once when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .._rules.ledger import WAIT, LedgerRow, Movement, Scope, cost_of
from ..models import BudgetAlert
from .budget_standing import BudgetStanding
from .ports import Durable, Ledger
from .tracking import CostTracker

if TYPE_CHECKING:
    from .budgets import Budgets


class CallScopes(msgspec.Struct, frozen=True):
    """What the calls of one team, project and customer fall under, until the first of its windows ends.

    `limited` are those with a limit, `plan` is that of the limits they were made from.
    """

    scopes: tuple[Scope, ...]
    limited: tuple[Scope, ...]
    valid_until_s: float
    plan: object

    def watched(self) -> tuple[Scope, ...]:
        """The scopes with all their movements told: for what was begun before other limits were set."""
        return tuple(msgspec.structs.replace(scope, tells_from_pusd=0) for scope in self.scopes)


class CallHold(msgspec.Struct, eq=False):
    """The money set aside for one call, over its budgets and the trackers around it. Ended exactly once.

    `held_pusd` is the most that was set aside, `is_limited` says whether any budget with a limit applies, `alerts` are
    the thresholds that settling has passed, where the ledger has booked it at once. One is made for every call, which
    msgspec does in a tenth of the time.
    """

    _budgets: Budgets
    _ledger: Ledger
    _known: CallScopes
    _trackers: tuple[CostTracker, ...]
    is_limited: bool
    _enforce: bool
    held_pusd: int = 0
    _ended: bool = False
    alerts: tuple[BudgetAlert, ...] = ()

    @property
    def is_enforced(self) -> bool:
        """Whether a budget applies to this call and refuses it where there is no room."""
        return self.is_limited and self._enforce

    def left_pusd(self) -> int | None:
        """What the tightest budget of the ledger has left, as far as this process knows; None without a limit."""
        standing = self.standing()
        return None if standing is None else standing.left_pusd

    def standing(self) -> BudgetStanding | None:
        """What the tightest budget of the ledger stands at, as far as this process knows; None without a limit."""
        known = self._known
        return BudgetStanding(*self._ledger.tightest(known.scopes), self._enforce) if known.limited else None

    def _booked(self, movements: tuple[Movement, ...]) -> None:
        if movements:
            self.alerts = self._budgets.booked(movements)

    def raise_nowait(self, total_pusd: int) -> bool:
        """Sets aside as much as is missing to the total, unless the store has to be asked: then False, and nothing.

        Raises:
            BudgetExceededError: a budget has no room for it; what is held already stays.
        """
        more = total_pusd - self.held_pusd
        if more <= 0 or not self.is_limited or self._ended:
            return True
        if self._trackers:
            self._hold_in_trackers(more)
        answer = self._ledger.hold_nowait(self._known.scopes, more, enforce=self._enforce)
        if answer is None:
            self.held_pusd = total_pusd
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
        more = total_pusd - self.held_pusd
        self._hold_in_trackers(more)
        try:
            refusal = await self._ledger.hold(self._known.scopes, more, enforce=self._enforce)
            if refusal is not None:
                raise self._budgets.refused(refusal)
        except BaseException:
            self._release_trackers(self._trackers, more)
            raise
        self.held_pusd += more

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
        freed = min(amount_pusd, self.held_pusd)
        if freed <= 0 or self._ended:
            return None
        self.held_pusd -= freed
        self._release_trackers(self._trackers, freed)
        return self._ledger.settle(self._known.scopes, freed, [], self._booked)

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool, saved_pusd: int = 0) -> Durable:
        """Books what the call cost and frees the rest. Plain, so nothing can tear it; a second end has no effect."""
        if self._ended:
            return None
        self._ended = True
        held_pusd, known = self.held_pusd, self._known
        if self.is_limited and (cost_pusd := cost_of(rows)) > held_pusd:
            self._budgets.overran(rows, cost_pusd, held_pusd)
        if self._trackers:
            for tracker in self._trackers:
                tracker.settle(held_pusd, rows, failed=failed, cached=cached, saved_pusd=saved_pusd)
        if not rows and not held_pusd:
            return None
        scopes = known.scopes if known.plan is self._budgets.plan else known.watched()
        return self._ledger.settle(scopes, held_pusd, rows, self._booked)


__all__ = ["CallHold", "CallScopes"]

"""The wall: which budgets a call falls under, a hold over all of them before anything is sent, alerts afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from .._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, crossed
from .._rules.windows import Period, Window, window_of
from .._values import Currency
from ..errors import BudgetExceededError
from ..models import BudgetAlert, BudgetOverrun, BudgetStatus
from .budget_limits import BudgetLimits, zone_of
from .ports import Durable, Ledger
from .tracking import CostTracker, active_trackers

_log = logging.getLogger("genops_helicone_async.budgets")
_MOST_REMEMBERED = 4096
_DIMENSIONS = (("team", "teams"), ("project", "projects"), ("customer_id", "customers"))


class _Scopes(msgspec.Struct, frozen=True):
    """The scopes of one combination of team, project and customer, until the first of their windows ends."""

    scopes: tuple[Scope, ...]
    has_limit: bool
    valid_until_s: float


class Budgets:
    """Budgets of one adapter over one ledger. `clock` is the wall clock in Unix seconds."""

    __slots__ = ("_clock", "_currency", "_ledger", "_limits", "_remembered", "_tell", "_zone")

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], float],
        tell: Callable[[BudgetAlert | BudgetOverrun], None],
        currency: Currency,
    ) -> None:
        self._ledger = ledger
        self._currency = currency
        self._clock = clock
        self._tell = tell
        self.configure(BudgetLimits())

    def __repr__(self) -> str:
        return f"Budgets({', '.join(str(status) for status in self.status()) or 'no limits'})"

    def configure(self, limits: BudgetLimits) -> None:
        """Replaces all limits at once; calls in flight keep the holds they have."""
        self._limits = limits
        self._zone = zone_of(limits.zone)
        self._remembered: dict[tuple[str | None, ...], _Scopes] = {}

    @property
    def enforces(self) -> bool:
        """Whether calls are refused unless they say otherwise."""
        return self._limits.enforce

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> CallHold:
        """The hold of one call, with nothing held yet."""
        key = (attribution.get("team"), attribution.get("project"), attribution.get("customer_id"))
        known = self._remembered.get(key)
        if known is None or self._clock() >= known.valid_until_s:
            known = self._scopes(key)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = known
        trackers = active_trackers()
        limited = known.has_limit or any(tracker.has_limit for tracker in trackers)
        wanted = self._limits.enforce if enforce is None else enforce
        return CallHold(self, self._ledger, known.scopes, trackers, limited=limited, enforce=wanted)

    def status(self) -> tuple[BudgetStatus, ...]:
        """Every budget with a limit, in dollars: spent, held, and what is left."""
        found = [scope for scope, _, _ in self._limited()]
        windows = {scope.key: (period, window) for scope, period, window in self._limited()}
        statuses = []
        for scope, account in zip(found, self._ledger.accounts(found), strict=True):
            period, window = windows[scope.key]
            limit = scope.limit_pusd or 0
            statuses.append(BudgetStatus(
                name=scope.name, scope=scope.name.partition(":")[0], period=period, limit=self._money(limit),
                settled=self._money(account.settled_pusd), held=self._money(account.held_pusd),
                remaining=self._money(limit - account.settled_pusd - account.held_pusd), resets_at=window.ends_at,
            ))  # fmt: skip
        return tuple(statuses)

    def refused(self, refusal: Refusal) -> BudgetExceededError:
        """The error for a hold that found no room."""
        scope = refusal.scope
        period: Period | None = None
        resets_at: datetime | None = None
        if scope.window:
            period = "day" if scope.name == "daily" else "month"
            resets_at = window_of(period, self._clock(), self._zone).ends_at
        used = refusal.settled_pusd + refusal.held_pusd
        limit = scope.limit_pusd or 0
        until = f", it resets at {resets_at.isoformat()}" if resets_at is not None else ""
        return BudgetExceededError(
            f"the budget `{scope.name}` of {self._told(limit)} has {self._told(limit - used)} left, "
            f"less than this call may cost{until}",
            current_usage=self._money(used), budget_limit=self._money(limit), scope=scope.name, period=period,
            resets_at=resets_at,
        )  # fmt: skip

    def booked(self, movements: tuple[Movement, ...]) -> None:
        """Tells whoever listens of thresholds that spending has passed."""
        for movement in movements:
            limit = movement.scope.limit_pusd
            if not limit:
                continue
            for share in crossed(self._limits.thresholds, limit, movement.before_pusd, movement.after_pusd):
                alert = BudgetAlert(
                    name=movement.scope.name, threshold=share, settled=self._money(movement.after_pusd),
                    limit=self._money(limit), at_s=self._clock(),
                )  # fmt: skip
                _log.warning("budget %s has passed %.0f %% of %s", alert.name, share * 100, self._told(limit))
                self._tell(alert)

    def check_overrun(self, rows: list[LedgerRow], held_pusd: int) -> None:
        """Tells of a call that cost more than was set aside for it: the one way past a limit there is."""
        cost_pusd = sum(row.cost_pusd for row in rows)
        if cost_pusd > held_pusd:
            last = rows[-1]
            overrun = BudgetOverrun(
                request_id=last.request_id, provider=last.provider, model=last.model,
                held=self._money(held_pusd), cost=self._money(cost_pusd), at_s=self._clock(),
            )  # fmt: skip
            _log.warning(
                "call %s to %s/%s cost %s, more than the %s set aside for it",
                last.request_id, last.provider, last.model, self._told(cost_pusd), self._told(held_pusd),
            )  # fmt: skip
            self._tell(overrun)

    def _scopes(self, key: tuple[str | None, ...]) -> _Scopes:
        limits, now_s = self._limits, self._clock()
        day, month = (window_of(period, now_s, self._zone) for period in ("day", "month"))
        scopes = [
            Scope(name="daily", window=self._key(day), limit_pusd=limits.daily_pusd),
            Scope(name="monthly", window=self._key(month), limit_pusd=limits.monthly_pusd),
        ]
        for (dimension, field), who in zip(_DIMENSIONS, key, strict=True):
            known: Mapping[str, int] = getattr(limits, field)
            if who is not None and (who in known or dimension != "customer_id"):
                name = f"{dimension.removesuffix('_id')}:{who}"
                scopes.append(Scope(name=name, window=self._key(month), limit_pusd=known.get(who)))
        has_limit = any(scope.limit_pusd is not None for scope in scopes)
        return _Scopes(tuple(scopes), has_limit, min(day.ends_s, month.ends_s))

    def _limited(self) -> list[tuple[Scope, Period, Window]]:
        limits, now_s = self._limits, self._clock()
        day, month = (window_of(period, now_s, self._zone) for period in ("day", "month"))
        found: list[tuple[Scope, Period, Window]] = []
        if limits.daily_pusd is not None:
            found.append((Scope(name="daily", window=self._key(day), limit_pusd=limits.daily_pusd), "day", day))
        monthly = {"monthly": limits.monthly_pusd} if limits.monthly_pusd is not None else {}
        for dimension, field in _DIMENSIONS:
            each: Mapping[str, int] = getattr(limits, field)
            monthly.update({f"{dimension.removesuffix('_id')}:{who}": limit for who, limit in each.items()})
        for name, limit in monthly.items():
            found.append((Scope(name=name, window=self._key(month), limit_pusd=limit), "month", month))
        return found

    def _money(self, pusd: int) -> float:
        return self._currency.of(pusd)

    def _told(self, pusd: int) -> str:
        """An amount as text, small ones to the last digit that matters."""
        amount = self._money(pusd)
        return f"{amount:,.2f} {self._currency.code}" if amount >= 1 else f"{amount:.6f} {self._currency.code}"

    def _key(self, window: Window) -> str:
        return window.key if self._limits.zone == "UTC" else f"{window.key}@{self._limits.zone}"


class CallHold:
    """The money set aside for one call, over its budgets and the trackers around it. Ended exactly once."""

    __slots__ = ("_budgets", "_ended", "_enforce", "_held", "_ledger", "_limited", "_scopes", "_trackers")

    def __init__(
        self, budgets: Budgets, ledger: Ledger, scopes: tuple[Scope, ...], trackers: tuple[CostTracker, ...], *,
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

    @property
    def held_pusd(self) -> int:
        """What is set aside now."""
        return self._held

    @property
    def is_limited(self) -> bool:
        """Whether any budget with a limit applies."""
        return self._limited

    @property
    def is_enforced(self) -> bool:
        """Whether a budget applies to this call and refuses it where there is no room."""
        return self._limited and self._enforce

    async def raise_to(self, total_pusd: int) -> None:
        """Sets aside as much as is missing to the total; what is held already stays in any case.

        Raises:
            BudgetExceededError: a budget has no room for it.
            LedgerError: the store cannot be asked.
        """
        more = total_pusd - self._held
        if more <= 0 or not self._limited:
            return
        held: list[CostTracker] = []
        try:
            for tracker in self._trackers:
                refusal = tracker.hold(more, enforce=self._enforce)
                if refusal is not None:
                    raise self._budgets.refused(refusal)
                held.append(tracker)
            answer = self._ledger.hold_nowait(self._scopes, more, enforce=self._enforce)
            if answer is WAIT:
                answer = await self._ledger.hold(self._scopes, more, enforce=self._enforce)
            if isinstance(answer, Refusal):
                raise self._budgets.refused(answer)
        except BaseException:
            for tracker in held:
                tracker.release(more)
            raise
        self._held += more

    def settle(self, rows: list[LedgerRow], *, failed: bool, cached: bool) -> Durable:
        """Books what the call cost and frees the rest. Plain, so nothing can tear it; a second end has no effect."""
        if self._ended:
            return None
        self._ended = True
        if self._limited:
            self._budgets.check_overrun(rows, self._held)
        for tracker in self._trackers:
            tracker.settle(self._held, rows, failed=failed, cached=cached)
        return self._ledger.settle(self._scopes, self._held, rows, self._budgets.booked)


__all__ = ["Budgets", "CallHold"]

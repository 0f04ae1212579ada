"""The wall: which budgets a call falls under, what they stand at, and who is told when they are used up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo

import msgspec

from .._rules.ledger import Account, LedgerRow, Movement, Refusal, Scope, crossed
from .._rules.windows import Period, Window, window_of
from .._values import Currency
from ..errors import BudgetExceededError
from ..models import BudgetAlert, BudgetOverrun, BudgetStatus
from .budget_limits import BudgetLimits, zone_of
from .call_hold import CallHold, CallScopes
from .ports import Ledger
from .tracking import active_trackers, trackers_around

_log = logging.getLogger("genops_helicone_async.budgets")
_MOST_REMEMBERED = 4096
_NEVER_PUSD = 1 << 64
"""More than can be spent."""
_DIMENSIONS = ("team", "project", "customer_id")
"""What a budget can be for, besides everything."""
_Limited = tuple[Scope, Period, Window]


class CostCrossing(msgspec.Struct, frozen=True, kw_only=True):
    """Spending passed a watched threshold within a window: what it came to, in the adapter's currency; Unix seconds."""

    period: Period
    window: str
    spent: float
    at_s: float


class CostWatch(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold in pico-dollars to watch all spending of each hour, day or month for, and who is told."""

    period: Period
    threshold_pusd: int
    tell: Callable[[CostCrossing], None]

    @property
    def scope(self) -> str:
        """The account that counts it."""
        return {"hour": "hourly", "day": "daily", "month": "monthly"}[self.period]


class _Plan(msgspec.Struct, frozen=True):
    """The limits in force with all that follows from them; replaced as one, so that no thread sees half of each."""

    limits: BudgetLimits
    zone: tzinfo
    lowest_threshold: float
    watch: CostWatch | None
    enforce: bool
    remembered: dict[tuple[str | None, ...], CallScopes]

    def window(self, period: Period, now_s: float) -> Window:
        """The calendar window, its key told apart from those of other time zones."""
        window = window_of(period, now_s, self.zone)
        if self.limits.zone == "UTC" or period == "hour":
            return window
        return msgspec.structs.replace(window, key=f"{window.key}@{self.limits.zone}")

    def scope(self, name: str, window: Window, limit_pusd: int | None) -> Scope:
        """A scope that tells of what it settles from the first threshold on that somebody set."""
        looked_for = [math.ceil(self.lowest_threshold * limit_pusd)] if limit_pusd and self.limits.thresholds else []
        if self.watch is not None and self.watch.scope == name:
            looked_for.append(self.watch.threshold_pusd)
        tells_from = min(looked_for, default=_NEVER_PUSD)
        return Scope(name=name, window=window.key, limit_pusd=limit_pusd, tells_from_pusd=tells_from)


class Budgets:
    """Budgets of one adapter over one ledger. `clock` is the wall clock in Unix seconds."""

    __slots__ = ("_clock", "_currency", "_ledger", "_tell", "_watch", "plan")

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
        self._watch: CostWatch | None = None
        self.configure(BudgetLimits())

    def __repr__(self) -> str:
        return f"Budgets({', '.join(str(status) for status in self.status()) or 'no limits'})"

    def configure(self, limits: BudgetLimits) -> None:
        """Replaces all limits at once; calls in flight keep the holds they have."""
        lowest = min(limits.thresholds, default=math.inf)
        self.plan = _Plan(limits, zone_of(limits.zone), lowest, self._watch, limits.enforce, {})

    def watch(self, watch: CostWatch | None) -> None:
        """Replaces what spending is watched for, besides the limits.

        The ledger knows what every process has spent, so that of all those on one store one tells of a crossing.
        """
        self._watch = watch
        self.configure(self.plan.limits)

    @property
    def enforces(self) -> bool:
        """Whether calls are refused unless they say otherwise."""
        return self.plan.limits.enforce

    def open(self, attribution: Mapping[str, str], *, enforce: bool | None) -> CallHold:
        """The hold of one call, with nothing held yet."""
        plan = self.plan
        key = tuple(map(attribution.get, _DIMENSIONS))
        known = plan.remembered.get(key)
        if known is None or self._clock() >= known.valid_until_s:
            known = self._scopes(plan, key)
            if len(plan.remembered) >= _MOST_REMEMBERED:
                plan.remembered.clear()
            plan.remembered[key] = known
        limited = known.limited != ()
        if trackers := trackers_around():
            trackers = active_trackers()
            limited = limited or any(tracker.has_limit for tracker in trackers)
        return CallHold(self, self._ledger, known, trackers, limited, plan.enforce if enforce is None else enforce)

    def status(self) -> tuple[BudgetStatus, ...]:
        """Every budget with a limit, in dollars: spent, held, and what is left, as far as this process knows."""
        limited = self._limited()
        return self._shown(limited, self._ledger.accounts([scope for scope, _, _ in limited]))

    async def fresh_status(self) -> tuple[BudgetStatus, ...]:
        """The same with what every process has spent up to now; raises `LedgerError` where the store cannot tell."""
        limited = self._limited()
        return self._shown(limited, await self._ledger.refresh([scope for scope, _, _ in limited]))

    def _shown(self, limited: list[_Limited], accounts: Sequence[Account]) -> tuple[BudgetStatus, ...]:
        statuses = []
        for (scope, period, window), account in zip(limited, accounts, strict=True):
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
            resets_at = self.plan.window(period, self._clock()).ends_at
        used = refusal.settled_pusd + refusal.held_pusd
        limit = scope.limit_pusd or 0
        left = max(0, limit - used)  # what may have been spent, or has been without a hold, can be beyond the limit
        until = f", it resets at {resets_at.isoformat()}" if resets_at is not None else ""
        return BudgetExceededError(
            f"the budget `{scope.name}` of {self._told(limit)} has {self._told(left)} left, "
            f"less than this call may cost{until}",
            current_usage=self._money(used), budget_limit=self._money(limit), scope=scope.name, period=period,
            resets_at=resets_at,
        )  # fmt: skip

    def booked(self, movements: tuple[Movement, ...]) -> tuple[BudgetAlert, ...]:
        """Tells whoever listens of thresholds that spending has passed, and gives them."""
        plan = self.plan
        alerts = []
        if plan.watch is not None:
            self._look(plan.watch, movements)
        for movement in movements:
            limit = movement.scope.limit_pusd
            if not limit or movement.after_pusd < plan.lowest_threshold * limit:
                continue
            for share in crossed(plan.limits.thresholds, limit, movement.before_pusd, movement.after_pusd):
                alert = BudgetAlert(
                    name=movement.scope.name, threshold=share, settled=self._money(movement.after_pusd),
                    limit=self._money(limit), at_s=self._clock(),
                )  # fmt: skip
                _log.warning("budget %s has passed %.0f %% of %s", alert.name, share * 100, self._told(limit))
                self._tell(alert)
                alerts.append(alert)
        return tuple(alerts)

    def _look(self, watch: CostWatch, movements: tuple[Movement, ...]) -> None:
        for movement in movements:
            if movement.scope.name != watch.scope:
                continue
            if movement.before_pusd < watch.threshold_pusd <= movement.after_pusd:
                watch.tell(CostCrossing(
                    period=watch.period, window=movement.scope.window, spent=self._money(movement.after_pusd),
                    at_s=self._clock(),
                ))  # fmt: skip

    def overran(self, rows: list[LedgerRow], cost_pusd: int, held_pusd: int) -> None:
        """Tells of a call that cost more than was set aside for it: the one way past a limit there is."""
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

    def _scopes(self, plan: _Plan, key: tuple[str | None, ...]) -> CallScopes:
        limits, now_s = plan.limits, self._clock()
        day, month = plan.window("day", now_s), plan.window("month", now_s)
        scopes = [
            plan.scope("daily", day, limits.daily_pusd),
            plan.scope("monthly", month, limits.monthly_pusd),
        ]
        for (dimension, each), who in zip(_dimensions(limits), key, strict=True):
            if who is not None:  # counted without a limit, too: one may be set later in the month
                scopes.append(plan.scope(f"{dimension}:{who}", month, each.get(who)))
        ends_s = min(day.ends_s, month.ends_s)
        if plan.watch is not None and plan.watch.period == "hour":
            hour = plan.window("hour", now_s)
            scopes.append(plan.scope(plan.watch.scope, hour, None))
            ends_s = min(ends_s, hour.ends_s)
        limited = tuple(scope for scope in scopes if scope.limit_pusd is not None)
        return CallScopes(tuple(scopes), limited, ends_s, plan)

    def _limited(self) -> list[_Limited]:
        plan, now_s = self.plan, self._clock()
        limits = plan.limits
        day, month = plan.window("day", now_s), plan.window("month", now_s)
        found: list[_Limited] = []
        if limits.daily_pusd is not None:
            found.append((Scope(name="daily", window=day.key, limit_pusd=limits.daily_pusd), "day", day))
        monthly = {"monthly": limits.monthly_pusd} if limits.monthly_pusd is not None else {}
        for dimension, each in _dimensions(limits):
            monthly.update({f"{dimension}:{who}": limit for who, limit in each.items()})
        for name, limit in monthly.items():
            found.append((Scope(name=name, window=month.key, limit_pusd=limit), "month", month))
        return found

    def _money(self, pusd: int) -> float:
        return self._currency.of(pusd)

    def _told(self, pusd: int) -> str:
        """An amount as text, below one to the last digit that matters."""
        amount = self._money(pusd)
        text = f"{amount:,.2f}" if abs(amount) >= 1 else f"{amount:.12f}".rstrip("0").ljust(4, "0")
        return f"{text} {self._currency.code}"


def _dimensions(limits: BudgetLimits) -> tuple[tuple[str, Mapping[str, int]], ...]:
    """The names of `_DIMENSIONS` in scopes, with their limits; in the same order, which is that of `_scopes`'s key."""
    return ("team", limits.teams), ("project", limits.projects), ("customer", limits.customers)


__all__ = ["Budgets", "CostCrossing", "CostWatch"]

"""The wall: which budgets a call falls under, a hold over all of them before anything is sent, alerts afterwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from .._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, crossed
from .._rules.windows import Period, Window, window_of
from ..errors import BudgetExceededError, ConfigurationError
from ..models import PUSD_PER_USD, BudgetAlert, BudgetStatus
from .ports import Durable, Ledger
from .tracking import CostTracker, active_trackers

_log = logging.getLogger("genops_helicone_async.budgets")
_MOST_REMEMBERED = 4096
_DIMENSIONS = (("team", "teams"), ("project", "projects"), ("customer_id", "customers"))


class BudgetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in pico-dollars: per day and month over everything, per month for teams, projects and customers."""

    daily_pusd: int | None = None
    monthly_pusd: int | None = None
    teams: Mapping[str, int] = {}
    projects: Mapping[str, int] = {}
    customers: Mapping[str, int] = {}
    zone: str = "UTC"
    thresholds: tuple[float, ...] = (0.8, 1.0)
    enforce: bool = True


def limits_of(
    daily_limit: float | None,
    monthly_limit: float | None,
    per_team: Mapping[str, float] | None,
    per_project: Mapping[str, float] | None,
    per_customer: Mapping[str, float] | None,
    *,
    timezone: str,
    alert_thresholds: Sequence[float],
    enforce: bool,
) -> BudgetLimits:
    """Limits from dollars, checked.

    Raises:
        ConfigurationError: a limit, threshold or time zone makes no sense.
        TypeError: something has the wrong type.
    """
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ConfigurationError(
            f"`timezone` is {timezone!r}, which is no known time zone: try 'UTC' or 'Europe/Berlin'"
        ) from exc
    for share in alert_thresholds:
        if isinstance(share, bool) or not isinstance(share, int | float) or not (math.isfinite(share) and share > 0):
            raise ConfigurationError(f"`alert_thresholds` holds {share!r}: give shares of the limit, such as 0.8")
    return BudgetLimits(
        daily_pusd=_pusd("daily_limit", daily_limit),
        monthly_pusd=_pusd("monthly_limit", monthly_limit),
        teams=_each("per_team_limits", per_team),
        projects=_each("per_project_limits", per_project),
        customers=_each("per_customer_limits", per_customer),
        zone=timezone,
        thresholds=tuple(sorted(alert_thresholds)),
        enforce=enforce,
    )


def _pusd(name: str, dollars: float | None) -> int | None:
    if dollars is None:
        return None
    if isinstance(dollars, bool) or not isinstance(dollars, int | float):
        raise TypeError(f"`{name}` must be a number of dollars, not {type(dollars).__name__}")
    if not (math.isfinite(dollars) and 0 <= dollars < 9_000_000):
        raise ConfigurationError(f"`{name}` is {dollars!r}: give dollars from 0 to 9,000,000")
    return round(dollars * PUSD_PER_USD)


def _each(name: str, limits: Mapping[str, float] | None) -> dict[str, int]:
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        raise TypeError(f"`{name}` must be a mapping of names to dollars, not {type(limits).__name__}")
    result = {}
    for who, dollars in limits.items():
        if not isinstance(who, str) or not who:
            raise ConfigurationError(f"`{name}` has the key {who!r}: keys are names")
        limit = _pusd(f"{name}[{who!r}]", dollars)
        if limit is None:
            raise ConfigurationError(f"`{name}[{who!r}]` is None: give dollars or leave it out")
        result[who] = limit
    return result


class _Scopes(msgspec.Struct, frozen=True):
    """The scopes of one combination of team, project and customer, until the first of their windows ends."""

    scopes: tuple[Scope, ...]
    has_limit: bool
    valid_until_s: float


class Budgets:
    """Budgets of one adapter over one ledger. `clock` is the wall clock in Unix seconds."""

    __slots__ = ("_alert", "_clock", "_ledger", "_limits", "_remembered", "_zone")

    def __init__(self, ledger: Ledger, clock: Callable[[], float], alert: Callable[[BudgetAlert], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._alert = alert
        self.configure(BudgetLimits())

    def __repr__(self) -> str:
        return f"Budgets({', '.join(str(status) for status in self.status()) or 'no limits'})"

    def configure(self, limits: BudgetLimits) -> None:
        """Replaces all limits at once; calls in flight keep the holds they have."""
        self._limits = limits
        self._zone: tzinfo = ZoneInfo(limits.zone)
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
                name=scope.name, scope=scope.name.partition(":")[0], period=period, limit=limit / PUSD_PER_USD,
                settled=account.settled_pusd / PUSD_PER_USD, held=account.held_pusd / PUSD_PER_USD,
                remaining=(limit - account.settled_pusd - account.held_pusd) / PUSD_PER_USD, resets_at=window.ends_at,
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
            f"the budget `{scope.name}` of ${limit / PUSD_PER_USD:.2f} has ${(limit - used) / PUSD_PER_USD:.6f} left, "
            f"less than this call may cost{until}",
            current_usage=used / PUSD_PER_USD, budget_limit=limit / PUSD_PER_USD, scope=scope.name, period=period,
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
                    name=movement.scope.name, threshold=share, settled=movement.after_pusd / PUSD_PER_USD,
                    limit=limit / PUSD_PER_USD, at_s=self._clock(),
                )  # fmt: skip
                _log.warning("budget %s has passed %.0f %% of $%.2f", alert.name, share * 100, alert.limit)
                self._alert(alert)

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

    def _key(self, window: Window) -> str:
        return window.key if self._limits.zone == "UTC" else f"{window.key}@{self._limits.zone}"


class CallHold:
    """The money set aside for one call, over its budgets and the trackers around it. Ended exactly once."""

    __slots__ = ("_budgets", "_ended", "_enforce", "_held", "_ledger", "_scopes", "_trackers", "limited")

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
        self.limited = limited

    @property
    def held_pusd(self) -> int:
        """What is set aside now."""
        return self._held

    @property
    def enforced(self) -> bool:
        """Whether a budget applies to this call and refuses it where there is no room."""
        return self.limited and self._enforce

    async def raise_to(self, total_pusd: int) -> None:
        """Sets aside as much as is missing to the total; what is held already stays in any case.

        Raises:
            BudgetExceededError: a budget has no room for it.
            LedgerError: the store cannot be asked.
        """
        more = total_pusd - self._held
        if more <= 0 or not self.limited:
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

    def settle(self, rows: list[LedgerRow], *, failed: bool = False, cached: bool = False) -> Durable:
        """Books what the call cost and frees the rest. Plain, so nothing can tear it; a second end has no effect."""
        if self._ended:
            return None
        self._ended = True
        for tracker in self._trackers:
            tracker.settle(self._held, rows, failed=failed, cached=cached)
        return self._ledger.settle(self._scopes, self._held, rows, self._budgets.booked)


__all__ = ["BudgetLimits", "Budgets", "CallHold", "limits_of"]

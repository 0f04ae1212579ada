"""Alerts to webhooks: a sink that knows when one is due and what it says; somebody else delivers them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from .._rules.alert_triggers import ErrorWatch, SlowWatch, Triggers
from .._values import Currency
from .._wire.webhooks import Alert, Channel, alert
from ..errors import ConfigurationError, HeliconeError
from ..models import BudgetAlert, BudgetOverrun
from .budgets import Budgets, CostCrossing, CostWatch
from .ticket import RequestRecord

_ABOUT = ("service_name", "environment")


class Post(Protocol):
    """What delivers alerts."""

    def put(self, alert: Alert) -> None:
        """Takes one; never waits and never fails."""
        ...


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, with the state that knows a crossing; replaced as one."""

    channels: frozenset[str] = frozenset()
    triggers: Triggers = Triggers()
    slow: SlowWatch | None = None
    errors: ErrorWatch | None = None


class Alerts:
    """The alerts of one adapter. `clock` is Unix seconds, `steady` never goes back, `about` is told with each alert."""

    __slots__ = ("_about", "_budgets", "_clock", "_currency", "_lock", "_new_id", "_plan", "_post", "_steady")

    def __init__(
        self,
        post: Post,
        budgets: Budgets,
        currency: Currency,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        steady: Callable[[], float],
        about: Mapping[str, str],
    ) -> None:
        self._post = post
        self._budgets = budgets
        self._currency = currency
        self._new_id = new_id
        self._clock = clock
        self._steady = steady
        self._about = {name: about[name] for name in _ABOUT if name in about}
        self._lock = threading.Lock()
        self._plan = _Plan()

    def __repr__(self) -> str:
        return f"Alerts({', '.join(sorted(self._plan.channels)) or 'off'})"

    def configure(self, channels: frozenset[str], triggers: Triggers) -> None:
        """Replaces what is watched; the windows and states of crossings begin anew.

        Raises:
            ConfigurationError: see `check`.
        """
        check(channels, triggers)
        self._plan = _Plan(
            channels=channels,
            triggers=triggers,
            slow=SlowWatch(triggers.slow_response) if triggers.slow_response else None,
            errors=ErrorWatch(triggers.error_rate) if triggers.error_rate else None,
        )
        high = triggers.high_cost
        watch = None
        if high is not None:
            threshold = self._currency.to_pusd(high.threshold)
            watch = CostWatch(period=high.period, threshold_pusd=threshold, tell=self._on_cost)
        self._budgets.watch(watch)

    def __call__(self, record: RequestRecord) -> None:
        """Looks at an ended call; one that sent nothing, or that its caller gave up, says nothing of performance."""
        plan = self._plan
        failed = record.error is not None
        if not record.attempts or (failed and not isinstance(record.error, HeliconeError)):
            return
        last, duration_ms = record.attempts[-1], record.duration_s * 1000
        with self._lock:
            is_slow = plan.slow is not None and plan.slow.crosses(last.provider, last.model, duration_ms)
            rate = plan.errors.crosses(failed=failed, now_s=self._steady()) if plan.errors else None
        error = type(record.error).__name__ if failed else None
        if is_slow and plan.triggers.slow_response:
            self._tell("performance", "slow_response", {
                "provider": last.provider, "model": last.model, "request_id": last.request_id, "error": error,
                "duration_ms": round(duration_ms, 3), "threshold_ms": plan.triggers.slow_response.threshold_ms,
            })  # fmt: skip
        if rate is not None and plan.triggers.error_rate:
            self._tell("performance", "error_rate", {
                "error_rate": rate.rate, "errors": rate.errors, "requests": rate.requests,
                "threshold": plan.triggers.error_rate.threshold, "window_s": plan.triggers.error_rate.window_s,
                "last_error": error, "last_provider": last.provider,
            })  # fmt: skip

    def on_budget(self, event: BudgetAlert | BudgetOverrun) -> None:
        """Tells of a budget that passed a threshold, and of a call dearer than what was set aside for it."""
        if "cost" not in self._plan.channels:
            return
        facts = msgspec.structs.asdict(event)
        facts.pop("at_s")
        kind = "budget_alert" if isinstance(event, BudgetAlert) else "budget_overrun"
        if isinstance(event, BudgetAlert):
            facts["budget"] = facts.pop("name")
        self._tell("cost", kind, {**facts, "currency": self._currency.code})

    def _on_cost(self, crossing: CostCrossing) -> None:
        high = self._plan.triggers.high_cost
        if high is not None:
            self._tell("cost", "high_cost", {
                "timeframe": high.timeframe, "window": crossing.window, "threshold": high.threshold,
                "spent": crossing.spent, "currency": self._currency.code,
            })  # fmt: skip

    def _tell(self, channel: Channel, kind: str, facts: Mapping[str, Any]) -> None:
        told = {**facts, **self._about}
        self._post.put(alert(f"msg_{self._new_id()}", channel, kind, told, self._clock()))


def check(channels: frozenset[str], triggers: Triggers) -> None:
    """Refuses a trigger without a webhook to tell, and a webhook that would never be told anything.

    Raises:
        ConfigurationError: which, and the remedy.
    """
    if triggers.high_cost and "cost" not in channels:
        raise ConfigurationError("`triggers` has 'high_cost', which nobody would hear of: give cost_alert_webhook=…")
    watched = {"slow_response": triggers.slow_response, "error_rate": triggers.error_rate}
    performance = [name for name, trigger in watched.items() if trigger is not None]
    if performance and "performance" not in channels:
        raise ConfigurationError(
            f"`triggers` has {performance[0]!r}, which nobody would hear of: give performance_webhook=…"
        )
    if "performance" in channels and not performance:
        raise ConfigurationError(
            "`performance_webhook` would never be called: give triggers={'slow_response': …} or {'error_rate': …}"
        )


__all__ = ["Alerts", "Post", "check"]

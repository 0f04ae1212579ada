"""The verbs that configure: plain methods, the same on both adapters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ._assembly import Parts
from ._cache_store import open_cache
from ._flow.budget_limits import limits_of
from ._flow.limit_plan import plan_of
from ._flow.route import RoutingFunction
from ._flow.sinks import Listener
from ._flow.tally import SessionSummary
from ._rules.cache_plan import plan_of as plan_of_cache
from .config import Settings
from .models import BudgetStatus


class ConfigurationVerbs:
    """What both adapters offer without awaiting; each verb takes effect at once, also for calls in flight."""

    _parts: Parts

    def set_budget_limits(
        self,
        daily_limit: float | None = None,
        monthly_limit: float | None = None,
        per_team_limits: Mapping[str, float] | None = None,
        *,
        per_project_limits: Mapping[str, float] | None = None,
        per_customer_limits: Mapping[str, float] | None = None,
        timezone: str = "UTC",
        alert_thresholds: Sequence[float] = (0.8, 1.0),
        enforce: bool = True,
    ) -> None:
        """Replaces all budgets at once, also while calls are in flight; those keep what they hold.

        Limits are in `cost_currency`; those of teams, projects and customers are monthly. Days and months are the
        calendar's in `timezone`. With `enforce`, a call whose worst case a budget has no room for is refused before
        anything is sent, unless it says `enforce_budget=False`.

        Raises:
            ConfigurationError: a limit, a threshold or the time zone makes no sense.
        """
        self._parts.shared.estimates.get_ready()
        self._parts.budgets.configure(
            limits_of(
                self._parts.shared.settings.currency,
                daily_limit,
                monthly_limit,
                per_team_limits,
                per_project_limits,
                per_customer_limits,
                timezone=timezone,
                alert_thresholds=alert_thresholds,
                enforce=enforce,
            )
        )

    def get_budget_status(self) -> tuple[BudgetStatus, ...]:
        """Every budget with its limit, what is spent, held and left, and when it resets.

        What other processes on the same `state_url` spend is known with the first call and then within a second; the
        synchronous adapter waits for it.
        """
        return self._parts.budgets.status()

    def configure_rate_limits(
        self,
        requests_per_minute: float | None = None,
        burst_allowance: int | None = None,
        backoff_strategy: str = "exponential",
        *,
        tokens_per_minute: float | None = None,
        max_concurrency: int | None = None,
        per_provider: Mapping[str, Mapping[str, Any]] | None = None,
        adaptive: bool = True,
    ) -> None:
        """Replaces all limits at once; calls wait for their turn within their deadline, and who waits keeps its place.

        Every provider has these limits for itself; `per_provider` gives some of them others, under the same names.
        With a shared `state_url` (Redis) what all processes send together keeps to the requests and tokens per
        minute; otherwise each event loop keeps to them by itself.

        Args:
            requests_per_minute: calls a minute, each attempt counted.
            burst_allowance: calls that may go at once; by default a second's worth, at least 1.
            backoff_strategy: how long repeats wait: `exponential` (full jitter, from 0.5 to 8 s), `linear`, `constant`.
            tokens_per_minute: input and output together; reserved by estimate, corrected when the usage is known.
            max_concurrency: calls on their way at once.
            per_provider: provider → limits; what they leave out is taken from the others.
            adaptive: whether limits of the provider's own are kept to as well, as its replies tell them or as its
                refusals show them.

        Raises:
            ConfigurationError: a limit, the strategy or a provider's name makes no sense.
            TypeError: a value has the wrong type.
        """
        everyone = {
            "requests_per_minute": requests_per_minute,
            "burst_allowance": burst_allowance,
            "tokens_per_minute": tokens_per_minute,
            "max_concurrency": max_concurrency,
            "adaptive": adaptive,
        }
        self._parts.limits.configure(plan_of(self.settings, everyone, per_provider, backoff_strategy))

    def enable_caching(
        self,
        cache_provider: str = "memory",
        cache_ttl: float = 3600,
        cache_key_strategy: str = "content_hash",
        *,
        url: str | None = None,
        path: str | os.PathLike[str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """Answers calls that were made before, at no cost; identical calls at the same time make one.

        The latter on each event loop (the synchronous adapter has one for all threads), and not for streams.
        Calls are the same where all that can change an answer is: what is said, every setting, who may answer and how
        that is decided, and the whole attribution but for the session. A temperature changes nothing of that: the same
        answer comes again. Kept are whole answers and streams (those cut by `max_tokens` are whole), no errors, and
        nothing that a filter stopped. An answer from the cache has `cached=True`, costs nothing, holds no budget and
        waits for no limit. `cache=False` leaves a call out. A store that fails makes misses, never errors; that is
        logged once. Call it again to replace the cache. Helicone's own is in `GatewayOptions(cache=…)`.

        Args:
            cache_provider: `memory`; `disk`, a file for all processes of this user; `redis`, a server for all machines.
            cache_ttl: seconds for which an answer is given again.
            cache_key_strategy: `exact_match` compares byte by byte; `content_hash` does so with texts in Unicode NFC
                and without white space around them.
            url: the Redis or Valkey server: unset that of `state_url`, `REDIS_URL`, or this machine's.
            path: the file: unset one in the user's folder for caches.
            max_bytes: what the answers may take, 64 MiB in memory and 512 MiB on disk; those used last stay.

        Raises:
            ConfigurationError: an argument makes no sense; nothing has changed.
            TypeError: an argument has the wrong type.
        """
        plan = plan_of_cache(cache_provider, cache_ttl, cache_key_strategy, url=url, path=path, max_bytes=max_bytes)
        self._parts.shared.caching.replace(open_cache(plan, self.settings))

    def disable_caching(self) -> None:
        """Every call asks a provider again; answers on disk or on a server stay there for their time."""
        self._parts.shared.caching.replace(None)

    def enable_cost_debugging(
        self, log_all_requests: bool = False, validate_pricing: bool = False, alert_on_unexpected_costs: bool = False
    ) -> None:
        """Writes to the logger `genops_helicone_async.costs`; call it again to change it, without arguments to end it.

        Args:
            log_all_requests: every receipt (INFO), one per attempt.
            validate_pricing: prices that differ by more than 0.5 % from LiteLLM's table, where that is installed.
            alert_on_unexpected_costs: costs three times above or below what the call was expected to cost.
        """
        sinks, debugging = self._parts.shared.sinks, self._parts.cost_debugging
        sinks.remove(debugging)
        debugging.configure(log_all=log_all_requests, validate=validate_pricing, unexpected=alert_on_unexpected_costs)
        if log_all_requests or validate_pricing or alert_on_unexpected_costs:
            sinks.add(debugging)

    def configure_webhooks(
        self,
        cost_alert_webhook: str | None = None,
        performance_webhook: str | None = None,
        triggers: Mapping[str, Any] | None = None,
        *,
        secret: str | None = None,
    ) -> None:
        """Posts alerts as JSON to these URLs, from a thread of its own: no call ever waits for a receiver.

        The cost webhook hears of budgets passing their `alert_thresholds`, of calls dearer than what was set aside,
        and of `high_cost`; the performance webhook of `slow_response` and `error_rate`. Each fires once per crossing.
        Alerts are tried again for a day; beside a ledger's file they survive the process. Call it again to replace
        everything, without arguments to end it.

        Args:
            cost_alert_webhook: https, or plain http to this machine.
            performance_webhook: the same.
            triggers: `{"high_cost": {"threshold": 10.0, "timeframe": "hourly"|"daily"|"monthly"}, "slow_response":
                {"threshold": 5000, "unit": "ms"|"s"}, "error_rate": {"threshold": 0.05, "window_s": 300,
                "min_requests": 20}}`.
            secret: signs every delivery as Standard Webhooks do: `whsec_` and base64 of 24 to 64 random bytes.

        Raises:
            ConfigurationError: a URL, a trigger or the secret is wrong; then nothing has changed.
        """
        self._parts.side.configure_webhooks(cost_alert_webhook, performance_webhook, triggers, secret)

    def register_routing_strategy(self, name: str, fn: RoutingFunction) -> None:
        """Makes `routing_strategy=name` ask `fn(providers, message, context)` who is asked first.

        It gives a provider's name, a list of names, or None for no opinion, and may be asynchronous; `context` is a
        `RoutingContext`. The other candidates follow in the order given.

        Raises:
            ConfigurationError: the name is empty or that of a built-in strategy.
            TypeError: `fn` cannot be called.
        """
        self._parts.shared.routing.register(name, fn)

    def register_custom_metrics(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Makes metrics of your own, which calls then give values with `custom_metrics={name: value}`.

        A definition has a `name`, a `type` (`gauge`, `counter` or `histogram`) and, if you like, a `description`, a
        `unit` and a histogram's `buckets`. The values of answered calls are exported with provider, model and team.

        Raises:
            ConfigurationError: a definition is wrong, or another metric has its name; it is named, and none is added.
        """
        self._parts.shared.custom_metrics.register(definitions)

    def set_quality_scores(self, scores: Mapping[str, float]) -> None:
        """Replaces your own scores for `quality_optimized`: model or `provider/model` → number, higher is better.

        They come before the built-in table, a dated snapshot of Arena's text leaderboard (about 1,200 to 1,500
        points). An empty mapping takes them back.

        Raises:
            ConfigurationError: a name is empty, or a score is no finite number.
            TypeError: `scores` is no mapping.
        """
        self._parts.shared.routing.score(scores)

    def on_budget_event(self, listener: Listener) -> None:
        """Calls `listener` with a `BudgetAlert` when spending passes a threshold.

        And with a `BudgetOverrun` when a call cost more than was set aside for it. A listener that fails is reported
        once and harms nothing.
        """
        self._parts.shared.sinks.listen(listener)

    def get_usage_summary(self) -> SessionSummary:
        """What all calls of this adapter have come to since it was made."""
        return self._parts.tally.summary()

    @property
    def settings(self) -> Settings:
        """The complete, checked settings; secrets do not show."""
        return self._parts.shared.settings


__all__ = ["ConfigurationVerbs"]

"""What a worker is told: the adapter's settings, its share of what is divided, and nothing that shows in a log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ..._providers import PROVIDERS
from ...bulk.live import WAIT_FOR_GATEWAY_S
from ...config import PLACES
from ...errors import ConfigurationError

_SHARED: Final = ("redis://", "rediss://", "valkey://", "valkeys://", "unix://")
_OF_THIS_PROCESS: Final = ("meter_provider", "tracer_provider", "logger_provider")
_OURS: Final = re.compile(r"HELICONE_|GENOPS_")
_LOOPBACK: Final = re.compile(r"localhost$|127\.|::1$")


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The same for every worker: each makes an adapter of its own of it. It pickles, and its repr tells no key.

    Attributes:
        settings: Keywords of `GenOpsHeliconeAsyncAdapter`.
        budgets: Keywords of `set_budget_limits`; None without budgets.
        rate_limits: Keywords of `configure_rate_limits`; None without limits.
        caching: Keywords of `enable_caching`; None without a cache.
        max_in_flight: Calls at once, over all workers.
        limit_pusd: What the whole job may cost, in pico-dollars; each worker has a part of it.
        wait_for_gateway_s: How long rows wait for a gateway that cannot be reached.
        environ: Variables that the settings are completed from; unset, this process's own that have to do with it.
    """

    settings: Mapping[str, Any] = {}
    budgets: Mapping[str, Any] | None = None
    rate_limits: Mapping[str, Any] | None = None
    caching: Mapping[str, Any] | None = None
    max_in_flight: int = 256
    limit_pusd: int | None = None
    wait_for_gateway_s: float = WAIT_FOR_GATEWAY_S
    environ: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        named = [name for name in ("budgets", "rate_limits", "caching") if getattr(self, name) is not None]
        return f"WorkerPlan({self.max_in_flight} in flight, {', '.join(named) or 'no limits'}; keys are not shown)"

    @property
    def state_url(self) -> str | None:
        """Where budgets and rates are kept."""
        environ = os.environ if self.environ is None else self.environ
        return self.settings.get("state_url") or environ.get("GENOPS_STATE_URL") or None

    def completed(self, environ: Mapping[str, str]) -> WorkerPlan:
        """The same with what the environment says; workers elsewhere have another one.

        Raises:
            ConfigurationError: what all workers together do would not keep to a limit, or a setting cannot travel.
        """
        for name in _OF_THIS_PROCESS:
            if self.settings.get(name) is not None:
                raise ConfigurationError(f"`{name}` belongs to this process and cannot be given to workers on Ray")
        plan = msgspec.structs.replace(self, environ=relevant(environ if self.environ is None else self.environ))
        url = plan.state_url
        limits = [name for name in ("budgets", "rate_limits") if getattr(self, name) is not None]
        if url is not None and not url.startswith(_SHARED):
            raise ConfigurationError(
                "`state_url` is a file of this machine, and workers on Ray need a server they all reach: give "
                "state_url='redis://host:6379/0', or none"
            )
        if limits and url is None:
            raise ConfigurationError(
                f"{' and '.join(limits)} would hold for each worker on Ray by itself, and the sum would pass them: "
                "give state_url='redis://host:6379/0', or set GENOPS_STATE_URL: a server where the workers share them"
            )
        return plan

    def share(self, number: int, workers: int) -> WorkerPlan:
        """What worker `number` of so many, from 0, is told: its part of the calls at once."""
        limits = self.rate_limits
        if limits is not None:
            limits = _divided(limits, number, workers)
        in_flight = _part(self.max_in_flight, number, workers)
        limit = None if self.limit_pusd is None else self.limit_pusd // workers
        return msgspec.structs.replace(self, rate_limits=limits, max_in_flight=in_flight, limit_pusd=limit)

    def most_workers(self) -> int:
        """How many workers there can be, each with at least one call at once of every kind."""
        return min([self.max_in_flight, *_concurrencies(self.rate_limits or {})])

    def is_for_this_machine_only(self) -> bool:
        """Whether another machine that followed the plan would look for a shared store on itself."""
        parts = urlsplit(self.state_url or "")
        return parts.scheme == "unix" or _LOOPBACK.match(parts.hostname or "") is not None


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that an adapter's settings are completed from."""
    keys = {variable for provider in PROVIDERS.values() for variable in provider.env}
    return {
        name: text for name, text in environ.items() if name in keys or name in PLACES or _OURS.match(name)
    }  # fmt: skip


def _part(whole: int, number: int, workers: int) -> int:
    return max(1, whole // workers + (number < whole % workers))


def _concurrencies(limits: Mapping[str, Any]) -> list[int]:
    """Every `max_concurrency` among limits: each event loop keeps one by itself."""
    found = [limits, *(limits.get("per_provider") or {}).values()]
    return [each["max_concurrency"] for each in found if each.get("max_concurrency")]


def _divided(limits: Mapping[str, Any], number: int, workers: int) -> dict[str, Any]:
    divided = dict(limits)
    if divided.get("max_concurrency"):
        divided["max_concurrency"] = _part(divided["max_concurrency"], number, workers)
    if divided.get("per_provider"):
        divided["per_provider"] = {
            provider: _divided(each, number, workers) for provider, each in divided["per_provider"].items()
        }
    return divided


__all__ = ["WorkerPlan", "relevant"]

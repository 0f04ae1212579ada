"""On and off: `init()` puts the libraries under watch, `uninstrument()` takes everything off again."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec

from ..config import GivenSettings, Settings, resolve
from ..errors import ConfigurationError
from .places import Places
from .reporting import report_once
from .routes import Routes, no_routes, routes_of

if TYPE_CHECKING:
    from .governance import Governance
    from .governor import Governor
    from .patches import Patches

_NOBODY = "none-needed"
_OPEN_FILES = 1024
"""Stands for the process's limit, which only matters to who opens connections."""


class InstrumentationSettings(TypedDict, total=False):
    """The keywords of `init` that an adapter has, too; `GenOpsHeliconeAsyncAdapter` says what they mean."""

    helicone_api_key: str | None
    gateway_url: str | None
    gateway_dialect: str
    provider_urls: Mapping[str, str] | None
    timeout_seconds: float
    max_response_bytes: int
    enable_cost_tracking: bool
    cost_currency: str
    exchange_rates: Mapping[str, float] | None
    prices: Mapping[Any, Any] | None
    gateway_fee_rates: Mapping[str, float] | None
    state_url: str | None
    audit_logging: Any
    allow_insecure_http: bool
    meter_provider: Any
    tracer_provider: Any
    logger_provider: Any


class Instrumentation:
    """What `init()` has switched on; `governance` configures budgets and limits and tells what was spent."""

    __slots__ = ("_given", "_governance", "_governor", "_lock", "_patches", "_settings")

    def __init__(self, given: Mapping[str, Any], settings: Settings, routes: Routes) -> None:
        from .patches import Patches
        from .requested import Watch

        self._given = given
        self._settings = settings
        self._lock = threading.RLock()
        self._governor: Governor | None = None
        self._governance: Governance | None = None
        self._patches: Patches = Patches(Watch(Places(settings), routes, self._governed))

    def __repr__(self) -> str:
        state = "on" if self.is_active else "off"
        return f"{type(self).__name__}({state}, {self._patches!r}, enforce={self._given['enforce']})"

    @property
    def is_active(self) -> bool:
        """Whether calls are watched now."""
        return _current is self

    @property
    def governance(self) -> Governance:
        """Budgets, limits, webhooks and the sums of what was spent, under the same verbs as an adapter's."""
        with self._lock:
            if self._governance is None:
                from .governance import Governance

                self._governance = Governance(self._governed().parts)
            return self._governance

    def _governed(self) -> Governor:
        """The governor, put together when it is first needed."""
        governor = self._governor
        if governor is None:
            with self._lock:
                if self._governor is None:
                    from .governor import Governor

                    self._governor = Governor(self._settings, enforces=self._given["enforce"])
                governor = self._governor
        return governor

    def _configure(self) -> None:
        """Applies the budgets and limits that `init` was given."""
        if self._given["budget_limits"] is not None:
            self.governance.set_budget_limits(**self._given["budget_limits"])
        if self._given["rate_limits"] is not None:
            self.governance.configure_rate_limits(**self._given["rate_limits"])

    def _found(self, library: str, module: ModuleType) -> None:
        self._patches.apply(library, module)

    def _end(self) -> None:
        self._patches.undo()
        if self._governor is not None:
            self._governor.close()


_switching = threading.RLock()
_current: Instrumentation | None = None


def init(
    *,
    enforce: bool = False,
    route_through_gateway: bool = False,
    budget_limits: Mapping[str, Any] | None = None,
    rate_limits: Mapping[str, Any] | None = None,
    default_attributes: Mapping[str, str] | None = None,
    team: str | None = None,
    project: str | None = None,
    environment: str | None = None,
    customer_id: str | None = None,
    **settings: Unpack[InstrumentationSettings],
) -> Instrumentation:
    """Has every call to Helicone accounted for, whichever client makes it, those made before included.

    Calls through httpx, httpx2, requests and aiohttp, and so those of openai, anthropic, groq, langchain, litellm and
    others built on them, to Helicone's hosts and to the configured gateway yield the same spans, metrics, costs, audit
    lines and ledger rows as an adapter's. Streams pass as they come. Nothing else changes for the caller.

    Called again it changes nothing without arguments or with the same ones; with others it begins anew with them.
    Nothing is imported that the program has not imported, and nothing opened before the first call.

    Args:
        enforce: Whether budgets and limits hold for these calls: one that a budget has no room for raises
            `BudgetExceededError` before anything is sent, one that is too fast waits.
        route_through_gateway: Whether `https://api.openai.com` and `https://api.anthropic.com` are reached through
            their Helicone hosts (or their `provider_urls`), with Helicone's key beside the caller's own.
        budget_limits: The arguments of `set_budget_limits`.
        rate_limits: The arguments of `configure_rate_limits`.
        default_attributes: Attribution of calls outside of any `with attributes(…)`.
        team: One of them, as `project`, `environment` and `customer_id` are.
        project: See `team`.
        environment: See `team`.
        customer_id: See `team`.
        **settings: Those of an adapter that concern calls it does not make itself.

    Raises:
        ConfigurationError: a setting is wrong, or the extra `[instrument]` is not installed.
        TypeError: a keyword is unknown or has the wrong type.
    """
    global _current
    named = {"team": team, "project": project, "environment": environment, "customer_id": customer_id}
    attributes = {**(default_attributes or {}), **{name: value for name, value in named.items() if value is not None}}
    given = {
        "enforce": enforce, "route_through_gateway": route_through_gateway, "budget_limits": budget_limits,
        "rate_limits": rate_limits, "default_attributes": attributes, **settings,
    }  # fmt: skip
    with _switching:
        if _current is not None and given in (_current._given, _NOTHING_GIVEN):
            return _current
        resolved, routes = _resolved(given)
        _check_extra()
        instrumentation = Instrumentation(given, resolved, routes)
        instrumentation._configure()
        uninstrument()
        _current = instrumentation
        from .patches import on_import

        on_import(_found)
    return instrumentation


_NOTHING_GIVEN: dict[str, Any] = {
    "enforce": False, "route_through_gateway": False, "budget_limits": None, "rate_limits": None,
    "default_attributes": {},
}  # fmt: skip


def uninstrument() -> None:
    """Takes all of it off again, and writes what was counted; without effect where nothing is on.

    Calls on their way are still settled. A ledger's rows are written, and metrics exported, within seconds.
    """
    global _current
    with _switching:
        instrumentation, _current = _current, None
        if instrumentation is not None:
            instrumentation._end()


def _found(library: str, module: ModuleType) -> None:
    """One of the libraries is there; an import must never fail over this."""
    with _switching:
        if _current is not None:
            try:
                _current._found(library, module)
            except Exception:  # noqa: BLE001  the program works without us
                report_once(f"instrumenting {library}")


def _check_extra() -> None:
    try:
        import wrapt  # noqa: F401
    except ImportError as exc:
        raise ConfigurationError(
            "auto-instrumentation needs the extra `instrument`: pip install 'genops-helicone-async[instrument]'"
        ) from exc


def _resolved(given: Mapping[str, Any]) -> tuple[Settings, Routes]:
    """The settings, checked, and the routes."""
    options = {name: value for name, value in given.items() if name in InstrumentationSettings.__annotations__}
    unknown = sorted(set(given) - set(options) - set(_NOTHING_GIVEN))
    if unknown:
        raise TypeError(f"init() got an unexpected keyword argument {unknown[0]!r}")
    for name in ("enforce", "route_through_gateway"):
        if not isinstance(given[name], bool):
            raise TypeError(f"`{name}` must be True or False, not {type(given[name]).__name__}")
    routed, environ, is_plain = (
        given["route_through_gateway"],
        dict(os.environ),
        given.get("allow_insecure_http", False),
    )
    key = options.get("helicone_api_key") or environ.get("HELICONE_API_KEY")
    if not routed:  # nothing is sent anywhere on our account, so there is nothing to authenticate with or to protect
        options = {**options, "allow_insecure_http": True}
    asked = GivenSettings(
        **{**options, "helicone_api_key": key or _NOBODY}, default_attributes=given["default_attributes"],
        provider_keys={},
    )  # fmt: skip
    settings = msgspec.structs.replace(resolve(asked, environ, _OPEN_FILES), allow_insecure_http=is_plain)
    if not key:
        settings = msgspec.structs.replace(settings, helicone_api_key=None)
    return settings, routes_of(settings) if routed else no_routes()


__all__ = ["Instrumentation", "InstrumentationSettings", "init", "uninstrument"]

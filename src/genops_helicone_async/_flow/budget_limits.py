"""What budgets a user set, checked: limits per day and month, for teams, projects and customers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from .._values import Currency
from ..errors import ConfigurationError

_MOST_USD = 9_000_000
"""In pico-dollars more would not fit the 64 bits of a durable store."""


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
    currency: Currency,
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
    """Limits from amounts of the currency, checked.

    Raises:
        ConfigurationError: a limit, threshold or time zone makes no sense.
        TypeError: something has the wrong type.
    """
    try:
        zone_of(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ConfigurationError(
            f"`timezone` is {timezone!r}, which is no known time zone: try 'UTC' or 'Europe/Berlin'"
        ) from exc
    for share in alert_thresholds:
        if isinstance(share, bool) or not isinstance(share, int | float) or not (math.isfinite(share) and share > 0):
            raise ConfigurationError(f"`alert_thresholds` holds {share!r}: give shares of the limit, such as 0.8")
    return BudgetLimits(
        daily_pusd=_pusd(currency, "daily_limit", daily_limit),
        monthly_pusd=_pusd(currency, "monthly_limit", monthly_limit),
        teams=_each(currency, "per_team_limits", per_team),
        projects=_each(currency, "per_project_limits", per_project),
        customers=_each(currency, "per_customer_limits", per_customer),
        zone=timezone,
        thresholds=tuple(sorted(alert_thresholds)),
        enforce=enforce,
    )


def zone_of(name: str) -> tzinfo:
    """The time zone of a name; `UTC` needs no database of zones."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _pusd(currency: Currency, name: str, amount: float | None) -> int | None:
    if amount is None:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise TypeError(f"`{name}` must be a number of {currency.code}, not {type(amount).__name__}")
    if not (math.isfinite(amount) and 0 <= amount / currency.rate < _MOST_USD):
        most = f"{_MOST_USD * currency.rate:,.0f} {currency.code}"
        raise ConfigurationError(f"`{name}` is {amount!r}: give an amount from 0 to {most}")
    return currency.to_pusd(amount)


def _each(currency: Currency, name: str, limits: Mapping[str, float] | None) -> dict[str, int]:
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        raise TypeError(f"`{name}` must be a mapping of names to amounts, not {type(limits).__name__}")
    result = {}
    for who, amount in limits.items():
        if not isinstance(who, str) or not who:
            raise ConfigurationError(f"`{name}` has the key {who!r}: keys are names")
        limit = _pusd(currency, f"{name}[{who!r}]", amount)
        if limit is None:
            raise ConfigurationError(f"`{name}[{who!r}]` is None: give an amount or leave it out")
        result[who] = limit
    return result


__all__ = ["BudgetLimits", "limits_of", "zone_of"]

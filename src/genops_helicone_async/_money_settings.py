"""What the settings that concern money must be: the currency, its rate, the gateway's fees, the store of budgets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ._values import Currency
from .errors import ConfigurationError

_STORES = ("sqlite:///", "redis://", "rediss://", "unix://", "valkey://", "valkeys://")


def checked_currency(code: object, rates: Mapping[str, float]) -> Currency:
    """The currency callers see money in; any but the dollar needs its rate."""
    if not isinstance(code, str) or len(code) != 3 or not code.isalpha():
        raise ConfigurationError(f"`cost_currency` is {code!r}: give an ISO 4217 code, such as 'USD' or 'EUR'")
    code = code.upper()
    rate = rates.get(code, 1.0 if code == "USD" else None)
    if rate is None:
        raise ConfigurationError(
            f"`cost_currency` is {code!r} and `exchange_rates` has no rate for it: give how many {code} one US dollar "
            f"buys, such as exchange_rates={{{code!r}: 0.92}}"
        )
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not (math.isfinite(rate) and rate > 0):
        raise ConfigurationError(
            f"`exchange_rates[{code!r}]` is {rate!r}: give a positive number of {code} per US dollar"
        )
    return Currency(code, float(rate))


def checked_state_url(url: str | None) -> str | None:
    """The store's URL, its kind checked; the store itself checks the rest."""
    if url is None:
        return None
    if not isinstance(url, str):
        raise TypeError(f"`state_url` must be a URL as text, not {type(url).__name__}")
    if url.startswith(_STORES):
        return url
    kind = url.partition(":")[0]
    raise ConfigurationError(
        f"`state_url` has the scheme {kind!r}: use sqlite:///file.db, sqlite:////absolute/file.db or redis://host:6379/0"
    )


def checked_fee_rates(rates: Iterable[tuple[str, float]]) -> dict[str, float]:
    """What the gateway adds to a cost, as a share by billing mode."""
    result = {"PTB": 0.03, "BYOK": 0.0}
    for name, rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not (math.isfinite(rate) and 0 <= rate < 1):
            raise ConfigurationError(
                f"`gateway_fee_rates[{name!r}]` is {rate!r}: give a share between 0 and 1, 0.03 is 3 %"
            )
        result[name.upper()] = float(rate)
    return result


__all__ = ["checked_currency", "checked_fee_rates", "checked_state_url"]

"""When an alert is due: the triggers of `configure_webhooks`, read and checked, and the state that knows a crossing.

Each trigger fires once when its figure passes the threshold, and again only after it was below. Spending is watched by
the ledger (`HighCost`), so that of several processes on one store exactly one tells; the rest is watched here.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..errors import ConfigurationError
from .windows import Period

TIMEFRAMES: dict[str, Period] = {"hourly": "hour", "daily": "day", "monthly": "month"}
_MOST_WATCHED = 4096
_SLICES = 60
"""Parts of an error rate's window: old calls leave it a sixtieth at a time, and memory does not grow with the calls."""


class HighCost(msgspec.Struct, frozen=True, kw_only=True):
    """Spending in the currency of the adapter within one hour (UTC), day or month."""

    threshold: float
    timeframe: Literal["hourly", "daily", "monthly"]

    @property
    def period(self) -> Period:
        """The calendar window that a timeframe means."""
        return TIMEFRAMES[self.timeframe]


class SlowResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A call that took longer, queueing, retries and failover included; milliseconds."""

    threshold_ms: float


class ErrorRate(msgspec.Struct, frozen=True, kw_only=True):
    """The share of failed calls among those of the last `window_s` seconds, once there are `min_requests` of them."""

    threshold: float
    window_s: float = 300.0
    min_requests: int = 20


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched; None is not."""

    high_cost: HighCost | None = None
    slow_response: SlowResponse | None = None
    error_rate: ErrorRate | None = None


def triggers_of(given: Mapping[str, Any] | None) -> Triggers:
    """The triggers a mapping like the guide's describes.

    Raises:
        ConfigurationError: a name is unknown or a figure makes no sense; the remedy is named.
        TypeError: something is of the wrong type.
    """
    given = _mapping("triggers", {} if given is None else given)
    if unknown := sorted(set(given) - set(_READERS)):
        raise ConfigurationError(f"`triggers` has the unknown {unknown[0]!r}: known are {', '.join(_READERS)}")
    read: dict[str, Any] = {name: _READERS[name](f"triggers[{name!r}]", value) for name, value in given.items()}
    return Triggers(**read)


def _high_cost(where: str, value: object) -> HighCost:
    fields = _fields(where, value, "threshold", "timeframe")
    timeframe = fields.get("timeframe", "daily")
    if timeframe not in TIMEFRAMES:
        raise ConfigurationError(f"`{where}` has the timeframe {timeframe!r}: use one of {', '.join(TIMEFRAMES)}")
    return HighCost(threshold=_number(where, fields, "threshold", above=0), timeframe=timeframe)


def _slow_response(where: str, value: object) -> SlowResponse:
    fields = _fields(where, value, "threshold", "unit")
    factor = {"ms": 1.0, "s": 1000.0}.get(_unit(where, fields, "ms"))
    if factor is None:
        raise ConfigurationError(f"`{where}` has the unit {fields['unit']!r}: use 'ms' or 's'")
    return SlowResponse(threshold_ms=_number(where, fields, "threshold", above=0) * factor)


def _error_rate(where: str, value: object) -> ErrorRate:
    fields = _fields(where, value, "threshold", "unit", "window_s", "min_requests")
    if _unit(where, fields, "percentage") not in ("percentage", "share"):
        raise ConfigurationError(f"`{where}` has the unit {fields['unit']!r}: use 'percentage' with 0.05 for 5 %")
    threshold = _number(where, fields, "threshold", above=0)
    if threshold > 1:
        raise ConfigurationError(f"`{where}` has the threshold {threshold:g}: write a share from 0 to 1, 0.05 is 5 %")
    window_s = _number(where, fields, "window_s", above=0, default=300.0)
    least = fields.get("min_requests", 20)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ConfigurationError(f"`{where}` has min_requests {least!r}: give a whole number from 1")
    return ErrorRate(threshold=threshold, window_s=window_s, min_requests=least)


_READERS = {"high_cost": _high_cost, "slow_response": _slow_response, "error_rate": _error_rate}


def _mapping(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"`{where}` must be a mapping, not {type(value).__name__}")
    return value


def _fields(where: str, value: object, *known: str) -> Mapping[str, Any]:
    fields = _mapping(where, value)
    if unknown := sorted(map(str, set(fields) - set(known))):
        raise ConfigurationError(f"`{where}` has the unknown {unknown[0]!r}: known are {', '.join(known)}")
    return fields


def _unit(where: str, fields: Mapping[str, Any], default: str) -> str:
    unit = fields.get("unit", default)
    if not isinstance(unit, str):
        raise TypeError(f"the unit of `{where}` must be text, not {type(unit).__name__}")
    return unit


def _number(where: str, fields: Mapping[str, Any], name: str, *, above: float, default: float | None = None) -> float:
    value = fields.get(name, default)
    if value is None:
        raise ConfigurationError(f"`{where}` lacks its {name}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"the {name} of `{where}` must be a number, not {type(value).__name__}")
    if not (math.isfinite(value) and value > above):
        raise ConfigurationError(f"`{where}` has the {name} {value!r}: give a finite number above {above:g}")
    return float(value)


class SlowWatch:
    """Knows which providers' models are slow at the moment; the least recently seen of many are forgotten."""

    __slots__ = ("_slow", "_threshold_ms")

    def __init__(self, trigger: SlowResponse) -> None:
        self._threshold_ms = trigger.threshold_ms
        self._slow: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def crosses(self, provider: str, model: str, duration_ms: float) -> bool:
        """Whether this call is the first slow one after a fast one, or the first of all."""
        key, is_slow = (provider, model), duration_ms > self._threshold_ms
        if not is_slow:
            self._slow.pop(key, None)
            return False
        was_slow = self._slow.pop(key, False)
        self._slow[key] = True
        if len(self._slow) > _MOST_WATCHED:
            self._slow.popitem(last=False)
        return not was_slow


class RateCrossing(msgspec.Struct, frozen=True, kw_only=True):
    """An error rate that passed its threshold: how many calls of the window failed."""

    errors: int
    requests: int

    @property
    def rate(self) -> float:
        """Failed calls as a share of all."""
        return self.errors / self.requests


class ErrorWatch:
    """Counts calls and failures over a sliding window."""

    __slots__ = ("_errors", "_is_above", "_requests", "_slices", "_trigger")

    def __init__(self, trigger: ErrorRate) -> None:
        self._trigger = trigger
        self._slices: deque[list[int]] = deque()  # [number of the slice, calls, failures]
        self._requests = self._errors = 0
        self._is_above = False

    def crosses(self, *, failed: bool, now_s: float) -> RateCrossing | None:
        """Counts a call; gives the rate where it has just passed the threshold. `now_s` never goes back."""
        self._count(math.floor(now_s / self._trigger.window_s * _SLICES), failed)
        if self._errors / self._requests < self._trigger.threshold:
            self._is_above = False
        elif not self._is_above and self._requests >= self._trigger.min_requests:
            self._is_above = True
            return RateCrossing(errors=self._errors, requests=self._requests)
        return None

    def _count(self, number: int, failed: bool) -> None:
        slices = self._slices
        while slices and slices[0][0] <= number - _SLICES:
            _, requests, errors = slices.popleft()
            self._requests -= requests
            self._errors -= errors
        if not slices:  # an outage that is followed by silence is over: the next one is another
            self._is_above = False
        if not slices or slices[-1][0] != number:
            slices.append([number, 0, 0])
        slices[-1][1] += 1
        slices[-1][2] += failed
        self._requests += 1
        self._errors += failed


__all__ = [
    "TIMEFRAMES",
    "ErrorRate",
    "ErrorWatch",
    "HighCost",
    "RateCrossing",
    "SlowResponse",
    "SlowWatch",
    "Triggers",
    "triggers_of",
]

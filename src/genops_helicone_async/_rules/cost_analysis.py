"""What-if arithmetic: the cheapest of several costs, and what a month of the same usage would cost elsewhere.

Money is whole pico-dollars, averages are exact fractions: nothing is rounded but the end of each sum, half to even.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from .._arguments import check_number
from ..errors import ConfigurationError
from .prices import Price, rates_for
from .tokens import multiplier_for

DAYS_PER_MONTH = 30
"""A month of a cost analysis, whatever the calendar says."""
OUTPUT_SHARE = Fraction(1, 4)
"""The part of `avg_tokens` that is output where nothing tells: three tokens in for one out.

That is the blend in which public comparisons state a model's price (Artificial Analysis, "blended price, 3:1").
"""

_MOST_REQUESTS, _MOST_TOKENS = 10**12, 10**9
_COUNTS = {
    "requests_per_day": check_number(0, _MOST_REQUESTS, f"between 0 and {_MOST_REQUESTS:,}"),
    **dict.fromkeys(
        ("avg_tokens", "avg_input_tokens", "avg_output_tokens"),
        check_number(0, _MOST_TOKENS, f"between 0 and {_MOST_TOKENS:,}"),
    ),
}
_SPLIT = ("avg_input_tokens", "avg_output_tokens")
_EXAMPLE = "{'requests_per_day': 1000, 'avg_tokens': 500}"


class DailyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Requests a day and the average tokens of one; averages need not be whole."""

    requests: Fraction
    input_tokens: Fraction
    output_tokens: Fraction

    def times(self, ratio: Fraction) -> DailyUsage:
        """The same requests with that many times the tokens."""
        return DailyUsage(
            requests=self.requests, input_tokens=self.input_tokens * ratio, output_tokens=self.output_tokens * ratio
        )


def parse_usage(name: str, given: object) -> DailyUsage:
    """The argument `name`, checked: `requests_per_day`, and `avg_tokens` or both its parts.

    Raises:
        ConfigurationError: a key is missing, unknown or too many, or a number is out of range.
        TypeError: it is no mapping, or a value is no number.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"`{name}` must be a mapping such as {_EXAMPLE}, not {type(given).__name__}")
    _check_keys(name, given)
    for key, value in given.items():
        _COUNTS[key](f"{name}[{key!r}]", value)
    numbers = {key: _exact(value) for key, value in given.items()}
    if "avg_tokens" in numbers:
        output_tokens = numbers["avg_tokens"] * OUTPUT_SHARE
        input_tokens = numbers["avg_tokens"] - output_tokens
    else:
        input_tokens, output_tokens = (numbers[key] for key in _SPLIT)
    return DailyUsage(requests=numbers["requests_per_day"], input_tokens=input_tokens, output_tokens=output_tokens)


def _check_keys(name: str, given: Mapping[Any, Any]) -> None:
    if unknown := [key for key in given if key not in _COUNTS]:
        raise ConfigurationError(f"`{name}` has the unknown key {unknown[0]!r}: known are {', '.join(_COUNTS)}")
    if "requests_per_day" not in given:
        raise ConfigurationError(f"`{name}` lacks 'requests_per_day': give for example {_EXAMPLE}")
    parts = [key for key in _SPLIT if key in given]
    if "avg_tokens" in given and parts:
        raise ConfigurationError(f"`{name}` has both 'avg_tokens' and {parts[0]!r}: give the sum or its two parts")
    if "avg_tokens" not in given and len(parts) < len(_SPLIT):
        missing = next(key for key in _SPLIT if key not in given)
        raise ConfigurationError(
            f"`{name}` lacks {missing!r}: give both {' and '.join(map(repr, _SPLIT))}"
            if parts
            else f"`{name}` lacks 'avg_tokens': give for example {_EXAMPLE}, or {' and '.join(map(repr, _SPLIT))}"
        )


def _exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth, not the nearest binary fraction."""
    return Fraction(str(float(number))) if isinstance(number, float) else Fraction(number)


def monthly_cost_pusd(price: Price, usage: DailyUsage) -> int:
    """What 30 days of this usage cost, in pico-dollars, at the rates of the tier of the average request."""
    rates = rates_for(price, math.floor(usage.input_tokens))
    per_request = rates.request + usage.input_tokens * rates.input + usage.output_tokens * rates.output
    return round(usage.requests * DAYS_PER_MONTH * per_request)


def tokenizer_ratio(current_model: str, target_model: str) -> Fraction:
    """About how many tokens the target's tokenizer makes of a text that is one of the current model's."""
    return _exact(multiplier_for(target_model)) / _exact(multiplier_for(current_model))


def cheapest_of(costs_pusd: Sequence[int]) -> int:
    """The position of the least cost, the first of several equals."""
    return min(range(len(costs_pusd)), key=costs_pusd.__getitem__)


__all__ = [
    "DAYS_PER_MONTH",
    "OUTPUT_SHARE",
    "DailyUsage",
    "cheapest_of",
    "monthly_cost_pusd",
    "parse_usage",
    "tokenizer_ratio",
]

"""Custom routing functions: what they are told, and what their answer means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from .._providers import canonical
from ..errors import RoutingError
from .health import HealthStatistics
from .options import Option


class RoutingCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could answer. Prices are US dollars per million tokens, None where unknown.

    `expected_cost` is what this very request should cost there, in dollars; `health` has the moving averages of
    latency, the error rate of the last minute, the circuit and the calls in flight.
    """

    provider: str
    model: str
    input_price: float | None = None
    output_price: float | None = None
    expected_cost: float | None = None
    health: HealthStatistics


class RoutingContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a custom routing function may decide by.

    `attributes` are the call's attribution and its own attributes (`team`, `project`, `customer_id`, …),
    `candidates` are in the order given, `budget_left` is the dollars that the tightest budget of the call has left
    (None without a budget), `input_tokens` the estimated tokens of everything the call sends, `remaining_s` the
    seconds to its deadline. `now` is aware: take the time from here, and the function can be tested.
    """

    now: datetime
    candidates: tuple[RoutingCandidate, ...]
    attributes: Mapping[str, str] = {}
    input_tokens: int = 0
    max_tokens: int | None = None
    max_cost: float | None = None
    budget_left: float | None = None
    priority: int = 0
    remaining_s: float | None = None

    @property
    def team(self) -> str | None:
        """The team the call is booked to."""
        return self.attributes.get("team")

    @property
    def project(self) -> str | None:
        """The project the call is booked to."""
        return self.attributes.get("project")

    @property
    def customer_id(self) -> str | None:
        """The customer the call is made for."""
        return self.attributes.get("customer_id")

    def candidate(self, provider: str) -> RoutingCandidate | None:
        """The first candidate of this provider; None if it is not among them."""
        name = canonical(provider)
        return next((candidate for candidate in self.candidates if candidate.provider == name), None)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the order: candidate `index`, or, where that is None, a known provider that was no candidate."""

    provider: str
    index: int | None
    reason: str


def resolve_custom(result: object, options: Sequence[Option], known_providers: Collection[str]) -> list[Choice]:
    """The order that a custom function's answer means: whom it named, then the other candidates as given.

    The answer is a provider's name, a list of names, or None for no opinion. A known provider that was no candidate
    takes its place among the named. Candidates whose circuit is open go last, also if they were named.

    Raises:
        RoutingError: the answer is nothing of this, or names no known provider.
    """
    places: dict[str, list[Option]] = {}
    for option in options:
        places.setdefault(option.provider, []).append(option)
    choices: list[Choice] = []
    for name in _names(result):
        provider = canonical(name)
        if provider in places:
            choices += [_choice(option, "named by the routing function") for option in places[provider]]
        elif provider in known_providers:
            choices.append(Choice(provider=provider, index=None, reason="named by the routing function"))
        else:
            known = ", ".join(sorted(known_providers))
            raise RoutingError(f"the routing function named {name!r}, which is no known provider: known are {known}")
    named = {choice.provider for choice in choices}
    choices += [_choice(option, "as given") for option in options if option.provider not in named]
    unusable = {option.index for option in options if not option.is_usable}
    return [c for c in choices if c.index not in unusable] + [c for c in choices if c.index in unusable]


def _names(result: object) -> list[str]:
    if result is None:
        return []
    if isinstance(result, str):
        return [result]
    if isinstance(result, Sequence) and all(isinstance(name, str) for name in result):
        return list(dict.fromkeys(canonical(name) for name in result))
    raise RoutingError(
        f"the routing function returned {result!r:.100}: return a provider's name, a list of names or None"
    )


def _choice(option: Option, reason: str) -> Choice:
    if not option.is_usable:
        reason = f"circuit open, asked last; {reason}"
    return Choice(provider=option.provider, index=option.index, reason=reason)


__all__ = ["Choice", "RoutingCandidate", "RoutingContext", "resolve_custom"]

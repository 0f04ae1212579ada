"""What the flow needs of limits, as Protocols: a gate for each provider, which `_edges/limits` has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Protocol

from .._rules.rate_limits import LimitPlan


class Gate(Protocol):
    """Where attempts at one provider wait for its limits; `enter` before each and `leave` after it, exactly once."""

    @property
    def counts_tokens(self) -> bool:
        """Whether `enter` has to know how many tokens an attempt is likely to take."""
        ...

    def is_short(self) -> bool:
        """Whether an attempt would have to wait."""
        ...

    @property
    def is_paused(self) -> bool:
        """Whether the provider has asked to be left alone."""
        ...

    def paused_s(self) -> float:
        """Seconds for which the provider has asked to be left alone."""
        ...

    def enter_nowait(self, model: str, tokens: float) -> bool:
        """Lets an attempt through where it need not wait; otherwise False, and nothing has changed."""
        ...

    async def enter(
        self, model: str, tokens: float, *, priority: int, tenant: Hashable, deadline: float, again: bool = False
    ) -> None:
        """Waits for the attempt's turn; raises `DeadlineExceededError` where it does not come in time."""
        ...

    def leave(self, model: str, reserved: float, used: float, *, unsent: bool = False) -> None:
        """The attempt is over: tokens reserved and used; `unsent`: it never went out."""
        ...

    def accepted(self) -> None:
        """The provider took an attempt, whatever came of it."""
        ...

    def refused(self, model: str, started_s: float, retry_after_s: float | None) -> None:
        """The provider refused an attempt because there were too many."""
        ...

    def heard(self, model: str, headers: Mapping[str, str]) -> None:
        """Looks at a reply's headers for limits of the provider's own."""
        ...


class Limits(Protocol):
    """The limits of one event loop."""

    @property
    def plan(self) -> LimitPlan:
        """What is configured."""
        ...

    def gate(self, provider: str) -> Gate:
        """The provider's gate."""
        ...

    def close(self) -> None:
        """Whoever waits is told that the adapter is closed."""
        ...


__all__ = ["Gate", "Limits"]

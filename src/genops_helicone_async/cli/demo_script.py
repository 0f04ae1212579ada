"""What goes wrong in the demo, and when: an outage in the middle, rate limits, errors and broken connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..testing import SandboxGateway

PROVIDERS = ("openai", "anthropic", "groq")
OUTAGE = "openai"
OUTAGE_FROM, OUTAGE_TO = 0.35, 0.60
"""Shares of the rows sent at which the outage begins and ends: by work, not by time, so that speed changes nothing."""
TOLD = (
    f"Switched on: {OUTAGE} is down from {OUTAGE_FROM:.0%} to {OUTAGE_TO:.0%} of the way, groq refuses one call in "
    "eight\n(429), anthropic fails one in 25 (500), and a connection breaks now and then."
)


class FaultScript:
    """Puts the faults in force and moves the outage along with the work."""

    __slots__ = ("_gateway", "_total", "is_down")

    def __init__(self, gateway: SandboxGateway, total: int) -> None:
        from ..testing import Fault

        self._gateway = gateway
        self._total = total
        self.is_down = False
        gateway.faults.add(
            Fault(kind="status", provider="groq", status=429, retry_after_ms=300, probability=0.125),
            Fault(kind="status", provider="anthropic", status=500, probability=0.04),
            Fault(kind="reset", probability=0.015),
        )

    def advance(self, sent: int) -> str | None:
        """Tells that so many rows are sent; what has changed by that, in words."""
        is_down = OUTAGE_FROM <= sent / self._total < OUTAGE_TO
        if is_down == self.is_down:
            return None
        self.is_down = is_down
        if is_down:
            self._gateway.faults.down(OUTAGE)
            return f"{OUTAGE} goes down"
        self._gateway.faults.up(OUTAGE)
        return f"{OUTAGE} is up again"

    def state_of(self, provider: str) -> tuple[str, str]:
        """How a provider is doing, as a word and a colour."""
        if provider == OUTAGE:
            return ("down", "red") if self.is_down else ("up", "green")
        return ("up, some 429s", "yellow") if provider == "groq" else ("up, some 500s", "yellow")


__all__ = ["OUTAGE", "PROVIDERS", "TOLD", "FaultScript"]

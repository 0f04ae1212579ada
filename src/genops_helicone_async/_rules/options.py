"""What a routing strategy sees and says: candidates with their health, what else it decides by, and places."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .health import HealthStatistics

EXPLORATION = 0.05
"""Share of calls with which `performance_optimized` looks again at the candidate it has not seen for longest."""
FOLLOW_UP = 0.2
"""Share of further calls that go to one whose last answer came faster than the leader's do on average."""
FIRST_TOKEN_SHARE = 0.3
"""Weight of the time to the first token beside that of the whole answer, where all candidates have streamed."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as a strategy sees it; `expected_pusd` is None where no price is known.

    `weight` is its share in `provider_preferences`; `health` is None where nothing is known.
    """

    index: int
    provider: str
    model: str
    expected_pusd: int | None = None
    weight: float = 1.0
    health: HealthStatistics | None = None

    @property
    def is_usable(self) -> bool:
        """Whether its circuit lets a call pass: it is closed, or a probe is due."""
        return self.health is None or self.health.is_usable

    @property
    def in_flight(self) -> int:
        """Calls under way to it."""
        return 0 if self.health is None else self.health.in_flight


class RankContext(msgspec.Struct, frozen=True, kw_only=True):
    """What strategies decide by besides the options.

    `random` is a number from 0 up to 1, `counter` counts the calls, `qualities` overrides quality scores by
    `provider/model` or model.
    """

    random: float = 0.0
    counter: int = 0
    exploration: float = EXPLORATION
    follow_up: float = FOLLOW_UP
    first_token_share: float = FIRST_TOKEN_SHARE
    qualities: Mapping[str, float] | None = None


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate's place: lower scores are asked first; `reason` says in words why."""

    index: int
    score: float
    reason: str


__all__ = ["EXPLORATION", "FIRST_TOKEN_SHARE", "FOLLOW_UP", "Option", "RankContext", "Ranked"]

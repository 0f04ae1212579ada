"""What some attempts came to, and such sums by name: as many names as fit, the rest together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from .ledger import LedgerRow

MOST_NAMES: Final = 100_000
"""Names of one breakdown that are counted apart; those that come later are counted together."""
MOST_CHARACTERS: Final = 200
"""Of a name; what is longer is cut."""

Name = tuple[str, ...]
"""What a line is about: one text, or a provider and a model."""


class Totals(msgspec.Struct, kw_only=True):
    """Sums over attempts. Money is in pico-dollars, and `cost_pusd` includes the other two.

    Attributes:
        attempts: How many.
        failed: How many of them brought no answer.
        cost_pusd: What they cost, estimates included.
        estimated_pusd: The part of it that is an estimate.
        gateway_pusd: The part of it that is the gateway's fee.
        estimates: How many attempts have an estimated cost.
        unpriced: How many have a cost that nobody knows; they are in the sums with 0.
        input_tokens: Tokens in.
        output_tokens: Tokens out.
    """

    attempts: int = 0
    failed: int = 0
    cost_pusd: int = 0
    estimated_pusd: int = 0
    gateway_pusd: int = 0
    estimates: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the cost is what was billed, to the last digit."""
        return not self.estimates and not self.unpriced

    def add(self, row: LedgerRow) -> None:
        """Counts one row."""
        self.attempts += 1
        self.cost_pusd += row.cost_pusd
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        if row.gateway_pusd:
            self.gateway_pusd += row.gateway_pusd
        if row.status != "ok":
            self.failed += 1
        if row.cost_source == "estimated":
            self.estimates += 1
            self.estimated_pusd += row.cost_pusd
        elif row.cost_source == "unpriced":
            self.unpriced += 1

    def include(self, other: Totals) -> None:
        """Adds what other attempts came to."""
        self.attempts += other.attempts
        self.failed += other.failed
        self.cost_pusd += other.cost_pusd
        self.estimated_pusd += other.estimated_pusd
        self.gateway_pusd += other.gateway_pusd
        self.estimates += other.estimates
        self.unpriced += other.unpriced
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a breakdown. `name` is None for all that have no line of their own; `names` is how many those are.

    With `at_least` there are more of them than were counted apart, and a dear one may be among them.
    """

    name: Name | None
    totals: Totals
    names: int = 1
    at_least: bool = False


class Breakdown:
    """Totals by name."""

    __slots__ = ("_late", "_totals")

    def __init__(self) -> None:
        self._totals: dict[Name, Totals] = {}
        self._late = Totals()

    def __len__(self) -> int:
        return len(self._totals)

    def __repr__(self) -> str:
        return f"Breakdown({len(self)} names)"

    def of(self, name: Name) -> Totals:
        """The totals of a name, to be added to."""
        known = self._totals.get(name)
        return known if known is not None else self._first(shortened(name))

    def _first(self, name: Name) -> Totals:
        known = self._totals.get(name)
        if known is None:
            if len(self._totals) >= MOST_NAMES:
                return self._late
            known = self._totals[name] = Totals()
        return known

    def whole(self) -> Totals:
        """What all names came to."""
        whole = Totals()
        for totals in (*self._totals.values(), self._late):
            whole.include(totals)
        return whole

    @property
    def is_full(self) -> bool:
        """Whether there were more names than are counted apart: which of them the rest holds is then not known."""
        return self._late.attempts > 0

    def cost_of(self, name: Name) -> int:
        """Pico-dollars of one name, 0 where it has not been met."""
        known = self._totals.get(shortened(name))
        return known.cost_pusd if known is not None else 0

    def lines(self, most: int) -> tuple[Line, ...]:
        """The dearest, at most so many; all others as one line at the end, whose number of names is then the least."""
        ranked = sorted(self._totals.items(), key=lambda item: (-item[1].cost_pusd, -item[1].attempts, item[0]))
        if len(ranked) == most + 1 and not self.is_full:
            most += 1  # one name takes no more room than "one more"
        shown = [Line(name=name, totals=totals) for name, totals in ranked[:most]]
        hidden = [totals for _, totals in ranked[most:]] + ([self._late] if self.is_full else [])
        if hidden:
            rest = Totals()
            for totals in hidden:
                rest.include(totals)
            shown.append(Line(name=None, totals=rest, names=len(hidden), at_least=self.is_full))
        return tuple(shown)


def shortened(name: Sequence[str]) -> Name:
    """A name whose parts are cut to a length that can be kept ten thousand times."""
    return tuple(part if len(part) <= MOST_CHARACTERS else part[: MOST_CHARACTERS - 1] + "…" for part in name)


__all__ = ["MOST_CHARACTERS", "MOST_NAMES", "Breakdown", "Line", "Name", "Totals", "shortened"]

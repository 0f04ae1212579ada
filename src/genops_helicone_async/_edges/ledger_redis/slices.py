"""One process's part of one account: what it leased, what it holds, what it spent and has not reported; plain sums."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Final

from ..._rules.ledger import Account, Scope

SCAN_S: Final = 0.25
"""How often demand is measured; slack that found no use for one to two such periods is given back."""

FEW_CALLS: Final = 4
"""A process that asks for fewer holds in a period leases each of them exactly: a round trip is cheap then."""

STALE_S: Final = 1.0
"""Age beyond which what is known of other processes' spending is asked for again."""

KEPT_SLICES: Final = 10_000
"""Slices remembered when nothing in them is open; what they knew of an account is asked for anew."""

PUSD_PER_MICRO: Final = 1_000_000


def field_of(scope: Scope) -> str:
    """The name of a scope's account on the server."""
    return utf8(f"{scope.name}|{scope.window}")


def utf8(text: str) -> str:
    """A text that can be sent: half of a surrogate pair, which UTF-8 cannot say, becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class Slice:
    """Pico-dollars of one scope and window, as this process knows them.

    `field` is the account's name on the server. What the server has set aside for this process is its lease: what is
    held, what is spent and not yet reported, and the slack that the next holds take without asking. Slack is negative
    where more is used than was leased. `settled_pusd` and `others_pusd` (held by other processes) are the server's
    figures at the last exchange.
    """

    __slots__ = (
        "calls",
        "calls_before",
        "demand_pusd",
        "field",
        "heard_s",
        "held_pusd",
        "is_lasting",
        "limit_pusd",
        "others_pusd",
        "pressed_until_s",
        "settled_pusd",
        "slack_pusd",
        "taken_pusd",
        "tell_floor",
        "unreported_pusd",
    )

    def __init__(self, scope: Scope) -> None:
        self.field = field_of(scope)
        self.is_lasting = not scope.window
        self.limit_pusd = scope.limit_pusd
        self.slack_pusd = 0
        self.held_pusd = 0
        self.unreported_pusd = 0
        self.settled_pusd = 0
        self.others_pusd = 0
        self.calls = 0
        self.calls_before = 0
        self.taken_pusd = 0
        self.demand_pusd = 0
        self.pressed_until_s = -math.inf
        self.tell_floor = False
        self.heard_s: float | None = None

    def __repr__(self) -> str:
        return (
            f"Slice({self.field}: lease {self.lease_pusd}, held {self.held_pusd}, "
            f"unreported {self.unreported_pusd}, settled {self.settled_pusd})"
        )

    @property
    def used_pusd(self) -> int:
        """What must stay set aside: held, and spent without the server knowing."""
        return self.held_pusd + self.unreported_pusd

    @property
    def lease_pusd(self) -> int:
        """What the server has set aside for this process."""
        return self.held_pusd + self.unreported_pusd + self.slack_pusd

    def forfeit(self) -> None:
        """The lease is gone: all that is used is more than was leased."""
        self.slack_pusd = -self.used_pusd

    @property
    def is_quiet(self) -> bool:
        """Whether nothing here would be lost by forgetting the slice."""
        return not (self.slack_pusd or self.held_pusd or self.unreported_pusd or self.tell_floor)

    def wanted_slack_pusd(self, now_s: float) -> int:
        """The slack worth having: what a period's calls took. None for few calls, or while it is asked back."""
        if self.limit_pusd is None or now_s < self.pressed_until_s:
            return 0
        if self.calls < FEW_CALLS and self.calls_before < FEW_CALLS:
            return 0
        return max(self.taken_pusd, self.demand_pusd)

    def needs_exchange(self, now_s: float) -> bool:
        """Whether slack should be given back or fetched, or more is used than the server knows of."""
        wanted, slack = self.wanted_slack_pusd(now_s), self.slack_pusd
        return slack < 0 or slack > 2 * wanted or slack * 2 < wanted

    def end_period(self) -> None:
        """Closes a period of demand; what calls took fades by half with every period after it."""
        self.demand_pusd = max(self.taken_pusd, self.demand_pusd // 2)
        self.calls_before, self.calls, self.taken_pusd = self.calls, 0, 0


class Group:
    """The slices of the scopes of one call, and those of them that have a limit, with it."""

    __slots__ = ("limited", "scopes", "slices", "unlimited")

    def __init__(self, scopes: tuple[Scope, ...], slices: tuple[Slice, ...]) -> None:
        self.scopes = scopes
        self.slices = slices
        pairs = list(zip(scopes, slices, strict=True))
        self.limited = [(part, scope.limit_pusd) for scope, part in pairs if scope.limit_pusd is not None]
        self.unlimited = [part for scope, part in pairs if scope.limit_pusd is None]

    def hold(self, amount_pusd: int) -> None:
        """Sets the amount aside in every slice."""
        for part in self.slices:
            part.held_pusd += amount_pusd
            part.slack_pusd -= amount_pusd


class Slices:
    """The slices of one process, by account. `lapses_s` is when its leases end unless they are renewed."""

    __slots__ = ("_by_field", "_groups", "_prune_at", "active", "lapses_s")

    def __init__(self) -> None:
        self._by_field: dict[str, Slice] = {}
        self._groups: dict[tuple[Scope, ...], Group] = {}
        self._prune_at = KEPT_SLICES
        self.active: set[Slice] = set()
        self.lapses_s = -math.inf

    def of(self, scope: Scope) -> Slice:
        """The slice of a scope, made when first asked for."""
        field = field_of(scope)
        part = self._by_field.get(field)
        if part is None:
            part = self._by_field[field] = Slice(scope)
        return part

    def group(self, scopes: Sequence[Scope]) -> Group:
        """The slices of some scopes; one look-up for those that were asked for before."""
        key = tuple(scopes)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= KEPT_SLICES:
                self._groups.clear()
            group = self._groups[key] = Group(key, tuple(map(self.of, key)))
        return group

    def take(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool, now_s: float) -> bool:
        """Holds the amount in every scope out of slack; False, and nothing held, where a limited one has too little."""
        group = self.group(scopes)
        if group.limited:
            # Without slack even a hold of nothing is asked for: the account may be beyond its limit.
            least = amount_pusd or 1
            for part, limit_pusd in group.limited:
                part.limit_pusd = limit_pusd
                if enforce and part.slack_pusd < least:
                    return False
            if enforce and now_s >= self.lapses_s:
                return False
            for part, _ in group.limited:
                part.taken_pusd += amount_pusd
                part.calls += 1
            if not enforce:
                self.active.update(part for part, _ in group.limited)
        for part in group.unlimited:
            part.limit_pusd = None
        group.hold(amount_pusd)
        return True

    def end_period(self, now_s: float) -> list[Slice]:
        """Closes a period of demand everywhere; gives the slices whose slack should change."""
        for part in self.active:
            part.end_period()
        return [part for part in self.active if part.needs_exchange(now_s)]

    def sort(self, part: Slice) -> None:
        """Puts a slice among the active ones, or out of them when nothing in it is open."""
        if part.limit_pusd is None or part.is_quiet:
            self.active.discard(part)
        else:
            self.active.add(part)

    def forfeit(self, named: Container[Slice]) -> bool:
        """Drops the leases of all but the named slices; True where there were any."""
        lost = [part for part in self.active if part.lease_pusd and part not in named]
        for part in lost:
            part.forfeit()
        return bool(lost)

    def outlive(self) -> None:
        """The server has forgotten everything: every slice will tell what was settled at least."""
        for part in self._by_field.values():
            part.tell_floor = part.settled_pusd > 0
            part.forfeit()

    def prune(self, queued: Container[Slice]) -> None:
        """Forgets quiet slices where there are too many; never one in use, or an account would have two."""
        self._by_field = {field: part for field, part in self._by_field.items() if not part.is_quiet or part in queued}
        self._prune_at = max(KEPT_SLICES, 2 * len(self._by_field))
        self._groups.clear()

    @property
    def are_many(self) -> bool:
        """Whether it is time to prune."""
        return len(self._by_field) > self._prune_at

    def stale(self, scopes: Sequence[Scope], now_s: float) -> tuple[Slice, ...]:
        """Slices whose figures from the server are old or were never heard; each is named once a second at most."""
        found = []
        for part in map(self.of, scopes):
            if part.heard_s is None or now_s - part.heard_s >= STALE_S:
                part.heard_s = now_s
                found.append(part)
        return tuple(found)

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """Settled as last heard, plus what is not reported yet; held here, plus what others were last heard to hold."""
        found = []
        for scope in scopes:
            part = self._by_field.get(field_of(scope))
            settled = part.settled_pusd + part.unreported_pusd if part else 0
            held = part.held_pusd + part.others_pusd if part else 0
            found.append(Account(settled_pusd=settled, held_pusd=held))
        return found


__all__ = ["FEW_CALLS", "PUSD_PER_MICRO", "SCAN_S", "Group", "Slice", "Slices", "field_of", "utf8"]

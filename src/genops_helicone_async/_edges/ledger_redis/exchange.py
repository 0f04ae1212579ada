"""One exchange with the server: what it will say, fixed when it is drawn up, and what its answer changes here.

Until it is answered it is said again, the same bytes under the same number, and the server gives the answer that it
gave before: so whatever is lost on the way, every step is done once and heard of once. Meanwhile only the slack that
it told of stays usable: whether the server did it or not, the process never spends what was not set aside for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, KeysView, Sequence
from typing import Final

import msgspec

from ..._rules.ledger import LedgerRow, Movement, Refusal
from .batches import Batch, Entry
from .messages import AccountAsk, Answer, Ask, WantAsk, encode_ask
from .script import SCHEMA
from .slices import PUSD_PER_MICRO, Slice, utf8
from .waiting import Peek, Want

PRESS_S: Final = 1.0
"""How long slack is asked back in an account where it stood in a hold's way."""

WINDOW_S: Final = 40 * 86_400
"""What an account with a window outlives its last use by: longer than any month, so always beyond the window's end."""

LASTING_S: Final = 400 * 86_400
"""The same for an account without one."""

KEPT_ROWS_S: Final = WINDOW_S
"""Rows are kept for reports as long as the accounts they add up to."""

KEPT_ROWS: Final = 5_000_000
"""Rows kept at most; the accounts stay exact beyond."""

_encode_row = msgspec.json.Encoder().encode


class Identity(msgspec.Struct, kw_only=True):
    """Who this process is to the server. `born` is the incarnation of the data it knows, `seq` the last exchange."""

    process: str
    seed: str
    lease_s: float
    born: str = ""
    seq: int = 0


class _Told:
    """What an exchange says of one slice: settled by its rows, and the slack kept."""

    __slots__ = ("ask", "cost_pusd", "is_limited", "kept_pusd", "slice")

    def __init__(self, part: Slice, cost_pusd: int, is_offered: bool, is_leaving: bool, now_s: float) -> None:
        self.slice = part
        self.cost_pusd = cost_pusd
        self.is_limited = part.limit_pusd is not None
        wanted = 0 if is_leaving else part.wanted_slack_pusd(now_s)
        self.kept_pusd = 0 if is_offered or is_leaving else max(0, min(part.slack_pusd, 2 * wanted))
        told_held = 0
        if self.is_limited:
            part.slack_pusd = self.kept_pusd
            told_held = 0 if is_leaving else max(0, part.used_pusd - cost_pusd)
        self.ask = AccountAsk(
            field=part.field,
            lasting=part.is_lasting,
            held=str(told_held),
            slack=str(self.kept_pusd if self.is_limited else 0),
            extra_micro=max(0, wanted - self.kept_pusd) // PUSD_PER_MICRO,
            limit=str(part.limit_pusd or 0),
            floor=str(part.settled_pusd if part.tell_floor else 0),
        )


class Exchange:
    """Drawn up from the state of the slices, which it changes: slack that it does not keep is gone from here on."""

    __slots__ = ("_ask", "_bytes", "_numbers", "_told", "batches", "is_leaving", "peeks", "started_s", "wants")

    def __init__(
        self,
        batches: list[Batch],
        wants: list[Want],
        peeks: list[Peek],
        others: Iterable[Slice],
        *,
        now_s: float,
        is_adrift: bool,
        is_leaving: bool,
    ) -> None:
        self.batches = batches
        self.wants = wants
        self.peeks = peeks
        self.started_s = now_s
        self.is_leaving = is_leaving
        costs: dict[Slice, int] = {}
        for group, _, cost_pusd, _ in self.entries():
            for part in group.slices:
                costs[part] = costs.get(part, 0) + cost_pusd
        short = {part for want in wants for _, part in want.limited}
        named = [*costs, *short, *(part for peek in peeks for part in peek.slices), *others]
        self._told = [
            _Told(part, costs.get(part, 0), is_adrift or part in short, is_leaving, now_s)
            for part in dict.fromkeys(named)
        ]
        self._numbers = {told.slice: number for number, told in enumerate(self._told, 1)}
        self._ask: Ask
        self._bytes: bytes | None = None

    def entries(self) -> Iterator[Entry]:
        """Every settlement, in order."""
        return itertools.chain.from_iterable(batch.entries for batch in self.batches)

    @property
    def slices(self) -> KeysView[Slice]:
        """The slices that the server hears of."""
        return self._numbers.keys()

    def sign(self, identity: Identity) -> None:
        """Puts the process's name and the next number on it."""
        identity.seq += 1
        self._ask = Ask(
            schema=SCHEMA,
            process=identity.process,
            seq=identity.seq,
            born=identity.born,
            seed=identity.seed,
            lease_ms=round(identity.lease_s * 1000),
            press_ms=round(PRESS_S * 1000),
            keep_ms=KEPT_ROWS_S * 1000,
            keep_rows=KEPT_ROWS,
            window_s=WINDOW_S,
            lasting_s=LASTING_S,
            bye=self.is_leaving,
            accounts=[told.ask for told in self._told],
            groups=[],
            wants=[self._want(want) for want in self.wants],
        )

    def encode(self) -> bytes:
        """The script's argument, always the same. The rows are encoded here, outside of any lock."""
        if self._bytes is None:
            self._fill_groups()
            self._bytes = encode_ask(self._ask)
        return self._bytes

    def _fill_groups(self) -> None:
        for slices, entries in self._grouped().items():
            rows: list[str] = []
            for entry in entries:
                for row in entry[1]:
                    rows += (utf8(row.request_id), row_text(row), str(row.cost_pusd))
            cost_pusd = sum([entry[2] for entry in entries])
            self._ask.groups.append(([self._numbers[part] for part in slices], str(cost_pusd), rows))

    def _grouped(self) -> dict[tuple[Slice, ...], list[Entry]]:
        groups: dict[tuple[Slice, ...], list[Entry]] = {}
        for entry in self.entries():
            groups.setdefault(entry[0].slices, []).append(entry)
        return groups

    def _want(self, want: Want) -> WantAsk:
        numbers = [self._numbers[part] for _, part in want.limited]
        return str(want.amount_pusd), numbers, [str(scope.limit_pusd) for scope, _ in want.limited]

    def absorb(self, answer: Answer, now_s: float) -> list[int]:
        """Takes the answer's figures over; gives each settlement's booked cost, in order."""
        for told, account in zip(self._told, answer.accounts, strict=True):
            part = told.slice
            part.unreported_pusd -= told.cost_pusd
            part.settled_pusd = int(account.settled)
            part.others_pusd = int(account.others_held)
            part.tell_floor = False
            part.heard_s = now_s
            if account.pressed:
                part.pressed_until_s = now_s + PRESS_S
            if self.is_leaving or not told.is_limited:
                part.forfeit()
            else:
                part.slack_pusd += account.granted_micro * PUSD_PER_MICRO
                if not answer.known:
                    part.slack_pusd -= told.kept_pusd
        if not answer.repeats:
            return [entry[2] for entry in self.entries()]
        return self._new_costs(set(answer.repeats))

    def _new_costs(self, repeats: set[int]) -> list[int]:
        """Costs without the rows booked before; the rows are numbered as `encode` grouped them."""
        costs, number = {}, 0
        for entries in self._grouped().values():
            for entry in entries:
                costs[id(entry)] = 0
                for row in entry[1]:
                    number += 1
                    if number not in repeats:
                        costs[id(entry)] += row.cost_pusd
        return [costs[id(entry)] for entry in self.entries()]

    def movements(self, answer: Answer, costs: Sequence[int]) -> Iterator[tuple[Movement, ...]]:
        """What each settlement moved; all processes' movements of an account follow on each other without a gap."""
        now_at = {told.slice: int(account.before) for told, account in zip(self._told, answer.accounts, strict=True)}
        for entry, cost_pusd in zip(self.entries(), costs, strict=True):
            group, moved = entry[0], []
            for scope, part in zip(group.scopes, group.slices, strict=True):
                before = now_at[part]
                now_at[part] = after = before + cost_pusd
                moved.append(Movement(scope=scope, before_pusd=before, after_pusd=after))
            yield tuple(moved)

    def refusal(self, number: int, answer: Answer) -> Refusal | None:
        """What a want was refused by, None where it was granted."""
        verdict = answer.verdicts[number]
        if verdict.scope == 0:
            return None
        scope = self.wants[number].limited[verdict.scope - 1][0]
        return Refusal(scope=scope, settled_pusd=int(verdict.settled), held_pusd=int(verdict.held))


def row_text(row: LedgerRow) -> str:
    """A row as JSON."""
    try:
        return _encode_row(row).decode()
    except UnicodeEncodeError:
        fields = msgspec.structs.asdict(row)
        clean = {name: utf8(value) if isinstance(value, str) else value for name, value in fields.items()}
        return _encode_row(clean).decode()


__all__ = ["KEPT_ROWS", "KEPT_ROWS_S", "LASTING_S", "PRESS_S", "WINDOW_S", "Exchange", "Identity", "row_text"]

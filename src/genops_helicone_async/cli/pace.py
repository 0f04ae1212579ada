"""How fast a job goes and where it will end: rates of the last minute, what is left, what it will have cost."""

from __future__ import annotations

from collections import deque
from typing import Any, Self

import msgspec

from ..bulk.tally import Tally
from .money import PUSD_PER_USD

WINDOW_S = 60.0
_LEAST_S = 1e-3


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a job; `--json-progress` writes its fields as they are. Rows and money are the whole job's.

    Attributes:
        over: Whether this is the last one.
        elapsed_s: Seconds since this run began.
        rows_total: Rows of the input, None where they are not known.
        rows_done: Answered, failed and skipped ones.
        rows_answered: Those with an answer.
        rows_copied: Those of them that cost nothing, for they equal another row.
        rows_failed: Those with an error.
        rows_skipped: Lines that could not be sent.
        rows_unsent: Rows that this run gave back.
        rows_per_s: Rows that ended in a second, over the last minute of this run.
        input_tokens: Tokens in.
        output_tokens: Tokens out.
        tokens_per_min: Both, in a minute, over the last minute of this run.
        cost_usd: What is billed so far.
        projected_cost_usd: What all rows will have cost at this rate, None until the first is done.
        in_doubt_usd: What may come on top, for replies that were lost.
        failed_attempts: Calls to a provider that brought no answer.
        failovers: How often a row went on to another provider.
        retries: Repeats at the same provider.
        eta_s: Seconds until all is done at this rate, None where that is not known.
    """

    over: bool
    elapsed_s: float
    rows_total: int | None
    rows_done: int
    rows_answered: int
    rows_copied: int
    rows_failed: int
    rows_skipped: int
    rows_unsent: int
    rows_per_s: float
    input_tokens: int
    output_tokens: int
    tokens_per_min: float
    cost_usd: float
    projected_cost_usd: float | None
    in_doubt_usd: float
    failed_attempts: int
    failovers: int
    retries: int
    eta_s: float | None

    @property
    def is_projected(self) -> bool:
        """Whether rows are left whose cost is only projected."""
        return self.rows_total is not None and 0 < self.rows_done < self.rows_total


class Pace:
    """Looks at a tally now and then. What it holds at the beginning was done by earlier runs and counts for no rate."""

    __slots__ = ("_began_s", "_seen", "_tally")

    def __init__(self, tally: Tally, now_s: float) -> None:
        self._tally = tally
        self._began_s = now_s
        self._seen: deque[tuple[float, int, int]] = deque([(now_s, tally.done, tally.tokens)])

    @classmethod
    def since_nothing(cls, tally: Tally) -> Self:
        """Of a job that began at 0 with no row done."""
        pace = cls(Tally(), 0.0)
        pace._tally = tally
        return pace

    def look(self, now_s: float, total: int | None, *, over: bool = False) -> Standing:
        """The job as it stands; `now_s` is of the clock that it began with."""
        tally, seen = self._tally, self._seen
        done, tokens = tally.done, tally.tokens
        while len(seen) > 1 and seen[1][0] <= now_s - WINDOW_S:
            seen.popleft()
        then_s, then_done, then_tokens = seen[0]
        took_s = max(now_s - then_s, _LEAST_S)
        rows_per_s = (done - then_done) / took_s
        if now_s - seen[-1][0] >= WINDOW_S / 60:
            seen.append((now_s, done, tokens))
        left = None if total is None else max(total - done, 0)
        return Standing(
            over=over,
            elapsed_s=round(now_s - self._began_s, 3),
            rows_total=total,
            rows_per_s=round(rows_per_s, 3),
            tokens_per_min=round((tokens - then_tokens) * 60 / took_s, 1),
            projected_cost_usd=_projected(tally, done, total),
            eta_s=round(left / rows_per_s, 1) if left and rows_per_s > 0 else 0.0 if left == 0 else None,
            **_counts(tally),
        )


def _counts(tally: Tally) -> dict[str, Any]:
    providers = tally.providers.values()
    return {
        "rows_done": tally.done,
        "rows_answered": tally.ok,
        "rows_copied": tally.copied,
        "rows_failed": tally.failed,
        "rows_skipped": tally.skipped,
        "rows_unsent": tally.unsent,
        "input_tokens": sum(one.input_tokens for one in providers),
        "output_tokens": sum(one.output_tokens for one in providers),
        "cost_usd": tally.cost_pusd / PUSD_PER_USD,
        "in_doubt_usd": tally.in_doubt_pusd / PUSD_PER_USD,
        "failed_attempts": sum(one.failed for one in providers),
        "failovers": tally.failover_count,
        "retries": tally.retries,
    }


def _projected(tally: Tally, done: int, total: int | None) -> float | None:
    if not done or total is None:
        return None
    return round(tally.cost_pusd * max(total, done) / done) / PUSD_PER_USD


__all__ = ["WINDOW_S", "Pace", "Standing"]

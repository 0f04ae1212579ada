"""Which rows go into batches and which are sent live, so that a deadline is met at least cost.

A batch costs half and may take a day. So every row that may wait goes into one, for as long as there is time to cancel
and send live whatever is not done. From the moment on at which that time is just left, live calls are kept busy until
the end: with rows that nobody has yet, then with rows of batches that are cancelled for them, one after the other, each
early enough that its rows are back before live calls run out of work. Batches that finish meanwhile have cost half.

The deadline is met whenever live calls alone could have met it: with `rate` rows a second from then on, `rows` of them
and `reserve_s` lost to the first cancelling, `rows / rate + reserve_s` fits, since live calls never stop before all is
done. Where live calls could not have met it either, they run from the beginning, and batches take the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class OpenBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that runs: how many of its rows are not known to be done."""

    number: int
    rows: int


class SplitTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a split has to reckon with, in seconds.

    `cancel_s` is the longest from asking for a batch's end to having its rows back, `step_s` the longest between two
    decisions, `margin_s` what is to be left at the end.
    """

    cancel_s: float = 600.0
    step_s: float = 10.0
    margin_s: float = 60.0

    @property
    def reserve_s(self) -> float:
        """What live calls cannot use of the time that is left."""
        return self.cancel_s + self.step_s + self.margin_s


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now: so many of the waiting rows are to be sent live, the others in batches; batches to cancel."""

    live: int
    cancel: tuple[int, ...] = ()


def slack_s(left_s: float, rows: int, rate: float, terms: SplitTerms) -> float:
    """Seconds that may pass before live calls have to begin, for `rows` that are not done and `rate` rows a second."""
    return left_s - terms.reserve_s - (rows / rate if rate > 0 else float("inf") if rows else 0.0)


def split(
    left_s: float, *, waiting: int, live: int, cancelling: int, batches: Sequence[OpenBatch], rate: float,
    terms: SplitTerms,
) -> Split:  # fmt: skip
    """What to do with so much time left.

    Args:
        left_s: Seconds until the deadline.
        waiting: Rows that nobody has yet.
        live: Rows that live calls have and have not answered.
        cancelling: Rows of batches that are being cancelled.
        batches: The batches that run.
        rate: Rows that live calls answer a second.
        terms: What has to be reckoned with.
    """
    rows = waiting + live + cancelling + sum(batch.rows for batch in batches)
    if slack_s(left_s, rows, rate, terms) > 0:
        return Split(live=0)
    if left_s <= terms.reserve_s and not batches and not cancelling:
        return Split(live=waiting)  # no batch could be rescued any more
    # What live calls can answer until rows of a batch that is cancelled now, or at the next step, are back.
    needed = rate * (terms.cancel_s + 2 * terms.step_s)
    more = max(0, _up(needed) - live)
    taken = min(waiting, more)
    coming, cancel = live + taken + cancelling, []
    for batch in sorted(batches, key=lambda each: (-each.rows, each.number)):  # the one with the most still to do first
        if coming >= needed:
            break
        cancel.append(batch.number)
        coming += batch.rows
    return Split(live=taken, cancel=tuple(cancel))


def _up(value: float) -> int:
    return int(-(-value // 1))


__all__ = ["OpenBatch", "Split", "SplitTerms", "slack_s", "split"]

"""What a job has come to: rows, tokens, money, latencies, failovers. Memory does not grow with the rows."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..models import PUSD_PER_USD
from .causes import Failures, cause_of
from .receipts import label_of, moves, pico, whole_time_s

if TYPE_CHECKING:
    from ..errors import Attempt
    from ..models import BulkResult
    from .ports import Outcome

PERCENTILES = (50, 95, 99)
MOST_CAUSES: Final = 200
"""Kinds of failure told apart; later ones are counted together."""
MOST_BARS: Final = 120
FIRST_WIDTH_S: Final = 10.0
_GROWTH = 1.01
_LOG_GROWTH = math.log(_GROWTH)
_LEAST_S = 1e-4


class Latencies(msgspec.Struct):
    """Seconds, counted in steps of 1 %, so that a percentile is within half a per cent of the true one."""

    counts: dict[int, int] = {}
    count: int = 0

    def add(self, seconds: float) -> None:
        """Counts one."""
        step = int(math.log(seconds / _LEAST_S) / _LOG_GROWTH) if seconds > _LEAST_S else 0
        counts = self.counts
        counts[step] = counts.get(step, 0) + 1
        self.count += 1

    def percentile(self, percent: float) -> float | None:
        """The time within which that many per cent were done; None where nothing was counted."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= rank:
                return _LEAST_S * math.pow(_GROWTH, step + 0.5)
        return None

    def as_json(self) -> dict[str, float | None]:
        """p50, p95 and p99 in seconds."""
        found = {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}
        return {name: None if seconds is None else round(seconds, 4) for name, seconds in found.items()}


class ProviderTally(msgspec.Struct):
    """What one provider was asked and answered, and what it costs. Money is pico-dollars."""

    asked: int = 0
    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pusd: int = 0
    in_doubt_pusd: int = 0
    latencies: Latencies = msgspec.field(default_factory=Latencies)

    def add(self, attempt: Attempt) -> None:
        """Counts one attempt."""
        self.asked += 1
        if attempt.billed == "maybe":
            self.in_doubt_pusd += pico(attempt.cost)
        else:
            self.cost_pusd += pico(attempt.cost)
            self.input_tokens += attempt.input_tokens or 0
            self.output_tokens += attempt.output_tokens or 0
        if attempt.error is None:
            self.answered += 1
            self.latencies.add(attempt.duration_s)
        else:
            self.failed += 1

    def as_json(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "asked": self.asked,
            "answered": self.answered,
            "failed": self.failed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_pusd / PUSD_PER_USD,
            "cost_pusd": self.cost_pusd,
            "latency_s": self.latencies.as_json(),
        }


class Course(msgspec.Struct):
    """Rows answered and failed over time, in bars that grow twice as wide whenever they would be too many.

    `bars` are by the number of their stretch of time, counted in `width_s` since 1970: (answered, failed).
    """

    width_s: float = FIRST_WIDTH_S
    bars: dict[int, tuple[int, int]] = {}

    def add(self, at_s: float, *, failed: bool) -> None:
        """Counts a row that ended at a Unix time."""
        number, bars = int(at_s // self.width_s), self.bars
        answered, lost = bars.get(number, (0, 0))
        bars[number] = (answered, lost + 1) if failed else (answered + 1, lost)
        while len(self.bars) > MOST_BARS:
            self.width_s *= 2
            wider: dict[int, tuple[int, int]] = {}
            for narrow, (well, badly) in self.bars.items():
                before = wider.get(narrow // 2, (0, 0))
                wider[narrow // 2] = (before[0] + well, before[1] + badly)
            self.bars = wider


class Tally(msgspec.Struct):
    """Adds up the rows of a job, over all its runs.

    Attributes:
        ok: Rows that were answered; `copied` of them cost nothing, for they equal another.
        failed: Rows that were not.
        skipped: Lines that could not be sent.
        unsent: Rows that were given back: nothing of them is billed, and a resumed job does them.
        in_doubt: Attempts that were lost after sending: perhaps billed.
        unpriced: Attempts whose cost nobody knows.
        retries: Repeats at the same provider.
        failovers: How often it went on, by (from, to, why).
    """

    ok: int = 0
    copied: int = 0
    failed: int = 0
    skipped: int = 0
    unsent: int = 0
    unpriced: int = 0
    retries: int = 0
    in_doubt: int = 0
    providers: dict[str, ProviderTally] = {}
    failovers: dict[tuple[str, str, str], int] = {}
    failures: dict[tuple[str, str, str], Failures] = {}
    latencies: Latencies = msgspec.field(default_factory=Latencies)
    course: Course = msgspec.field(default_factory=Course)

    def add_outcome(self, outcome: Outcome, at_s: float | None = None) -> None:
        """Counts a row by what came of it; at Unix time `at_s`, now unless it is given."""
        attempts, kind = outcome.attempts, outcome.kind
        if kind == "unsent":
            self.unsent += 1
            return
        if kind == "failed":
            self._failed(outcome.error or "error", outcome.reason or "", attempts)
        else:
            self.ok += 1
            if outcome.served_by is None:
                self.latencies.add(whole_time_s(attempts))
            else:
                self.copied += 1
        self.course.add(time.time() if at_s is None else at_s, failed=kind == "failed")
        self._add_attempts(attempts)

    def add_bad(self) -> None:
        """Counts a line that cannot be sent."""
        self.skipped += 1

    def _failed(self, kind: str, message: str, attempts: Sequence[Attempt]) -> None:
        self.failed += 1
        cause = cause_of(kind, message, attempts)
        known = self.failures.get(cause)
        if known is None:
            if len(self.failures) >= MOST_CAUSES:
                cause = ("others", "", "")
            known = self.failures.setdefault(cause, Failures(example=message))
        known.count += 1

    def _add_attempts(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            one = self.providers.get(attempt.provider)
            if one is None:
                one = self.providers[attempt.provider] = ProviderTally()
            one.add(attempt)
            if attempt.billed == "maybe":
                self.in_doubt += 1
            if attempt.cost_source == "unpriced":
                self.unpriced += 1
        if len(attempts) < 2:
            return
        for failed, following in moves(attempts):
            if failed.provider == following.provider:
                self.retries += 1
            else:
                move = (failed.provider, following.provider, label_of(failed))
                self.failovers[move] = self.failovers.get(move, 0) + 1

    def snapshot(self) -> bytes:
        """All of it but `unsent`, for `restore`: a resumed job does those rows."""
        return msgspec.msgpack.encode(msgspec.structs.replace(self, unsent=0))

    @classmethod
    def restore(cls, snapshot: bytes) -> Tally:
        """The tally a snapshot was taken of.

        Raises:
            msgspec.DecodeError: it is no snapshot of this version.
        """
        return msgspec.msgpack.decode(snapshot, type=cls)

    @property
    def done(self) -> int:
        """Rows that need nothing more."""
        return self.ok + self.failed + self.skipped

    @property
    def cost_pusd(self) -> int:
        """What all providers together charge."""
        return sum(provider.cost_pusd for provider in self.providers.values())

    @property
    def in_doubt_pusd(self) -> int:
        """What may come on top, at an estimate."""
        return sum(provider.in_doubt_pusd for provider in self.providers.values())

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return sum(provider.input_tokens + provider.output_tokens for provider in self.providers.values())

    @property
    def failover_count(self) -> int:
        """How often a call went on to another provider."""
        return sum(self.failovers.values())

    def as_json(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "rows": {"ok": self.ok, "failed": self.failed, "skipped": self.skipped},
            "copied": self.copied,
            "input_tokens": sum(provider.input_tokens for provider in self.providers.values()),
            "output_tokens": sum(provider.output_tokens for provider in self.providers.values()),
            "cost_usd": self.cost_pusd / PUSD_PER_USD,
            "cost_pusd": self.cost_pusd,
            "in_doubt": {"attempts": self.in_doubt, "cost_pusd": self.in_doubt_pusd},
            "unpriced_attempts": self.unpriced,
            "by_provider": {name: self.providers[name].as_json() for name in sorted(self.providers)},
            "latency_s": self.latencies.as_json(),
            "failovers": [
                {"from": origin, "to": target, "error": why, "count": count}
                for (origin, target, why), count in sorted(self.failovers.items(), key=lambda item: -item[1])
            ],
            "retries": self.retries,
            "errors": self._errors(),
            "failures": [
                {"error": kind, "status": status or None, "message": message, "count": one.count,
                 "example": one.example}
                for (kind, status, message), one in self.ranked_failures()
            ],
        }  # fmt: skip

    def ranked_failures(self) -> list[tuple[tuple[str, str, str], Failures]]:
        """Why rows failed, the most frequent first."""
        return sorted(self.failures.items(), key=lambda item: (-item[1].count, item[0]))

    def _errors(self) -> dict[str, Any]:
        by_kind: dict[str, dict[str, Any]] = {}
        for (kind, _, _), one in self.failures.items():
            known = by_kind.setdefault(kind, {"count": 0, "example": one.example})
            known["count"] += one.count
        return by_kind


def attempts_of(result: BulkResult) -> Sequence[Attempt]:
    """The attempts behind a row, whether it was answered or not."""
    if result.response is not None:
        return result.response.attempts
    attempts: Sequence[Attempt] = getattr(result.error, "attempts", ())
    return attempts


__all__ = ["PERCENTILES", "Course", "Failures", "Latencies", "ProviderTally", "Tally", "attempts_of"]

"""What a job has come to: rows, tokens, money, latencies, failovers. Memory does not grow with the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..models import PUSD_PER_USD
from .receipts import label_of, moves, pico, whole_time_s

if TYPE_CHECKING:
    from ..errors import Attempt
    from ..models import BulkResult

PERCENTILES = (50, 95, 99)
_GROWTH = 1.01
_LEAST_S = 1e-4


class Latencies:
    """Seconds, counted in steps of 1 %, so that a percentile is within half a per cent of the true one."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self._counts[math.floor(math.log(max(seconds, _LEAST_S) / _LEAST_S, _GROWTH))] += 1
        self.count += 1

    def percentile(self, percent: float) -> float | None:
        """The time within which that many per cent were done; None where nothing was counted."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= rank:
                return _LEAST_S * math.pow(_GROWTH, step + 0.5)
        return None

    def as_json(self) -> dict[str, float | None]:
        """p50, p95 and p99 in seconds."""
        found = {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}
        return {name: None if seconds is None else round(seconds, 4) for name, seconds in found.items()}


class ProviderTally:
    """What one provider was asked and answered, and what it costs. Money is pico-dollars."""

    __slots__ = (
        "answered", "asked", "cost_pusd", "failed", "in_doubt_pusd", "input_tokens", "latencies", "output_tokens",
    )  # fmt: skip

    def __init__(self) -> None:
        self.asked = self.answered = self.failed = 0
        self.input_tokens = self.output_tokens = 0
        self.cost_pusd = 0
        self.in_doubt_pusd = 0
        self.latencies = Latencies()

    def add(self, attempt: Attempt) -> None:
        """Counts one attempt."""
        self.asked += 1
        if attempt.billed == "maybe":
            self.in_doubt_pusd += pico(attempt.cost)
        else:
            self.cost_pusd += pico(attempt.cost)
            self.input_tokens += attempt.input_tokens or 0
            self.output_tokens += attempt.output_tokens or 0
        if attempt.ok:
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


class Failures:
    """Rows that failed with one kind of error: how many, and the first one's message."""

    __slots__ = ("count", "example")

    def __init__(self, example: str) -> None:
        self.count = 0
        self.example = example


class Tally:
    """Adds up the rows of a job. `in_doubt` are attempts that were lost after sending: perhaps billed, at most so much.

    `failovers` counts (from, to, why), `retries` the repeats at the same provider.
    """

    __slots__ = (
        "failed",
        "failovers",
        "failures",
        "in_doubt",
        "latencies",
        "ok",
        "providers",
        "retries",
        "skipped",
        "unpriced",
    )

    def __init__(self) -> None:
        self.ok = self.failed = self.skipped = self.unpriced = self.retries = self.in_doubt = 0
        self.providers: dict[str, ProviderTally] = {}
        self.failovers: Counter[tuple[str, str, str]] = Counter()
        self.failures: dict[str, Failures] = {}
        self.latencies = Latencies()

    def add(self, result: BulkResult) -> None:
        """Counts a row that was sent."""
        if result.response is not None:
            self.ok += 1
            self.latencies.add(whole_time_s(result.response.attempts))
        else:
            self.failed += 1
            self._add_failure(result.error)
        self.add_attempts(attempts_of(result))

    def _add_failure(self, error: Exception | None) -> None:
        kind = type(error).__name__
        known = self.failures.get(kind)
        if known is None:
            known = self.failures[kind] = Failures(str(error))
        known.count += 1

    def add_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Counts the attempts of one call."""
        for attempt in attempts:
            self.providers.setdefault(attempt.provider, ProviderTally()).add(attempt)
            self.in_doubt += attempt.billed == "maybe"
            self.unpriced += attempt.cost_source == "unpriced"
        for failed, following in moves(attempts):
            if failed.provider == following.provider:
                self.retries += 1
            else:
                self.failovers[failed.provider, following.provider, label_of(failed)] += 1

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

    def as_json(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "rows": {"ok": self.ok, "failed": self.failed, "skipped": self.skipped},
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
                for (origin, target, why), count in self.failovers.most_common()
            ],
            "retries": self.retries,
            "errors": {kind: {"count": one.count, "example": one.example} for kind, one in self.failures.items()},
        }


def attempts_of(result: BulkResult) -> Sequence[Attempt]:
    """The attempts behind a row, whether it was answered or not."""
    if result.response is not None:
        return result.response.attempts
    attempts: Sequence[Attempt] = getattr(result.error, "attempts", ())
    return attempts


__all__ = ["PERCENTILES", "Failures", "Latencies", "ProviderTally", "Tally", "attempts_of"]

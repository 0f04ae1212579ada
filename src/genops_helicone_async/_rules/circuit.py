"""A circuit breaker: after failures a target rests, then one call probes whether it answers again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

CircuitState = Literal["closed", "open", "half_open"]

_SLOTS = 12
_CLOCK_TOLERANCE_S = 0.001


class CircuitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a circuit opens, and for how long.

    It opens after `failures_in_row`, or when `error_rate` of at least `least_calls` within `window_s` failed. A failed
    probe doubles the open time, from `open_s` up to `longest_open_s`. A probe that is neither answered nor ended
    within `probe_s` is taken for lost.
    """

    window_s: float = 60.0
    failures_in_row: int = 5
    least_calls: int = 20
    error_rate: float = 0.5
    open_s: float = 2.0
    longest_open_s: float = 60.0
    probe_s: float = 60.0


class OutcomeWindow:
    """Successes and failures of the last `window_s`, in a ring of twelve slots: exact to a twelfth of the window."""

    __slots__ = ("_at", "_counts", "_epoch", "_slot_s", "failures")

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / _SLOTS
        self._counts = [0] * (2 * _SLOTS)
        self._epoch = self._at = 0
        self.failures = 0

    @property
    def successes(self) -> int:
        """Those of the whole window, counted when somebody asks."""
        return sum(self._counts[::2])

    def succeeded(self, now_s: float) -> None:
        """Counts a success in."""
        if now_s // self._slot_s > self._epoch:
            self._move(int(now_s // self._slot_s))
        self._counts[self._at] += 1

    def all_succeeded(self, moments_s: Sequence[float]) -> None:
        """Counts several in, in their order."""
        if max(moments_s) // self._slot_s <= self._epoch:
            self._counts[self._at] += len(moments_s)
        else:
            for now_s in moments_s:
                self.succeeded(now_s)

    def failed(self, now_s: float) -> None:
        """Counts a failure in."""
        if now_s // self._slot_s > self._epoch:
            self._move(int(now_s // self._slot_s))
        self._counts[self._at + 1] += 1
        self.failures += 1

    def error_rate(self, now_s: float) -> float:
        """Share of failures; 0.0 without outcomes."""
        if not self.failures:
            return 0.0
        if now_s // self._slot_s > self._epoch:
            self._move(int(now_s // self._slot_s))
        return self.failures / (self.successes + self.failures) if self.failures else 0.0

    def _move(self, epoch: int) -> None:
        """Forgets the slots that are older than the window."""
        counts = self._counts
        for slot in range(max(self._epoch, epoch - _SLOTS) + 1, epoch + 1):
            at = 2 * (slot % _SLOTS)
            self.failures -= counts[at + 1]
            counts[at] = counts[at + 1] = 0
        self._epoch, self._at = epoch, 2 * (epoch % _SLOTS)


class Circuit:
    """One target's circuit. Outcomes of calls that began before its last change say nothing and change nothing."""

    __slots__ = (
        "_changed_s",
        "_failed_s",
        "_in_row",
        "_open_s",
        "_policy",
        "_probe_until_s",
        "_state",
        "_until_s",
        "is_closed",
        "opened",
        "window",
    )

    def __init__(self, policy: CircuitPolicy) -> None:
        self._policy = policy
        self.window = OutcomeWindow(policy.window_s)
        self.opened = 0
        self.is_closed = True
        """Whether calls pass without asking."""
        self._state: CircuitState = "closed"
        self._changed_s = -math.inf
        self._failed_s = -math.inf
        self._in_row = 0
        self._open_s = policy.open_s
        self._until_s = 0.0
        self._probe_until_s = 0.0

    def __repr__(self) -> str:
        return f"Circuit({self._state}, {self._in_row} failures in a row, opened {self.opened} times)"

    def state(self, now_s: float) -> CircuitState:
        """As it stands: open turns half open when its time is over, not only when somebody probes."""
        return "half_open" if self._state == "open" and now_s >= self._until_s else self._state

    def is_usable(self, now_s: float) -> bool:
        """Whether a call may go there now: closed, or a probe is due and nobody is probing."""
        if self._state == "closed":
            return True
        return now_s >= (self._until_s if self._state == "open" else self._probe_until_s)

    def take_probe(self, now_s: float) -> bool:
        """Takes the one probe if it is due; False also where the circuit is closed and none is needed."""
        if self._state == "closed" or not self.is_usable(now_s):
            return False
        self._state = "half_open"
        self._changed_s = now_s
        self._probe_until_s = now_s + self._policy.probe_s
        return True

    def end_probe(self) -> None:
        """The probe ended without telling anything: another may be taken."""
        self._probe_until_s = -math.inf

    def wait_s(self, now_s: float, expected_s: float) -> float:
        """Seconds until it may be usable.

        While a probe is under way, the rest of the `expected_s` that it should take, and then as long again as it has
        taken: whoever waits asks a few times, not every few milliseconds.
        """
        if self.is_usable(now_s):
            return 0.0
        if self._state == "open":
            return self._until_s - now_s
        taken_s = now_s - self._changed_s
        return min(self._probe_until_s - now_s, expected_s - taken_s if taken_s < expected_s else taken_s)

    def observe_success(self, started_s: float, now_s: float) -> None:
        """A call that began at `started_s` was answered: closes the circuit if it began after it opened."""
        if started_s + _CLOCK_TOLERANCE_S < self._changed_s:
            return
        if not self.is_closed:
            self.observe_opening(started_s)
        self._in_row = 0
        self.window.succeeded(now_s)

    def observe_successes(self, latencies_s: Sequence[float], moments_s: Sequence[float]) -> None:
        """Calls were answered at these moments, in their order, after so long each."""
        if self.is_closed and min(moments_s) - max(latencies_s) + _CLOCK_TOLERANCE_S >= self._changed_s:
            self._in_row = 0
            self.window.all_succeeded(moments_s)
        else:
            for latency_s, now_s in zip(latencies_s, moments_s, strict=True):
                self.observe_success(now_s - latency_s, now_s)

    def observe_opening(self, started_s: float) -> None:
        """A call that began at `started_s` is being answered: closes the circuit if it began after it opened."""
        if self._state != "closed" and started_s + _CLOCK_TOLERANCE_S >= self._changed_s:
            self._state, self.is_closed = "closed", True
            self._changed_s = started_s
            self._open_s = self._policy.open_s
            self.window = OutcomeWindow(self._policy.window_s)
            self._in_row = 0

    def observe_failure(self, started_s: float, now_s: float) -> None:
        """A call that began at `started_s` failed: may open the circuit, or open it again for twice the time."""
        if started_s + _CLOCK_TOLERANCE_S < self._changed_s:
            return
        self.window.failed(now_s)
        if self._state == "half_open":
            self._open(now_s, min(self._policy.longest_open_s, 2 * self._open_s))
        elif self._state == "closed":
            recent = now_s - self._failed_s <= self._policy.window_s
            self._in_row = self._in_row + 1 if recent else 1
            if self._is_failing():
                self._open(now_s, self._policy.open_s)
        self._failed_s = now_s

    def _is_failing(self) -> bool:
        policy, window = self._policy, self.window
        calls = window.successes + window.failures
        return self._in_row >= policy.failures_in_row or (
            calls >= policy.least_calls and window.failures >= policy.error_rate * calls
        )

    def _open(self, now_s: float, open_s: float) -> None:
        self._state, self.is_closed = "open", False
        self._changed_s = now_s
        self._in_row = 0
        self._open_s = open_s
        self._until_s = now_s + open_s
        self.opened += 1


__all__ = ["Circuit", "CircuitPolicy", "CircuitState", "OutcomeWindow"]

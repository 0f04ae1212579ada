"""A token bucket as arithmetic: what is there, what is taken before and given back after, and when there is enough."""

from __future__ import annotations

import math

import msgspec

_SLACK = 1e-9
_CLOCK_STEP = 1e-15
"""Relative to amounts, and to the time: after waiting as `ready_in_s` said, rounding must not say "not yet"."""


class BucketStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket as it stands; below zero, `level` is what a large request still owes."""

    capacity: float
    rate_per_s: float
    level: float


class Bucket:
    """Holds up to `capacity` tokens and refills by `rate_per_s`.

    A request for more than the capacity is let through when the bucket is full and drives it below zero: it pays like
    any other, by those behind it waiting longer, and is never stuck. Who keeps a queue in front serves its head only,
    so that small requests do not overtake large ones. Time is any clock that does not run backwards.
    """

    __slots__ = ("_level", "_rate_per_s", "_seen_s", "capacity")

    def __init__(self, capacity: float, rate_per_s: float, now_s: float) -> None:
        self.capacity = _positive("capacity", capacity)
        self._rate_per_s = _positive("rate_per_s", rate_per_s)
        self._level = self.capacity
        self._seen_s = now_s

    def __repr__(self) -> str:
        return f"Bucket({min(self._level, self.capacity):.6g}/{self.capacity:g}, +{self._rate_per_s:g}/s)"

    @property
    def rate_per_s(self) -> float:
        """Tokens that come in each second."""
        return self._rate_per_s

    def level(self, now_s: float) -> float:
        """Tokens there now; below zero when a large request has been let through."""
        if now_s > self._seen_s:
            self._level += (now_s - self._seen_s) * self._rate_per_s
            self._seen_s = now_s
        if self._level > self.capacity:
            self._level = self.capacity
        return self._level

    def take(self, amount: float, now_s: float) -> bool:
        """Takes tokens if they are there; more than the capacity when the bucket is full."""
        if self._missing(amount, now_s) > 0:
            return False
        self._level -= amount
        return True

    def take_if_full_enough(self, amount: float, now_s: float) -> bool:
        """As `take`, for what is there to the last digit: False may still mean that `take` would say yes."""
        passed_s = now_s - self._seen_s
        if passed_s > 0.0:  # as in `level`, without another call
            level = self._level + passed_s * self._rate_per_s
            self._seen_s = now_s
        else:
            level = self._level
        if level > self.capacity:
            level = self.capacity
        if level < amount:
            self._level = level
            return False
        self._level = level - amount
        return True

    def ready_in_s(self, amount: float, now_s: float) -> float:
        """Seconds until `take` would say yes, if nobody else takes; 0.0 now."""
        missing = self._missing(amount, now_s)
        filling_s = self._seen_s - now_s + missing / self._rate_per_s if missing else 0.0
        return max(0.0, filling_s)

    def settle(self, reserved: float, used: float, now_s: float) -> None:
        """What was reserved turned out to be `used`: the rest comes back, what was used beyond it is taken too."""
        level, passed_s = self._level, now_s - self._seen_s
        if passed_s > 0.0:
            level += passed_s * self._rate_per_s
            self._seen_s = now_s
        if level > self.capacity:
            level = self.capacity
        self._level = level + reserved - used

    def give_back(self, amount: float) -> None:
        """What was taken and not used comes back; at what time makes no difference.

        As much is there afterwards whether what came in before it or after it did not fit: `_level` may be beyond the
        capacity, until somebody looks.
        """
        self._level += amount

    def refund(self, amount: float, now_s: float) -> None:
        """Gives back what was taken and not used."""
        self.settle(amount, 0.0, now_s)

    def set_limit(self, capacity: float, rate_per_s: float, now_s: float) -> None:
        """Another size and rate from now on; the level stays, as far as it fits."""
        level = self.level(now_s)
        self.capacity = _positive("capacity", capacity)
        self._rate_per_s = _positive("rate_per_s", rate_per_s)
        self._level = min(level, self.capacity)

    def set_rate(self, rate_per_s: float, now_s: float) -> None:
        """Another rate from now on, the same size."""
        self.set_limit(self.capacity, rate_per_s, now_s)

    def statistics(self, now_s: float) -> BucketStatistics:
        """The bucket as it stands."""
        return BucketStatistics(
            capacity=self.capacity,
            rate_per_s=self._rate_per_s,
            level=self.level(now_s),
        )

    def _missing(self, amount: float, now_s: float) -> float:
        """How much is lacking for a request; 0.0 if it can be let through."""
        needed = min(amount, self.capacity)
        missing = needed - self.level(now_s)
        slack = _SLACK * (1.0 + needed) + _CLOCK_STEP * abs(now_s) * self._rate_per_s
        return missing if missing > slack else 0.0


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` is {value!r}: it must be a finite number above 0")
    return float(value)


__all__ = ["Bucket", "BucketStatistics"]

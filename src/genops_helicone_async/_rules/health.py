"""How each target (provider, model) is doing: errors, times, circuit and calls in flight, remembered for routing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from .circuit import Circuit, CircuitPolicy, CircuitState
from .decaying import DecayingMean, DecayingQuantile

Key = tuple[str, str]
"""Provider and model."""

_MOST_TARGETS = 1024
_MOST_UNREAD = 64
_LEAST_WAIT_S = 0.05
_UNKNOWN_LATENCY_S = 1.0


class HealthStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One target as it stands; times in seconds, None where nothing was observed.

    `error_rate` is the share of failures within the last minute, `latency_s` and `first_token_s` are moving averages
    of answered calls, `last_latency_s` is that of the last answer, `p95_latency_s` is within 2.5 % and known after 20
    answers, `idle_s` is the time since the last outcome, `is_usable` says whether a call may go there now, `opened`
    counts how often the circuit opened.
    """

    provider: str
    model: str
    circuit: CircuitState = "closed"
    is_usable: bool = True
    error_rate: float = 0.0
    latency_s: float | None = None
    first_token_s: float | None = None
    last_latency_s: float | None = None
    p95_latency_s: float | None = None
    idle_s: float | None = None
    in_flight: int = 0
    successes: int = 0
    failures: int = 0
    opened: int = 0


class Health:
    """What is remembered of one target. Answers are counted in together, at the latest when somebody asks."""

    __slots__ = (
        "_key",
        "_lock",
        "circuit",
        "failures",
        "first_token",
        "in_flight",
        "last_latency_s",
        "latency",
        "observed_s",
        "p95",
        "successes",
        "unread",
    )

    def __init__(self, key: Key, policy: CircuitPolicy) -> None:
        self._key = key
        self._lock = threading.Lock()
        self.unread: list[tuple[float, float]] = []
        """Answers not counted in yet: how long each took, and when it came."""
        self.circuit = Circuit(policy)
        self.latency = DecayingMean()
        self.first_token = DecayingMean()
        self.p95: DecayingQuantile | None = None
        self.last_latency_s: float | None = None
        self.observed_s: float | None = None
        self.in_flight = 0
        self.successes = 0
        self.failures = 0

    def __repr__(self) -> str:
        self.catch_up()
        provider, model = self._key
        return f"Health({provider}/{model}, {self.circuit!r}, {self.in_flight} in flight)"

    def statistics(self, now_s: float) -> HealthStatistics:
        """The target as it stands."""
        self.catch_up()
        circuit, seen_s = self.circuit, self.observed_s
        closed = circuit.is_closed
        return HealthStatistics(
            provider=self._key[0],
            model=self._key[1],
            circuit="closed" if closed else circuit.state(now_s),
            is_usable=closed or circuit.is_usable(now_s),
            error_rate=circuit.window.error_rate(now_s),
            latency_s=self.latency.value,
            first_token_s=self.first_token.value,
            last_latency_s=self.last_latency_s,
            p95_latency_s=None if self.p95 is None else self.p95.value,
            idle_s=None if seen_s is None else now_s - seen_s if now_s > seen_s else 0.0,
            in_flight=self.in_flight,
            successes=self.successes,
            failures=self.failures,
            opened=circuit.opened,
        )

    def answered(self, now_s: float, latency_s: float) -> None:
        """Takes note of an answer that came after so long."""
        self.unread.append((latency_s, now_s))
        if len(self.unread) >= _MOST_UNREAD or not self.circuit.is_closed:
            self.catch_up()

    def began_to_answer(self, now_s: float, first_token_s: float) -> None:
        """Takes note of a streamed answer's first token, which came after so long."""
        with self._lock:
            self.first_token.add(first_token_s, now_s)

    def failed(self, now_s: float, started_s: float) -> None:
        """Takes note of a failure of a call that began at `started_s`."""
        self.catch_up()
        self.failures += 1
        self.observed_s = now_s
        self.circuit.observe_failure(started_s, now_s)

    def catch_up(self) -> None:
        """Counts in the answers that are not counted yet, as one after the other."""
        with self._lock:  # others may add meanwhile, at the end
            unread = self.unread
            if not unread:
                return
            some = unread[:]
            del unread[: len(some)]
            latencies_s, moments_s = zip(*some, strict=True)
            self.successes += len(some)
            self.observed_s, self.last_latency_s = moments_s[-1], latencies_s[-1]
            self.latency.add_all(latencies_s, moments_s)
            if self.p95 is None:
                self.p95 = DecayingQuantile()
            self.p95.add_all(latencies_s, moments_s)
            self.circuit.observe_successes(latencies_s, moments_s)

    def expected_s(self) -> float:
        """How long an answer should take at most."""
        self.catch_up()
        known = (self.p95.value if self.p95 is not None else None) or self.latency.value or _UNKNOWN_LATENCY_S
        return max(_LEAST_WAIT_S, known)


class HealthBoard:
    """The health of all targets of one adapter; beyond `most` the one not asked for longest is forgotten.

    Time is any clock that does not run backwards, the same for all calls. Event loops on several threads may share a
    board: nothing that one of them observes is lost to another.
    """

    __slots__ = ("_latest", "_most", "_policy", "_targets")

    def __init__(self, policy: CircuitPolicy | None = None, most: int = _MOST_TARGETS) -> None:
        self._policy = policy or CircuitPolicy()
        self._most = most
        self._targets: OrderedDict[Key, Health] = OrderedDict()
        self._latest: Health | None = None
        """The one at the end."""

    def __repr__(self) -> str:
        resting = sum(not health.circuit.is_closed for health in list(self._targets.values()))
        return f"HealthBoard({len(self._targets)} targets, {resting} not closed)"

    def begin_closed(self, key: Key) -> bool:
        """The same as `begin` where calls may go there without a probe; otherwise False, and nothing has begun."""
        health = self._targets.get(key) or self._of(key)
        if not health.circuit.is_closed:
            return False
        health.in_flight += 1
        if health is not self._latest:
            self._is_latest(key, health)
        return True

    def begin(self, key: Key) -> None:
        """A call to this target starts; `end` follows, however it goes."""
        health = self._of(key)
        health.in_flight += 1
        self._is_latest(key, health)

    def end(self, key: Key) -> None:
        """A call to this target is over."""
        health = self._targets.get(key)
        if health is not None and health.in_flight:
            health.in_flight -= 1

    def in_flight(self, key: Key) -> int:
        """Calls under way to this target."""
        health = self._targets.get(key)
        return 0 if health is None else health.in_flight

    def in_flight_by_provider(self) -> dict[str, int]:
        """Calls under way to each provider; other threads may ask."""
        found: dict[str, int] = {}
        for (provider, _), health in list(self._targets.items()):
            found[provider] = found.get(provider, 0) + health.in_flight
        return found

    def is_closed(self, key: Key) -> bool:
        """Whether calls may go there without a probe."""
        health = self._targets.get(key)
        return health is None or health.circuit.is_closed

    def is_usable(self, key: Key, now_s: float) -> bool:
        """Whether a call may go there now: its circuit is closed, or a probe is due and nobody is probing."""
        health = self._targets.get(key)
        return health is None or health.circuit.is_usable(now_s)

    def take_probe(self, key: Key, now_s: float) -> bool:
        """Takes the one probe of a circuit that is not closed, right before asking; False if it is not due.

        Whoever took it reports `observe_success`, `observe_failure`, or `observe_end` if the call told nothing.
        """
        health = self._targets.get(key)
        return health is not None and health.circuit.take_probe(now_s)

    def earliest_recovery_s(self, keys: Iterable[Key], now_s: float) -> float | None:
        """Seconds until the first of these may be asked: 0.0 now, None without keys.

        While a probe is under way nobody knows: then it is when the probe should end, and one asks again.
        """
        waits = [self._recovery_s(key, now_s) for key in keys]
        return min(waits, default=None)

    def observe_success(self, key: Key, now_s: float, latency_s: float, first_token_s: float | None = None) -> None:
        """An answer came after `latency_s`, its first token after `first_token_s` if it was streamed."""
        health = self._of(key)
        health.answered(now_s, latency_s)
        if first_token_s is not None:
            health.began_to_answer(now_s, first_token_s)

    def end_answered(self, key: Key, now_s: float, latency_s: float) -> None:
        """`end` and `observe_success` in one look."""
        health = self._targets.get(key) or self._of(key)
        if health.in_flight:
            health.in_flight -= 1
        unread = health.unread  # as `answered`, without another call
        unread.append((latency_s, now_s))
        if len(unread) >= _MOST_UNREAD or not health.circuit.is_closed:
            health.catch_up()

    def observe_failure(self, key: Key, now_s: float, started_s: float | None = None) -> None:
        """A call failed in a way that speaks against the target; what does is the caller's judgement.

        `started_s` is when it began: failures of calls from before the circuit's last change are counted, but do not
        open a circuit again that has recovered since. Without it the call counts as one of now.
        """
        self._of(key).failed(now_s, now_s if started_s is None else started_s)

    def observe_opening(self, key: Key, started_s: float) -> None:
        """The first content of a stream came: enough to close a circuit, though how the stream ends is yet to come."""
        health = self._targets.get(key)
        if health is not None:
            health.circuit.observe_opening(started_s)

    def observe_end(self, key: Key) -> None:
        """A probe ended without telling anything (it was cancelled, or never sent): another may be taken."""
        health = self._targets.get(key)
        if health is not None:
            health.circuit.end_probe()

    def is_probed(self, key: Key, now_s: float) -> bool:
        """Whether a probe is under way, of which nobody knows when it ends."""
        health = self._targets.get(key)
        return health is not None and health.circuit.state(now_s) == "half_open" and not health.circuit.is_usable(now_s)

    def usual_s(self, key: Key) -> float | None:
        """How long answers take: the time within which 95 % were answered, else the average; None before the first."""
        health = self._targets.get(key)
        return None if health is None else self.p95_latency_s(key) or health.latency.value

    def p95_latency_s(self, key: Key) -> float | None:
        """The time within which 95 % were answered, within 2.5 %; None before 20 answers."""
        health = self._targets.get(key)
        if health is None:
            return None
        health.catch_up()
        return None if health.p95 is None else health.p95.value

    def of(self, key: Key, now_s: float) -> HealthStatistics:
        """One target as it stands; of one never asked, what is assumed."""
        health = self._targets.get(key)
        return HealthStatistics(provider=key[0], model=key[1]) if health is None else health.statistics(now_s)

    def statistics(self, now_s: float) -> tuple[HealthStatistics, ...]:
        """All targets as they stand, the one asked last at the end."""
        return tuple(health.statistics(now_s) for health in list(self._targets.values()))

    def _recovery_s(self, key: Key, now_s: float) -> float:
        health = self._targets.get(key)
        return 0.0 if health is None else health.circuit.wait_s(now_s, health.expected_s())

    def _is_latest(self, key: Key, health: Health) -> None:
        """The target is the one asked last."""
        self._latest = health
        try:
            self._targets.move_to_end(key)
        except KeyError:  # another thread has just forgotten it
            self._targets[key] = health

    def _of(self, key: Key) -> Health:
        health = self._targets.get(key)
        if health is None:
            if len(self._targets) >= self._most:
                self._targets.popitem(last=False)
            health = self._latest = self._targets.setdefault(key, Health(key, self._policy))
        return health


__all__ = ["Health", "HealthBoard", "HealthStatistics", "Key"]

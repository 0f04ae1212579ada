"""What is known of one provider's own limits: the pause it asked for, what its replies tell, what refusals taught."""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from ..._rules.adaptive import RateController, RateStatistics
from ..._rules.buckets import Bucket
from ..._rules.rate_limits import RateLimits
from ..._rules.told_limits import ToldLimits, ToldStatistics
from ..._wire.rate_limit_headers import rate_limits_of

LONGEST_PAUSE_S = 300.0
"""A provider may ask for a week where a quota is used up; who pays for more must not have to wait for it."""
FORGET_S = 30.0
"""A rate found by refusals is forgotten when for so long nothing was refused and nobody had to wait for it."""
_EVIDENCE = 3
_EVIDENCE_SHARE = 0.2
_EVIDENCE_CALLS = 64
"""While the rate is free, so many refusals, and this share of the last calls, are a limit; fewer are accidents."""
_EVIDENCE_ROUNDS = 8
_EVIDENCE_ALIKE = 1.6
_EVIDENCE_TIME = 0.1
"""So are so many pauses that the provider asked for, if they took this part of the time and came regularly.

Where few calls at a time find a limit, the pause after each refusal fills it up again: refusals stay rare, but cost
time. A limit then refuses after about as many calls each time, none more than this multiple of another; accidents
come after a few calls or after many: eight of them so alike happen by chance once in some ten thousand times.
"""
_MOST_SENT = 1024
MOST_UNREAD = 256
_SETTLE_S = 0.25
"""After that, nothing is sent for so long, in which other refusals come in; what is under way then counts as taken."""
_LOOK_EVERY_S = 0.05
_MOST_MODELS = 256


class _Round(NamedTuple):
    """A pause that the provider asked for, and how many calls were sent since the one before, up to its refusal."""

    began_s: float
    pause_s: float
    sent: int


class FoundLimits:
    """One provider's own limits, as far as they are known. Times are seconds on the event loop's clock."""

    __slots__ = (
        *("_accepted", "_controller", "_is_adaptive", "_limits", "_pace", "_paused_until_s", "_pressed_s", "_refused"),
        *("_rounds", "_sent_s", "_settled_s", "_told", "in_flight", "is_unlimited", "look_s"),
        *("throttled", "unread_s"),
    )

    def __init__(self, limits: RateLimits, now_s: float) -> None:
        self._limits = limits
        self._is_adaptive = limits.adaptive
        self._controller = RateController(now_s, ceiling_per_s=limits.requests_per_s)
        self._pressed_s = now_s
        self._accepted = self._refused = 0.0
        self.unread_s = array("d")
        """When calls were taken while there was no limit: nobody asks for that before a refusal."""
        self._rounds: deque[_Round] = deque(maxlen=_EVIDENCE_ROUNDS)
        self._sent_s: deque[float] = deque(maxlen=_MOST_SENT)
        self._settled_s = math.inf
        self.in_flight = 0
        self._pace: Bucket | None = None
        self._told: dict[str, ToldLimits] = {}
        self._paused_until_s = self.look_s = -math.inf
        self.throttled = 0
        self.is_unlimited = True

    @property
    def counts_tokens(self) -> bool:
        """Whether it makes a difference how many tokens a call takes."""
        return any(told.counts_tokens for told in self._told.values())

    def paused_s(self, now_s: float) -> float:
        """What is left of the pause that the provider asked for; 0.0 without one."""
        return max(0.0, self._paused_until_s - now_s)

    def paced_s(self, now_s: float) -> float:
        """Seconds until the rate found by refusals lets another call pass; 0.0 now."""
        if now_s >= self._settled_s:
            self._begin_pace(now_s)
        if self._pace is None:
            return 0.0
        wait_s = self._pace.ready_in_s(1.0, now_s)
        if wait_s > 0 and now_s - self._pressed_s > FORGET_S:
            self._pace, self._controller = None, RateController(now_s, ceiling_per_s=self._limits.requests_per_s)
            return 0.0
        return wait_s

    def wait_s(self, model: str, tokens: float, now_s: float) -> float:
        """Seconds until a call should pass all of it; 0.0 now."""
        told = self._told.get(model)
        told_s = 0.0 if told is None else told.wait_s(tokens, now_s)
        return max(self._paused_until_s - now_s, self.paced_s(now_s), told_s, 0.0)

    def take(self, model: str, tokens: float, now_s: float) -> None:
        """A call is sent."""
        if self._pace is None:
            self._sent_s.append(now_s)
        else:
            self._pace.take(1.0, now_s)
        told = self._told.get(model)
        if told is not None:
            told.take(tokens)

    def give_back(self, model: str, tokens: float, now_s: float, *, unsent: bool) -> None:
        """So many tokens of a call were not used; `unsent`: it did not go out at all."""
        told = self._told.get(model)
        if told is not None:
            told.give_back(tokens, unsent=unsent)
        if unsent and self._pace is not None:
            self._pace.refund(1.0, now_s)

    def heard(self, model: str, headers: Mapping[str, str], now_s: float, *, alone: bool) -> None:
        """Looks at a reply's headers, twenty times a second at most; `alone`: no other call was under way."""
        if now_s < self.look_s or not self._is_adaptive:
            return
        self.look_s = now_s + _LOOK_EVERY_S
        observed = rate_limits_of(headers, time.time())
        if not observed:
            return
        told = self._told.get(model)
        if told is None:
            if len(self._told) >= _MOST_MODELS:  # a cap on memory
                self._told.clear()
            told = self._told[model] = ToldLimits()
        self._pause(told.observe(observed, now_s, alone=alone), now_s)
        self.is_unlimited = False

    def accepted(self, now_s: float, *, was_paced: bool) -> None:
        """The provider took a call, whatever came of it; `was_paced`: calls were waiting for the rate found."""
        if self.is_unlimited:
            self.unread_s.append(now_s)
            if len(self.unread_s) >= MOST_UNREAD:
                self.catch_up()
            return
        if self.unread_s:
            self.catch_up()
        self._controller.observe_accepted(now_s, is_limited=was_paced)
        self._accepted += 1
        if now_s >= self._settled_s:
            self._begin_pace(now_s)
        if self._accepted + self._refused > _EVIDENCE_CALLS:
            self._accepted, self._refused = self._accepted / 2, self._refused / 2
        if self._pace is not None:
            if was_paced:
                self._pressed_s = now_s
            self._follow(now_s)

    def refused(self, model: str, started_s: float, now_s: float, retry_after_s: float | None) -> None:
        """The provider refused a call that began at `started_s`, because there were too many."""
        self.throttled += 1
        self.catch_up()
        self._pause(retry_after_s or 0.0, now_s)
        told = self._told.get(model)
        if not self._is_adaptive or (told is not None and told.wait_s(1.0, now_s) > 0):
            return  # it has told why: that limit is kept to from now on
        self._pressed_s = now_s
        self._refused += 1
        if self._pace is None:
            if self._is_enough(started_s, now_s, retry_after_s or 0.0) and self._settled_s == math.inf:
                self._settled_s = now_s + _SETTLE_S
                self._pause(_SETTLE_S, now_s)
            return
        if self._controller.observe_throttled(started_s, now_s, pause_s=retry_after_s or 0.0):
            self._follow(now_s)
            self.is_unlimited = False

    def catch_up(self) -> None:
        """Counts in what was accepted and not counted yet."""
        unread_s, self.unread_s = self.unread_s, array("d")
        self._controller.observe_free(unread_s)
        left = len(unread_s)
        while left:  # as one by one: with each that is one too many, both counts are halved
            step = min(left, max(1, int(_EVIDENCE_CALLS - self._accepted - self._refused) + 1))
            left -= step
            self._accepted += step
            if self._accepted + self._refused > _EVIDENCE_CALLS:
                self._accepted, self._refused = self._accepted / 2, self._refused / 2

    def configure(self, limits: RateLimits) -> None:
        """Another ceiling; without `adaptive` all that was found is forgotten, but for a pause."""
        self._limits = limits
        self._is_adaptive = limits.adaptive
        self._controller.configure(limits.requests_per_s)
        if not limits.adaptive:
            self._pace, self._told, self._settled_s = None, {}, math.inf

    def rate(self) -> RateStatistics | None:
        """Where the search for a hidden limit stands; None before the first refusal."""
        return self._controller.statistics() if self._controller.decreases else None

    def told(self) -> dict[str, tuple[ToldStatistics, ...]]:
        """The limits it tells, by model."""
        return {model: told.statistics() for model, told in self._told.items()}

    def _is_enough(self, started_s: float, now_s: float, pause_s: float) -> bool:
        """Whether what was refused shows a limit: too many of the last calls, or pauses that come regularly."""
        if pause_s > 0:
            self._count_round(started_s, now_s, pause_s)
        known = self._accepted + self._refused + self.in_flight
        if self._refused >= max(_EVIDENCE, _EVIDENCE_SHARE * known):
            return True
        rounds = self._rounds
        if len(rounds) < _EVIDENCE_ROUNDS:
            return False
        counts = [one.sent for one in rounds]
        paused_s, passed_s = sum(one.pause_s for one in rounds), now_s + pause_s - rounds[0].began_s
        return max(counts) <= _EVIDENCE_ALIKE * min(counts) and paused_s >= _EVIDENCE_TIME * passed_s

    def _count_round(self, started_s: float, now_s: float, pause_s: float) -> None:
        """How many calls were sent from the last pause to the first one that was refused."""
        rounds, sent_s = self._rounds, self._sent_s
        if rounds and started_s <= rounds[-1].began_s:
            return  # it was on its way when that pause began
        if len(sent_s) == _MOST_SENT:  # more than can be told
            rounds.clear()
        rounds.append(_Round(now_s, pause_s, sum(1 for at_s in sent_s if at_s <= started_s)))
        sent_s.clear()

    def _begin_pace(self, now_s: float) -> None:
        """Enough was refused: from now on calls are paced, by what was accepted of the last ones."""
        self._settled_s = math.inf
        if self._pace is None and self._controller.observe_throttled(now_s, now_s, self.in_flight):
            self._follow(now_s)
            self.is_unlimited = False

    def _follow(self, now_s: float) -> None:
        """The pace is what the controller says: none where the rate is free."""
        controller = self._controller
        if controller.rate_per_s == math.inf:
            self._pace = None
        elif self._pace is None:
            self._pace = Bucket(controller.burst, controller.rate_per_s, now_s)
        else:
            self._pace.set_limit(controller.burst, controller.rate_per_s, now_s)

    def _pause(self, seconds: float, now_s: float) -> None:
        if seconds > 0:
            self._paused_until_s = max(self._paused_until_s, now_s + min(seconds, LONGEST_PAUSE_S))
            self.is_unlimited = False


__all__ = ["LONGEST_PAUSE_S", "FoundLimits"]

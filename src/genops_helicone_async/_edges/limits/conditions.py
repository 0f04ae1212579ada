"""What a call to one provider needs besides a slot: no pause, room in the provider's own limits and in configured ones.

Everything is taken in one step when a call goes on, and what it did not need is given back when it is over.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Literal

from ..._rules.rate_limits import RateLimits
from ...errors import LedgerError
from .found import FoundLimits
from .requests import RequestLimit
from .shared import Store
from .tokens import TokenLimit

HeldBy = Literal["nothing", "pace", "provider", "tokens", "concurrency"]
_STORE_REST_S = 5.0
"""After a failure of the store, this process keeps to the limits by itself for so long."""
_log = logging.getLogger("genops_helicone_async.limits")


class Conditions:
    """One provider's limits on one event loop: configured ones, the provider's own, and what is under way."""

    __slots__ = (
        *("_clock", "_has_store", "_is_unlimited", "_left", "_most", "_request_bucket", "_requests"),
        *("_store_away_until_s", "_token_bucket", "_tokens"),
        *("entered", "found", "has_token_limit", "held_by", "is_plain", "limits", "provider"),
    )

    def __init__(self, provider: str, limits: RateLimits, clock: Callable[[], float], store: Store | None) -> None:
        self.provider = provider
        self.limits = limits
        self.found = FoundLimits(limits, clock())
        self.entered = self._left = 0
        self.held_by: HeldBy = "nothing"
        self._clock = clock
        self._requests = RequestLimit(limits, clock, store, f"{provider}:requests")
        self._tokens = TokenLimit(limits, clock, store, f"{provider}:tokens")
        self._has_store = store is not None
        self._store_away_until_s = -math.inf
        self._resolve(limits)

    @property
    def in_flight(self) -> int:
        """Calls that have begun and are not over."""
        return self.entered - self._left

    @property
    def counts_tokens(self) -> bool:
        """Whether it makes a difference how many tokens a call takes."""
        return self.has_token_limit or (not self.found.is_unlimited and self.found.counts_tokens)

    def may_go(self, model: str, tokens: float) -> bool:
        """Whether a call may go on now."""
        if self._is_unlimited and self.found.is_unlimited:
            return True
        return self.held_s(model, tokens) == 0.0 and self.is_ready(tokens)

    def begin_nowait(self, model: str, tokens: float) -> bool:
        """Takes everything for one call if it may go on now; otherwise nothing has changed."""
        if self.is_plain and (self._most is None or self.in_flight < self._most):
            if self._is_unlimited:
                self.entered += 1
                return True
            now_s, requests, tokens_there = self._clock(), self._request_bucket, self._token_bucket
            if requests is None or requests.take_if_full_enough(1.0, now_s):
                if tokens_there is None or tokens_there.take_if_full_enough(tokens, now_s):
                    self.entered += 1
                    return True
                self._requests.give_back()
        if not self.may_go(model, tokens):
            return False
        self.begin(model, tokens)
        return True

    def held_s(self, model: str, tokens: float) -> float | None:
        """Seconds for which a call is held back as far as is known now, 0.0 if it is not, None until another ends."""
        now_s, most = self._clock(), self.limits.max_concurrency
        if most is not None and self.in_flight >= most:
            self.held_by = "concurrency"
            return None
        found_s = 0.0 if self.found.is_unlimited else self.found.wait_s(model, tokens, now_s)
        tokens_s = self._tokens.wait_s(tokens, now_s)
        if tokens_s > found_s:
            self.held_by = "tokens"
        elif found_s > 0:
            self.held_by = "pace" if self.found.paced_s(now_s) >= found_s else "provider"
        else:
            self.held_by = "nothing"
        return max(found_s, tokens_s)

    def is_ready(self, tokens: float) -> bool:
        """Whether requests per minute and the shared store let a call pass now; where not, await `get_ready`."""
        if self._is_unlimited:
            return True
        if not self._requests.is_ready:
            return False
        if self._has_store and self._clock() >= self._store_away_until_s:
            return self._requests.is_here and self._tokens.is_here(tokens)
        return True

    async def get_ready(self, tokens: float) -> float:
        """Waits for the next request of the minute, or asks the store; gives the seconds that are still to be waited.

        The caller looks again afterwards.
        """
        if not self._requests.is_ready:
            await self._requests.until_ready()
            return 0.0
        try:
            return await (self._tokens.fetch(tokens) if self._requests.is_here else self._requests.fetch())
        except LedgerError as exc:
            self._store_away_until_s = self._clock() + _STORE_REST_S
            _log.warning("limits are kept by this process alone for %g s: %s", _STORE_REST_S, exc.message)
            return 0.0

    def begin(self, model: str, tokens: float) -> None:
        """Takes everything for one call that may go on."""
        found = self.found
        self.entered += 1
        found.in_flight = self.in_flight
        if self._is_unlimited and found.is_unlimited:
            return
        now_s = self._clock()
        if not self._is_unlimited:
            self._requests.take()
            self._tokens.take(tokens, now_s)
        if not found.is_unlimited:
            found.take(model, tokens, now_s)

    def end(self, model: str, reserved: float, used: float, *, unsent: bool) -> None:
        """A call is over: it had reserved so many tokens and used so many; `unsent`: it never went out."""
        self._left += 1
        if self.is_plain and not unsent:
            if used != reserved and (bucket := self._token_bucket) is not None:
                if used < reserved:
                    bucket.give_back(reserved - used)
                else:
                    bucket.settle(reserved, used, self._clock())
            return
        found = self.found
        found.in_flight = self.in_flight
        if used == reserved and not unsent:
            return
        if not self._is_unlimited:
            self._tokens.settle(reserved, used)
            if unsent:
                self._requests.give_back()
        if not found.is_unlimited:
            found.give_back(model, reserved - used, self._clock(), unsent=unsent)

    def refused(self, model: str, started_s: float, retry_after_s: float | None) -> None:
        """The provider refused a call that began at `started_s`, because there were too many."""
        found = self.found
        found.in_flight = self.in_flight
        found.refused(model, started_s, self._clock(), retry_after_s)
        self.is_plain = found.is_unlimited and not self._has_store

    def heard(self, model: str, headers: Mapping[str, str], now_s: float) -> None:
        """Looks at a reply's headers for limits of the provider's own."""
        found = self.found
        found.heard(model, headers, now_s, alone=self.in_flight <= 1)
        self.is_plain = found.is_unlimited and not self._has_store

    def configure(self, limits: RateLimits) -> None:
        """Other limits from now on."""
        self.limits = limits
        self._requests.configure(limits)
        self._tokens.configure(limits)
        self._resolve(limits)
        self.found.configure(limits)

    def _resolve(self, limits: RateLimits) -> None:
        """What each call asks for, worked out once."""
        requests, tokens = self._requests.bucket, self._tokens.bucket
        self._request_bucket, self._token_bucket = requests, tokens
        self._most = limits.max_concurrency
        self.is_plain = self.found.is_unlimited and not self._has_store
        """Whether none but our own limits hold, as usual: no store, and nothing is known of the provider's own."""
        self._is_unlimited = requests is None and tokens is None and limits.max_concurrency is None
        self.has_token_limit = tokens is not None

    def told(self) -> list[str]:
        """The limits in words."""
        limits, paused_s = self.limits, self.found.paused_s(self._clock())
        return [
            *([f"{limits.requests_per_minute:g} requests a minute"] if limits.requests_per_minute else []),
            *([f"{limits.tokens_per_minute:g} tokens a minute"] if limits.tokens_per_minute else []),
            *([f"{limits.max_concurrency} at once"] if limits.max_concurrency else []),
            *([f"it asked for a pause of {paused_s:.1f} s more"] if paused_s else []),
            f"{self.in_flight} are on their way",
        ]


__all__ = ["Conditions", "HeldBy"]

"""Scripted misfortune: which calls go wrong, how, and how often; the same script gives the same faults."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

import msgspec

from ._helicone.rate_limits import TokenBucket
from ._simulated.catalogue import canonical_name

FaultKind = Literal[
    "cut",
    "cut_mid_utf8",
    "delay",
    "endless",
    "error_event",
    "gateway_status",
    "gzip_garbage",
    "hang",
    "html",
    "no_finish_reason",
    "not_json",
    "redirect",
    "reset",
    "reset_mid_body",
    "slow_drip",
    "status",
    "truncated_json",
    "wrong_content_type",
    "wrong_usage",
]
NOTHING_PRODUCED = frozenset({"hang", "reset", "html", "not_json", "redirect", "gzip_garbage"})
"""Faults under which the model never writes a token, so that nothing is billed."""

CUTTING = frozenset({"cut", "cut_mid_utf8", "endless", "error_event", "reset_mid_body", "truncated_json"})
"""Faults under which the reply is written, and billed as far as it went, but never arrives whole."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scripted fault.

    Attributes:
        kind: What goes wrong; see `FaultKind`.
        provider: Only calls that reach this provider; None for every provider.
        model: Only this model, by the provider's own id or the name in the request.
        times: How often it strikes, at most; None for ever.
        after: How many matching calls pass unharmed first.
        probability: Chance of striking, drawn from the sandbox's seed.
        status: HTTP status of `status`, `gateway_status`, `html` and `redirect`.
        retry_after: Seconds, sent as `Retry-After`.
        retry_after_ms: Milliseconds, sent as `retry-after-ms`.
        retry_after_date: Send `Retry-After` as an HTTP date.
        delay_s: Extra seconds before the reply; between chunks for `slow_drip`. Not scaled.
        at_chunk: Content chunk of a stream at which it strikes; default half way.
        body: The error's message or whole body; for `wrong_usage` the numbers shown, or "missing".
        headers: Added to the reply.
        content_type: Replaces the reply's content type.
    """

    kind: FaultKind
    provider: str | None = None
    model: str | None = None
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    status: int = 500
    retry_after: float | None = None
    retry_after_ms: int | None = None
    retry_after_date: bool = False
    delay_s: float = 0.0
    at_chunk: int | None = None
    body: Any = None
    headers: dict[str, str] | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(get_args(FaultKind))}")
        if self.provider is not None:
            canonical_name(self.provider)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {self.probability!r}")

    def retry_headers(self) -> dict[str, str]:
        """The headers that say when to try again."""
        headers: dict[str, str] = {}
        if self.retry_after is not None and self.retry_after_date:
            headers["Retry-After"] = http_date(time.time() + self.retry_after)
        elif self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        if self.retry_after_ms is not None:
            headers["retry-after-ms"] = str(self.retry_after_ms)
        return headers


def http_date(at_s: float) -> str:
    """A point in time as an HTTP date."""
    from email.utils import formatdate

    return formatdate(math.ceil(at_s), usegmt=True)


class _Armed:
    """A fault with what is left of it."""

    __slots__ = ("fault", "rng", "seen", "struck")

    def __init__(self, fault: Fault, rng: random.Random) -> None:
        self.fault = fault
        self.rng = rng
        self.seen = 0
        self.struck = 0

    def strikes(self) -> bool:
        """Count one matching call; whether the fault hits it."""
        fault = self.fault
        self.seen += 1
        if self.seen <= fault.after or (fault.times is not None and self.struck >= fault.times):
            return False
        if fault.probability < 1 and self.rng.random() >= fault.probability:
            return False
        self.struck += 1
        return True


class FaultPlan:
    """The faults in force. The first that strikes a call decides; later ones do not see that call."""

    __slots__ = ("_armed", "_clock", "_down_until_s", "_limits", "_seed", "struck")

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seed = seed
        self._clock = clock
        self._armed: list[_Armed] = []
        self._down_until_s: dict[str, float] = {}
        self._limits: dict[str, tuple[int, TokenBucket]] = {}
        self.struck = 0
        """Calls that a fault hit."""

    def add(self, *faults: Fault) -> None:
        """Put faults in force, after those already there."""
        for fault in faults:
            if fault.provider:
                fault = msgspec.structs.replace(fault, provider=canonical_name(fault.provider))
            self._armed.append(_Armed(fault, random.Random(f"{self._seed}/{len(self._armed)}")))

    def clear(self) -> None:
        """Take back every fault, outage and hidden limit."""
        self._armed.clear()
        self._down_until_s.clear()
        self._limits.clear()

    def down(self, provider: str, for_s: float | None = None) -> None:
        """Let a provider answer 503 to everything, for some seconds or until `up`."""
        until_s = math.inf if for_s is None else self._clock() + for_s
        self._down_until_s[canonical_name(provider)] = until_s

    def up(self, provider: str) -> None:
        """End the outage of a provider."""
        self._down_until_s.pop(canonical_name(provider), None)

    def set_hidden_limit(self, provider: str, requests_per_minute: float, burst: int = 1) -> None:
        """Let a provider answer 429 with `Retry-After` beyond this rate."""
        if not requests_per_minute > 0 or burst < 1:
            raise ValueError("a hidden limit needs requests_per_minute above 0 and a burst of at least 1")
        bucket = TokenBucket(burst, requests_per_minute / 60, self._clock())
        self._limits[canonical_name(provider)] = (burst, bucket)

    def draw(self, provider: str | None, models: Iterable[str], *, stream: bool, gateway: bool) -> Fault | None:
        """The fault that hits this call, if any; `gateway` asks for those of the gateway itself."""
        if not gateway and self._down_until_s and self._is_down(provider):
            self.struck += 1
            return Fault(kind="status", status=503, body=f"{provider} is down for maintenance")
        for armed in self._armed:
            fault = armed.fault
            if (fault.kind == "gateway_status") is not gateway:
                continue
            if fault.provider not in (None, provider) or (fault.model and fault.model not in models):
                continue
            if fault.kind == "error_event" and not stream:
                continue
            if armed.strikes():
                self.struck += 1
                return fault
        return None

    def _is_down(self, provider: str | None) -> bool:
        return self._clock() < self._down_until_s.get(provider or "", -math.inf)

    def limit_headers(self, provider: str) -> dict[str, str] | None:
        """Take one request from the hidden limit; its headers, or None where there is no limit.

        A refusal carries `Retry-After`.
        """
        found = self._limits.get(provider)
        if found is None:
            return None
        burst, bucket = found
        now_s = self._clock()
        wait_s = bucket.wait_s(1, now_s)
        if not wait_s:
            bucket.take(1, now_s)
        remaining = max(0, math.floor(bucket.balance(now_s)))
        return _rate_headers(provider, burst, remaining, wait_s, bucket.wait_s(burst, now_s))

    def __iter__(self) -> Iterator[Fault]:
        return iter([armed.fault for armed in self._armed])

    def __len__(self) -> int:
        return len(self._armed)

    def __repr__(self) -> str:
        down = [name for name in self._down_until_s if self._is_down(name)]
        return f"<FaultPlan {len(self._armed)} faults, down {down}, limits on {sorted(self._limits)}>"


def _rate_headers(provider: str, limit: int, remaining: int, wait_s: float, reset_s: float) -> dict[str, str]:
    if provider == "anthropic":
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + reset_s))
        headers = {
            "anthropic-ratelimit-requests-limit": str(limit),
            "anthropic-ratelimit-requests-remaining": str(remaining),
            "anthropic-ratelimit-requests-reset": at,
        }
    else:
        headers = {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": f"{reset_s:.3f}s",
        }
    if wait_s:
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    return headers

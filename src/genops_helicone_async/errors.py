"""What can go wrong: one root error that carries facts, and the record of each attempt.

Errors do not advise, they state: whether a repeat can help (`retry_safe`), how long the other side asked to wait
(`retry_after_s`), whether a limit refused the call (`throttled`) and whether money may have been spent (`billed`).
One place, `_rules/retry.py`, decides from these facts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Billed = Literal["no", "maybe", "yes"]


class Attempt(msgspec.Struct, frozen=True):
    """One attempt against one provider: what was sent where, how it ended and what it cost.

    Times are seconds, `started_s` counted from the start of the call; `cost` is in the adapter's currency, and so is
    `reserved`: what was set aside for the attempt, of a budget or, where telemetry asks for it, as an estimate.
    `reserved_tokens` takes its place where no price is known. `response_id` and `response_model` are the provider's.
    """

    provider: str
    model: str
    request_id: str
    host: str = ""
    started_s: float = 0.0
    duration_s: float = 0.0
    status_code: int | None = None
    http_status: int | None = None
    error: str | None = None
    error_message: str | None = None
    retry_after_s: float | None = None
    billed: Billed = "no"
    cost: float = 0.0
    cost_source: str = "none"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    reserved: float = 0.0
    reserved_tokens: int | None = None
    time_to_first_chunk_s: float | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    response_model: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the attempt brought a complete reply."""
        return self.error is None


class HeliconeError(Exception):
    """Root of every error this library raises on purpose.

    Attributes:
        message: What happened, in one sentence, without secrets. `error_message` is the same text.
        request_id: Our UUID of the attempt that failed (`Helicone-Request-Id`), None before anything was sent.
        status_code: The effective HTTP status: the provider's own where the gateway's body tells it.
        http_status: The HTTP status that arrived.
        retry_safe: Whether the same call to the same provider may succeed later.
        retry_after_s: Seconds the other side asked to wait, None if it did not say.
        throttled: Whether a rate limit refused the call.
        billed: Whether the provider charges for the failed attempt: `no`, `maybe` or `yes`.
        attempts: Every attempt made for the call, in order.
        provider: The provider the failed attempt was meant for, None where that is unknown.
        model: The model asked for.
        code: The other side's own error code or type, such as `context_length_exceeded`.
    """

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        status_code: int | None = None,
        http_status: int | None = None,
        retry_safe: bool = False,
        retry_after_s: float | None = None,
        throttled: bool = False,
        billed: Billed = "no",
        attempts: tuple[Attempt, ...] = (),
        provider: str | None = None,
        model: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.status_code = status_code
        self.http_status = http_status
        self.retry_safe = retry_safe
        self.retry_after_s = retry_after_s
        self.throttled = throttled
        self.billed: Billed = billed
        self.attempts = attempts
        self.provider = provider
        self.model = model
        self.code = code

    @property
    def error_message(self) -> str:
        """The same text as `message`, under the name the guide uses."""
        return self.message

    def __repr__(self) -> str:
        facts = {
            "provider": self.provider,
            "model": self.model,
            "status_code": self.status_code,
            "code": self.code,
            "request_id": self.request_id,
        }
        told = "".join(f", {name}={value!r}" for name, value in facts.items() if value is not None)
        return f"{type(self).__name__}({self.message!r}{told})"


class GatewayError(HeliconeError):
    """The gateway itself failed or refused: unreachable, a refused header, a crash, an unknown model."""


class ProviderError(HeliconeError):
    """A provider failed or refused the call; `provider` and `model` say which."""


class AllProvidersFailedError(ProviderError):
    """Every candidate was tried and none answered; `attempts` tells each story, `provider` is the last one."""


class RateLimitExceededError(ProviderError):
    """A rate limit refused the call: the provider's own, the gateway's, or this client's (`limited_by` says which)."""

    def __init__(
        self, message: str, *, limited_by: Literal["provider", "helicone", "client"] = "provider", **facts: object
    ) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.limited_by = limited_by


class AuthenticationError(HeliconeError):
    """A key was refused: `which` is `helicone` for the gateway's key, `provider` for the provider's."""

    def __init__(self, message: str, *, which: Literal["helicone", "provider"] = "helicone", **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.which = which


class DeadlineExceededError(HeliconeError, TimeoutError):
    """The call's deadline (`timeout_seconds`) passed before an answer was complete."""


class BudgetExceededError(HeliconeError):
    """A budget has no room for the call; nothing was sent.

    Attributes:
        current_usage: Dollars spent and held in the scope when the call was refused.
        budget_limit: The scope's limit in dollars.
        scope: Which budget: `request`, `daily`, `monthly`, `team:research`, …
        period: `day`, `month` or None for a limit without a window.
        resets_at: When the window ends, None without a window.
    """

    def __init__(
        self,
        message: str,
        *,
        current_usage: float = 0.0,
        budget_limit: float = 0.0,
        scope: str = "",
        period: str | None = None,
        resets_at: datetime | None = None,
        **facts: object,
    ) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.current_usage = current_usage
        self.budget_limit = budget_limit
        self.scope = scope
        self.period = period
        self.resets_at = resets_at


class PolicyDeniedError(HeliconeError):
    """A policy of the adapter's refuses the call; nothing was sent.

    Attributes:
        reason_code: GenOps' word for it: `POLICY_DENY_MODEL`, `POLICY_DENY_REGION`, or `x_audit_unavailable` where a
            call that has to be recorded cannot be.
    """

    def __init__(self, message: str, *, reason_code: str = "POLICY_DENY_MODEL", **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.reason_code = reason_code


class InsufficientCreditsError(HeliconeError):
    """The prepaid credits at the gateway, or the account at the provider, cannot pay for the call."""


class LedgerError(HeliconeError):
    """The store of budgets and receipts cannot be read or written; the message names the store and the remedy.

    Calls under a budget are refused while it lasts (nothing is sent unaccounted); what was already spent is kept in
    memory and written when the store takes it again.
    """


class RoutingError(HeliconeError):
    """The call cannot be routed: a strategy named no known provider, or no candidate is left."""


class ConfigurationError(HeliconeError, ValueError):
    """A setting or an argument is wrong; the message names it and the remedy. Nothing was sent."""


class DecodeError(HeliconeError):
    """A reply arrived that could not be understood, or that was larger than the limit."""


class StreamInterruptedError(HeliconeError):
    """A stream broke after its first content.

    Attributes:
        partial: The text that had arrived, joined.
    """

    def __init__(self, message: str, *, partial: str = "", **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.partial = partial


__all__ = [
    "AllProvidersFailedError",
    "Attempt",
    "AuthenticationError",
    "BudgetExceededError",
    "ConfigurationError",
    "DeadlineExceededError",
    "DecodeError",
    "GatewayError",
    "HeliconeError",
    "InsufficientCreditsError",
    "LedgerError",
    "PolicyDeniedError",
    "ProviderError",
    "RateLimitExceededError",
    "RoutingError",
    "StreamInterruptedError",
]

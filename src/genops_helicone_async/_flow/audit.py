"""What the audit log says of calls: one line before anything is sent, one when all is over. Never what was said.

Who (attribution), when, by which request ids, to which providers and models, the decision, tokens and cost. Neither
prompts nor answers nor messages of providers, which may quote them, and no key: every member is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from .._rules.policy_results import refusal_of
from .._values import Currency
from ..errors import Attempt, HeliconeError, PolicyDeniedError
from ..models import HeliconeResponse
from .in_time import in_time
from .ticket import RequestRecord, Target, Ticket

_WHO = ("team", "project", "customer_id", "user_id", "environment", "cost_center", "feature", "session_id")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}|\d{1,6}")
UNAVAILABLE = "x_audit_unavailable"


class Log(Protocol):
    """Where the lines go."""

    @property
    def path(self) -> str:
        """The file."""
        ...

    def put(self, facts: Mapping[str, Any]) -> None:
        """Has a line added; never waits and never fails."""
        ...

    async def added(self, facts: Mapping[str, Any]) -> str | None:
        """Waits until it is there; gives why it could not be added."""
        ...


class AuditTrail:
    """The lines of one adapter's calls. With `is_strict` a call that cannot be recorded is refused.

    `clock` is Unix seconds, `service` is told in each line where it is not empty.
    """

    __slots__ = ("_clock", "_currency", "_is_strict", "_log", "_new_id", "_service")

    def __init__(
        self, log: Log, *, is_strict: bool, currency: Currency, new_id: Callable[[], str], clock: Callable[[], float],
        service: str,
    ) -> None:  # fmt: skip
        self._log = log
        self._is_strict = is_strict
        self._currency = currency
        self._new_id = new_id
        self._clock = clock
        self._service = service

    def __repr__(self) -> str:
        return f"AuditTrail({self._log.path!r}, strict={self._is_strict})"

    async def admit(self, ticket: Ticket, targets: list[Target]) -> None:
        """Records that a call is let through, before anything is sent.

        Raises:
            PolicyDeniedError: it has to be recorded and cannot be.
            DeadlineExceededError: that took too long.
        """
        ticket.audit_id = self._new_id()
        facts = {
            **self._line("admitted", ticket.audit_id, ticket.attribution),
            "decision": "ALLOWED",
            "candidates": [f"{target.endpoint.provider}/{target.endpoint.model}" for target in targets],
            "held": self._currency.of(ticket.hold.held_pusd),
        }
        if not self._is_strict:
            self._log.put(facts)
            return
        failure = await in_time(self._log.added(facts), ticket.deadline, "the audit log was written")
        if failure is not None:
            raise PolicyDeniedError(
                f"the call cannot be recorded in the audit log {self._log.path}, and `compliance_mode` lets no call "
                f"through unrecorded: {failure}",
                reason_code=UNAVAILABLE,
                retry_safe=True,
            )

    def __call__(self, record: RequestRecord) -> None:
        """Records how a call ended."""
        decided: dict[str, Any] = {"decision": "ALLOWED"}
        if record.error is not None and not record.attempts:
            decided = self._refusal(record, record.error)
        event = "ended" if decided["decision"] == "ALLOWED" else "refused"
        facts = {
            **self._line(event, record.audit_id or self._new_id(), record.attribution),
            **decided,
            **_outcome(record),
            "attempts": [_attempt(attempt) for attempt in record.attempts],
            "cost": self._currency.of(record.cost_pusd + record.failed_pusd),
            "cost_pusd": record.cost_pusd + record.failed_pusd,
            "duration_ms": round(record.duration_s * 1000, 3),
        }
        self._log.put(facts)

    def _line(self, event: str, call_id: str, attribution: Mapping[str, str]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(self._clock(), UTC),
            "event": event,
            "call_id": call_id,
            "who": {name: attribution[name] for name in _WHO if name in attribution},
            "currency": self._currency.code,
        }
        if self._service:
            facts["service"] = self._service
        return facts

    def _refusal(self, record: RequestRecord, error: BaseException) -> dict[str, Any]:
        refused = refusal_of(
            error,
            routed=record.routing is not None,
            waited_for_budget=record.hold_limited and not record.held_pusd,
        )
        facts: dict[str, Any] = {"decision": refused.result, "reason_code": refused.code}
        if isinstance(error, HeliconeError):
            facts.update({name: value for name in ("provider", "model") if (value := getattr(error, name)) is not None})
        return facts


def _outcome(record: RequestRecord) -> dict[str, Any]:
    error = record.error
    if error is None:
        response = record.response
        if response is None:
            return {"status": "abandoned"}
        cached = {"cached": True} if isinstance(response, HeliconeResponse) and response.cached else {}
        return {
            "status": "ok", "request_id": response.request_id, "provider": response.provider, "model": response.model,
            "strategy": response.routing.strategy, **cached,
        }  # fmt: skip
    facts: dict[str, Any] = {"status": "error", "error": type(error).__name__}
    if isinstance(error, HeliconeError):
        facts.update(_status(error.status_code, error.code))
        if error.request_id is not None:
            facts["request_id"] = error.request_id
    return facts


def _status(status_code: int | None, code: object) -> dict[str, Any]:
    """The status and the other side's own code, where that is a code and no sentence."""
    facts: dict[str, Any] = {} if status_code is None else {"status_code": status_code}
    if isinstance(code, str) and _CODE.fullmatch(code):
        facts["code"] = code
    return facts


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "request_id": attempt.request_id, "provider": attempt.provider, "model": attempt.model, "host": attempt.host,
        "error": attempt.error, "status_code": attempt.status_code, "billed": attempt.billed, "cost": attempt.cost,
        "cost_source": attempt.cost_source, "input_tokens": attempt.input_tokens,
        "output_tokens": attempt.output_tokens, "duration_ms": round(attempt.duration_s * 1000, 3),
    }  # fmt: skip


__all__ = ["UNAVAILABLE", "AuditTrail", "Log"]

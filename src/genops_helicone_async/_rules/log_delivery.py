"""What becomes of a call's log entry after an attempt to deliver it: done, given up, or tried again, and when."""

from __future__ import annotations

import msgspec

LARGEST_BYTES = 10 * 1024 * 1024
"""What Helicone's log takes at most."""


class LogPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Waits double from `base_s` to `cap_s` and are shortened at random by up to a half; all in seconds.

    `longest_wait_s` is the most of a Retry-After that is honoured; an entry is given up after `attempts` of them.
    """

    base_s: float = 1.0
    cap_s: float = 60.0
    longest_wait_s: float = 300.0
    attempts: int = 8


class Logged(msgspec.Struct, frozen=True, tag=True):
    """Helicone has it."""


class Dropped(msgspec.Struct, frozen=True, tag=True):
    """It is not tried again, and why."""

    reason: str


class Later(msgspec.Struct, frozen=True, tag=True):
    """It is tried again after this many seconds."""

    delay_s: float


def after_log_attempt(
    policy: LogPolicy,
    *,
    status: int | None,
    error: str | None,
    retry_after_s: float | None,
    attempts: int,
    random: float,
) -> Logged | Dropped | Later:
    """What to do after `attempts` attempts, the last of which brought this status, or None where it brought no reply.

    `error` is what went wrong, None where nothing did: a log that failed is told with 200, too. What Helicone calls
    wrong stays wrong (400 and its like); whatever else may pass. `random` is from 0 up to 1.
    """
    if error is None and status is not None and 200 <= status < 300:
        return Logged()
    why = error or f"it answered {status}"
    if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
        return Dropped(why)
    if attempts >= policy.attempts:
        return Dropped(f"{why}, {attempts} times")
    wait_s = min(policy.cap_s, policy.base_s * 2.0 ** (attempts - 1)) * (1 - random / 2)
    if retry_after_s is not None:
        wait_s = max(wait_s, min(retry_after_s, policy.longest_wait_s))
    return Later(wait_s)


__all__ = ["LARGEST_BYTES", "Dropped", "Later", "LogPolicy", "Logged", "after_log_attempt"]

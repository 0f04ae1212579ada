"""What becomes of an alert after an attempt to deliver it: done, given up, or tried again, and when."""

from __future__ import annotations

import msgspec

GONE = 410
"""With this status a receiver says that it wants no more, for ever (Standard Webhooks)."""


class DeliveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Waits double from `base_s` to `cap_s` and are shortened at random by up to a half; all in seconds.

    `longest_wait_s` is the most of a Retry-After that is honoured; an alert older than `give_up_s` is given up.
    """

    base_s: float = 1.0
    cap_s: float = 300.0
    longest_wait_s: float = 3600.0
    give_up_s: float = 24 * 3600.0


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """The receiver has it."""


class GivenUp(msgspec.Struct, frozen=True, tag=True):
    """It is not tried again, and why."""

    reason: str


class Again(msgspec.Struct, frozen=True, tag=True):
    """It is tried again after this many seconds."""

    delay_s: float


def after_attempt(
    policy: DeliveryPolicy,
    *,
    status: int | None,
    retry_after_s: float | None,
    attempts: int,
    age_s: float,
    random: float,
) -> Delivered | GivenUp | Again:
    """What to do after `attempts` attempts, the last of which brought this status, or None where it brought no reply.

    Whatever is neither a success nor 410 is tried again, since a receiver that is set up wrongly is set right by and
    by. `random` is from 0 up to 1.
    """
    if status is not None and 200 <= status < 300:
        return Delivered()
    if status == GONE:
        return GivenUp("the receiver answered 410, it wants no more")
    wait_s = min(policy.cap_s, policy.base_s * 2.0 ** min(attempts - 1, 64)) * (1 - random / 2)
    if retry_after_s is not None:
        wait_s = max(wait_s, min(retry_after_s, policy.longest_wait_s))
    if age_s + wait_s > policy.give_up_s:
        return GivenUp(f"not delivered within {policy.give_up_s / 3600:g} hours")
    return Again(wait_s)


__all__ = ["Again", "Delivered", "DeliveryPolicy", "GivenUp", "after_attempt"]

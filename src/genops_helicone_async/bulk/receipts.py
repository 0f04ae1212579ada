"""What the attempts of a call tell: how each ended, how long the call took, where it moved on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..models import PUSD_PER_USD

if TYPE_CHECKING:
    from ..errors import Attempt


def pico(dollars: float) -> int:
    """Pico-dollars of a receipt, which is a float made from such an integer."""
    return round(dollars * PUSD_PER_USD)


def label_of(attempt: Attempt) -> str:
    """What went wrong with an attempt, in a word or two."""
    status = attempt.status_code or attempt.http_status
    if status is not None and status >= 300:
        return str(status)
    lost = attempt.error == "GatewayError" and attempt.billed == "maybe"
    return "connection lost" if lost else attempt.error or "ok"


def whole_time_s(attempts: Sequence[Attempt]) -> float:
    """Seconds from the start of a call to the end of its last attempt; 0.0 without attempts."""
    if not attempts:
        return 0.0
    last = attempts[-1]
    return last.started_s + last.duration_s


def cost_pusd(attempts: Sequence[Attempt]) -> int:
    """Pico-dollars of the attempts that are known to be billed."""
    return sum(pico(attempt.cost) for attempt in attempts if attempt.billed != "maybe")


def in_doubt_pusd(attempts: Sequence[Attempt]) -> int:
    """Pico-dollars, estimated, of the attempts that were lost after sending and may have been billed."""
    return sum(pico(attempt.cost) for attempt in attempts if attempt.billed == "maybe")


def moves(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Attempt]]:
    """Each failed attempt with the one that followed it: a failover where the provider differs, else a retry."""
    return pairwise(attempts)


__all__ = ["cost_pusd", "in_doubt_pusd", "label_of", "moves", "pico", "whole_time_s"]

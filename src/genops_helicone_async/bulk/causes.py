"""Why rows failed, so that a thousand failures of one cause are one line: kind, status, and the message's shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ..errors import Attempt

_MOST_CHARS = 160
_VARIABLE = re.compile(
    r"(?P<id>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b[a-z]+[-_](?=[a-z]*\d)[0-9a-z]{6,}\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b)"
    r"|(?P<quoted>'[^']{1,200}'|\"[^\"]{1,200}\")|(?<![\w-])(?P<number>\d+(?:[.,]\d+)*)",
    re.IGNORECASE,
)
"""Ids as they are made by providers, quoted texts, and numbers that are not part of a model's name."""


class Failures(msgspec.Struct):
    """Rows that failed for one cause: how many, and the first one's message."""

    example: str
    count: int = 0


def cause_of(kind: str, message: str, attempts: Sequence[Attempt]) -> tuple[str, str, str]:
    """What failures are grouped by: the error's class, the last attempt's status or none, and the message's shape."""
    status = None
    for attempt in reversed(attempts):
        status = attempt.status_code or attempt.http_status
        if status is not None:
            break
    return kind, "" if status is None else str(status), shape_of(message)


def shape_of(message: str) -> str:
    """A message without what differs from row to row: ids become `…`, quoted texts `'…'`, numbers `#`."""
    told = _VARIABLE.sub(_placeholder, " ".join(message[: 4 * _MOST_CHARS].split()))
    return told if len(told) <= _MOST_CHARS else told[: _MOST_CHARS - 1] + "…"


def _placeholder(found: re.Match[str]) -> str:
    return "…" if found["id"] else "'…'" if found["quoted"] else "#"


__all__ = ["Failures", "cause_of", "shape_of"]

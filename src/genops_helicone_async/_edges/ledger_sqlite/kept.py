"""What was spent and could not be written yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .requests import HoldRequest, Request, Settlement

MAX_KEPT_ROWS = 200_000
"""Rows kept in memory, 100 MB, while the file takes none; those beyond are only counted, and named at the end."""


class Kept:
    """Settlements, and holds that were granted without asking, in their order."""

    __slots__ = ("_dropped_pusd", "_dropped_rows", "_rows", "requests")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._rows = 0
        self._dropped_rows = 0
        self._dropped_pusd = 0

    def add(self, requests: Iterable[Request]) -> None:
        """Keeps what must not get lost."""
        for request in requests:
            if isinstance(request, Settlement):
                if request.rows and self._rows + len(request.rows) > MAX_KEPT_ROWS:
                    self._dropped_rows += len(request.rows)
                    self._dropped_pusd += sum(row.cost_pusd for row in request.rows)
                    request = Settlement(request.scopes, request.held_pusd, (), request.booked, request.loop)
                self._rows += len(request.rows)
                self.requests.append(request)
            elif isinstance(request, HoldRequest) and request.future is None:
                self.requests.append(request)

    def clear(self) -> None:
        """All of it is written."""
        self.requests = []
        self._rows = 0

    def lost(self, path: Path) -> str | None:
        """What is lost if it stays so: how many rows, worth how many dollars."""
        return lost_rows(self.requests, path, self._dropped_rows, self._dropped_pusd)


def lost_rows(requests: Iterable[Request], path: Path, more_rows: int = 0, more_pusd: int = 0) -> str | None:
    """How many rows of these requests, and of those counted already, are not in the file, and what they are worth."""
    settlements = [request for request in requests if isinstance(request, Settlement)]
    costs_pusd = [row.cost_pusd for settlement in settlements for row in settlement.rows]
    count = len(costs_pusd) + more_rows
    if not count:
        return None
    return f"{count} rows worth ${(sum(costs_pusd) + more_pusd) / 1e12:.6f} could not be written to {path}"


__all__ = ["MAX_KEPT_ROWS", "Kept", "lost_rows"]

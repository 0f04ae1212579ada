"""How a bulk run is getting on: counted row by row, told ten times a second at most, and once when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import HeliconeError
from ..models import PUSD_PER_USD, BulkProgress, BulkResult

ProgressListener = Callable[[BulkProgress], None]
PERIOD_S = 0.1
"""From one word to the next, but for the last."""
_log = logging.getLogger("genops_helicone_async")


class Guarded:
    """A listener of the caller's that harms nothing: what it raises is reported once."""

    __slots__ = ("_is_reported", "_listener")

    def __init__(self, listener: ProgressListener) -> None:
        if not callable(listener):
            raise TypeError(f"`on_progress` must be a function of a BulkProgress, not {type(listener).__name__}")
        self._listener = listener
        self._is_reported = False

    def __call__(self, progress: BulkProgress) -> None:
        try:
            self._listener(progress)
        except Exception:  # noqa: BLE001  whatever a listener does, the calls are unharmed
            if not self._is_reported:
                self._is_reported = True
                _log.exception("`on_progress` failed; this is reported once for %r", self._listener)


class Progress:
    """Counts rows for one listener. It is told where the results are taken, never in between."""

    __slots__ = ("_cost", "_done", "_due_s", "_failed", "_loop", "_read", "_started_s", "_tell", "_told")

    def __init__(self, tell: ProgressListener) -> None:
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop
        self._read = self._done = self._failed = self._cost = self._told = 0
        self._started_s = self._due_s = 0.0

    def start(self) -> None:
        """Time counts from now."""
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._due_s = self._started_s + PERIOD_S

    def began(self) -> None:
        """A row was read."""
        self._read += 1

    def ended(self, result: BulkResult) -> None:
        """A row has its result. Costs are added as integers, so that they come to exactly what the receipts do."""
        self._done += 1
        self._failed += result.error is not None
        answered, error = result.response, result.error
        told = answered if answered is not None else error if isinstance(error, HeliconeError) else None
        if told is not None:
            self._cost += sum([round(attempt.cost * PUSD_PER_USD) for attempt in told.attempts])

    def due_s(self) -> float | None:
        """When there will be something to tell, on the loop's clock; None while nothing has changed."""
        return self._due_s if self._read + self._done != self._told else None

    def tell_due(self) -> bool:
        """Tells how things are, where it is time and something has changed; whether it did."""
        if self._read + self._done == self._told or self._loop.time() < self._due_s:
            return False
        self._say(is_over=False)
        self._due_s = self._loop.time() + PERIOD_S
        return True

    def end(self) -> None:
        """Tells that it is over."""
        self._say(is_over=True)

    def _say(self, *, is_over: bool) -> None:
        self._told = self._read + self._done
        self._tell(BulkProgress(
            read=self._read,
            done=self._done,
            failed=self._failed,
            in_flight=0 if is_over else self._read - self._done,
            cost=self._cost / PUSD_PER_USD,
            elapsed_s=self._loop.time() - self._started_s,
            is_over=is_over,
        ))  # fmt: skip


__all__ = ["PERIOD_S", "Guarded", "Progress", "ProgressListener"]

"""How answers reach the event loops that wait for them, and holds that nobody is there to take come back."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence

from .requests import HoldRequest, Loop, Request

Echo = queue.SimpleQueue[None]
"""Where a loop says that the tasks it woke have had their turn."""

_log = logging.getLogger("genops_helicone_async")


def answer(
    requests: Sequence[Request], error: str | None, put: Callable[[Request], None], echo: Echo | None = None
) -> int:
    """Answers each request on its own loop, by one call a loop; gives how many loops will echo that.

    `put` takes what gives back a hold whose task, or whose loop, is gone.
    """
    by_loop: dict[Loop | None, list[Request]] = {}
    loop, theirs = None, by_loop.setdefault(None, [])
    for request in requests:
        if request.loop is not loop:
            loop = request.loop
            theirs = by_loop.setdefault(loop, [])
        theirs.append(request)
    told = 0
    for loop, theirs in by_loop.items():
        if loop is None:
            _deliver(theirs, error, put, None, None)
            continue
        try:
            loop.call_soon_threadsafe(_deliver, theirs, error, put, loop, echo)
            told += 1
        except RuntimeError:  # the loop is closed
            for request in theirs:
                if isinstance(request, HoldRequest) and request.is_granted and error is None:
                    put(request.release())
    return told


def _deliver(
    requests: Sequence[Request],
    error: str | None,
    put: Callable[[Request], None],
    loop: Loop | None,
    echo: Echo | None,
) -> None:
    for request in requests:
        try:
            is_taken = request.deliver(error)
        except Exception:  # noqa: BLE001 the caller's own `booked` failed, and the next one's must be called
            _log.exception("what follows a booking failed")
            continue
        if not is_taken and error is None and isinstance(request, HoldRequest):
            put(request.release())
    if loop is not None and echo is not None:
        loop.call_soon(echo.put, None)  # behind the tasks that were just woken


__all__ = ["Echo", "answer"]

"""What becomes of log threads when their process ends without closing them, or forks."""

from __future__ import annotations

import atexit
import os
import time
from typing import Protocol

EXIT_S = 6.0
"""How long the end of the process waits; a little more than a last delivery takes."""


class Ending(Protocol):
    """What has a thread."""

    def stop(self) -> None:
        """Lets the thread end when it is done."""
        ...

    def join(self, timeout_s: float) -> None:
        """Waits for that."""
        ...

    def disown(self) -> None:
        """Goes on without a thread, in a forked child."""
        ...


running: set[Ending] = set()
"""Whose thread runs."""


def _end_all() -> None:
    give_up_at_s = time.monotonic() + EXIT_S
    ending = list(running)
    for each in ending:
        each.stop()
    for each in ending:
        each.join(max(0.0, give_up_at_s - time.monotonic()))


def _disown_all() -> None:
    for each in list(running):
        each.disown()
    running.clear()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)

__all__ = ["EXIT_S", "Ending", "running"]

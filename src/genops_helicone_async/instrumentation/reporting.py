"""What goes wrong in instrumentation itself: told once, and never to the caller."""

from __future__ import annotations

import logging

_log = logging.getLogger("genops_helicone_async.instrumentation")
_reported: set[str] = set()


def report_once(where: str) -> None:
    """Logs the exception being handled, the first time that this step fails."""
    if where not in _reported:
        _reported.add(where)
        _log.exception("instrumentation failed in %s; the call itself is unharmed, and this is reported once", where)


__all__ = ["report_once"]

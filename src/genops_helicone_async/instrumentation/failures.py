"""What another client's exception means in our words: nothing reached, too late, or broken on the way."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Billed, DeadlineExceededError, GatewayError, HeliconeError

_NEVER_SENT = frozenset({
    "ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "SSLError", "InvalidURL",
    "NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "ClientConnectorError",
    "ConnectionTimeoutError", "ClientConnectorDNSError", "ConnectionRefusedError",
})  # fmt: skip
"""By name, for the libraries they belong to may not be installed."""
_MOST_CAUSES = 8


def translated(exc: BaseException, host: str) -> tuple[BaseException, bool]:
    """The error to record, and whether the request may have reached the other side; a cancellation stays one."""
    names = [type(each).__name__ for each in _causes(exc)]
    was_sent = not _NEVER_SENT.intersection(names)
    if isinstance(exc, HeliconeError) or not isinstance(exc, Exception):
        return exc, was_sent
    what = f"{type(exc).__name__} at {host}"
    billed: Billed = "maybe" if was_sent else "no"
    error: HeliconeError
    if any("Timeout" in name for name in names[:1]):
        error = DeadlineExceededError(f"the client's own time limit passed: {what}", billed=billed)
    else:
        error = GatewayError(f"the client's connection failed: {what}", retry_safe=True, billed=billed)
    error.__cause__ = exc
    return error, was_sent


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it; urllib3 puts that into `reason`."""
    seen, waiting = 0, [exc]
    while waiting and seen < _MOST_CAUSES:
        each = waiting.pop(0)
        seen += 1
        yield each
        inner = [each.__cause__, getattr(each, "reason", None), *each.args[:1]]
        waiting += [other for other in inner if isinstance(other, BaseException)]


__all__ = ["translated"]

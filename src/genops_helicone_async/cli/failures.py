"""How a command fails: the exit statuses, and the one line for each kind of error that a user may meet."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import HeliconeError

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
"""The status a shell gives to a program that Ctrl-C ended."""


class CommandError(Exception):
    """An expected failure of a command: the line to show and the status to end with."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def failure_of(exc: Exception) -> CommandError | None:
    """The failure a user can understand and act on; None for an error that is ours."""
    from ..errors import ConfigurationError, HeliconeError

    if isinstance(exc, CommandError):
        return exc
    if isinstance(exc, ConfigurationError):
        return CommandError(exc.message, WRONG_USAGE)
    if isinstance(exc, HeliconeError):
        said = exc.message.replace("raise timeout_seconds", "raise --timeout")
        return CommandError(one_line(f"{said}{'' if '--timeout' in said else remedy(exc)}"))
    if isinstance(exc, OSError):
        return CommandError(reason(exc))
    return None


def remedy(error: HeliconeError) -> str:
    """What to do about a failed call, as the end of a sentence; empty where nothing general can be said."""
    from ..errors import AllProvidersFailedError, AuthenticationError, DeadlineExceededError, GatewayError

    if isinstance(error, AuthenticationError):
        whose = "HELICONE_API_KEY" if error.which == "helicone" else f"the key of {error.provider or 'the provider'}"
        return f": check {whose}"
    if isinstance(error, DeadlineExceededError):
        return ": raise --timeout"
    if error.retry_after_s is not None:
        return f": try again in {error.retry_after_s:g} s"
    unreached = all(attempt.http_status is None and attempt.billed == "no" for attempt in error.attempts)
    if isinstance(error, GatewayError | AllProvidersFailedError) and error.attempts and unreached:
        return ": check --gateway-url (or HELICONE_GATEWAY_URL) and the network"
    return ""


def reason(exc: OSError) -> str:
    """What the operating system said, with the file it was said of."""
    said = exc.strerror or str(exc) or type(exc).__name__
    return f"{exc.filename}: {said}" if exc.filename else said


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def report(message: str, *, kind: str = "error") -> None:
    """Shows one line on standard error; a closed standard error is no reason to fail."""
    try:
        print(f"{kind}: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass


def drop_broken_output() -> None:
    """Points standard output, whose reader has gone, at nothing, so that the interpreter's last flush cannot fail."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError):
        pass


__all__ = [
    "FAILED",
    "INTERRUPTED",
    "WRONG_USAGE",
    "CommandError",
    "drop_broken_output",
    "failure_of",
    "one_line",
    "reason",
    "remedy",
    "report",
]

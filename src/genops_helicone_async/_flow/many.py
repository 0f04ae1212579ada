"""Many calls at once in bounded memory: requests are read only as fast as answers are taken."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, Literal, Self

from ..chat_request import make_request
from ..errors import ConfigurationError
from ..models import BulkResult
from .bulk_progress import Guarded, Progress, ProgressListener
from .bulk_window import Mailbox, Requests, Run, Window

OnError = Literal["yield", "raise"]


class Sign(enum.Enum):
    """The type of `MORE` and `TOLD`."""

    MORE = enum.auto()
    TOLD = enum.auto()


MORE: Final = Sign.MORE
"""What a step gives instead of a result when the `Mailbox` is empty and could use a request."""
TOLD: Final = Sign.TOLD
"""What a step gives instead of a result when progress has been told."""


class ChatMany:
    """An asynchronous iterator of `BulkResult`. At most `max_in_flight` calls run; untaken answers count as running.

    With `ordered` the results come in the order of the requests, else as they finish. `on_error="yield"` puts errors
    into the results; `"raise"` cancels what is in flight at the first error and raises it: with `ordered` where its
    result would have come, so that what was given is complete up to there, else after all that had finished.
    Ending early (`break`, `aclose()`, or leaving `async with`) cancels what is in flight. What had finished and was not
    given is in `untaken`.

    `on_progress` is called with a `BulkProgress` while results are taken, in the task that takes them: at most every
    0.1 s, and once when it is over. If it fails, that is logged once and harms nothing.

    Raises:
        ConfigurationError: `max_in_flight` or `on_error` makes no sense, or a default is wrong.
        TypeError: `requests` is one message instead of an iterable, a default is unknown, or `on_progress` no function.
    """

    def __init__(
        self,
        requests: Requests,
        run: Run,
        defaults: Mapping[str, Any],
        *,
        max_in_flight: int = 256,
        ordered: bool = False,
        on_error: OnError = "yield",
        on_progress: ProgressListener | None = None,
    ) -> None:
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ConfigurationError(f"`max_in_flight` is {max_in_flight!r}: give an integer of 1 or more")
        if on_error not in ("yield", "raise"):
            raise ConfigurationError(f"`on_error` is {on_error!r}: use 'yield' or 'raise'")
        if isinstance(requests, str | bytes | Mapping):
            raise TypeError("`requests` must be an iterable of messages, mappings or ChatRequests, not one of them")
        make_request("a check of the defaults", defaults)
        progress = None if on_progress is None else Progress(Guarded(on_progress))
        self._window = Window(requests, run, defaults, max_in_flight, progress, ordered=ordered)
        self._results = _results(self._window, progress, raises=on_error == "raise")

    def __repr__(self) -> str:
        return f"ChatMany({self._window})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[BulkResult]:
        return self

    async def __anext__(self) -> BulkResult:
        while True:
            result = await anext(self._results)
            if isinstance(result, BulkResult):
                return result

    async def step(self) -> BulkResult | Sign | None:
        """The next result, or a sign for who brought a mailbox or listens to the progress; None at the end."""
        return await anext(self._results, None)

    def room(self) -> int:
        """How many requests who brought a mailbox could put in before the next step. Callable from any thread."""
        return self._window.room()

    def begin(self) -> None:
        """Begins what is in the mailbox."""
        self._window.fill()

    @property
    def untaken(self) -> tuple[BulkResult, ...]:
        """After the end: results that were there and not given, for an error was raised or the iteration left."""
        return self._window.untaken

    async def aclose(self) -> None:
        """Cancels what is in flight and waits for it; the iteration is over, also for who waits in it."""
        await self._window.cancel()
        with contextlib.suppress(RuntimeError):  # another task waits in it, and has just been told that it is over
            await self._results.aclose()


async def _results(
    window: Window, progress: Progress | None, *, raises: bool
) -> AsyncGenerator[BulkResult | Sign, None]:
    """The results, one by one. A generator, so that the loop ends it (and with it the calls) when it is dropped."""
    if progress is not None:
        progress.start()
    try:
        while True:
            could_use_more = window.fill()
            if progress is not None and progress.tell_due():
                yield TOLD
            result = window.next_ready()
            if result is not None:
                if raises and result.error is not None:
                    for finished in await window.before_raising():
                        yield finished
                    raise _noted(result.error, len(window.untaken))
                yield result
            elif could_use_more:
                yield MORE
            elif window.is_over():
                return
            else:
                await window.change(None if progress is None else progress.due_s())
    finally:
        try:
            await window.cancel()
        finally:
            if progress is not None:
                progress.end()


def _noted(error: Exception, untaken: int) -> Exception:
    if untaken:
        error.add_note(
            f"{untaken} more results had finished and were not given: they are in `untaken` of what `chat_many` gave"
        )
    return error


__all__ = ["MORE", "TOLD", "ChatMany", "Mailbox", "OnError", "Requests", "Sign"]

"""Cancels a coroutine at a chosen suspension, so that a test can go through every one of them."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Literal

When = Literal["while waiting", "as the result arrives"]


class Stepped:
    """Runs a coroutine inside the current task and cancels that task at the coroutine's `at`-th suspension.

    `while waiting`: the task is cancelled when it suspends, what it waits for is cancelled with it.
    `as the result arrives`: what it waits for is done, and the cancellation comes in before the coroutine goes on:
    the result is lost, which is where handed-over slots and connections leak.
    """

    def __init__(self, at: int, when: When) -> None:
        self.at = at
        self.when = when
        self.suspensions = 0
        self.struck = False

    @types.coroutine
    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The coroutine's result, unless the cancellation comes first."""
        send: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited_for = send()
            except StopIteration as end:
                return end.value
            self.suspensions += 1
            is_struck = self.suspensions == self.at
            if is_struck and self.when == "while waiting":
                self.struck = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited_for
            except BaseException as exc:  # noqa: BLE001  handed on to the coroutine, whatever it is
                send = _thrower(coroutine, exc)
                continue
            if is_struck and self.when == "as the result arrives":
                self.struck = True
                send = _thrower(coroutine, asyncio.CancelledError())
            else:
                send = lambda: coroutine.send(None)  # noqa: E731


def _thrower(coroutine: Coroutine[Any, Any, Any], exc: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(exc)

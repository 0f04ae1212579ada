"""An event loop whose clock jumps: who waits thirty seconds waits no time at all, and wakes at the very moment."""

import asyncio
import functools
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


PATIENCE = 100
"""Rounds of the loop without waiting, after which the clock moves by the least it can."""


class _Jumping(selectors.DefaultSelector):
    """Moves the clock forward instead of waiting."""

    now_s = 1_000.0
    looks = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; the time that would have been waited has passed."""
        self.looks += 1
        if timeout is not None and timeout > 0:
            self.looks, self.now_s = 0, self.now_s + timeout
            timeout = 0
        elif self.looks > PATIENCE:  # who polls a clock for the last rounding error would do so for ever
            self.now_s = math.nextafter(self.now_s, math.inf)
        return super().select(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For code that waits for its own timers only: sockets and threads would not keep up with the clock."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds on a clock that only moves while everybody waits."""
        return self._jumping.now_s


def run_virtually(main: Coroutine[Any, Any, Result]) -> tuple[Result, float]:
    """The coroutine's result and how many seconds it took, by the loop's clock; no task may outlive it."""

    async def timed() -> tuple[Result, float]:
        started = asyncio.get_running_loop().time()
        result = await main
        took_s = round(asyncio.get_running_loop().time() - started, 6)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result, took_s

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(timed())


def in_virtual_time(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Makes a test of a coroutine function: it runs on a loop of its own whose clock jumps."""

    @functools.wraps(test)
    def run(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        run_virtually(test(*arguments, **named))

    return run

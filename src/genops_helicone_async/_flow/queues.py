"""Calls that wait for their turn at one provider and could go to another: sent there when the first is paused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import DeadlineExceededError


class Queues:
    """The calls of one event loop that wait for their turn and have somewhere else to go."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Timeout, Callable[[], bool]]] = {}

    def __repr__(self) -> str:
        return f"Queues({sum(map(len, self._waiting.values()))} calls could go elsewhere)"

    async def wait(self, provider: str, turn: Awaitable[None], has_other: Callable[[], bool]) -> bool:
        """Waits for the turn; False where it was given up because the provider is paused and another is not.

        Raises:
            DeadlineExceededError: as the turn itself does.
        """
        waiting = self._waiting.setdefault(provider, {})
        leaving = asyncio.timeout(None)
        try:
            async with leaving:
                waiting[leaving] = has_other
                await turn
        except DeadlineExceededError:
            raise
        except TimeoutError:
            return False
        finally:
            waiting.pop(leaving, None)
        return True

    def paused(self, provider: str) -> None:
        """The provider asked for a pause: who waits for it and has another goes there."""
        now_s = asyncio.get_running_loop().time()
        for leaving, has_other in tuple(self._waiting.get(provider, {}).items()):
            if not leaving.expired() and has_other():  # two refusals may come in one turn of the loop
                leaving.reschedule(now_s)


__all__ = ["Queues"]

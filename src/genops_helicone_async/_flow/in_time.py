"""Waiting that ends at a call's deadline, for what has none of its own: a price, a budget, a ledger's disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import DeadlineExceededError

Result = TypeVar("Result")


async def in_time(waited_for: Awaitable[Result], deadline: float | None, doing: str) -> Result:
    """What is awaited, if it comes before the deadline on the loop's clock; `doing` says in words what it is.

    Raises:
        DeadlineExceededError: it did not come in time; nothing was sent for it.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await waited_for
    except DeadlineExceededError:
        raise
    except TimeoutError as exc:
        raise DeadlineExceededError(f"the deadline passed while {doing}: raise timeout_seconds") from exc


__all__ = ["in_time"]

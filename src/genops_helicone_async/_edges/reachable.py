"""Whether somebody listens at an address: one connection, closed at once."""

from __future__ import annotations

import asyncio
import contextlib


async def is_reachable(host: str, port: int, limit_s: float) -> bool:
    """Whether a TCP connection is taken within `limit_s` seconds; raises nothing."""
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


__all__ = ["is_reachable"]

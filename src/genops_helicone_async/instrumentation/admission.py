"""How a foreign call is let through, in the caller's thread or in its event loop, or why it is not."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import anyio.to_thread

from ..errors import HeliconeError
from .foreign_call import ForeignCall
from .governor import Governor, loop_thread
from .reporting import report_once


def admit_here(governor: Governor, call: ForeignCall) -> HeliconeError | None:
    """Lets the call through, waiting in this thread where it must; gives the refusal of a call that may not go."""
    try:
        if not call.admit_nowait():
            loop_thread().call(call.admit)
    except Exception as exc:  # noqa: BLE001  a refusal, or a failure of our own, over which no call must fail
        return _refusal(governor, call, exc)
    except BaseException as exc:
        call.refuse(exc)
        raise
    call.sent()
    return None


async def admit_async(governor: Governor, call: ForeignCall) -> HeliconeError | None:
    """The same for a caller in an event loop, of whichever library; cancelling gives everything back."""
    try:
        if not call.admit_nowait():
            await _awaited(loop_thread().begin(call.admit))
    except Exception as exc:  # noqa: BLE001  a refusal, or a failure of our own, over which no call must fail
        return _refusal(governor, call, exc)
    except BaseException as exc:
        call.refuse(exc)
        raise
    call.sent()
    return None


async def _awaited(future: Future[None]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        try:
            await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)
        except BaseException:
            future.cancel()
            raise
    else:
        await asyncio.wrap_future(future)


def _refusal(governor: Governor, call: ForeignCall, exc: Exception) -> HeliconeError | None:
    """The refusal; without `enforce`, and after a failure of our own, a call goes on whatever stands against it."""
    if isinstance(exc, HeliconeError) and governor.enforces:
        call.refuse(exc)
        return exc
    report_once("admission")
    call.sent()
    return None


__all__ = ["admit_async", "admit_here"]

"""Who carries the exchanges: at most one task per event loop, there only while there is something to carry.

A connection lives inside the task that uses it. The task ends when nothing was to be said for a while, when its loop
ends (it then says what is left, within a second), or in `aclose`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
from collections.abc import Callable
from typing import Final

from ...errors import LedgerError
from .book import Book
from .link import Connection, Server
from .waiting import running_loop

IDLE_S: Final = 5.0
"""How long an idle task keeps its connection open."""

CLOSE_TRIES: Final = 3
CLOSE_PAUSE_S: Final = 0.1
END_S: Final = 2.0
LAST_WORDS_S: Final = 1.0

_log = logging.getLogger("genops_helicone_async.ledger")


class Courier:
    """The task of one event loop, and the bell that wakes it."""

    __slots__ = ("_bell", "loop", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.task: asyncio.Task[None]
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Wakes the task; to be called on its loop."""
        self._bell.set()

    async def listen(self, seconds: float) -> bool:
        """Waits for the bell; whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                return await self._bell.wait()
        except TimeoutError:
            return False
        finally:
            self._bell.clear()

    async def end(self) -> None:
        """Cancels the task, from any loop, and waits for its end; a loop that does not run is not waited for."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()

        def cancel() -> None:
            self.task.add_done_callback(lambda _: ended.set_result(None))
            self.task.cancel()

        with contextlib.suppress(RuntimeError):  # its loop is closed
            self.loop.call_soon_threadsafe(cancel)
            await asyncio.wait([asyncio.wrap_future(ended)], timeout=END_S)


class Couriers:
    """Starts couriers where they are needed, and ends them.

    Args:
        book: What is to be said.
        server: To whom.
        key: The script's key.
        clock: Seconds that go on steadily.
    """

    __slots__ = ("_book", "_clock", "_couriers", "_key", "_last_loop", "_server", "is_closing")

    def __init__(self, book: Book, server: Server, key: str, clock: Callable[[], float]) -> None:
        self._book = book
        self._server = server
        self._key = key
        self._clock = clock
        self._couriers: dict[asyncio.AbstractEventLoop, Courier] = {}
        self._last_loop: asyncio.AbstractEventLoop | None = None
        self.is_closing = False

    def ring(self) -> None:
        """Has the book looked at, on this thread's loop; without one, on the last that was used."""
        loop = running_loop()
        if self.is_closing:
            return
        if loop is None:
            self._ring_elsewhere()
            return
        self._last_loop = loop
        courier = self._couriers.get(loop)
        if courier is None:
            for other in [other for other in tuple(self._couriers) if other.is_closed()]:
                self._couriers.pop(other, None)
            courier = self._couriers[loop] = Courier(loop)
            # A context of its own: the first caller's span must not live on in here.
            courier.task = loop.create_task(
                self._carry(courier), name="genops shared ledger", context=contextvars.Context()
            )
        courier.ring()

    def _ring_elsewhere(self) -> None:
        loop = next(iter(tuple(self._couriers)), self._last_loop)
        if loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # it has ended this very moment
                loop.call_soon_threadsafe(self.ring)

    async def aclose(self) -> None:
        """Ends every courier, then reports what is left and gives all leases back.

        Raises:
            LedgerError: the server could not be told; what is left stays here, and closing again tries again.
        """
        self.is_closing = True
        try:
            self._book.turn_away(LedgerError("the shared ledger is being closed"))
            for courier in tuple(self._couriers.values()):
                await courier.end()
            async with self._server.connection() as connection:
                error = await self._leave(connection, CLOSE_TRIES)
        finally:
            self.is_closing = False
        settlements, cost_pusd = self._book.unreported()
        if settlements and error is not None:
            raise LedgerError(
                f"{settlements} settlements worth ${cost_pusd / 1e12:.6f} were not reported: {error.message}",
                retry_safe=True,
            ) from error
        if settlements:  # made at the very end
            self.ring()

    async def _carry(self, courier: Courier) -> None:
        async with self._server.connection() as connection:
            try:
                await self._serve(courier, connection)
            except asyncio.CancelledError:
                if not self.is_closing:
                    await self._say_last_words(connection)
                raise
            finally:
                # Before the connection's end is awaited: whoever rings from here on starts a new courier.
                self._dismiss(courier)

    async def _serve(self, courier: Courier, connection: Connection) -> None:
        """Exchanges whenever one is due, until nothing was for a while."""
        while True:
            wait_s = self._book.due_s(self._clock())
            if wait_s is None:
                if not await courier.listen(IDLE_S) and self._book.due_s(self._clock()) is None:
                    return
            elif wait_s > 0:
                await courier.listen(wait_s)
            else:
                await self._exchange(connection)

    async def _exchange(self, connection: Connection, *, is_leaving: bool = False) -> LedgerError | None:
        exchange = self._book.begin(self._clock(), is_leaving=is_leaving)
        if exchange is None:
            return None
        try:
            answer = await connection.exchange(self._key, exchange.encode())
            self._book.finish(exchange, answer, self._clock())
        except LedgerError as error:
            if self._book.fail(exchange, error, self._clock()) == 1:
                _log.warning("%s", error.message)
            return error
        except Exception as exc:  # noqa: BLE001  the root of a task: what was spent must survive a mistake in here
            _log.exception("an exchange with the shared ledger failed")
            mistake = self._server.error(exc)
            self._book.fail(exchange, mistake, self._clock())
            return mistake
        except BaseException:
            self._book.abandon(exchange)
            raise
        return None

    async def _leave(self, connection: Connection, tries: int) -> LedgerError | None:
        """Says everything, and goodbye; gives the error of the last try where the server did not take it."""
        for number in range(tries):
            error = None
            while error is None and self._book.is_open:
                error = await self._exchange(connection, is_leaving=True)
            if error is None:
                return None
            if number + 1 < tries:
                await asyncio.sleep(CLOSE_PAUSE_S * 2**number)
        return error

    async def _say_last_words(self, connection: Connection) -> None:
        """The loop ends without `aclose`: what is there is reported, the rest waits for another loop."""
        alone = len(self._couriers) == 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                if alone:
                    await self._leave(connection, 1)
                else:
                    await self._exchange(connection)

    def _dismiss(self, courier: Courier) -> None:
        if self._couriers.get(courier.loop) is courier:
            del self._couriers[courier.loop]
        for other in tuple(self._couriers.values()):
            # What this one leaves behind may be what another loop waits for.
            with contextlib.suppress(RuntimeError):  # it is closed
                other.loop.call_soon_threadsafe(other.ring)


__all__ = ["Courier", "Couriers"]

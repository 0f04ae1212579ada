"""The ledger that many processes and machines share, on a Redis or Valkey server.

The common hold touches no network. A process *leases* dollars from the server, scope by scope, and holds out of what
it leased; the server sees to it that settled + held + leased never exceeds a limit. The script (`script.py`) does in
one atomic step whatever one exchange brings: book rows, give back, lease, over all scopes of a call or none. One task
(`courier.py`) carries the exchanges, one at a time, so that all calls that wait share a round trip.

How much is leased. A process that makes few calls leases each hold exactly. One that makes many keeps slack for a
quarter of a second's calls, at most half of an equal share of the room left, so that slack shrinks to nothing near
the limit; unused slack goes back within half a second. A hold that only other processes' slack stands in the way of
asks it back and tries again for three quarters of a second before it is refused.

Exactness. Amounts are whole pico-dollars everywhere, in the script too; nothing is rounded. What a process did not
hear back of it says again under the same number, and the server, which keeps its last answer to each process, does it
once; an exchange that arrives late is refused. Rows are known by their request id for a day, whoever sends them.

When a process dies, its lease ends after `lease_s` by the server's clock and what it had leased comes back. What it
had spent without reporting is then unknown to the ledger: at most its held and leased money, in practice the calls
under way and those of the last `flush_s`. A process cut off from the server stops using its slack before the server
would give it away; calls already sent by then are still booked when the server is back, if need be above the limit.

When the server is away, holds under a limit fail as soon as slack is used up, settlements are kept and reported
later. "Durable" is what the server makes of it: run it with `appendonly yes`, and `maxmemory-policy noeviction`. A
server that comes back empty is told what was spent by those who know, and the loss is logged and counted.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec

from ..._rules.ledger import WAIT, Account, LedgerRow, Movement, Refusal, Scope, Wait, tightest_of
from ...errors import ConfigurationError, LedgerError
from .book import Book
from .courier import Couriers
from .exchange import Identity
from .link import Server

LEASE_S: Final = 30.0
"""Default length of a lease; a process that lives renews it every third of it."""

FLUSH_S: Final = 0.02
TIMEOUT_S: Final = 5.0
CLOCK_LAG_S: Final = 86_400.0

_decode_row = msgspec.json.Decoder(LedgerRow).decode


class RedisLedgerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that this process booked and their sum in pico-dollars, and what is still to be reported.

    `leased_pusd` is set aside for this process now, `asked_holds` needed a round trip and `local_holds` did not.
    `failures` are exchanges that the server did not answer; `losses`, how often it came back without its data.
    """

    rows: int
    booked_pusd: int
    unwritten: int
    leased_pusd: int
    local_holds: int
    asked_holds: int
    exchanges: int
    failures: int
    losses: int


class RedisLedger:
    """One per adapter and process; its steps may come from several threads' event loops, not from a forked child.

    Args:
        url: `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`; options of `redis-py` as a query.
        namespace: Ledgers of different namespaces on one server know nothing of each other.
        lease_s: How long a dead process's lease stands; longer than the server may be away for a restart.
        flush_s: How long a settlement may wait for others to be reported with; an awaited one does not wait.
        timeout_s: How long the server may take to connect and to answer.
        clock: Seconds that go on steadily; the server's time decides everything that processes must agree on.

    Raises:
        ConfigurationError: the URL is wrong, or `redis` is not installed.
    """

    __slots__ = ("_asked", "_book", "_clock", "_couriers", "_key", "_local", "_server")

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "genops",
        lease_s: float = LEASE_S,
        flush_s: float = FLUSH_S,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not namespace or set(namespace) & set("{}"):
            raise ConfigurationError("`namespace` of a shared ledger must be a text without braces")
        self._server = Server(url, timeout_s)
        self._key = f"genops:{{{namespace}}}"
        identity = Identity(process=secrets.token_hex(8), seed=secrets.token_hex(8), lease_s=lease_s)
        self._book = Book(identity, flush_s, self._hurry)
        self._clock = clock
        self._couriers = Couriers(self._book, self._server, self._key, clock)
        self._local = self._asked = 0

    def __repr__(self) -> str:
        told = self.statistics()
        return (
            f"RedisLedger({self._server.location!r}, {told.rows} rows, ${told.booked_pusd / 1e12:.6f}, "
            f"{told.unwritten} unreported)"
        )

    def statistics(self) -> RedisLedgerStatistics:
        """Counts since this process began."""
        book = self._book
        return RedisLedgerStatistics(
            rows=book.rows,
            booked_pusd=book.booked_pusd,
            unwritten=book.unreported()[0],
            leased_pusd=book.leased_pusd(),
            local_holds=self._local,
            asked_holds=self._asked,
            exchanges=book.exchanges,
            failures=book.failures,
            losses=book.losses,
        )

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Sets the amount aside out of what is leased; `WAIT` where the server has to be asked."""
        if self._book.take(scopes, amount_pusd, enforce=enforce, now_s=self._clock()):
            self._local += 1
            return None
        return WAIT

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """The same, leasing what is missing; all calls that wait share one round trip. Cancelling leaves nothing held.

        A refusal may take three quarters of a second, where slack has to be asked back first.

        Raises:
            LedgerError: the server cannot be used; nothing is held.
        """
        now_s = self._clock()
        if self._book.take(scopes, amount_pusd, enforce=enforce, now_s=now_s):
            self._local += 1
            return None
        if self._couriers.is_closing:
            raise LedgerError("the shared ledger is being closed")
        want = self._book.want(scopes, amount_pusd, enforce=enforce, now_s=now_s)
        self._asked += 1
        self._couriers.ring()
        try:
            return await want.future
        except BaseException:
            self._book.withdraw(want)
            raise

    def settle(
        self,
        scopes: Sequence[Scope],
        held_pusd: int,
        rows: Sequence[LedgerRow],
        booked: Callable[[tuple[Movement, ...]], None],
    ) -> Awaitable[None] | None:
        """Frees the hold and counts the rows here at once; the server hears of them within `flush_s`.

        `booked` gets what the server did: before and after are the shared account's, so that of all processes
        exactly one passes a threshold. What is given back can be awaited, by any number of tasks, or not at all.
        """
        batch, is_news = self._book.settle(scopes, held_pusd, rows, booked, self._clock())
        if is_news:
            self._couriers.ring()
        return batch

    def accounts(self, scopes: Sequence[Scope]) -> list[Account]:
        """Settled as last heard, plus what is not reported yet; held here, plus what others were last heard to hold.

        Older than a second, or never heard, it is asked for in the background; `refresh` waits for that.
        """
        accounts, is_stale = self._book.accounts(scopes, self._clock())
        if is_stale:
            self._couriers.ring()
        return accounts

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The scope with the least left, and what is spent and held in it, as far as is known."""
        return tightest_of(scopes, self.accounts)

    async def refresh(self, scopes: Sequence[Scope]) -> list[Account]:
        """The scopes' accounts, asked of the server.

        Raises:
            LedgerError: the server cannot be used.
        """
        if self._couriers.is_closing:
            raise LedgerError("the shared ledger is being closed")
        heard = self._book.peek(scopes)
        self._couriers.ring()
        await heard
        return self.accounts(scopes)

    async def rows(
        self, since_s: float | None = None, until_s: float | None = None, *, clock_lag_s: float = CLOCK_LAG_S
    ) -> AsyncIterator[LedgerRow]:
        """All processes' rows from `since_s` up to and without `until_s` (Unix seconds), in the order of booking.

        Rows are kept for 40 days. `clock_lag_s` is by how much the server's clock may lag behind those of the machines;
        the less, the fewer rows are read.

        Raises:
            LedgerError: the server cannot be used.
        """
        earliest, latest = since_s or -math.inf, math.inf if until_s is None else until_s
        # The stream is in order of the server's clock, which may lag behind the one a row was dated with.
        after, start = "", "-" if since_s is None else str(max(0, int((since_s - clock_lag_s) * 1000)))
        async with self._server.connection() as connection:
            while page := await connection.page(f"{self._key}:rows", after, start):
                for _, body in page:
                    row = _decode_row(body)
                    if earliest <= row.at_s < latest:
                        yield row
                after = page[-1][0]

    async def aclose(self) -> None:
        """Reports what is left and gives all leases back; it can be used again afterwards.

        Raises:
            LedgerError: the server could not be told; the message says how much. Closing again tries again.
        """
        await self._couriers.aclose()

    def _hurry(self) -> None:
        self._book.hurry(self._clock())
        self._couriers.ring()


__all__ = ["RedisLedger", "RedisLedgerStatistics"]

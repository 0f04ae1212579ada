"""What every ledger holds to, whatever keeps it: the same calls, the same answers, over every store.

A further store joins by an entry in `STORES`; in `SHARED` too, if several ledgers can open it at once.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import valkey_server
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._flow.ports import Ledger
from genops_helicone_async._rules.ledger import WAIT, Account, LedgerRow, Movement, Refusal, Scope

pytestmark = pytest.mark.anyio

Open = Callable[[], Ledger]
"""Opens one more ledger on the same store."""

DAY = Scope(name="daily", window="2026-11-23", limit_pusd=1_000)
TEAM = Scope(name="team:research", limit_pusd=400)
COUNTED = Scope(name="project:chat")


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Open]:
    """A ledger of one process."""
    yield MemoryLedger


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Open]:
    """Ledgers on one file."""
    yield lambda: SqliteLedger(folder / "ledger.db")


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Open]:
    """Ledgers on one server, in a namespace of their own."""
    url, namespace = valkey_server.shared_url(), secrets.token_hex(8)
    yield lambda: RedisLedger(url, namespace=namespace)


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Open]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis": redis,
}
SHARED = ["sqlite", "redis"]


@pytest.fixture(params=STORES)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    """One ledger on a fresh store, closed after the test."""
    async with STORES[request.param](tmp_path) as open_ledger:
        opened = open_ledger()
        yield opened
        await opened.aclose()


@pytest.fixture(params=SHARED)
async def open_shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens ledgers on one fresh store, as several processes would; each is closed after the test."""
    opened: list[Ledger] = []
    async with STORES[request.param](tmp_path) as open_ledger:

        def open_and_remember() -> Ledger:
            opened.append(open_ledger())
            return opened[-1]

        yield open_and_remember
        for each in opened:
            await each.aclose()


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=1.5, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


async def hold(ledger: Ledger, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool = True) -> Refusal | None:
    """Holds as the flow does: asks without waiting first."""
    answer = ledger.hold_nowait(scopes, amount_pusd, enforce=enforce)
    if answer is WAIT:
        return await ledger.hold(scopes, amount_pusd, enforce=enforce)
    return answer


def book(
    ledger: Ledger, scopes: Sequence[Scope], held_pusd: int, *rows: LedgerRow
) -> tuple[list[tuple[Movement, ...]], Awaitable[None] | None]:
    """Settles, and gives what `booked` will have been called with, and what to await."""
    calls: list[tuple[Movement, ...]] = []
    return calls, ledger.settle(scopes, held_pusd, rows, calls.append)


async def settle(ledger: Ledger, scopes: Sequence[Scope], held_pusd: int, *rows: LedgerRow) -> tuple[Movement, ...]:
    """Settles durably, and gives the movements that were reported, exactly once."""
    calls, durable = book(ledger, scopes, held_pusd, *rows)
    if durable is not None:
        await durable
    (movements,) = calls
    return movements


def totals(ledger: Ledger, *scopes: Scope) -> list[tuple[int, int]]:
    """Settled and held of each scope."""
    return [(account.settled_pusd, account.held_pusd) for account in ledger.accounts(scopes)]


async def test_a_hold_is_set_aside_in_every_scope(ledger: Ledger) -> None:
    """A granted hold counts in each scope it was asked for."""
    assert await hold(ledger, [DAY, TEAM, COUNTED], 300) is None
    assert totals(ledger, DAY, TEAM, COUNTED) == [(0, 300), (0, 300), (0, 300)]


async def test_a_hold_without_room_is_refused_as_a_whole(ledger: Ledger) -> None:
    """The first scope without room is named with its state, and no scope keeps anything."""
    assert await hold(ledger, [DAY, TEAM], 300) is None
    refusal = await hold(ledger, [COUNTED, DAY, TEAM], 101)
    assert refusal == Refusal(scope=TEAM, settled_pusd=0, held_pusd=300)
    assert totals(ledger, COUNTED, DAY, TEAM) == [(0, 0), (0, 300), (0, 300)]


async def test_a_hold_may_fill_a_scope_to_the_last_pico_dollar(ledger: Ledger) -> None:
    """Settled plus held may equal the limit, and not exceed it."""
    assert await hold(ledger, [TEAM], 150) is None
    await settle(ledger, [TEAM], 150, row("a", 150))
    assert await hold(ledger, [TEAM], 250) is None
    assert await hold(ledger, [TEAM], 1) == Refusal(scope=TEAM, settled_pusd=150, held_pusd=250)


async def test_without_enforcement_a_hold_is_granted_beyond_the_limit(ledger: Ledger) -> None:
    """A limit that is not enforced is only watched."""
    assert await hold(ledger, [TEAM], 401, enforce=False) is None
    await settle(ledger, [TEAM], 0)
    assert totals(ledger, TEAM) == [(0, 401)]


async def test_a_settlement_replaces_the_hold_by_the_cost(ledger: Ledger) -> None:
    """What was held and not spent is free again, and the movement of each scope is told."""
    assert await hold(ledger, [DAY, TEAM], 300) is None
    movements = await settle(ledger, [DAY, TEAM], 300, row("a", 90), row("b", 20))
    assert movements == (
        Movement(scope=DAY, before_pusd=0, after_pusd=110),
        Movement(scope=TEAM, before_pusd=0, after_pusd=110),
    )
    assert totals(ledger, DAY, TEAM) == [(110, 0), (110, 0)]


async def test_a_settlement_without_rows_releases(ledger: Ledger) -> None:
    """A call that cost nothing leaves nothing behind."""
    assert await hold(ledger, [TEAM], 400) is None
    assert await settle(ledger, [TEAM], 400) == (Movement(scope=TEAM, before_pusd=0, after_pusd=0),)
    assert totals(ledger, TEAM) == [(0, 0)]


async def test_a_cost_above_the_hold_is_booked_in_full(ledger: Ledger) -> None:
    """What a provider billed beyond its declared maximum is spent, limit or not; then nothing more is granted."""
    assert await hold(ledger, [TEAM], 100) is None
    await settle(ledger, [TEAM], 100, row("a", 500))
    assert totals(ledger, TEAM) == [(500, 0)]
    assert await hold(ledger, [TEAM], 0) == Refusal(scope=TEAM, settled_pusd=500, held_pusd=0)


async def test_a_known_row_is_not_booked_again(ledger: Ledger) -> None:
    """A repeat frees its hold and moves no account, whatever it says it cost."""
    await settle(ledger, [TEAM], 0, row("a", 30))
    assert await hold(ledger, [TEAM], 100) is None
    movements = await settle(ledger, [TEAM], 100, row("a", 31), row("b", 5))
    assert movements == (Movement(scope=TEAM, before_pusd=30, after_pusd=35),)
    assert totals(ledger, TEAM) == [(35, 0)]


async def test_repeats_in_one_moment_are_booked_once(ledger: Ledger) -> None:
    """Of two settlements with the same row, the first one called moves the account."""
    first, one = book(ledger, [TEAM], 0, row("a", 30))
    second, two = book(ledger, [TEAM], 0, row("a", 30))
    for durable in (one, two):
        if durable is not None:
            await durable
    assert first == [(Movement(scope=TEAM, before_pusd=0, after_pusd=30),)]
    assert second == [(Movement(scope=TEAM, before_pusd=30, after_pusd=30),)]


async def test_steps_take_effect_in_the_order_of_their_calls(ledger: Ledger) -> None:
    """A hold called right after a settlement finds the room that it freed."""
    assert await hold(ledger, [TEAM], 400) is None
    _, durable = book(ledger, [TEAM], 400, row("a", 10))
    assert await hold(ledger, [TEAM], 390) is None
    if durable is not None:
        await durable
    assert totals(ledger, TEAM) == [(10, 390)]


async def test_windows_of_one_budget_are_apart(ledger: Ledger) -> None:
    """A new day begins with nothing spent."""
    tomorrow = Scope(name="daily", window="2026-11-24", limit_pusd=1_000)
    await settle(ledger, [DAY], 0, row("a", 700))
    assert await hold(ledger, [tomorrow], 900) is None
    assert totals(ledger, DAY, tomorrow) == [(700, 0), (0, 900)]


async def test_a_limit_may_change_from_call_to_call(ledger: Ledger) -> None:
    """The account is the budget's, the limit is the call's."""
    raised = Scope(name=TEAM.name, limit_pusd=600)
    assert await hold(ledger, [TEAM], 400) is None
    assert await hold(ledger, [raised], 200) is None
    assert await hold(ledger, [TEAM], 0) == Refusal(scope=TEAM, settled_pusd=0, held_pusd=600)


async def test_a_call_without_a_budget_is_granted_and_booked(ledger: Ledger) -> None:
    """No scopes: nothing to hold, and the rows are still known."""
    assert await hold(ledger, [], 100) is None
    assert await settle(ledger, [], 100, row("a", 30)) == ()
    assert await settle(ledger, [TEAM], 0, row("a", 30)) == (Movement(scope=TEAM, before_pusd=0, after_pusd=0),)


async def test_accounts_handed_out_are_copies(ledger: Ledger) -> None:
    """Changing what was handed out changes no budget."""
    await settle(ledger, [TEAM], 0, row("a", 30))
    ledger.accounts([TEAM])[0].settled_pusd = 0
    assert ledger.accounts([TEAM]) == [Account(settled_pusd=30, held_pusd=0)]


async def test_sums_beyond_64_bits_stay_exact(ledger: Ledger) -> None:
    """Pico-dollars of more than nine million dollars do not wrap, round or fail."""
    huge = 2**63 - 1
    await settle(ledger, [COUNTED], 0, row("a", huge))
    await settle(ledger, [COUNTED], 0, row("b", huge))
    await settle(ledger, [COUNTED], 0, row("c", 2 * huge))
    assert totals(ledger, COUNTED) == [(4 * huge, 0)]


async def test_booked_is_called_on_the_event_loop(ledger: Ledger) -> None:
    """Whoever is told of a booking may touch what belongs to the loop."""
    threads: list[int] = []
    durable = ledger.settle([TEAM], 0, [row("a", 1)], lambda _: threads.append(threading.get_ident()))
    if durable is not None:
        await durable
    assert threads == [threading.get_ident()]


async def test_a_settlement_may_be_awaited_by_nobody_and_by_several(ledger: Ledger) -> None:
    """A settlement is written whether or not anyone waits; one waiter's cancellation is not another's."""
    book(ledger, [TEAM], 0, row("a", 30))
    _, durable = book(ledger, [TEAM], 0, row("b", 5))

    async def wait() -> None:
        if durable is not None:
            await durable

    given_up, patient = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    given_up.cancel()
    await patient
    await wait()
    assert totals(ledger, TEAM) == [(35, 0)]


@pytest.mark.parametrize("rounds", range(4))
async def test_a_cancelled_hold_holds_nothing(ledger: Ledger, rounds: int) -> None:
    """Wherever the cancellation strikes, nothing stays set aside."""
    task = asyncio.ensure_future(ledger.hold([TEAM], 400, enforce=True))
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    ended = await asyncio.gather(task, return_exceptions=True)
    if ended == [None]:  # granted before the cancellation came
        await settle(ledger, [TEAM], 400)
    assert await hold(ledger, [TEAM], 400) is None
    assert totals(ledger, TEAM) == [(0, 400)]


@pytest.mark.parametrize("at", range(1, 4))
async def test_a_cancellation_that_meets_the_answer_holds_nothing(ledger: Ledger, at: int) -> None:
    """A hold granted to a task that is cancelled before it can see it is given back."""
    if await _struck(ledger.hold([TEAM], 400, enforce=True), at) is not STRUCK:
        await settle(ledger, [TEAM], 400)
    assert await hold(ledger, [TEAM], 400) is None


STRUCK = object()


async def _struck(coroutine: Coroutine[Any, Any, Any], at: int) -> Any:
    """Cancels a coroutine when what it waits for the `at`-th time is done, and before it sees it."""
    for suspension in range(1, at + 1):
        try:
            waits_for = coroutine.send(None)
        except StopIteration as end:
            return end.value
        if waits_for is None:
            await asyncio.sleep(0)
        else:
            waits_for._asyncio_future_blocking = False
            await asyncio.wait([waits_for])
        if suspension == at:
            with pytest.raises(asyncio.CancelledError):
                coroutine.throw(asyncio.CancelledError())
    return STRUCK


async def test_many_calls_at_once_never_pass_the_limit(ledger: Ledger) -> None:
    """No fewer calls are granted than fit, and no more; when all are done nothing is held and the sum is theirs."""
    granted: list[int] = []

    async def call(number: int) -> None:
        if await hold(ledger, [DAY, TEAM], 30) is not None:
            return
        granted.append(number)
        await settle(ledger, [DAY, TEAM], 30, row(f"call-{number}", 10 + number % 20))

    await asyncio.gather(*(call(number) for number in range(200)))
    spent = sum(10 + number % 20 for number in granted)
    assert totals(ledger, DAY, TEAM) == [(spent, 0), (spent, 0)]
    assert len(granted) >= 400 // 30
    assert spent <= 400


async def test_statistics_tell_what_was_booked(ledger: Ledger) -> None:
    """Rows and their sum are counted once each, and nothing is left to be written."""
    await settle(ledger, [TEAM], 0, row("a", 30), row("b", 12))
    await settle(ledger, [TEAM], 0, row("a", 30))
    told = ledger.statistics()  # type: ignore[attr-defined]
    assert (told.rows, told.booked_pusd, told.unwritten) == (2, 42, 0)


async def test_ledgers_on_one_store_share_its_accounts(open_shared: Open) -> None:
    """What one process holds and spends, the other has no room for."""
    here, there = open_shared(), open_shared()
    assert await hold(here, [TEAM], 250) is None
    assert await hold(there, [TEAM], 151) == Refusal(scope=TEAM, settled_pusd=0, held_pusd=250)
    await settle(here, [TEAM], 250, row("a", 100))
    assert await hold(there, [TEAM], 300) is None
    assert await hold(here, [TEAM], 1) == Refusal(scope=TEAM, settled_pusd=100, held_pusd=300)


async def test_ledgers_on_one_store_know_each_others_rows(open_shared: Open) -> None:
    """A row that one process booked is not booked by another."""
    here, there = open_shared(), open_shared()
    await settle(here, [TEAM], 0, row("a", 100))
    assert await settle(there, [TEAM], 0, row("a", 100)) == (Movement(scope=TEAM, before_pusd=100, after_pusd=100),)


async def test_a_closed_ledger_gives_back_what_it_held(open_shared: Open) -> None:
    """A process that ends in order leaves no hold behind."""
    here, there = open_shared(), open_shared()
    assert await hold(here, [TEAM], 400) is None
    await here.aclose()
    assert await hold(there, [TEAM], 400) is None


async def test_closing_writes_what_is_still_on_its_way(open_shared: Open) -> None:
    """A settlement that nobody awaited is in the store once the ledger is closed; closing again is no error."""
    here = open_shared()
    calls, _ = book(here, [TEAM], 0, row("a", 100))
    await here.aclose()
    await here.aclose()
    assert calls == [(Movement(scope=TEAM, before_pusd=0, after_pusd=100),)]
    there = open_shared()
    assert await hold(there, [TEAM], 301) == Refusal(scope=TEAM, settled_pusd=100, held_pusd=0)

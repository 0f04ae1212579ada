"""What only the ledger in a file has to do: its file, its thread, several loops, and settlements nobody waits for."""

import asyncio
import gc
import logging
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from genops_helicone_async._edges.ledger_sqlite import SqliteLedger, SqliteLedgerStatistics, path_of
from genops_helicone_async._rules.ledger import WAIT, Account, LedgerRow, Movement, Scope
from genops_helicone_async.errors import ConfigurationError, LedgerError

pytestmark = pytest.mark.anyio

TEAM = Scope(name="team:research", limit_pusd=400)
COUNTED = Scope(name="project:chat", window="2026-11")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger will be."""
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger, closed after the test."""
    opened = SqliteLedger(path)
    yield opened
    await opened.aclose()


def row(request_id: str, cost_pusd: int, at_s: float = 1.5) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=at_s, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told."""


async def book(ledger: SqliteLedger, *rows: LedgerRow) -> tuple[Movement, ...]:
    """Settles durably on one scope."""
    told: list[tuple[Movement, ...]] = []
    durable = ledger.settle((TEAM,), 0, rows, told.append)
    assert durable is not None
    await durable
    return told[0]


async def read(ledger: SqliteLedger, since_s: float | None = None, until_s: float | None = None) -> list[LedgerRow]:
    """The rows, read in a thread."""
    return await asyncio.to_thread(lambda: list(ledger.rows(since_s, until_s)))


@pytest.mark.parametrize(
    "url, path",
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///state/relative.db", "state/relative.db"),
        ("sqlite:////absolute/path.db", "/absolute/path.db"),
        ("sqlite:///with space & %20.db", "with space & %20.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    """Three slashes begin a relative path, four an absolute one; nothing in it is decoded."""
    assert path_of(url) == Path(path)


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("redis://localhost", "none of SQLite's"),
        ("sqlite:relative.db", "none of SQLite's"),
        ("sqlite://relative.db", "write sqlite:///relative.db"),
        ("sqlite://home/me/ledger.db", "sqlite:////home"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "leave state_url out"),
        ("sqlite:///folder/", "does not end in the name of a file"),
        ("sqlite:///ledger.db?mode=ro", "has options"),
    ],
)
def test_a_url_that_names_no_file_is_refused(url: str, complaint: str) -> None:
    """What is wrong with it is said before anything is opened."""
    with pytest.raises(ConfigurationError, match=complaint):
        path_of(url)


def test_a_ledger_is_made_by_its_url_too(tmp_path: Path) -> None:
    """What `state_url` says is taken as it is."""
    told = repr(SqliteLedger(f"sqlite:///{tmp_path}/ledger.db"))
    assert told == f"SqliteLedger('{tmp_path}/ledger.db', 0 rows, $0.000000)"
    with pytest.raises(ConfigurationError, match="names no file"):
        SqliteLedger("sqlite:///")


async def test_nothing_is_opened_before_the_first_call(path: Path) -> None:
    """Making, showing and closing a ledger leaves no file and no thread."""
    threads = threading.active_count()
    ledger = SqliteLedger(path)
    assert ledger.statistics() == SqliteLedgerStatistics(rows=0, booked_pusd=0)
    await ledger.aclose()
    assert (path.exists(), threading.active_count()) == (False, threads)


async def test_only_the_owner_may_read_the_file(ledger: SqliteLedger, path: Path) -> None:
    """The file and SQLite's own beside it are private to the user."""
    await book(ledger, row("a", 1))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


async def test_what_was_spent_is_there_after_a_restart(path: Path) -> None:
    """Accounts and rows outlive the process; holds do not."""
    first = SqliteLedger(path)
    assert await first.hold([TEAM], 100, enforce=True) is None
    await book(first, row("a", 30))
    await first.aclose()
    second = SqliteLedger(path)
    assert await second.refresh([TEAM, COUNTED]) == [Account(settled_pusd=30), Account()]
    assert await book(second, row("a", 30)) == (Movement(scope=TEAM, before_pusd=30, after_pusd=30),)
    await second.aclose()


async def test_rows_are_read_back_as_they_were_booked(ledger: SqliteLedger) -> None:
    """Every field of a row comes back, in the order of time, from and up to the moments asked for."""
    full = LedgerRow(
        request_id="full",
        at_s=3.25,
        provider="anthropic",
        model="claude-sonnet-4-5",
        status="RateLimitExceededError",
        cost_pusd=2**70,
        gateway_pusd=2**69,
        cost_source="reported",
        input_tokens=2**65,
        output_tokens=7,
        duration_ms=812.5,
        team="Fünf",
        project="p",
        customer_id="12",
        environment="production",
    )
    await book(ledger, full, row("late", 1, at_s=9.0), row("early", 1, at_s=1.0))
    assert await read(ledger) == [row("early", 1, at_s=1.0), full, row("late", 1, at_s=9.0)]
    assert [each.request_id for each in await read(ledger, 3.25, 9.0)] == ["full"]
    assert [each.request_id for each in await read(ledger, 9.0)] == ["late"]


async def test_there_are_no_rows_without_a_ledger(path: Path) -> None:
    """A wrong path is an error, not an empty report."""
    with pytest.raises(LedgerError, match="there is no ledger at"):
        await read(SqliteLedger(path))


async def test_more_rows_than_a_page_are_read_once_each(ledger: SqliteLedger) -> None:
    """Pages meet without a gap or a repeat, also where many rows have one time."""
    await book(ledger, *(row(f"{number:04}", 1, at_s=number // 1_500) for number in range(2_500)))
    assert [each.request_id for each in await read(ledger)] == [f"{number:04}" for number in range(2_500)]


async def test_rows_booked_while_reading_are_left_for_the_next_time(ledger: SqliteLedger) -> None:
    """A report is of one moment: it ends, however fast the writer is."""
    await book(ledger, *(row(f"{number:04}", 1) for number in range(1_500)))
    reading = ledger.rows()
    first = await asyncio.to_thread(next, reading)
    await book(ledger, row("9999", 1, at_s=2.0))
    rest = await asyncio.to_thread(list, reading)
    assert (first.request_id, len(rest)) == ("0000", 1_499)


async def test_known_rows_stay_known_when_there_are_many(path: Path) -> None:
    """Ids that have joined the table, those in memory, and those of another process are all known."""
    here, there = SqliteLedger(path), SqliteLedger(path)
    await book(here, row("another's", 1))
    rows = [row(f"{number:05}", 1) for number in range(40_000)]
    assert (await book(there, *rows))[0].after_pusd == 40_001
    again = [rows[0], rows[39_999], row("another's", 1), row("new", 1)]
    assert (await book(there, *again))[0] == Movement(scope=TEAM, before_pusd=40_001, after_pusd=40_002)
    assert (await book(here, *again, row("newer", 1)))[0] == Movement(scope=TEAM, before_pusd=40_002, after_pusd=40_003)
    await here.aclose()
    await there.aclose()


async def test_a_row_twice_in_one_settlement_is_booked_once(ledger: SqliteLedger) -> None:
    """The first of them counts, the same object or not."""
    twice = row("a", 5)
    assert (await book(ledger, twice, twice, row("a", 7), row("b", 1)))[0].after_pusd == 6


@pytest.mark.parametrize(
    "field, value, stored",
    [
        ("input_tokens", 2**64, 2**64),
        ("team", "\ud800", "\\ud800"),
        ("request_id", "\ud800", "\\ud800"),
        ("duration_ms", float("nan"), 0.0),
    ],
)
async def test_no_reply_is_too_odd_to_be_booked(
    ledger: SqliteLedger, field: str, value: object, stored: object
) -> None:
    """A value that SQLite cannot take stops neither its own row nor the one beside it."""
    odd = msgspec.structs.replace(row("a", 3), **{field: value})
    assert (await book(ledger, odd, row("beside", 4)))[0].after_pusd == 7
    assert await book(ledger, odd) == (Movement(scope=TEAM, before_pusd=7, after_pusd=7),)
    assert getattr((await read(ledger))[0], field) == stored


async def test_a_scope_of_any_name_has_its_account(ledger: SqliteLedger) -> None:
    """Customers call themselves what they like."""
    odd = Scope(name="customer:\ud800", limit_pusd=10)
    assert await ledger.hold((odd,), 4, enforce=True) is None
    assert ledger.accounts([odd]) == [Account(held_pusd=4)]
    assert await ledger.refresh([odd]) == [Account(held_pusd=4)]


async def test_without_a_limit_a_hold_need_not_wait(ledger: SqliteLedger) -> None:
    """Where nothing can be refused the answer is there at once; the first call finds out whether the file works."""
    assert ledger.hold_nowait([COUNTED], 5, enforce=True) is WAIT
    assert await ledger.hold([COUNTED], 5, enforce=True) is None
    assert ledger.hold_nowait([COUNTED], 7, enforce=True) is None
    assert ledger.hold_nowait([TEAM], 401, enforce=False) is None
    assert ledger.hold_nowait([COUNTED, TEAM], 7, enforce=True) is WAIT
    assert await ledger.refresh([COUNTED, TEAM]) == [Account(held_pusd=12), Account(held_pusd=401)]


async def test_accounts_become_known_without_waiting(path: Path) -> None:
    """What another process has spent is zero at first sight, and known soon after."""
    here, there = SqliteLedger(path), SqliteLedger(path)
    await book(here, row("a", 30))
    assert there.accounts([TEAM]) == [Account()]
    await there.refresh([])  # the look-up was asked for before this one
    assert there.accounts([TEAM]) == [Account(settled_pusd=30)]
    await here.aclose()
    await there.aclose()


async def test_many_accounts_are_not_all_kept_in_memory(ledger: SqliteLedger) -> None:
    """Beyond ten thousand, accounts are forgotten and read again; the sums stay right."""
    scopes = [Scope(name=f"customer:{number}") for number in range(10_500)]
    for scope in scopes:
        ledger.settle([scope], 0, [row(scope.name, 1)], ignore)
    assert await ledger.refresh([scopes[0], scopes[-1]]) == [Account(settled_pusd=1)] * 2
    await book(ledger, row("next", 1))
    durable = ledger.settle([scopes[0]], 0, [row("again", 2)], ignore)
    assert durable is not None
    await durable
    assert await ledger.refresh([scopes[0]]) == [Account(settled_pusd=3)]


async def test_a_failing_listener_takes_nothing_from_the_others(
    ledger: SqliteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """A `booked` that raises is logged; the next one is called and its settlement is durable."""

    def fail(movements: tuple[Movement, ...]) -> None:
        raise ValueError("listener")

    with caplog.at_level(logging.ERROR):
        ledger.settle((TEAM,), 0, (row("a", 1),), fail)
        assert (await book(ledger, row("b", 2)))[0].after_pusd == 3
    assert "what follows a booking failed" in caplog.text


async def test_a_row_beside_a_hold_is_on_the_disk_when_nothing_follows(path: Path) -> None:
    """A transaction that lets calls go first is followed by the wait for the disk, whether or not they come back."""
    ledger = SqliteLedger(path, lease_s=86_400.0)  # no heartbeat comes to its help
    assert await ledger.hold((TEAM,), 10, enforce=True) is None
    durable = ledger.settle((TEAM,), 10, (row("a", 1),), ignore)
    assert await ledger.hold((TEAM,), 10, enforce=True) is None
    assert durable is not None
    await durable
    assert ledger.statistics().transactions == 3
    await ledger.aclose()


async def test_after_closing_nothing_is_granted_and_what_is_settled_is_named(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A closed ledger refuses holds, and does not lose a late settlement in silence."""
    ledger = SqliteLedger(path)
    await book(ledger, row("a", 1))
    await ledger.aclose()
    assert ledger.hold_nowait([COUNTED], 1, enforce=False) is WAIT
    with pytest.raises(LedgerError, match="is closed"):
        await ledger.hold([TEAM], 1, enforce=True)
    with caplog.at_level(logging.ERROR):
        durable = ledger.settle((TEAM,), 0, (row("late", 2_000_000),), ignore)
    assert "1 rows worth $0.000002 could not be written" in caplog.text
    assert durable is not None
    with pytest.raises(LedgerError, match=r"not in the file: .* is closed"):
        await durable


async def test_several_event_loops_share_a_ledger(ledger: SqliteLedger) -> None:
    """Calls of several threads' loops are answered on the loop they came from, and add up."""
    granted: list[int] = []

    async def call(number: int) -> None:
        if await ledger.hold((TEAM,), 30, enforce=True) is None:
            told: list[int] = []
            durable = ledger.settle((TEAM,), 30, (row(f"{number}", 30),), lambda _: told.append(threading.get_ident()))
            assert durable is not None
            await durable
            assert told == [threading.get_ident()]
            granted.append(30)

    async def calls(thread: int) -> None:
        await asyncio.gather(*(call(100 * thread + number) for number in range(20)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, calls(thread)) for thread in range(4)))
    assert sum(granted) == 390
    assert await ledger.refresh((TEAM,)) == [Account(settled_pusd=390)]


async def test_a_hold_whose_loop_has_ended_is_given_back(path: Path) -> None:
    """A loop that is closed before the answer leaves nothing held."""
    ledger = SqliteLedger(path)

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(ledger.hold((TEAM,), 400, enforce=True))
        loop.call_soon(loop.stop)
        loop.run_forever()
        task.cancel()  # as a loop's end does; it is never run again
        loop.close()
        task.get_coro().close()

    await asyncio.to_thread(abandon)
    gc.collect()
    assert await ledger.hold((TEAM,), 400, enforce=True) is None
    await ledger.aclose()


async def test_a_settlement_by_a_finaliser_is_booked(ledger: SqliteLedger) -> None:
    """Outside of any loop, as when an abandoned stream is collected, `booked` comes to the loop of the last hold."""
    assert await ledger.hold((TEAM,), 100, enforce=True) is None
    told: asyncio.Future[tuple[Movement, ...]] = asyncio.get_running_loop().create_future()
    await asyncio.to_thread(ledger.settle, (TEAM,), 100, (row("a", 30),), told.set_result)
    assert await told == (Movement(scope=TEAM, before_pusd=0, after_pusd=30),)
    assert await ledger.refresh((TEAM,)) == [Account(settled_pusd=30)]


async def test_an_abandoned_ledger_writes_what_it_has_and_ends_its_thread(path: Path) -> None:
    """Whoever forgets to close loses no row and leaks no thread."""
    threads = set(threading.enumerate())
    ledger = SqliteLedger(path)
    ledger.settle((TEAM,), 0, (row("a", 30),), ignore)
    (thread,) = set(threading.enumerate()) - threads
    del ledger
    gc.collect()
    await asyncio.to_thread(thread.join)
    assert [each.request_id for each in await read(SqliteLedger(path))] == ["a"]


async def test_a_ledger_tells_what_it_has(path: Path) -> None:
    """Its `repr` names the file, rows and dollars."""
    ledger = SqliteLedger(path)
    await book(ledger, row("a", 30_000_000_000))
    assert repr(ledger) == f"SqliteLedger({str(path)!r}, 1 rows, $0.030000)"
    told = ledger.statistics()
    assert told == SqliteLedgerStatistics(rows=1, booked_pusd=30_000_000_000, transactions=1)
    await ledger.aclose()

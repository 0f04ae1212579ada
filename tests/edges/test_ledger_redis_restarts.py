"""The shared ledger while its server goes away and comes back: with its data, without it, and with a password."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis

from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, Wait
from genops_helicone_async.errors import LedgerError
from valkey_server import ValkeyServer

pytestmark = pytest.mark.anyio

USD = 10**12
TEAM = Scope(name="team:research", limit_pusd=400)
BIG = Scope(name="monthly", window="2026-11", limit_pusd=1_000 * USD)


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that keeps everything over a crash."""
    server = ValkeyServer(tmp_path, is_durable=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that comes back empty."""
    server = ValkeyServer(tmp_path)
    server.start()
    yield server
    server.stop()


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(request_id=request_id, at_s=1.5, provider="p", model="m", status="ok", cost_pusd=cost_pusd)


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told."""


async def hold(ledger: RedisLedger, scopes: Sequence[Scope], amount_pusd: int) -> Refusal | Wait | None:
    """Holds as the flow does."""
    answer = ledger.hold_nowait(scopes, amount_pusd, enforce=True)
    return await ledger.hold(scopes, amount_pusd, enforce=True) if answer is WAIT else answer


async def settle(ledger: RedisLedger, scopes: Sequence[Scope], held_pusd: int, *rows: LedgerRow) -> None:
    """Settles, and waits until the server has it."""
    durable = ledger.settle(scopes, held_pusd, rows, ignore)
    if durable is not None:
        await durable


async def until_reported(ledger: RedisLedger) -> None:
    """Waits until nothing is left to be reported."""
    while ledger.statistics().unwritten:
        await asyncio.sleep(0)


async def test_a_crash_between_two_calls_goes_unnoticed(durable: ValkeyServer) -> None:
    """The connection is opened anew; holds and spending are what they were."""
    ledger = RedisLedger(durable.url)
    assert await hold(ledger, [TEAM], 300) is None
    await settle(ledger, [TEAM], 100, row("a", 50))
    durable.kill()
    durable.start()
    assert await hold(ledger, [TEAM], 151) == Refusal(scope=TEAM, settled_pusd=50, held_pusd=200)
    assert await hold(ledger, [TEAM], 150) is None
    assert ledger.statistics().failures == 0
    await ledger.aclose()


async def test_what_was_spent_while_the_server_was_away_is_reported_later(durable: ValkeyServer) -> None:
    """Slack goes on being used, then holds fail; when the server is back every row is there once."""
    ledger = RedisLedger(durable.url)
    assert await asyncio.gather(*(hold(ledger, [BIG], USD) for _ in range(8))) == [None] * 8
    durable.kill()
    for number in range(8):
        assert ledger.hold_nowait([BIG], USD, enforce=True) is None
        ledger.settle([BIG], USD, [row(f"away-{number}", USD)], ignore)
    with pytest.raises(LedgerError):
        await hold(ledger, [BIG], USD)
    assert ledger.accounts([BIG])[0].settled_pusd == 8 * USD
    durable.start()
    await until_reported(ledger)
    (account,) = await ledger.refresh([BIG])
    assert (account.settled_pusd, account.held_pusd) == (8 * USD, 8 * USD)
    assert [entry.request_id async for entry in ledger.rows()] == [f"away-{number}" for number in range(8)]
    await ledger.aclose()


async def test_closing_again_reports_what_closing_could_not(durable: ValkeyServer) -> None:
    """Nothing is lost by an `aclose` that failed."""
    ledger = RedisLedger(durable.url)
    await settle(ledger, [TEAM], 0, row("a", 30))
    durable.kill()
    ledger.settle([TEAM], 0, [row("b", 12)], ignore)
    with pytest.raises(LedgerError, match="1 settlements worth"):
        await ledger.aclose()
    durable.start()
    await ledger.aclose()
    assert [entry.request_id async for entry in ledger.rows()] == ["a", "b"]


async def test_a_batch_whose_answer_was_lost_is_booked_once(durable: ValkeyServer) -> None:
    """The server did it and could not say so: the repeat under a new number changes nothing."""
    first, again = RedisLedger(durable.url), RedisLedger(durable.url)
    await settle(first, [TEAM], 0, row("a", 30), row("b", 5))
    await settle(again, [TEAM], 0, row("a", 30), row("b", 5), row("c", 1))
    (account,) = await again.refresh([TEAM])
    assert account.settled_pusd == 36
    assert (again.statistics().rows, again.statistics().booked_pusd) == (1, 1)
    await first.aclose()
    await again.aclose()


async def test_a_server_that_lost_its_data_is_told_what_was_spent(
    forgetful: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The wall stands on what live processes know; the loss is logged and counted, holds are taken up again."""
    ledger, other = RedisLedger(forgetful.url), RedisLedger(forgetful.url)
    await settle(other, [TEAM], 0, row("a", 100))
    assert await hold(ledger, [TEAM], 250) is None
    await settle(ledger, [TEAM], 50, row("b", 50))
    forgetful.kill()
    forgetful.start()
    assert await hold(ledger, [TEAM], 51) == Refusal(scope=TEAM, settled_pusd=150, held_pusd=200)
    assert await hold(ledger, [TEAM], 50) is None
    assert ledger.statistics().losses == 1
    assert ["has lost its data" in record.message for record in caplog.records] == [True]
    (account,) = await other.refresh([TEAM])
    assert (account.settled_pusd, account.held_pusd) == (150, 250)
    await ledger.aclose()
    await other.aclose()


async def test_a_server_with_a_password_is_logged_in_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With it, it works; with another, the error says why and shows neither."""
    password, wrong = secrets.token_hex(8), secrets.token_hex(8)
    server = ValkeyServer(tmp_path, password=password)
    server.start()
    try:
        ledger = RedisLedger(server.url)
        assert await hold(ledger, [TEAM], 1) is None
        await ledger.aclose()
        stranger = RedisLedger(server.url.replace(password, wrong))
        with pytest.raises(LedgerError, match=r"WRONGPASS|invalid username-password") as refused:
            await hold(stranger, [TEAM], 1)
        assert wrong not in f"{refused.value!r}{refused.value.__cause__!r}{caplog.text}"
        await stranger.aclose()
    finally:
        server.stop()


async def test_a_full_server_is_an_error_that_loses_nothing(durable: ValkeyServer) -> None:
    """What a server without memory refuses is kept, and reported when there is room."""
    ledger = RedisLedger(durable.url)
    await settle(ledger, [TEAM], 0, row("a", 30))
    with redis.Redis.from_url(durable.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(LedgerError, match="maxmemory"):
            await settle(ledger, [TEAM], 0, row("b", 12))
        client.config_set("maxmemory", 0)
    await until_reported(ledger)
    assert [entry.request_id async for entry in ledger.rows()] == ["a", "b"]
    await ledger.aclose()

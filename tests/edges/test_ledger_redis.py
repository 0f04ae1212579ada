"""The shared ledger on a real server: leases, exactness, errors. Restarts and processes have files of their own."""

import asyncio
import itertools
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

import valkey_server
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async._edges.ledger_redis.book import KEPT_UNREPORTED
from genops_helicone_async._edges.ledger_redis.slices import KEPT_SLICES
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Movement, Refusal, Scope, Wait
from genops_helicone_async.errors import ConfigurationError, LedgerError

pytestmark = pytest.mark.anyio

USD = 10**12
TEAM = Scope(name="team:research", limit_pusd=400)
BIG = Scope(name="monthly", window="2026-11", limit_pusd=1_000 * USD)
NOWHERE = "redis://:hush-hush@127.0.0.1:1/0"
Open = Callable[..., RedisLedger]


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return secrets.token_hex(8)


@pytest.fixture
async def open_ledger(namespace: str) -> AsyncIterator[Open]:
    """Opens ledgers in one namespace of one server, as several processes would; each is closed after the test."""
    url, opened = valkey_server.shared_url(), []

    def open_it(**options: object) -> RedisLedger:
        opened.append(RedisLedger(url, namespace=namespace, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for ledger in opened:
        await ledger.aclose()


@pytest.fixture
def server() -> redis.Redis:
    """A plain client of the server, to look behind the ledger's back."""
    with redis.Redis.from_url(valkey_server.shared_url(), decode_responses=True) as client:
        yield client


def row(request_id: str, cost_pusd: int, at_s: float = 1.5) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=at_s, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


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


async def make_busy(ledger: RedisLedger, scopes: Sequence[Scope], amount_pusd: int) -> None:
    """Takes eight holds at once: from then on it keeps slack for as many."""
    assert await asyncio.gather(*(hold(ledger, scopes, amount_pusd) for _ in range(8))) == [None] * 8


# leases


async def test_a_busy_process_holds_without_asking(open_ledger: Open) -> None:
    """After the first calls, as many again are granted from slack, in every scope at once."""
    ledger = open_ledger()
    await make_busy(ledger, [BIG, TEAM_OF_BIG], USD)
    answers = [ledger.hold_nowait([BIG, TEAM_OF_BIG], USD, enforce=True) for _ in range(9)]
    assert answers == [None] * 8 + [WAIT]
    told = ledger.statistics()
    assert (told.local_holds, told.asked_holds, told.exchanges) == (8, 8, 1)


TEAM_OF_BIG = Scope(name="team:research", window="2026-11", limit_pusd=500 * USD)


async def test_a_process_of_few_calls_leases_them_exactly(
    open_ledger: Open, server: redis.Redis, namespace: str
) -> None:
    """Nothing is taken from the others beyond what is held."""
    ledger = open_ledger()
    assert await hold(ledger, [BIG], USD + 1) is None
    account = server.hgetall(f"genops:{{{namespace}}}:account:monthly|2026-11")
    assert account == {"settled": "0", "held": str(USD + 1), "slack": "0"}
    assert ledger.statistics().leased_pusd == USD + 1


async def test_calls_that_wait_share_one_round_trip(open_ledger: Open) -> None:
    """A hundred holds at once are one exchange."""
    ledger = open_ledger()
    answers = await asyncio.gather(*(ledger.hold([BIG], USD, enforce=True) for _ in range(100)))
    assert answers == [None] * 100
    assert ledger.statistics().exchanges == 1


async def test_slack_shrinks_as_the_limit_comes_near(open_ledger: Open, server: redis.Redis, namespace: str) -> None:
    """Slack is at most half of what is left; where that is little of what is wanted, there is none."""
    ledger, limited = open_ledger(), Scope(name="daily", window="2026-11-23", limit_pusd=20 * USD)
    await make_busy(ledger, [limited], 2 * USD)
    assert ledger.statistics().leased_pusd == (16 + 2) * USD
    assert await hold(ledger, [limited], 4 * USD) is None
    assert ledger.statistics().leased_pusd == 20 * USD
    account = server.hgetall(f"genops:{{{namespace}}}:account:daily|2026-11-23")
    assert account["slack"] == "0"


async def test_slack_that_is_in_the_way_is_asked_back(open_ledger: Open) -> None:
    """A hold that only another process's unused slack stands against is granted all the same."""
    here, there = open_ledger(), open_ledger()
    await make_busy(here, [BIG], USD)
    assert here.statistics().leased_pusd == 16 * USD
    assert await hold(there, [BIG], 992 * USD) is None
    assert await hold(there, [BIG], 1) == Refusal(scope=BIG, settled_pusd=0, held_pusd=1_000 * USD)
    assert here.statistics().leased_pusd == 8 * USD


async def test_held_money_is_never_asked_back(open_ledger: Open) -> None:
    """What another process holds is refused at once, with the accounts as they are."""
    here, there = open_ledger(), open_ledger()
    await make_busy(here, [BIG], USD)
    assert await hold(there, [BIG], 992 * USD + 1) == Refusal(scope=BIG, settled_pusd=0, held_pusd=8 * USD)


async def test_twenty_processes_use_a_limit_up_and_never_pass_it(
    open_ledger: Open, server: redis.Redis, namespace: str
) -> None:
    """Whatever they hold and spend, the server's books stay within the limit, and more than 99 % of it is spent."""
    limited = Scope(name="daily", window="2026-11-23", limit_pusd=10 * USD)
    key, spent, peaks = f"genops:{{{namespace}}}:account:daily|2026-11-23", [], []

    async def work(number: int, ledger: RedisLedger) -> None:
        for turn in itertools.count():
            amount = USD // 500 + (number * 7_919 + turn * 104_729) % (USD // 500)
            if await hold(ledger, [limited], amount) is not None:
                return
            account = server.hmget(key, "settled", "held", "slack")
            peaks.append(sum(int(part or 0) for part in account))
            cost = amount - (turn * 15_485_863) % (amount // 2)
            spent.append(cost)
            ledger.settle([limited], amount, [row(f"{number}-{turn}", cost)], ignore)

    await asyncio.gather(*(work(number, open_ledger()) for number in range(20)))
    told = open_ledger()
    (account,) = await told.refresh([limited])
    assert max(peaks) <= limited.limit_pusd
    assert limited.limit_pusd * 0.99 < sum(spent) <= limited.limit_pusd
    assert account.settled_pusd <= sum(spent)


async def test_a_process_cut_off_stops_using_its_slack(open_ledger: Open) -> None:
    """Before the server would give its lease away, a process that could not renew it asks again."""
    now = [time.monotonic()]
    ledger = open_ledger(clock=lambda: now[0], lease_s=30.0)
    await make_busy(ledger, [BIG], USD)
    assert ledger.hold_nowait([BIG], USD, enforce=True) is None
    now[0] += 27.0
    assert ledger.hold_nowait([BIG], USD, enforce=True) is WAIT
    assert await ledger.hold([BIG], USD, enforce=True) is None


async def test_a_lease_that_ended_frees_its_money(open_ledger: Open, server: redis.Redis, namespace: str) -> None:
    """What a process held that was not heard of in time is there for the others."""
    here, there = open_ledger(), open_ledger()
    assert await hold(here, [TEAM], 400) is None
    end_every_lease(server, namespace)
    assert await hold(there, [TEAM], 400) is None


async def test_a_process_whose_lease_ended_in_error_takes_it_up_again(
    open_ledger: Open, server: redis.Redis, namespace: str
) -> None:
    """What is on its way is counted again, beyond the limit if need be; nothing more is granted then."""
    here, there = open_ledger(), open_ledger()
    assert await hold(here, [TEAM], 300) is None
    end_every_lease(server, namespace)
    assert await hold(there, [TEAM], 200) is None
    (account,) = await here.refresh([TEAM])
    assert (account.settled_pusd, account.held_pusd) == (0, 500)
    await settle(here, [TEAM], 300, row("a", 250))
    assert await hold(there, [TEAM], 1) == Refusal(scope=TEAM, settled_pusd=250, held_pusd=200)


def end_every_lease(server: redis.Redis, namespace: str) -> None:
    """Makes every lease one that ended long ago, as after a time without news."""
    alive = f"genops:{{{namespace}}}:alive"
    server.zadd(alive, dict.fromkeys(server.zrange(alive, 0, -1), 1))


async def test_an_exchange_that_arrives_late_is_refused(open_ledger: Open, server: redis.Redis, namespace: str) -> None:
    """The server does nothing on a number it has passed; the ledger comes again with a higher one."""
    ledger = open_ledger()
    assert await hold(ledger, [TEAM], 100) is None
    (last,) = server.keys(f"genops:{{{namespace}}}:last:*")
    server.hset(last, "seq", "2.5")  # it has passed number 2, which comes now
    assert await hold(ledger, [TEAM], 100) is None
    assert ledger.statistics().failures == 0
    (lease,) = server.keys(f"genops:{{{namespace}}}:lease:*")
    assert server.hgetall(lease) == {"team:research|": "200 0"}


async def test_clocks_of_processes_need_not_agree(open_ledger: Open) -> None:
    """Each process's clock only measures its own waiting; the server's decides."""
    here, there = open_ledger(clock=lambda: time.monotonic() + 1e9), open_ledger(clock=lambda: time.monotonic() - 1e9)
    assert await hold(here, [TEAM], 250) is None
    assert await hold(there, [TEAM], 151) == Refusal(scope=TEAM, settled_pusd=0, held_pusd=250)
    await settle(here, [TEAM], 250, row("a", 100, at_s=1e12))
    assert await hold(there, [TEAM], 300) is None


# exactness


@settings(max_examples=30)
@given(costs=st.lists(st.integers(0, 10**21) | st.integers(999_990, 1_000_010), min_size=1, max_size=8))
async def test_no_pico_dollar_is_lost(costs: list[int]) -> None:
    """Account, rows and movements agree to the last digit, whatever the amounts and however they were batched."""
    ledger = RedisLedger(valkey_server.shared_url(), namespace=secrets.token_hex(8))
    moved: list[tuple[Movement, ...]] = []
    counted = Scope(name="project:chat")
    for number, cost in enumerate(costs):
        durable = ledger.settle([counted], 0, [row(str(number), cost)], moved.append)
        if number % 3 == 0 and durable is not None:
            await durable
    await ledger.aclose()
    (account,) = await ledger.refresh([counted])
    rows = [entry async for entry in ledger.rows()]
    await ledger.aclose()
    assert account.settled_pusd == sum(entry.cost_pusd for entry in rows) == sum(costs)
    assert [movement.after_pusd for (movement,) in moved] == list(itertools.accumulate(costs))


@settings(max_examples=30)
@given(
    limit=st.integers(1, 10**19),
    parts=st.lists(st.integers(1, 10**18), min_size=1, max_size=6),
)
async def test_the_limit_is_exact(limit: int, parts: list[int]) -> None:
    """Holds are granted to the last pico-dollar and not one further, at any size."""
    ledger = RedisLedger(valkey_server.shared_url(), namespace=secrets.token_hex(8))
    scope, held = Scope(name="daily", window="2026-11-23", limit_pusd=limit), 0
    for part in parts:
        refused = held + part > limit
        assert (await ledger.hold([scope], part, enforce=True) is not None) == refused
        held += 0 if refused else part
    assert await ledger.hold([scope], limit - held, enforce=True) is None
    assert await ledger.hold([scope], 1, enforce=True) == Refusal(scope=scope, settled_pusd=0, held_pusd=limit)
    await ledger.aclose()


async def test_movements_of_all_processes_follow_without_a_gap(open_ledger: Open) -> None:
    """Of several processes that spend at once, exactly one passes any threshold."""
    moved: list[tuple[Movement, ...]] = []

    async def work(number: int, ledger: RedisLedger) -> None:
        for turn in range(40):
            durable = ledger.settle([BIG], 0, [row(f"{number}-{turn}", 1 + turn)], moved.append)
            if durable is not None and turn % 5 == number:
                await durable
        await ledger.aclose()

    await asyncio.gather(*(work(number, open_ledger()) for number in range(4)))
    chain = sorted((movement.before_pusd, movement.after_pusd) for (movement,) in moved)
    assert [after for _, after in chain[:-1]] == [before for before, _ in chain[1:]]
    assert (chain[0][0], chain[-1][1]) == (0, 4 * sum(range(1, 41)))


async def test_accounts_of_more_customers_than_are_remembered_stay_exact(open_ledger: Open) -> None:
    """What is forgotten here is asked of the server again."""
    ledger = open_ledger()
    scopes = [Scope(name=f"customer:{number}", window="2026-11", limit_pusd=100) for number in range(KEPT_SLICES + 500)]
    for turn in range(2):
        for number, scope in enumerate(scopes):
            ledger.settle([scope], 0, [row(f"{turn}-{number}", 1 + number % 90)], ignore)
        await ledger.aclose()
    for number in (0, 7, KEPT_SLICES + 499):
        left = 100 - 2 * (1 + number % 90)
        if left >= 0:
            assert await hold(ledger, [scopes[number]], left) is None
        refusal = await hold(ledger, [scopes[number]], 1)
        assert refusal == Refusal(scope=scopes[number], settled_pusd=2 * (1 + number % 90), held_pusd=max(0, left))


async def test_rows_come_back_as_they_were_written(open_ledger: Open) -> None:
    """Every field of every process's rows, in the order of booking, within the times asked for."""
    here, there = open_ledger(), open_ledger()
    full = msgspec.structs.replace(
        row("a", 7, at_s=100.25), gateway_pusd=2, cost_source="reported", input_tokens=3, output_tokens=4,
        duration_ms=5.5, team="équipe", project='"p"', customer_id="c\\", environment="e\n",
    )  # fmt: skip
    await settle(here, [TEAM], 0, full)
    await settle(there, [], 0, row("b", 8, at_s=200.0))
    assert [entry async for entry in here.rows()] == [full, row("b", 8, at_s=200.0)]
    assert [entry.request_id async for entry in here.rows(since_s=100.25, until_s=200.0)] == ["a"]
    assert [entry.request_id async for entry in here.rows(since_s=100.5)] == ["b"]


async def test_more_rows_than_a_page_are_all_there(open_ledger: Open) -> None:
    """Rows are read page by page, each once."""
    ledger = open_ledger()
    for number in range(2_500):
        ledger.settle([TEAM], 0, [row(str(number), 1)], ignore)
    await ledger.aclose()
    assert [entry.request_id async for entry in ledger.rows()] == [str(number) for number in range(2_500)]


async def test_text_that_utf8_cannot_say_is_kept_readable(open_ledger: Open) -> None:
    """Half of a surrogate pair in a name becomes its escape; nothing is stuck over it."""
    ledger, odd = open_ledger(), Scope(name="customer:\ud800", limit_pusd=10)
    assert await hold(ledger, [odd], 10) is None
    await settle(ledger, [odd], 10, msgspec.structs.replace(row("\udfff", 10), customer_id="\ud800"))
    (entry,) = [entry async for entry in ledger.rows()]
    assert (entry.request_id, entry.customer_id) == ("\\udfff", "\\ud800")
    assert await hold(ledger, [odd], 1) == Refusal(scope=odd, settled_pusd=10, held_pusd=0)


# who is told, and when


async def test_accounts_are_asked_for_in_the_background(open_ledger: Open) -> None:
    """The first answer is what is known here; what other processes spent follows by itself."""
    here, there = open_ledger(), open_ledger()
    await settle(there, [TEAM], 0, row("a", 30))
    assert here.accounts([TEAM])[0].settled_pusd == 0
    await here.refresh([])
    while here.accounts([TEAM])[0].settled_pusd != 30:
        await asyncio.sleep(0)


async def test_a_callback_that_fails_keeps_no_other_from_being_told(
    open_ledger: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in a caller's code is logged, and the rest of the batch is told."""
    ledger, told = open_ledger(), []

    def fail(movements: tuple[Movement, ...]) -> None:
        raise RuntimeError("a mistake")

    ledger.settle([TEAM], 0, [row("a", 1)], fail)
    durable = ledger.settle([TEAM], 0, [row("b", 2)], told.append)
    assert durable is not None
    await durable
    assert told == [(Movement(scope=TEAM, before_pusd=1, after_pusd=3),)]
    assert [record.message for record in caplog.records] == ["a callback of a settlement failed"]


async def test_loops_of_several_threads_share_one_ledger(open_ledger: Open) -> None:
    """Each is answered and told on its own loop; the sum is everyone's."""
    ledger, told = open_ledger(), []

    async def work(number: int) -> None:
        thread = threading.get_ident()
        for turn in range(20):
            assert await hold(ledger, [BIG], 100) is None
            durable = ledger.settle(
                [BIG], 100, [row(f"{number}-{turn}", turn)], lambda _: told.append(threading.get_ident() == thread)
            )
            assert durable is not None
            await durable

    threads = [threading.Thread(target=lambda number=number: asyncio.run(work(number))) for number in range(3)]
    for thread in threads:
        thread.start()
    await work(3)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert told == [True] * 80
    (account,) = await ledger.refresh([BIG])
    assert (account.settled_pusd, account.held_pusd) == (4 * sum(range(20)), 0)


async def test_a_loop_that_ends_says_its_last_words(namespace: str) -> None:
    """Without `aclose`, what was spent is reported, leases are given back, and nothing warns of things left open."""
    program = (
        "import asyncio, sys\n"
        "from genops_helicone_async._edges.ledger_redis import RedisLedger\n"
        "from genops_helicone_async._rules.ledger import LedgerRow, Scope\n"
        "scope = Scope(name='team:research', limit_pusd=400)\n"
        "ledger = RedisLedger(sys.argv[1], namespace=sys.argv[2])\n"
        "async def main(number):\n"
        "    assert await ledger.hold([scope], 150, enforce=True) is None\n"
        "    row = LedgerRow(request_id=number, at_s=1.0, provider='p', model='m', status='ok', cost_pusd=30)\n"
        "    ledger.settle([scope], 50, [row], lambda moved: None)\n"
        "asyncio.run(main('a'))\n"
        "asyncio.run(main('b'))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, valkey_server.shared_url(), namespace,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    ledger = RedisLedger(valkey_server.shared_url(), namespace=namespace)
    (account,) = await ledger.refresh([TEAM])
    assert (account.settled_pusd, account.held_pusd) == (60, 0)
    await ledger.aclose()


async def test_closing_ends_the_work_of_every_loop(open_ledger: Open) -> None:
    """A ledger that another thread's loop still uses is closed from here; what that loop spent is reported."""
    ledger, spent, closed = open_ledger(), threading.Event(), threading.Event()
    tasks: list[set[str]] = []

    async def work() -> None:
        assert await hold(ledger, [TEAM], 100) is None
        ledger.settle([TEAM], 50, [row("a", 30)], ignore)
        spent.set()
        await asyncio.to_thread(closed.wait)
        tasks.append({task.get_name() for task in asyncio.all_tasks()} & {"genops shared ledger"})

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    await asyncio.to_thread(spent.wait)
    await ledger.aclose()
    closed.set()
    await asyncio.to_thread(thread.join)
    assert tasks == [set()]
    assert [entry.request_id async for entry in ledger.rows()] == ["a"]


async def test_a_settlement_outside_of_a_loop_is_reported(open_ledger: Open) -> None:
    """A finaliser may settle where no loop runs; a loop that does carries it."""
    ledger, told = open_ledger(), []
    assert await hold(ledger, [TEAM], 100) is None
    await asyncio.to_thread(ledger.settle, [TEAM], 100, [row("a", 30)], told.append)
    while not told:
        await asyncio.sleep(0)
    assert told == [(Movement(scope=TEAM, before_pusd=0, after_pusd=30),)]


# the server's side


async def test_every_key_carries_the_tag_and_ends_some_day(
    open_ledger: Open, server: redis.Redis, namespace: str
) -> None:
    """A cluster keeps them together; an account outlives its window by days, and three keys of bounded size stay."""
    ledger = open_ledger()
    assert await hold(ledger, [BIG, TEAM], 10) is None
    await settle(ledger, [BIG, TEAM], 5, row("a", 5))
    prefix = f"genops:{{{namespace}}}:"
    found = {key.removeprefix(prefix): server.ttl(key) / 86_400 for key in server.keys(f"*{namespace}*")}
    seen, lease, last = (next(key for key in found if key.startswith(kind)) for kind in ("seen:", "lease:", "last:"))
    assert {key: round(days) for key, days in found.items()} == {
        "meta": 0, "alive": 0, "rows": 0, seen: 3, lease: 400, last: 2,
        "account:monthly|2026-11": 40, "account:team:research|": 400,
    }  # fmt: skip


async def test_namespaces_know_nothing_of_each_other(open_ledger: Open) -> None:
    """Two deployments may share a server."""
    here, there = open_ledger(), RedisLedger(valkey_server.shared_url(), namespace=secrets.token_hex(8))
    assert await hold(here, [TEAM], 400) is None
    assert await hold(there, [TEAM], 400) is None
    await there.aclose()


async def test_a_foreign_value_under_our_name_is_an_error_and_nothing_is_done(
    open_ledger: Open, server: redis.Redis, namespace: str
) -> None:
    """The message names the server; when the key is put right, what was kept is reported."""
    ledger = open_ledger()
    server.set(f"genops:{{{namespace}}}:rows", "somebody else's")
    with pytest.raises(LedgerError, match=r"the shared ledger at redis://.* cannot be used \(.*WRONGTYPE"):
        await settle(ledger, [TEAM], 0, row("a", 30))
    assert server.keys(f"genops:{{{namespace}}}:*") == [f"genops:{{{namespace}}}:rows"]
    server.delete(f"genops:{{{namespace}}}:rows")
    await ledger.aclose()
    assert [entry.request_id async for entry in ledger.rows()] == ["a"]


async def test_data_of_another_version_is_left_alone(open_ledger: Open, server: redis.Redis, namespace: str) -> None:
    """The error says which version it found."""
    server.hset(f"genops:{{{namespace}}}:meta", "schema", "7")
    with pytest.raises(LedgerError, match=r"its data is of version 7, not 1: another namespace is needed"):
        await open_ledger().hold([TEAM], 1, enforce=True)


async def test_a_script_that_the_server_forgot_is_sent_again(open_ledger: Open, server: redis.Redis) -> None:
    """After `SCRIPT FLUSH` the next exchange works."""
    ledger = open_ledger()
    assert await hold(ledger, [TEAM], 100) is None
    server.script_flush()
    assert await hold(ledger, [TEAM], 100) is None
    assert ledger.statistics().failures == 0


# what is wrong with the settings, and a server that is not there


@pytest.mark.parametrize(
    "url", ["redis://", "redis://:hush-hush@/0", "redis://h:hush-hush/0", "http://host/0", "unix://", "redis:/host"]
)
def test_a_url_of_no_server_is_refused_without_quoting_it(url: str) -> None:
    """The message shows how to write one, and no secret."""
    with pytest.raises(ConfigurationError, match="write it as redis://user:password@host:6379/0") as refused:
        RedisLedger(url)
    assert "hush-hush" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("namespace", ["", "a}b"])
def test_a_namespace_must_not_break_the_tag(namespace: str) -> None:
    """Braces would end the hash tag early."""
    with pytest.raises(ConfigurationError, match="`namespace`"):
        RedisLedger(NOWHERE, namespace=namespace)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command to type is in the message."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'genops-helicone-async\[redis\]'"):
        RedisLedger(NOWHERE)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hush-hush@127.0.0.1:1/3", "redis://127.0.0.1:1/3"),
        ("valkeys://:hush-hush@[::1]:6380", "valkeys://[::1]:6380/0"),
        ("rediss://example.org/?password=hush-hush", "rediss://example.org:6379/0"),
        ("unix:///run/valkey.sock?db=2&password=hush-hush", "unix:///run/valkey.sock"),
    ],
)
def test_a_ledger_shows_where_it_is_and_no_secret(url: str, shown: str) -> None:
    """The representation has the place, not who logs in or how."""
    assert repr(RedisLedger(url)) == f"RedisLedger({shown!r}, 0 rows, $0.000000, 0 unreported)"


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """A hold under a limit fails closed; one without a limit goes on."""
    ledger = RedisLedger(NOWHERE)
    with pytest.raises(LedgerError, match=r"the shared ledger at redis://127\.0\.0\.1:1/0 cannot be used") as failed:
        await hold(ledger, [TEAM], 1)
    assert "hush-hush" not in f"{failed.value!r} {failed.value.__cause__!r}"
    assert failed.value.retry_safe
    assert ledger.hold_nowait([Scope(name="project:chat")], 1, enforce=True) is None
    await ledger.aclose()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After the time limit the error says so."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        ledger = RedisLedger(f"redis://127.0.0.1:{port}", timeout_s=0.05)
        with pytest.raises(LedgerError, match=r"\(no answer within 0\.05 s\)"):
            await hold(ledger, [TEAM], 1)
        await ledger.aclose()


async def test_what_cannot_be_reported_is_kept_and_told() -> None:
    """Whoever waits for it learns that it is not durable, and closing says how much is missing; it stays."""
    ledger = RedisLedger(NOWHERE)
    with pytest.raises(LedgerError, match="what was spent is kept here"):
        await settle(ledger, [TEAM], 0, row("a", USD // 4))
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"1 settlements worth \$0\.250000 were not reported: the shared"):
            await ledger.aclose()
    assert ledger.statistics().unwritten == 1


async def test_too_much_unreported_stops_further_calls() -> None:
    """What was spent is never dropped, so beyond a cap no call is let through, limit or not."""
    ledger = RedisLedger(NOWHERE, flush_s=1e6)
    counted = [Scope(name="project:chat")]
    for number in range(KEPT_UNREPORTED):
        ledger.settle(counted, 0, [row(str(number), 1)], ignore)
    assert ledger.hold_nowait(counted, 1, enforce=True) is WAIT
    with pytest.raises(LedgerError):
        await ledger.hold(counted, 1, enforce=False)
    with pytest.raises(LedgerError, match=f"{KEPT_UNREPORTED} settlements"):
        await ledger.aclose()

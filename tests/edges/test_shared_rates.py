"""Shared rates on a real server: one process and several, cancelling, errors, and a server that goes away."""

import asyncio
import itertools
import json
import os
import secrets
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

import valkey_server
from genops_helicone_async._edges.shared_rates import MOST_AT_ONCE, SharedRates
from genops_helicone_async.errors import ConfigurationError, LedgerError

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

HOUR_S = 3_600.0
SLOW = 1 / HOUR_S
"""A rate at which a test's own time does not count."""

NOWHERE = "redis://:hush-hush@127.0.0.1:1/0"
WORKER = Path(__file__).with_name("shared_rates_worker.py")
Open = Callable[..., SharedRates]


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return secrets.token_hex(8)


@pytest.fixture
async def open_rates(prefix: str) -> AsyncIterator[Open]:
    """Opens shared rates of one prefix, as several processes would; each is closed after the test."""
    opened = []

    def open_it(url: str | None = None, **options: float) -> SharedRates:
        opened.append(SharedRates(url or valkey_server.shared_url(), prefix=prefix, **options))
        return opened[-1]

    yield open_it
    for rates in opened:
        await rates.aclose()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[valkey_server.ValkeyServer]:
    """A server of the test's own, that comes back empty."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    """A plain client of the server that tests share."""
    with redis.Redis.from_url(valkey_server.shared_url()) as opened:
        yield opened


async def hours(rates: SharedRates, amount: float = 1, *, name: str = "calls", capacity: float = 2) -> int:
    """Reserves at one an hour; the full hours to wait."""
    wait_s = await rates.reserve(name, amount, capacity=capacity, rate_per_s=SLOW)
    assert -60 < wait_s - round(wait_s / HOUR_S) * HOUR_S <= 0
    return round(wait_s / HOUR_S)


# reserving


async def test_processes_take_from_one_bucket(open_rates: Open) -> None:
    """What one takes is missing to the other; another name is another bucket."""
    one, two = open_rates(), open_rates()
    assert [await hours(each) for each in (one, two, one, two)] == [0, 0, 1, 2]
    assert await hours(two, name="tokens") == 0


async def test_prefixes_know_nothing_of_each_other(open_rates: Open) -> None:
    """The same name under another prefix is full."""
    assert await hours(open_rates(), 2) == 0
    other = SharedRates(valkey_server.shared_url(), prefix=secrets.token_hex(8))
    assert await hours(other, 2) == 0
    await other.aclose()


async def test_asks_of_one_loop_share_a_round_trip_and_keep_their_order(open_rates: Open) -> None:
    """Those that come while one is under way are carried together, up to a limit."""
    rates = open_rates()
    count = 3 * MOST_AT_ONCE
    waits = await asyncio.gather(*(hours(rates, capacity=1) for _ in range(count)))
    assert waits == list(range(count))
    told = rates.statistics()
    assert (told.reserved, told.exchanges, told.failures, told.waiting) == (count, 3, 0, 0)


async def test_a_larger_amount_than_the_capacity_is_not_stuck(open_rates: Open) -> None:
    """It waits until all of it has flowed in."""
    assert await hours(open_rates(), 5, capacity=2) == 3


async def test_what_is_given_back_is_there_for_other_processes(open_rates: Open) -> None:
    """A refund is usable at once, a return in front of nobody."""
    one, two = open_rates(), open_rates()
    assert await hours(one, 10, capacity=10) == 0
    await one.give_back("calls", 3, capacity=10, rate_per_s=SLOW)
    assert [await hours(two, amount, capacity=10) for amount in (3, 1)] == [0, 1]
    await one.give_back("calls", 2, capacity=10, rate_per_s=SLOW, is_due=True)
    assert [await hours(two, amount, capacity=10) for amount in (2, 1)] == [0, 2]
    await one.give_back("calls", 1, capacity=10, rate_per_s=SLOW)
    assert await hours(two, 1, capacity=10) == 2
    assert one.statistics().given_back == 3


async def test_idle_keys_end_by_themselves(open_rates: Open, client: redis.Redis, prefix: str) -> None:
    """A bucket's key lives no longer than filling takes."""
    await open_rates().reserve("calls", 1, capacity=10, rate_per_s=0.01)
    assert 90_000 < client.pttl(f"{{{prefix}}}:calls") <= 100_001


@pytest.mark.parametrize("name", ["", "a:b {c} d", "schlüssel", "half \ud83d"])
async def test_any_text_is_a_name(open_rates: Open, name: str) -> None:
    """It is one bucket, whatever is in it."""
    rates = open_rates()
    assert [await hours(rates, name=name) for _ in range(3)] == [0, 0, 1]


@pytest.mark.parametrize(
    "amount, capacity, rate_per_s",
    [(-1, 1, 1), (float("nan"), 1, 1), (1, 0, 1), (1, 1, 0), (1, float("inf"), 1), (1, 1, 1e-9), (1e9, 1, 1)],
)
async def test_impossible_figures_are_refused(
    open_rates: Open, amount: float, capacity: float, rate_per_s: float
) -> None:
    """Before anything is sent, to reserve and to give back."""
    rates = open_rates()
    with pytest.raises(ValueError, match="rate_per_s="):
        await rates.reserve("calls", amount, capacity=capacity, rate_per_s=rate_per_s)
    with pytest.raises(ValueError, match="rate_per_s="):
        await rates.give_back("calls", amount, capacity=capacity, rate_per_s=rate_per_s)
    assert rates.statistics().exchanges == 0


# cancelling


@pytest.mark.parametrize("rounds", range(8))
async def test_a_cancelled_reservation_is_given_back(open_rates: Open, rounds: int) -> None:
    """Whenever the cancelling comes: before it is sent, under way, or with its answer at the door."""
    rates = open_rates()
    assert await hours(rates, 1, name="other") == 0  # it is connected
    task = asyncio.ensure_future(hours(rates, 5, capacity=10))
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():  # it was over before
        await rates.give_back("calls", 5, capacity=10, rate_per_s=SLOW)
    assert await until_full(rates, capacity=10) == 0


async def test_one_cancelled_in_the_moment_of_its_answer_is_given_back(open_rates: Open) -> None:
    """The answer was there, and the caller never saw it."""
    rates = open_rates()

    async def reserve_and_cancel() -> int:
        waited = await hours(rates, 3, capacity=6)
        second.cancel()
        return waited

    first = asyncio.ensure_future(reserve_and_cancel())
    second = asyncio.ensure_future(hours(rates, 3, capacity=6))
    await asyncio.wait([first, second])
    assert (first.result(), second.cancelled()) == (0, True)
    assert rates.statistics().reserved == 2
    assert await hours(rates, 3, capacity=6) == 0
    assert rates.statistics().given_back == 1


async def until_full(rates: SharedRates, *, capacity: float) -> int:
    """Reserves the whole capacity; what is given back in the background is carried before it or with it."""
    return await hours(rates, capacity, capacity=capacity)


async def test_a_cancelled_return_is_made_nevertheless(open_rates: Open) -> None:
    """Whoever is called off while giving back has given back."""
    rates = open_rates()
    assert await hours(rates, 2) == 0
    task = asyncio.ensure_future(rates.give_back("calls", 2, capacity=2, rate_per_s=SLOW))
    await asyncio.sleep(0)
    task.cancel()
    assert await hours(rates, 2) == 0
    assert task.cancelled()


async def test_closing_carries_what_is_to_be_given_back(open_rates: Open) -> None:
    """And the rates can be used again afterwards."""
    rates, other = open_rates(), open_rates()
    assert await hours(rates, 2) == 0
    task = asyncio.ensure_future(rates.give_back("calls", 2, capacity=2, rate_per_s=SLOW))
    await asyncio.sleep(0)
    await rates.aclose()
    assert await hours(other, 2) == 0
    await task
    assert await hours(rates, 1) == 1


async def test_loops_of_several_threads_share_one_object(open_rates: Open) -> None:
    """Each has a connection of its own, which ends with its loop."""
    rates, waits = open_rates(), []

    async def use() -> None:
        waits.extend([await hours(rates, capacity=1) for _ in range(5)])

    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await use()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(waits) == list(range(20))


# a server that cannot be used


async def test_a_server_that_is_not_there_is_an_error_at_once(open_rates: Open) -> None:
    """The error names the place and not the password; all who wait get one of their own."""
    rates = open_rates(NOWHERE)
    errors = await asyncio.gather(*(hours(rates) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [LedgerError] * 3
    assert len({id(error) for error in errors}) == 3
    assert str(errors[0]).startswith("the shared rates at redis://127.0.0.1:1/0 cannot be used (Error ")
    assert "hush" not in f"{errors[0]!r}{errors[0].__cause__!r}{rates!r}"
    assert rates.statistics().failures == 1


async def test_a_server_that_does_not_answer_is_an_error_in_time(
    server: valkey_server.ValkeyServer, open_rates: Open
) -> None:
    """It says so within the time limit; when the server goes on, what it is asked then is answered rightly."""
    rates = open_rates(server.url, timeout_s=0.2)
    assert await hours(rates) == 0
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerError, match=r"no answer within 0\.2 s"):
            await hours(rates, 1)
    finally:
        os.kill(server._process.pid, signal.SIGCONT)
    assert await settled(rates, "tokens", 3) == 1
    assert await settled(rates, "calls", 1) in {0, 1}  # the one without an answer was taken or not


async def settled(rates: SharedRates, name: str, amount: float) -> int:
    """Reserves, and tries again while the server is not back."""
    while True:
        try:
            return await hours(rates, amount, name=name)
        except LedgerError:
            await asyncio.sleep(0)


async def test_a_restart_between_two_calls_goes_unnoticed_and_loses_nothing(
    server: valkey_server.ValkeyServer, open_rates: Open
) -> None:
    """The server comes back empty, and is reminded by who asks."""
    rates = open_rates(server.url)
    assert [await hours(rates) for _ in range(4)] == [0, 0, 1, 2]
    server.kill()
    server.start()
    assert await hours(rates) == 3
    assert rates.statistics().failures == 0


async def test_a_server_away_is_an_error_until_it_is_back(server: valkey_server.ValkeyServer, open_rates: Open) -> None:
    """Nobody hangs, and the next call after its return is answered."""
    rates = open_rates(server.url)
    assert await hours(rates) == 0
    server.stop()
    with pytest.raises(LedgerError, match="cannot be used"):
        await hours(rates)
    with pytest.raises(LedgerError, match="cannot be used"):
        await rates.give_back("calls", 1, capacity=2, rate_per_s=SLOW)
    server.start()
    assert [await hours(rates) for _ in range(2)] == [0, 1]


async def test_a_return_whose_answer_was_lost_is_not_made_twice(open_rates: Open) -> None:
    """A reservation is: doubled it only waits longer, where a doubled return would let too much through."""
    asked = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(65_536))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        rates = open_rates(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        with pytest.raises(LedgerError, match="closed"):
            await rates.give_back("calls", 1, capacity=2, rate_per_s=SLOW)
        assert len(asked) == 1
        with pytest.raises(LedgerError, match="closed"):
            await hours(rates)
        assert len(asked) == 3
        await rates.aclose()


async def test_flushed_data_and_scripts_are_replaced(server: valkey_server.ValkeyServer, open_rates: Open) -> None:
    """A process goes on where it was; one that never asked finds what the first left."""
    rates, other = open_rates(server.url), open_rates(server.url)
    with redis.Redis.from_url(server.url) as client:
        assert [await hours(rates) for _ in range(3)] == [0, 0, 1]
        client.script_flush()
        assert await hours(rates) == 2
        client.flushall()
        assert [await hours(each) for each in (rates, other)] == [3, 4]


async def test_a_foreign_value_under_a_key_changes_nothing(open_rates: Open, client: redis.Redis, prefix: str) -> None:
    """The error says what the server said; buckets asked for in the same round trip are as they were."""
    rates = open_rates()
    client.hset(f"{{{prefix}}}:calls", "a", "b")
    results = await asyncio.gather(hours(rates, 2, name="tokens"), hours(rates), return_exceptions=True)
    assert [type(result) for result in results] == [LedgerError, LedgerError]
    assert "WRONGTYPE" in str(results[1])
    assert await hours(rates, 2, name="tokens") == 0
    client.delete(f"{{{prefix}}}:calls")


@pytest.mark.parametrize(
    "url", ["", "http://host", "redis://", "redis://:hush-hush@host:port", "unix://", "redis://[::1"]
)
def test_a_wrong_url_is_refused_without_quoting_it(url: str) -> None:
    """When it is made, not when it is used."""
    with pytest.raises(ConfigurationError, match="no valid Redis URL: write it as redis://user") as refused:
        SharedRates(url)
    assert "hush" not in f"{refused.value!r}{refused.value.__cause__!r}"


@pytest.mark.parametrize("text", ["", "a{b", "a}b"])
def test_a_prefix_is_a_text_without_braces(text: str) -> None:
    """They mark where the hash tag ends."""
    with pytest.raises(ConfigurationError, match="`prefix` of shared rates"):
        SharedRates(NOWHERE, prefix=text)


async def test_a_wrong_option_in_the_url_is_an_error_of_the_call(open_rates: Open) -> None:
    """It names the place and not the option's value."""
    with pytest.raises(LedgerError, match="cannot be used") as refused:
        await hours(open_rates("redis://127.0.0.1:1/0?no_such_option=hush-hush"))
    assert "hush" not in str(refused.value)


def test_without_the_extra_the_error_names_it() -> None:
    """Importing the edge needs no redis, using it says what to install."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "import importlib.util\n"
        "importlib.util.find_spec = lambda name: None\n"
        "from genops_helicone_async._edges.shared_rates import SharedRates\n"
        "try: SharedRates('redis://localhost')\n"
        "except ValueError as exc: print(exc)\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "shared rates need redis: pip install 'genops-helicone-async[redis]'\n"


async def test_the_repr_tells_the_place_and_the_counts(open_rates: Open) -> None:
    """Never who logs in."""
    rates = open_rates(NOWHERE)
    assert repr(rates) == "SharedRates('redis://127.0.0.1:1/0', 0 reserved, 0 waiting)"


# several processes


async def test_three_processes_keep_to_the_rate_in_every_window(prefix: str) -> None:
    """By the server's clock; each call was used at its moment or later, and the rate was used up."""
    capacity, rate_per_s, count = 5.0, 200.0, 20
    grants = list(itertools.chain(*await asyncio.gather(*(
        worker(prefix, capacity, rate_per_s, count) for _ in range(3)
    ))))  # fmt: skip
    assert len(grants) == 3 * 3 * count
    assert all(earliest_us <= used_us for _, earliest_us, _, used_us in grants)
    for begin_us in [grant[1] for grant in grants]:
        within = sorted((latest_us, amount) for amount, earliest_us, latest_us, _ in grants if earliest_us >= begin_us)
        totals = itertools.accumulate(amount for _, amount in within)
        for (end_us, _), total in zip(within, totals, strict=True):
            assert total <= capacity + rate_per_s * (end_us - begin_us) / 1e6 + 1e-6


async def worker(prefix: str, capacity: float, rate_per_s: float, count: int) -> list[tuple[float, int, int, int]]:
    """A process that reserves; its grants."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), valkey_server.shared_url(), prefix, str(capacity), str(rate_per_s), str(count),
        stdout=PIPE,
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    told: list[tuple[float, int, int, int]] = json.loads(out)
    return told

"""A store that is slow, broken or not there makes misses and one warning: no call fails or waits for it."""

import asyncio
import logging
import socket
import time
from pathlib import Path

import pytest
from cache_parts import CacheRig, SlowStore, counting
from virtual_time import in_virtual_time, run_virtually

from genops_helicone_async import DeadlineExceededError
from genops_helicone_async._edges.answers_disk import DiskAnswers
from genops_helicone_async._edges.answers_redis import RedisAnswers
from genops_helicone_async._flow import caching
from genops_helicone_async._flow.caching import LOOK_UP_S, REST_S, WRITE_S
from genops_helicone_async._flow.replay import GOODBYE_S

pytestmark = pytest.mark.anyio


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the cache logged, all of it warnings."""
    found = [record for record in caplog.records if record.name == "genops_helicone_async.cache"]
    assert {record.levelno for record in found} <= {logging.WARNING}
    return [record.getMessage() for record in found]


async def test_a_server_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Every call is answered; one warning names the server and not its password."""
    transport = counting()
    rig = CacheRig(transport, RedisAnswers("redis://:hunter2@127.0.0.1:9/0"))
    for _ in range(20):
        assert (await rig.chat(provider="openai")).cached is False
    await asyncio.gather(*(rig.chat(f"Hi {number}", provider="openai") for number in range(20)))
    await rig.kept()
    assert len(transport.requests) == 40
    (warning,) = warnings(caplog)
    assert "redis://127.0.0.1:9/0" in warning
    assert "calls go on without it" in warning
    assert "hunter2" not in warning
    assert (rig.told.misses, rig.told.hits, rig.told.stored, rig.told.is_resting) == (40, 0, 0, True)
    await rig.aclose()


async def test_a_server_that_never_answers(caplog: pytest.LogCaptureFixture) -> None:
    """A port that accepts and says nothing costs calls one short wait together, then none."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        rig = CacheRig(counting(), RedisAnswers(f"redis://127.0.0.1:{port}/0"))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(30):
            await rig.chat(f"Hi {number}", provider="openai")
        assert loop.time() - began < 30 * LOOK_UP_S  # each of them waiting would take as long
        assert len(warnings(caplog)) == 1
        await rig.kept()
        await rig.aclose()


async def test_a_file_that_cannot_be_used(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A file that is no cache: calls go on, one warning names it."""
    path = tmp_path / "letters.txt"
    path.write_bytes(b"Dear grandmother, " * 500)
    rig = CacheRig(counting(), DiskAnswers(path, 2**20, lambda: 0.0))
    for _ in range(5):
        assert (await rig.chat(provider="openai")).cached is False
    await rig.kept()
    (warning,) = warnings(caplog)
    assert "letters.txt" in warning
    await rig.aclose()


@in_virtual_time
async def test_a_slow_store_adds_a_bounded_wait() -> None:
    """A look-up takes a quarter of a second at most; while the store rests it takes none."""
    store = SlowStore(delay_s=100)
    rig = CacheRig(counting(), store)
    loop, took = asyncio.get_running_loop(), []
    for number in range(3):
        began = loop.time()
        await rig.chat(f"Hi {number}", provider="openai")
        took.append(round(loop.time() - began, 3))
    assert took == [LOOK_UP_S, 0.0, 0.0]
    assert store.steps == ["get"]
    assert rig.told.failures == 1
    await asyncio.sleep(REST_S)
    assert rig.told.is_resting is False
    await rig.chat("Hi again", provider="openai")
    assert store.steps == ["get", "get"]


@in_virtual_time
async def test_a_look_up_keeps_the_deadline() -> None:
    """A call with less time than a look-up may take ends at its own deadline; that is no failure of the store's."""
    rig = CacheRig(counting(), SlowStore(delay_s=100))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineExceededError):
        await rig.chat(provider="openai", timeout_seconds=0.1)
    assert round(loop.time() - began, 3) == 0.1
    assert (rig.told.failures, rig.told.is_resting) == (0, False)


async def test_a_loop_that_was_held_up_is_not_the_store_s_fault() -> None:
    """A store whose answer came while the loop did something else for longer than a look-up may take has answered."""
    store = SlowStore()
    rig = CacheRig(counting(), store)
    await rig.chat(provider="openai")
    await rig.kept()
    at_once = store.get

    async def get(key: bytes) -> bytes | None:
        await asyncio.sleep(LOOK_UP_S / 2)
        for _ in range(5):  # a reply takes some turns of the loop to get through a library
            await asyncio.sleep(0)
        return await at_once(key)

    store.get = get  # type: ignore[method-assign]
    task = asyncio.create_task(rig.chat(provider="openai"))
    for _ in range(20):
        await asyncio.sleep(0)
    time.sleep(LOOK_UP_S + 0.2)
    assert (await task).cached is True
    assert rig.told.failures == 0


@in_virtual_time
async def test_a_slow_write_is_given_up_and_keeps_nobody() -> None:
    """The call has its answer long before; the write ends in its own time."""
    store = SlowStore()
    rig = CacheRig(counting(), store)
    loop = asyncio.get_running_loop()
    store_get = store.get

    async def get(key: bytes) -> bytes | None:
        found = await store_get(key)
        store.delay_s = 100
        return found

    store.get = get  # type: ignore[method-assign]
    began = loop.time()
    await rig.chat(provider="openai")
    assert loop.time() == began
    await asyncio.sleep(WRITE_S + 0.1)
    assert (rig.told.failures, rig.told.stored, rig.pipeline.replays._writing) == (1, 0, set())


@in_virtual_time
async def test_one_warning_an_outage() -> None:
    """However long it lasts there is one; only a store that read and wrote again since is worth another."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("genops_helicone_async.cache")
    log.addHandler(handler)
    try:
        store = SlowStore(broken="the disk is on fire")
        rig = CacheRig(counting(), store)

        async def calls(name: str) -> None:
            for number in range(4):
                await rig.chat(f"{name} {number}", provider="openai")
                await asyncio.sleep(REST_S)

        await calls("first")
        assert len(told) == 1
        assert "the disk is on fire" in told[0]
        store.broken = None
        await calls("second")
        assert rig.told.stored == 4
        store.broken = "again"
        await calls("third")
        assert [text.rpartition(": ")[2] for text in told] == ["the disk is on fire", "again"]
    finally:
        log.removeHandler(handler)


@in_virtual_time
async def test_a_store_that_only_reads_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full or may not be written to gives what it has, and is complained of once."""
    store = SlowStore()
    rig = CacheRig(counting(), store)
    await rig.chat("old", provider="openai")
    await rig.kept()

    async def put(key: bytes, value: bytes, ttl_s: float) -> None:
        raise caching.AnswersUnavailable("read-only")

    store.put = put  # type: ignore[method-assign]
    for number in range(5):
        assert (await rig.chat("old", provider="openai")).cached is True
        await rig.chat(f"new {number}", provider="openai")
        await rig.kept()
        await asyncio.sleep(REST_S)
    assert (rig.told.hits, rig.told.stored, rig.told.failures) == (5, 1, 5)
    assert len(warnings(caplog)) == 1


@in_virtual_time
async def test_what_waits_to_be_kept_is_bounded() -> None:
    """Above the room for answers on their way to a slow store they are not kept; calls are unharmed."""
    before, caching.MOST_PENDING_BYTES = caching.MOST_PENDING_BYTES, 3_000
    try:
        store = SlowStore(delay_s=0.1)
        rig = CacheRig(counting(), store)
        responses = await asyncio.gather(*(rig.chat(f"Hi {number}", provider="openai") for number in range(50)))
        await rig.kept()
        assert len(responses) == 50
        assert 0 < len(store.held) < 10
        assert rig.told.failures == 50 - len(store.held)
        assert rig.cache._pending_bytes == 0
    finally:
        caching.MOST_PENDING_BYTES = before


@in_virtual_time
async def test_a_store_that_was_replaced_complains_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """A call that looks while its cache is taken away is answered, and nothing is said."""
    store = SlowStore(broken="closed", delay_s=0.1)
    rig = CacheRig(counting(), store)
    task = asyncio.create_task(rig.chat(provider="openai"))
    await asyncio.sleep(0.05)
    rig.pipeline.caching.replace(None)
    assert (await task).cached is False
    await rig.kept()
    assert (warnings(caplog), store.closed) == ([], 1)


@pytest.mark.parametrize(("delay_s", "held", "took_s"), [(0.2, 1, 0.2), (100, 0, GOODBYE_S)])
def test_closing_waits_a_moment_for_what_is_being_kept(delay_s: float, held: int, took_s: float) -> None:
    """An answer that is being kept is there for the next process; a store that hangs holds nobody up."""

    async def run() -> tuple[int, float]:
        store = SlowStore()
        rig = CacheRig(counting(), store)
        task = asyncio.create_task(rig.chat(provider="openai"))
        while not store.steps:
            await asyncio.sleep(0)
        store.delay_s = delay_s
        await task
        loop = asyncio.get_running_loop()
        began = loop.time()
        await rig.pipeline.aclose()
        return len(store.held), round(loop.time() - began, 3)

    result, _ = run_virtually(run())
    assert result == (held, took_s)

"""The three stores: what they keep, for how long, what goes first, and what they make of things that are not theirs."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from cache_parts import STORES, store_of
from hypothesis import given
from hypothesis import strategies as st

import valkey_server
from genops_helicone_async._edges.answers_disk import DiskAnswers, default_path
from genops_helicone_async._edges.answers_disk.table import Table
from genops_helicone_async._edges.answers_memory import ENTRY_BYTES, MemoryAnswers
from genops_helicone_async._edges.answers_redis import RedisAnswers
from genops_helicone_async._flow.ports import AnswerStore
from genops_helicone_async._rules.cached_answers import LATER, AnswersUnavailable
from genops_helicone_async.errors import ConfigurationError

pytestmark = pytest.mark.anyio

KEYS = [bytes([number]) * 32 for number in range(8)]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


async def kept(store: AnswerStore, key: bytes) -> bytes | None:
    """What a store has under a key, waiting where it must."""
    found = store.get_nowait(key)
    return await store.get(key) if found is LATER else found  # type: ignore[return-value]


@pytest.mark.parametrize("kind", STORES)
async def test_what_was_put_is_there_and_nothing_else(kind: str, tmp_path: Path) -> None:
    """Bytes come back as they were, the last ones under a key count, other keys have none."""
    store = store_of(kind, tmp_path, Clock())
    await store.prepare()
    await store.put(KEYS[0], b"one", 60)
    await store.put(KEYS[0], b"\x00two\xff", 60)
    assert [await kept(store, key) for key in KEYS[:2]] == [b"\x00two\xff", None]
    await store.aclose()


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_time_ends_exactly(kind: str, tmp_path: Path) -> None:
    """An entry is there until its time is over, and not at that moment any more."""
    clock = Clock()
    store = store_of(kind, tmp_path, clock)
    await store.put(KEYS[0], b"one", 10)
    clock.now_s += 9.999
    assert await kept(store, KEYS[0]) == b"one"
    clock.now_s += 0.001
    assert await kept(store, KEYS[0]) is None
    await store.aclose()


async def test_the_server_ends_the_time(tmp_path: Path) -> None:
    """An entry on a server has its time there, in milliseconds, and does not depend on our clock."""
    import redis.asyncio

    store = RedisAnswers(valkey_server.shared_url(), prefix="test:ttl:")
    await store.prepare()
    await store.put(KEYS[0], b"one", 12.5)
    client = redis.asyncio.Redis.from_url(valkey_server.shared_url(), driver_info=None)
    left_ms = await client.pttl("test:ttl:" + KEYS[0].hex())
    assert 0 < left_ms <= 12_500
    await client.pexpire("test:ttl:" + KEYS[0].hex(), 0)
    assert await kept(store, KEYS[0]) is None
    await client.aclose()
    await store.aclose()


STEPS = st.lists(st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 7), st.integers(1, 9)), max_size=60)
ROOM = 3 * 10


class Model:
    """An LRU cache of bytes, as simply as it can be said."""

    def __init__(self, room: int, overhead: int) -> None:
        self.room = room
        self.overhead = overhead
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        """A use."""
        if key in self.entries:
            self.entries.move_to_end(key)
        return self.entries.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """A use, and then the least recently used go."""
        self.entries.pop(key, None)
        if self.size(key, value) <= self.room:
            self.entries[key] = value
        while sum(self.size(*entry) for entry in self.entries.items()) > self.room:
            self.entries.popitem(last=False)

    def size(self, key: bytes, value: bytes) -> int:
        """What an entry takes."""
        return len(key) + len(value) + self.overhead


@given(STEPS)
def test_memory_keeps_what_was_used_last(steps: list[tuple[str, int, int]]) -> None:
    """Exactly as the model, after any steps; the bytes never exceed the room."""
    room = ROOM + 3 * (32 + ENTRY_BYTES)
    store, model = MemoryAnswers(room, lambda: 0.0), Model(room, ENTRY_BYTES)
    for verb, number, size in steps:
        key = KEYS[number]
        if verb == "get":
            assert store.get_nowait(key) == model.get(key)
        else:
            store.put_nowait(key, b"x" * size * 3, 60)
            model.put(key, b"x" * size * 3)
        told = store.statistics()
        assert told.entries == len(model.entries)
        assert told.bytes == sum(model.size(*entry) for entry in model.entries.items())
        assert told.bytes <= room
    assert [store.get_nowait(key) for key in list(model.entries)] == list(model.entries.values())


@given(STEPS)
def test_disk_keeps_what_was_used_last(steps: list[tuple[str, int, int]]) -> None:
    """Exactly as the model, after any steps."""
    import tempfile

    room = ROOM + 3 * 32
    with tempfile.TemporaryDirectory() as folder:
        table, model = Table(Path(folder) / "a.db", room, lambda: 0.0), Model(room, 0)
        for verb, number, size in steps:
            key = KEYS[number]
            if verb == "get":
                assert table.get(key) == model.get(key)
            else:
                table.put(key, b"x" * size * 3, 60)
                model.put(key, b"x" * size * 3)
                assert (table.entries, table.bytes) == (len(model.entries), _held(model))
        assert [table.get(key) for key in list(model.entries)] == list(model.entries.values())
        table.close()


def _held(model: Model) -> int:
    return sum(model.size(*entry) for entry in model.entries.items())


def test_what_is_larger_than_all_room_pushes_nothing_out() -> None:
    """It is not kept, and an older one under its key is gone: that was no longer true."""
    store = MemoryAnswers(2 * (ENTRY_BYTES + 64), lambda: 0.0)
    store.put_nowait(KEYS[0], b"x", 60)
    store.put_nowait(KEYS[1], b"y", 60)
    store.put_nowait(KEYS[1], b"z" * 1000, 60)
    assert [store.get_nowait(key) for key in KEYS[:2]] == [b"x", None]
    assert store.statistics().evictions == 0


def test_expired_entries_make_room_first_on_disk(tmp_path: Path) -> None:
    """What nobody can be given any more goes before what was used longest ago."""
    clock = Clock()
    table = Table(tmp_path / "a.db", 3 * 33, clock)
    table.put(KEYS[0], b"0", 100)
    table.put(KEYS[1], b"1", 10)
    table.put(KEYS[2], b"2", 100)
    clock.now_s += 20
    table.put(KEYS[3], b"3", 100)
    assert [table.get(key) for key in KEYS[:4]] == [b"0", None, b"2", b"3"]
    assert (table.entries, table.bytes, table.evictions) == (3, 99, 0)
    table.close()


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """The file, its log and its index have mode 0600, also where the file was there with another mode."""
    path = tmp_path / "new" / "answers.db"
    for _ in range(2):
        store = DiskAnswers(path, 2**20, Clock())
        await store.put(KEYS[0], b"one", 60)
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        assert modes == {0o600}
        await store.aclose()
        path.chmod(0o644)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_stores_share_a_file(tmp_path: Path) -> None:
    """What one keeps the other finds; the room is for both together."""
    one, two = (DiskAnswers(tmp_path / "a.db", 4 * 33, Clock()) for _ in range(2))
    for number, store in enumerate([one, two, one, two]):
        await store.put(KEYS[number], b"x", 60)
    assert [await two.get(key) for key in KEYS[:4]] == [b"x"] * 4
    await two.put(KEYS[4], b"y", 60)  # two has used all others after they were written, the first one longest ago
    assert [await one.get(key) for key in KEYS[:5]] == [None, b"x", b"x", b"x", b"y"]
    await one.aclose()
    await two.aclose()


PROCESS = """
import asyncio, sys
from pathlib import Path
from genops_helicone_async._edges.answers_disk import DiskAnswers
async def main():
    store = DiskAnswers(Path(sys.argv[1]), 2**20, lambda: 0.0)
    first = int(sys.argv[2])
    for number in range(first, first + 40):
        await store.put(number.to_bytes(32, "big"), b"%d" % number, 60)
    await store.aclose()
asyncio.run(main())
"""


async def test_processes_that_open_it_at_the_same_moment_share_a_file(tmp_path: Path) -> None:
    """Four processes make and fill one file at once: everything of all is in it."""
    path = tmp_path / "a.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, str(path), str(40 * number), env=environment, stderr=subprocess.PIPE
        )
        for number in range(4)
    ]
    ended = [await each.communicate() for each in running]
    assert [err for _, err in ended] == [b""] * 4
    store = DiskAnswers(path, 2**20, lambda: 0.0)
    assert [await store.get(n.to_bytes(32, "big")) for n in range(160)] == [b"%d" % n for n in range(160)]
    await store.aclose()


FORKED = """
import asyncio, os, sys
from pathlib import Path
from genops_helicone_async._edges.answers_disk import DiskAnswers
store = DiskAnswers(Path(sys.argv[1]), 2**20, lambda: 0.0)
key = b"k" * 32
asyncio.run(store.put(key, b"parent", 60))
child = os.fork()
if child == 0:
    found = asyncio.run(store.get(key))
    asyncio.run(store.put(b"c" * 32, b"child", 60))
    os._exit(0 if found == b"parent" else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), asyncio.run(store.get(b"c" * 32)))
asyncio.run(store.aclose())
"""


def test_a_forked_child_opens_the_file_itself(tmp_path: Path) -> None:
    """It finds its parent's answers, and the parent those of the child."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path / "a.db")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("0 b'child'\n", 0), done.stderr


def _no_database(path: Path) -> None:
    path.write_bytes(b"A letter to my grandmother, and nothing that SQLite could read. " * 40)


def _another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE letters (text)")
    connection.commit()
    connection.close()


def _another_version(path: Path) -> None:
    table = Table(path, 2**20, lambda: 0.0)
    table.put(KEYS[0], b"x", 60)
    table.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=9")
    connection.close()


@pytest.mark.parametrize("make", [_no_database, _another_program, _another_version])
async def test_a_file_that_is_not_ours_is_left_as_it_is(make: Any, tmp_path: Path) -> None:
    """It cannot be used, which is told; not one byte of it is changed."""
    path = tmp_path / "precious"
    await asyncio.to_thread(make, path)
    before = path.read_bytes()
    store = DiskAnswers(path, 2**20, Clock())
    with pytest.raises(AnswersUnavailable, match="precious"):
        await store.get(KEYS[0])
    with pytest.raises(AnswersUnavailable, match="precious"):
        await store.put(KEYS[0], b"x", 60)
    assert path.read_bytes() == before
    await store.aclose()


async def test_a_file_that_breaks_while_it_is_open_is_unavailable(tmp_path: Path) -> None:
    """Overwritten under our feet it raises what the flow expects, and nothing else."""
    path = tmp_path / "a.db"
    store = DiskAnswers(path, 2**20, Clock())
    await store.put(KEYS[0], b"x" * 50_000, 60)
    await store.aclose()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 30_000)
    found = await asyncio.gather(store.get(KEYS[0]), store.put(KEYS[1], b"y", 60), return_exceptions=True)
    assert AnswersUnavailable in {type(each) for each in found}
    await store.aclose()


async def test_a_folder_in_the_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    """What the system refuses is told the same way."""
    store = DiskAnswers(tmp_path, 2**20, Clock())
    with pytest.raises(AnswersUnavailable):
        await store.get(KEYS[0])
    await store.aclose()


def test_the_default_file_is_in_the_folder_for_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of XDG where it is set, else below the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    name = Path("genops-helicone-async") / "answers.sqlite3"
    assert default_path({}) == tmp_path / ".cache" / name
    assert default_path({"XDG_CACHE_HOME": "/caches"}) == Path("/caches") / name


async def test_a_foreign_entry_on_the_server_is_none(tmp_path: Path) -> None:
    """A list under our name is no answer and no failure, and is replaced by one."""
    import redis.asyncio

    store = RedisAnswers(valkey_server.shared_url(), prefix="test:foreign:")
    await store.prepare()
    client = redis.asyncio.Redis.from_url(valkey_server.shared_url(), driver_info=None)
    await client.rpush("test:foreign:" + KEYS[0].hex(), "one", "two")
    assert await store.get(KEYS[0]) is None
    await store.put(KEYS[0], b"mine", 60)
    assert await store.get(KEYS[0]) == b"mine"
    await client.aclose()
    await store.aclose()


async def test_a_server_that_is_not_there_is_unavailable_and_keeps_its_secret() -> None:
    """The text names host and port, and not the password."""
    store = RedisAnswers("redis://user:hunter2@127.0.0.1:9/0")
    await store.prepare()
    with pytest.raises(AnswersUnavailable, match=r"redis://127.0.0.1:9/0") as raised:
        await store.get(KEYS[0])
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(store)
    assert str(store._unavailable(ValueError("hunter2 is no password."))).endswith("*** is no password")
    await store.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://", "redis://:secret@:abc", "nonsense"])
def test_a_url_of_something_else_is_refused_without_quoting_it(url: str) -> None:
    """The remedy is told, and no part of what may hold a password."""
    with pytest.raises(ConfigurationError, match="write it as redis://") as raised:
        RedisAnswers(url)
    assert "secret" not in str(raised.value)


async def test_a_full_server_is_unavailable(tmp_path: Path) -> None:
    """A server without room refuses to keep an answer, and still gives those it has."""
    import redis.asyncio

    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    try:
        store = RedisAnswers(server.url)
        await store.prepare()
        await store.put(KEYS[0], b"one", 60)
        client = redis.asyncio.Redis.from_url(server.url, driver_info=None)
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", "1")
        with pytest.raises(AnswersUnavailable):
            await store.put(KEYS[1], b"two", 60)
        assert await store.get(KEYS[0]) == b"one"
        await client.aclose()
        await store.aclose()
    finally:
        server.stop()


async def test_a_server_that_was_started_anew_is_used_again(tmp_path: Path) -> None:
    """Connections that broke are replaced, without anybody's help."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    try:
        store = RedisAnswers(server.url)
        await store.prepare()
        await store.put(KEYS[0], b"one", 60)
        server.kill()
        with pytest.raises(AnswersUnavailable):
            await store.get(KEYS[0])
        server.start()
        await store.put(KEYS[0], b"two", 60)
        assert await store.get(KEYS[0]) == b"two"
        await store.aclose()
    finally:
        server.stop()

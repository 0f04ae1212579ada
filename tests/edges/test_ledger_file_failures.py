"""A ledger's file that cannot be used: what is said, what is refused meanwhile, and that nothing is lost in silence."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import genops_helicone_async
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._edges.ledger_sqlite.kept import MAX_KEPT_ROWS, Kept
from genops_helicone_async._edges.ledger_sqlite.requests import Settlement
from genops_helicone_async._edges.ledger_sqlite.schema import COLUMNS, MIGRATIONS, open_for_writing
from genops_helicone_async._rules.ledger import WAIT, Account, LedgerRow, Movement, Scope
from genops_helicone_async.errors import LedgerError

pytestmark = pytest.mark.anyio

TEAM = Scope(name="team:research", limit_pusd=400)
COUNTED = Scope(name="project:chat")

ADDED_COLUMN = "ALTER TABLE entries ADD COLUMN region TEXT;\nCREATE TABLE extra (\n    name TEXT\n);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger will be."""
    return tmp_path / "ledger.db"


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=1.5, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


def ignore(movements: tuple[Movement, ...]) -> None:
    """Nobody is told."""


async def book(ledger: SqliteLedger, *rows: LedgerRow) -> None:
    """Settles durably on one scope."""
    durable = ledger.settle((TEAM,), 0, rows, ignore)
    assert durable is not None
    await durable


async def begin(path: Path) -> None:
    """A ledger with one row, closed."""
    ledger = SqliteLedger(path)
    await book(ledger, row("before", 30))
    await ledger.aclose()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program's write lock on the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def missing_folder(path: Path) -> Path:
    """The folder was not made."""
    return path.parent / "not there" / "ledger.db"


def folder(path: Path) -> Path:
    """The path names a folder."""
    return path.parent


def not_a_database(path: Path) -> Path:
    """The path names a text."""
    path.write_text("Dear diary, " * 1_000)
    return path


def foreign_database(path: Path) -> Path:
    """The path names another program's tables."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    return path


def newer_ledger(path: Path) -> Path:
    """The path names a ledger from the future."""
    open_for_writing(path, busy_s=1.0, migrations=(*MIGRATIONS, ADDED_COLUMN)).close()
    return path


def damaged_ledger(path: Path) -> Path:
    """Something wrote over all but the first page."""
    open_for_writing(path, busy_s=1.0).close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    return path


@pytest.mark.parametrize(
    "spoil, complaint",
    [
        (missing_folder, "its folder does not exist: create .*not there"),
        (folder, "it is a folder: name a file in it"),
        (not_a_database, "is not an SQLite database: point state_url to another file"),
        (foreign_database, "another program's database: point state_url to a file of its own"),
        (newer_ledger, r"by a newer version \(format 2, this version knows 1\): upgrade genops-helicone-async"),
        (damaged_ledger, "it is damaged: restore it from a backup"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_the_remedy(
    path: Path, spoil: Callable[[Path], Path], complaint: str
) -> None:
    """Holds are refused, settlements say that they are not durable, and closing names what is lost."""
    spoilt = await asyncio.to_thread(spoil, path)
    ledger = SqliteLedger(spoilt)
    with pytest.raises(LedgerError, match=complaint):
        await ledger.hold((TEAM,), 1, enforce=True)
    with pytest.raises(LedgerError, match=complaint):
        await book(ledger, row("a", 2_000_000))
    with pytest.raises(LedgerError, match=rf"1 rows worth \$0\.000002 could not be written to .*{complaint}"):
        await ledger.aclose()


@pytest.mark.parametrize("spoil", [not_a_database, foreign_database, newer_ledger, damaged_ledger])
async def test_a_file_that_cannot_be_used_is_not_touched(path: Path, spoil: Callable[[Path], Path]) -> None:
    """Whatever was there is there afterwards, byte for byte, with nothing beside it."""
    await asyncio.to_thread(spoil, path)
    before = path.read_bytes()
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError):
        await ledger.hold((TEAM,), 1, enforce=True)
    await ledger.aclose()
    assert ([each.name for each in path.parent.iterdir()], path.read_bytes() == before) == ([path.name], True)


@pytest.mark.parametrize("spoil", [missing_folder, not_a_database, foreign_database, newer_ledger, damaged_ledger])
def test_rows_of_a_file_that_cannot_be_used_are_an_error(path: Path, spoil: Callable[[Path], Path]) -> None:
    """A report says why there is none."""
    ledger = SqliteLedger(spoil(path))
    with pytest.raises(LedgerError, match=str(path.parent)):
        list(ledger.rows())


async def test_nothing_is_granted_on_a_file_that_nobody_has_tried(path: Path) -> None:
    """Also a hold without a limit waits for the first proof that what it costs can be written down."""
    ledger = SqliteLedger(missing_folder(path))
    assert ledger.hold_nowait((COUNTED,), 1, enforce=False) is WAIT
    with pytest.raises(LedgerError, match="folder does not exist"):
        await ledger.hold((COUNTED,), 1, enforce=False)
    await ledger.aclose()


async def test_what_is_spent_while_the_file_is_locked_is_written_when_it_is_not(path: Path) -> None:
    """Meanwhile holds are refused, and the ledger says that it is failing and how much is not written."""
    await begin(path)
    ledger = SqliteLedger(path, busy_s=0.01, retry_s=0.01)
    assert await ledger.hold((TEAM,), 100, enforce=True) is None
    booked: asyncio.Future[tuple[Movement, ...]] = asyncio.get_running_loop().create_future()
    with locked(path):
        durable = ledger.settle((TEAM,), 100, (row("during", 50),), booked.set_result)
        assert durable is not None
        with pytest.raises(LedgerError, match=r"not in the file: .* another program keeps it locked"):
            await durable
        assert ledger.hold_nowait((COUNTED,), 1, enforce=False) is WAIT
        with pytest.raises(LedgerError, match="another program keeps it locked"):
            await ledger.hold((COUNTED,), 1, enforce=False)
        told = ledger.statistics()
        assert (told.unwritten, "locked" in str(told.failure)) == (1, True)
        assert repr(ledger).endswith("0 rows, $0.000000, 1 unwritten, failing)")
    assert await booked == (Movement(scope=TEAM, before_pusd=30, after_pusd=80),)
    await durable
    assert await ledger.hold((TEAM,), 320, enforce=True) is None
    told = ledger.statistics()
    assert (told.rows, told.unwritten, told.failure) == (1, 0, None)
    await ledger.aclose()


async def test_a_hold_that_was_granted_at_once_is_kept_while_the_file_fails(path: Path) -> None:
    """Its owner was told that it is held, and so it is, as soon as the file takes it."""
    await begin(path)
    ledger = SqliteLedger(path, busy_s=0.01, retry_s=0.01)
    assert await ledger.hold((TEAM,), 1, enforce=True) is None
    with locked(path):
        assert ledger.hold_nowait((COUNTED,), 7, enforce=False) is None
        with pytest.raises(LedgerError, match="locked"):
            await ledger.hold((COUNTED,), 1, enforce=False)
    booked: asyncio.Future[tuple[Movement, ...]] = asyncio.get_running_loop().create_future()
    ledger.settle((COUNTED,), 2, (), booked.set_result)
    await booked
    assert await ledger.refresh([COUNTED]) == [Account(held_pusd=5)]
    await ledger.aclose()


async def test_closing_a_locked_ledger_names_what_is_lost(path: Path) -> None:
    """Rows and dollars are in the error, in every closing's."""
    await begin(path)
    ledger = SqliteLedger(path, busy_s=0.01)
    await ledger.refresh([TEAM])
    with locked(path):
        ledger.settle((TEAM,), 0, (row("a", 1_500_000_000), row("b", 500_000_000)), ignore)
        for _ in range(2):
            with pytest.raises(LedgerError, match=r"2 rows worth \$0\.002000 could not be written to .*locked"):
                await ledger.aclose()


async def test_holds_that_cannot_be_given_back_are_named_at_the_end(path: Path) -> None:
    """They expire with their lease, and whoever closes knows."""
    await begin(path)
    ledger = SqliteLedger(path, busy_s=0.01)
    assert await ledger.hold((TEAM,), 100, enforce=True) is None
    with locked(path), pytest.raises(LedgerError, match="could not be given back, it expires with its lease"):
        await ledger.aclose()


async def test_a_file_that_was_deleted_is_not_begun_anew(path: Path) -> None:
    """An empty ledger in its place would forget what was spent: nothing is granted until the file is back."""
    ledger = SqliteLedger(path, retry_s=0.0)
    await book(ledger, row("before", 30))
    aside = [each.rename(each.with_name(f"{each.name}.aside")) for each in list(path.parent.iterdir())]
    with pytest.raises(LedgerError, match="deleted or replaced while in use"):
        await ledger.hold((TEAM,), 1, enforce=True)
    with pytest.raises(LedgerError, match="deleted or replaced while in use"):
        await ledger.hold((TEAM,), 1, enforce=True)
    assert path.exists() is False
    for each in aside:
        each.rename(each.with_name(each.name.removesuffix(".aside")))
    assert await ledger.hold((TEAM,), 370, enforce=True) is None
    await ledger.aclose()


async def test_an_error_of_our_own_reaches_whoever_waits(path: Path) -> None:
    """The thread answers with whatever went wrong, and goes on."""
    ledger = SqliteLedger(path)
    await book(ledger, row("before", 30))
    nonsense: Any = None
    durable = ledger.settle((TEAM,), 0, (row(nonsense, 1_000_000),), ignore)
    assert durable is not None
    with pytest.raises(LedgerError, match="cannot be used: 'NoneType' object has no attribute"):
        await durable
    with pytest.raises(LedgerError, match=r"1 rows worth \$0\.000001 could not be written"):
        await ledger.aclose()


async def test_the_end_of_the_thread_is_heard_of(path: Path) -> None:
    """Nobody waits for ever: what could not be done says why, and so does all that is asked afterwards."""

    def broken_clock() -> float:
        raise ValueError("the clock is broken")

    ledger = SqliteLedger(path, clock=broken_clock)
    with pytest.raises(LedgerError, match="the clock is broken"):
        await book(ledger, row("a", 1_000_000))
    with pytest.raises(LedgerError, match=r"1 rows worth \$0\.000001 could not be written"):
        await ledger.aclose()
    with pytest.raises(LedgerError, match=r"the thread of the ledger .* ended: ValueError"):
        await ledger.hold((TEAM,), 1, enforce=True)
    assert ledger.hold_nowait((COUNTED,), 1, enforce=False) is WAIT


def test_what_is_kept_has_an_end() -> None:
    """Beyond 200,000 rows only counts are kept; holds are given back all the same, and the loss is named in full."""
    kept = Kept()
    kept.add([Settlement((TEAM,), 1, (row("a", 5_000_000),) * MAX_KEPT_ROWS, ignore, None)])
    kept.add([Settlement((TEAM,), 2, (row("b", 1_000_000), row("c", 1_000_000)), ignore, None)])
    assert [(each.held_pusd, len(each.rows)) for each in kept.requests if isinstance(each, Settlement)] == [
        (1, MAX_KEPT_ROWS),
        (2, 0),
    ]
    lost = "200002 rows worth $1.000002 could not be written to ledger.db"
    assert kept.lost(Path("ledger.db")) == lost
    kept.clear()
    assert kept.lost(Path("ledger.db")) == "2 rows worth $0.000002 could not be written to ledger.db"


def test_a_file_of_an_older_version_is_brought_up_to_date(path: Path) -> None:
    """Its rows and accounts are kept, and it is of the latest version."""
    asyncio.run(begin(path))
    migrations = (*MIGRATIONS, ADDED_COLUMN, "UPDATE accounts SET settled_pusd = settled_pusd + 1;")
    with closing(open_for_writing(path, busy_s=1.0, migrations=migrations)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT request_id, region FROM entries").fetchall() == [("before", None)]
        assert connection.execute("SELECT settled_pusd FROM accounts").fetchall() == [(31,)]
        assert connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_a_step_that_fails_leaves_the_older_file(path: Path) -> None:
    """A file is of one version or of the other, never in between."""
    asyncio.run(begin(path))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        open_for_writing(path, busy_s=1.0, migrations=(*MIGRATIONS, f"{ADDED_COLUMN}\nDROP TABLE nowhere;"))
    with closing(open_for_writing(path, busy_s=1.0)) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(entries)")]
    assert columns == ["id", *COLUMNS]


def test_of_many_that_open_a_new_file_at_once_one_makes_it(path: Path) -> None:
    """Whoever comes second finds the tables there."""
    together, failures = threading.Barrier(8), []

    def open_together() -> None:
        together.wait()
        try:
            open_for_writing(path, busy_s=10.0).close()
        except sqlite3.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=open_together) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_rows_of_an_older_file_are_read_after_it_is_brought_up_to_date(path: Path) -> None:
    """Reading changes nothing, and says what does."""
    with closing(open_for_writing(path, busy_s=1.0)) as connection:
        connection.execute("PRAGMA user_version=0")
    with pytest.raises(LedgerError, match=r"older format .* make one call with it"):
        list(SqliteLedger(path).rows())


def test_entries_are_never_changed(path: Path) -> None:
    """Also by hand, with SQLite's own shell, a booked row stays as it is."""
    asyncio.run(begin(path))
    with closing(sqlite3.connect(path)) as other:
        for statement in ("UPDATE entries SET cost_pusd = 0", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="entries of a ledger are never"):
                other.execute(statement)


def apart(role: str, folder: Path) -> list[Any]:
    """What a role of `ledger_process.py` tells from a mount namespace of its own."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets no user mount a small disk of their own")
    script = Path(__file__).with_name("ledger_process.py")
    source = Path(genops_helicone_async.__file__).parents[1]
    ended = subprocess.run(
        [*command, sys.executable, str(script), role, str(folder)],
        env={"PYTHONPATH": str(source), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        timeout=25,
        check=True,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_what_is_spent_on_a_full_disk_is_written_when_there_is_room(tmp_path: Path) -> None:
    """Nothing is granted meanwhile, and all 2,000 rows are in the file in the end."""
    spent, refused, unwritten, rows = apart("fill_the_disk", tmp_path)
    assert "not in the file: " in spent
    assert "the disk is full: make room" in spent
    assert "the disk is full: make room" in refused
    assert (unwritten, rows) == (2_000, 2_001)


def test_closing_on_a_full_disk_names_what_is_lost(tmp_path: Path) -> None:
    """Two thousand rows of a tenth of a cent."""
    (lost,) = apart("stay_full", tmp_path)
    assert lost.startswith("2000 rows worth $2.000000 could not be written to ")
    assert "the disk is full: make room" in lost


def test_a_read_only_disk_refuses_and_can_be_read(tmp_path: Path) -> None:
    """An archive is good for reports."""
    refused, rows = apart("freeze_the_disk", tmp_path)
    assert "check that it is a file and that this user may write to its folder" in refused
    assert rows == ["before"]


def test_a_read_only_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The permission is missing, and is named."""
    (refused,) = apart("freeze_the_file", tmp_path)
    assert "it may not be written: give this user write permission on the file and its folder" in refused

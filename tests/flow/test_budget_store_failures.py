"""Calls while the ledger's file cannot be used: under a budget they are not sent, and answers paid for are not lost."""

import asyncio
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    ConfigurationError,
    DeadlineExceededError,
    GenOpsHeliconeAsyncAdapter,
    LedgerError,
    multi_provider_cost_tracking,
)
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


def adapter_of(gateway: SandboxGateway, path: Path) -> GenOpsHeliconeAsyncAdapter:
    """An adapter whose budgets are in that file."""
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, state_url=f"sqlite:///{path}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program's write lock on the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def missing_folder(path: Path) -> Path:
    """The folder was not made."""
    return path.parent / "not there" / path.name


def no_database(path: Path) -> Path:
    """The file is a text."""
    path.write_text("Dear diary, " * 1_000)
    return path


@pytest.mark.parametrize("spoil", [missing_folder, no_database])
async def test_a_file_that_was_never_usable_lets_nothing_through(
    gateway: SandboxGateway, path: Path, spoil: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Calls under a budget are refused at once, with the remedy; others are answered, and missed at the end."""
    caplog.set_level(logging.CRITICAL)
    adapter = adapter_of(gateway, await asyncio.to_thread(spoil, path))
    adapter.set_budget_limits(daily_limit=1.0)
    with multi_provider_cost_tracking(budget=1.0) as tracker:
        for _ in range(3):
            with pytest.raises(LedgerError, match="cannot be used"):
                await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    assert gateway.requests == ()
    assert [account.held_pusd for account in tracker._accounts._accounts.values()] == [0]
    adapter.set_budget_limits()
    response = await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    assert pusd(response.cost) == gateway.bill.total_pusd
    with pytest.raises(LedgerError, match=re.escape(f"1 rows worth ${gateway.bill.total_usd:.6f} could not")):
        await adapter.aclose()


async def test_a_file_that_is_deleted_meanwhile_stops_the_calls(
    gateway: SandboxGateway, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer on its way still arrives, what follows is refused, and the adapter's end names what is missing."""
    caplog.set_level(logging.CRITICAL)
    adapter = adapter_of(gateway, path)
    adapter.set_budget_limits(daily_limit=1.0)
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    gateway.faults.add(Fault(kind="delay", delay_s=0.05, times=1))
    running = asyncio.ensure_future(adapter.chat_async(f"{PROMPT} Again.", provider="openai", max_tokens=20))
    while len(gateway.requests) < 2:
        await asyncio.sleep(0)
    path.unlink()
    assert (await running).content
    with pytest.raises(LedgerError, match="was deleted or replaced while in use"):
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    assert len(gateway.requests) == 2
    with pytest.raises(LedgerError, match=r"1 rows worth .* could not be written .* was deleted"):
        await adapter.aclose()


async def test_a_locked_file_costs_a_call_its_deadline_and_no_more(gateway: SandboxGateway, path: Path) -> None:
    """A call that waits for the lock ends in time and is not sent; when the lock is gone nothing of it is held."""
    adapter = adapter_of(gateway, path)
    adapter.set_budget_limits(daily_limit=1.0)
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    with locked(path), pytest.raises(DeadlineExceededError, match="its budget was asked"):
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=20, timeout_seconds=0.1)
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    (status,) = adapter.get_budget_status()
    assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)
    assert len(gateway.requests) == 2
    await adapter.aclose()


async def test_an_answer_that_cannot_be_written_yet_is_given_and_written_later(
    gateway: SandboxGateway, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the latest at its deadline the caller has it; it is in the file as soon as that takes it."""
    adapter = adapter_of(gateway, path)
    adapter.set_budget_limits(daily_limit=1.0)
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    gateway.faults.add(Fault(kind="delay", delay_s=0.05, times=1))
    running = asyncio.ensure_future(
        adapter.chat_async(f"{PROMPT} Again.", provider="openai", max_tokens=20, timeout_seconds=0.5)
    )
    while len(gateway.requests) < 2:
        await asyncio.sleep(0)
    with locked(path):
        response = await running
    assert f"the ledger does not have call {response.request_id} yet" in caplog.text
    await adapter.aclose()
    rows = await asyncio.to_thread(lambda: list(SqliteLedger(path).rows()))
    assert [row.cost_pusd for row in rows] == [billed.cost_pusd for billed in gateway.bill.rows]


@pytest.mark.parametrize(
    ("state_url", "complaint"),
    [
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://ledger.db", "use sqlite:///file.db"),
        ("mysql://localhost/x", "scheme 'mysql'"),
    ],
)
def test_a_state_url_that_names_no_store_is_refused_at_once(state_url: str, complaint: str) -> None:
    """The mistake is told when the adapter is made, not with its first call."""
    with pytest.raises(ConfigurationError, match=complaint):
        GenOpsHeliconeAsyncAdapter("sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd", state_url=state_url)


async def test_a_relative_state_url_is_a_file_in_the_working_directory(
    gateway: SandboxGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sqlite:///ledger.db` is where the process was when the adapter was made."""
    monkeypatch.chdir(tmp_path)
    adapter = await asyncio.to_thread(adapter_of, gateway, Path("here.db"))
    monkeypatch.chdir("/")
    await adapter.chat_async(PROMPT, provider="openai", max_tokens=20)
    await adapter.aclose()
    assert (tmp_path / "here.db").is_file()

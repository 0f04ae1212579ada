"""Money of batches where it is short, or where its store is away: nothing passes a job's limit, no answer is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from batch_parts import FAST, FileJournal, adapter_at, cost_pusd, outcomes_of, row

import valkey_server
from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.cli import main
from genops_helicone_async.testing import SandboxGateway

LIMIT_USD = 0.00005


def test_limit_of_a_job_holds_for_rows_that_ignore_budgets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--max-cost` is a wall in batches, too, for rows that say `enforce_budget: false`: the rest stays unsent."""
    monkeypatch.chdir(tmp_path)
    rows = [{"message": f"Question {number}", "enforce_budget": False} for number in range(20)]
    Path("in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        monkeypatch.setenv("HELICONE_API_KEY", sandbox.api_key)
        monkeypatch.setenv("OPENAI_API_KEY", sandbox.provider_keys["openai"])
        status = main([
            "bulk", "in.jsonl", "-o", "out.jsonl", "--provider", "openai", "--max-tokens", "20", "--via", "batch",
            f"--provider-url=openai={sandbox.provider_urls['openai']}", "--poll-seconds", "0.05", "-q",
            "--max-cost", f"{LIMIT_USD:.5f}",
        ])  # fmt: skip
    assert status == 1
    assert "rows given back unsent" in capsys.readouterr().out
    assert 0 < sandbox.bill.total_pusd <= LIMIT_USD * 10**12


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A sandbox that answers at once."""
    async with SandboxGateway(latency_scale=0) as gateway:
        yield gateway


@pytest.mark.anyio
async def test_rows_wait_for_a_budgets_store_that_is_away(sandbox: SandboxGateway, tmp_path: Path) -> None:
    """Nothing is sent before the money is set aside; once the store answers again, all rows are."""
    server, journal = valkey_server.ValkeyServer(tmp_path), FileJournal(tmp_path / "out.journal")
    await asyncio.to_thread(server.start)
    notes: list[str] = []
    waits = asyncio.Event()

    def note(line: str) -> None:
        notes.append(line)
        if "setting money aside" in line:
            waits.set()

    async def come_back() -> None:
        await waits.wait()
        assert not sandbox.batches.known
        await asyncio.to_thread(server.start)

    try:
        async with asyncio.TaskGroup() as group, adapter_at(sandbox, state_url=server.url) as adapter:
            adapter.set_budget_limits(daily_limit=1.0)
            await adapter.chat_async("Hello", provider="openai", model="gpt-4o-mini", max_tokens=5)
            await asyncio.to_thread(server.stop)
            group.create_task(come_back())
            found = await outcomes_of(BatchRows(adapter, journal, FAST, note=note), [row(1), row(2)])
    finally:
        await asyncio.to_thread(server.stop)
        journal.close()
    assert [outcome.kind for outcome in found] == ["answered", "answered"]
    assert sum("setting money aside" in line for line in notes) == 1


@pytest.mark.anyio
async def test_own_prices_of_a_row_are_halved(sandbox: SandboxGateway, tmp_path: Path) -> None:
    """They are those of a live call: 2 and 8 dollars a million tokens are 1 and 4 in a batch."""
    journal = FileJournal(tmp_path / "out.journal")
    async with adapter_at(sandbox) as adapter:
        own = {"openai/gpt-4o-mini": {"input": 2.0, "output": 8.0}}
        (only,) = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1, prices=own)])
    journal.close()
    usage = json.loads(only.data)["response"]["body"]["usage"]
    assert cost_pusd([only]) == usage["prompt_tokens"] * 10**6 + usage["completion_tokens"] * 4 * 10**6 > 0

"""kill -9 at the nasty moments of a batch: the next run answers every row once, and nothing is submitted twice."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import batch_child
import pytest
from batch_parts import CLAUDE, FAST, FileJournal, adapter_at, outcomes_of, row

from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.testing import SandboxGateway


async def resumed(sandbox: SandboxGateway, journal_path: Path, left: list[Row]) -> list[Outcome]:
    """What the next run gives out."""
    journal = FileJournal(journal_path)
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), left)
    journal.close()
    return found


@pytest.mark.parametrize(
    ("moment", "provider"),
    [("after creation", "openai"), ("after creation", "anthropic"),
     ("among results", "openai")],
)  # fmt: skip
def test_killed_run_is_taken_up(tmp_path: Path, moment: str, provider: str) -> None:
    """Killed before the creation goes out, before its answer is written down, or while results are handed out."""
    options = CLAUDE if provider == "anthropic" else {}
    done, journal_path = tmp_path / "done", tmp_path / "out.journal"
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        urls = json.dumps({provider: sandbox.provider_urls[provider]})
        child = subprocess.run(
            [sys.executable, batch_child.__file__, moment, urls, journal_path, done, provider],
            check=False, capture_output=True, cwd=Path(__file__).parent,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()
        given = [int(line) for line in done.read_text().split()] if done.exists() else []
        left = [row(line, **options) for line in range(1, batch_child.ROWS + 1) if line not in given]
        found = asyncio.run(resumed(sandbox, journal_path, left))
        assert sorted([*given, *(outcome.line for outcome in found)]) == list(range(1, batch_child.ROWS + 1))
        assert {outcome.kind for outcome in found} == {"answered"}
        assert len(sandbox.batches.known) == 1
        assert len({billed.request_id for billed in sandbox.bill}) == len(sandbox.bill) == batch_child.ROWS

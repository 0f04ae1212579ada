"""A creation whose answer was lost: the batch is found again where it exists, and only else submitted once more."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from batch_parts import CLAUDE, FAST, Crash, CrashingJournal, FileJournal, adapter_at, cost_pusd, each, outcomes_of, row

from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])


@BOTH
@pytest.mark.parametrize("kind", ["reset_mid_body", "truncated_json"])
async def test_batch_whose_answer_was_lost_is_found_and_not_submitted_again(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str], kind: Any
) -> None:
    """The connection breaks, or the answer is garbled, after the provider has begun the batch: it is taken over."""
    sandbox.faults.add(Fault(kind=kind, model="batches", times=1))
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line, **options) for line in (1, 2)])
    assert [outcome.kind for outcome in found] == ["answered", "answered"]
    assert len(sandbox.batches.known) == 1
    assert cost_pusd(found) == sandbox.bill.total_pusd


@BOTH
async def test_creation_that_never_arrived_is_made_once_more(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """Where the provider lists no such batch, the rows go into a new one."""
    sandbox.faults.add(Fault(kind="reset", model="batches", times=1))
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line, **options) for line in (1, 2)])
    assert [outcome.kind for outcome in found] == ["answered", "answered"]
    assert len(sandbox.batches.known) == 1


@BOTH
async def test_list_that_lags_behind_is_waited_for(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """Nothing is submitted again before the list has had its time: a batch that shows late is found."""
    sandbox.faults.add(Fault(kind="reset_mid_body", model="batches", times=1))
    sandbox.batches.unlisted_looks = 3
    async with adapter_at(sandbox) as adapter:
        patient = msgspec.structs.replace(FAST, listing_s=60.0)
        found = await outcomes_of(BatchRows(adapter, journal, patient), [row(1, **options)])
    assert [outcome.kind for outcome in found] == ["answered"]
    assert len(sandbox.batches.known) == 1


async def test_another_jobs_batch_of_the_same_size_is_not_taken_for_ours(
    sandbox: SandboxGateway, journal: FileJournal, tmp_path: Path
) -> None:
    """Anthropic's batches bear no name: one of another job is looked into, and left alone; ours is then submitted."""
    theirs = FileJournal(tmp_path / "theirs.journal")
    async with adapter_at(sandbox) as adapter:
        await outcomes_of(BatchRows(adapter, theirs, FAST), [row(1, **CLAUDE), row(2, **CLAUDE)])
        sandbox.faults.add(Fault(kind="reset", model="batches", times=1))
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1, **CLAUDE), row(2, **CLAUDE)])
    theirs.close()
    assert [outcome.kind for outcome in found] == ["answered", "answered"]
    assert len(sandbox.batches.known) == 2
    assert len({billed.request_id for billed in sandbox.bill}) == len(sandbox.bill) == 4


async def test_running_batch_of_another_size_is_no_suspect(
    sandbox: SandboxGateway, journal: FileJournal, tmp_path: Path
) -> None:
    """Another job's batch that runs on and on holds nobody up, if it has another number of rows."""
    begun = asyncio.Event()
    theirs = FileJournal(tmp_path / "theirs.journal")
    async with adapter_at(sandbox) as adapter:
        sandbox.batches.stall()
        other = BatchRows(adapter, theirs, FAST, note=lambda line: begun.set())
        async with other.outcomes(each([row(1, **CLAUDE), row(2, **CLAUDE)])):
            await begun.wait()
        sandbox.faults.add(Fault(kind="reset", model="batches", times=1))

        def note(line: str) -> None:
            if " has 1 rows " in line:
                sandbox.batches.resume()

        found = await outcomes_of(BatchRows(adapter, journal, FAST, note=note), [row(1, **CLAUDE)])
    theirs.close()
    assert [outcome.kind for outcome in found] == ["answered"]
    assert len(sandbox.batches.known) == 2


async def test_suspect_that_still_runs_keeps_ours_from_being_submitted(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """While a batch that may be ours runs at Anthropic, nothing is submitted in its place; its end tells."""
    sandbox.batches.stall()
    sandbox.faults.add(Fault(kind="reset_mid_body", model="batches", times=1))
    looked = asyncio.Event()

    def note(line: str) -> None:
        if "looking whether it was begun" in line:
            looked.set()

    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, FAST, note=note)
        async with executor.outcomes(each([row(1, **CLAUDE)])) as outcomes:
            await looked.wait()
            listed = sandbox.statistics().calls
            while sandbox.statistics().calls < listed + 5:  # it looks again and again
                await asyncio.sleep(0.001)
            assert len(sandbox.batches.known) == 1
            sandbox.batches.resume()
            assert [outcome.kind async for outcome in outcomes] == ["answered"]
    assert len(sandbox.batches.known) == 1


@BOTH
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_job_that_ends_at_any_change_of_its_journal_goes_on(
    sandbox: SandboxGateway, tmp_path: Path, options: dict[str, str], after: bool
) -> None:
    """Whichever change of the journal is the last one, the next run has every row once, from one batch, billed once."""
    rows = [row(line, **options) for line in range(1, 5)]
    at = 0
    async with adapter_at(sandbox) as adapter:
        while True:
            at += 1
            sandbox.reset()
            path = tmp_path / f"{at}.journal"
            journal = FileJournal(path)
            crashing = CrashingJournal(journal, at, after=after)
            done: list[Outcome] = []
            try:
                await outcomes_of(BatchRows(adapter, crashing, FAST), rows, done.append)
            except Crash:
                given = {outcome.line for outcome in done if outcome.kind != "unsent"}
                left = [one for one in rows if one.line not in given]
                found = await outcomes_of(BatchRows(adapter, journal, FAST), left)
                assert [outcome.kind for outcome in found] == ["answered"] * len(left)
                assert len(sandbox.batches.known) == 1, at
                assert len(sandbox.bill) == 4
            journal.close()
            if crashing.changes < at:
                break
    assert at >= 6


class CutOnce(dict[str, tuple[str, bytes]]):
    """Files of which the first results that are fetched end after a line."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def __getitem__(self, file_id: str) -> tuple[str, bytes]:
        name, data = super().__getitem__(file_id)
        if self.is_cut or not name.endswith("_output.jsonl"):
            return name, data
        self.is_cut = True
        return name, data[: data.index(b"\n") + 1]


async def test_results_that_end_between_two_lines_are_fetched_again(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """A proxy that ends the answer early leaves whole lines: the batch says how many there are."""
    sandbox.batches.files = CutOnce()
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line) for line in (1, 2, 3)])
    assert sorted((outcome.line, outcome.kind) for outcome in found) == [(line, "answered") for line in (1, 2, 3)]
    assert (len(sandbox.batches.known), len(sandbox.bill)) == (1, 3)

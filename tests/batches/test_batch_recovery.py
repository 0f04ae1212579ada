"""Batches of an earlier run that never began, or are refused: their rows are neither doubled nor lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from batch_parts import CLAUDE, FAST, Crash, CrashingJournal, FileJournal, adapter_at, outcomes_of, row

from genops_helicone_async import HeliconeError
from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.bulk.batches.state import is_uncreated
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.errors import Billed
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio
BEFORE_CREATION = 3
"""The change of the journal that says that a batch may be created, after the tables' and the rows' own."""


async def died_before_creation(sandbox: SandboxGateway, path: Path, rows: list[Row]) -> FileJournal:
    """The journal of a run that died when it was about to create its batch."""
    journal = FileJournal(path)
    async with adapter_at(sandbox) as adapter:
        with pytest.raises(Crash):
            await outcomes_of(BatchRows(adapter, CrashingJournal(journal, BEFORE_CREATION, after=True), FAST), rows)
    assert not sandbox.batches.known
    return journal


@pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])
async def test_rows_that_are_read_while_their_batch_is_begun_anew_are_in_it_once(
    sandbox: SandboxGateway, tmp_path: Path, options: dict[str, str]
) -> None:
    """The first rows have their batch looked for, and begun anew, before the last are read: those wait for it, too."""
    rows = [row(line, **options) for line in (1, 2, 3, 4)]
    journal = await died_before_creation(sandbox, tmp_path / "out.journal", rows)
    sandbox.batches.stall()
    begun = asyncio.Event()

    async def late() -> AsyncIterator[Row]:
        for one in rows:
            if one.line == 3:
                await begun.wait()
            yield one
        sandbox.batches.resume()

    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, FAST, note=lambda line: begun.set())
        async with executor.outcomes(late()) as outcomes:
            found = [(outcome.line, outcome.kind) async for outcome in outcomes]
    journal.close()
    assert sorted(found) == [(line, "answered") for line in (1, 2, 3, 4)]
    assert (len(sandbox.batches.known), len(sandbox.bill)) == (1, 4)


async def test_rows_that_are_read_while_their_batch_is_refused_fail_with_it(
    sandbox: SandboxGateway, tmp_path: Path
) -> None:
    """A batch that is begun anew and refused is asked for once, however late its last rows are read."""
    rows = [row(line) for line in (1, 2, 3, 4)]
    journal = await died_before_creation(sandbox, tmp_path / "out.journal", rows)
    sandbox.faults.add(Fault(kind="status", status=400, model="batches", after=1, body="no such thing"))

    async def late() -> AsyncIterator[Row]:
        for one in rows:
            while one.line == 3 and len(asked()) < 1:
                await asyncio.sleep(0.001)
            yield one

    def asked() -> list[str]:
        return [seen.path for seen in sandbox.requests if b"input_file_id" in seen.body]

    async with adapter_at(sandbox) as adapter, BatchRows(adapter, journal, FAST).outcomes(late()) as outcomes:
        found = [(outcome.line, outcome.kind, outcome.reason) async for outcome in outcomes]
    journal.close()
    assert sorted((line, kind) for line, kind, _ in found) == [(line, "failed") for line in (1, 2, 3, 4)]
    assert all("no such thing" in (reason or "") for _, _, reason in found)
    assert len(asked()) == 1


async def test_cancelling_begins_no_batch_anew(sandbox: SandboxGateway, tmp_path: Path) -> None:
    """Where batches are to end, one that never began is not begun: its rows come back, and a later run sends them."""
    rows = [row(line) for line in (1, 2)]
    journal = await died_before_creation(sandbox, tmp_path / "out.journal", rows)
    async with adapter_at(sandbox) as adapter:
        cancelling = msgspec.structs.replace(FAST, cancels=True)
        found = await outcomes_of(BatchRows(adapter, journal, cancelling), rows)
        assert [(outcome.line, outcome.kind) for outcome in found] == [(1, "unsent"), (2, "unsent")]
        assert not sandbox.batches.known
        found = await outcomes_of(BatchRows(adapter, journal, FAST), rows)
    journal.close()
    assert [outcome.kind for outcome in found] == ["answered", "answered"]
    assert len(sandbox.bill) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_complaint_strikes_its_own_row_whenever_the_job_ends(
    sandbox: SandboxGateway, tmp_path: Path, after: bool
) -> None:
    """The provider rejects the second row of a file: whichever change of the journal is the last, no other fails."""
    rows = [row(line) for line in (1, 2, 3)]
    at = 0
    async with adapter_at(sandbox) as adapter:
        while True:
            at += 1
            sandbox.reset()
            sandbox.faults.add(Fault(kind="status", status=400, model="line", body="too odd", after=1, times=1))
            journal = FileJournal(tmp_path / f"{at}.journal")
            crashing = CrashingJournal(journal, at, after=after)
            done: list[Outcome] = []
            try:
                await outcomes_of(BatchRows(adapter, crashing, FAST), rows, done.append)
            except Crash:
                done = [outcome for outcome in done if outcome.kind != "unsent"]
                given = {outcome.line for outcome in done}
                await outcomes_of(
                    BatchRows(adapter, journal, FAST), [one for one in rows if one.line not in given], done.append
                )
            journal.close()
            kinds = {outcome.line: outcome.kind for outcome in done}
            assert (kinds[1], kinds[3], len(done)) == ("answered", "answered", 3), at
            if crashing.changes < at:
                assert kinds[2] == "failed"
                break
    assert at >= 8


async def test_complaint_strikes_its_own_row_whatever_the_order(sandbox: SandboxGateway, tmp_path: Path) -> None:
    """Rows may come in another order than their lines: the file has them by line, and so complaints are read."""
    sandbox.faults.add(Fault(kind="status", status=400, model="line", body="too odd", times=1))
    journal = FileJournal(tmp_path / "out.journal")
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(3), row(1), row(2)])
    journal.close()
    assert {outcome.line: outcome.kind for outcome in found} == {1: "failed", 2: "answered", 3: "answered"}
    refused, done = sandbox.batches.known.values()
    assert [one.custom_id.rpartition("-")[2] for one in refused.rows] == ["1", "2", "3"]
    assert [len(done.rows), len(sandbox.bill)] == [2, 2]


@pytest.mark.parametrize(
    ("status", "billed", "is_certain"),
    [(None, "no", True), (None, "maybe", False), (400, "no", True), (429, "no", True), (408, "no", False)]
    + [(status, "no", False) for status in (500, 502, 503, 504)],
)
async def test_only_what_cannot_have_begun_is_asked_for_again(
    status: int | None, billed: Billed, is_certain: bool
) -> None:
    """A gateway that gives up waiting answers 5xx, too, while the provider begins the batch."""
    assert is_uncreated(HeliconeError("no", http_status=status, billed=billed)) is is_certain

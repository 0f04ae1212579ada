"""Rows over live calls and batches: all in batches while there is time, taken back and sent live when there is none."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from batch_parts import FAST, FileJournal, adapter_at, each, outcomes_of, row

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.batch_split import SplitTerms
from genops_helicone_async.bulk import Identity, Journal, open_job
from genops_helicone_async.bulk.batches import (
    BatchRows,
    SentLive,
    SplitOptions,
    SplitRows,
    load_sent_live,
    parse_finish_by,
)
from genops_helicone_async.bulk.journal_group import Listener
from genops_helicone_async.bulk.live import LiveRows
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.bulk.spending import JobSpending
from genops_helicone_async.cli.bulk_via import Via
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


def split_rows(adapter: Any, journal: FileJournal, left_s: float, clock: Clock, **more: Any) -> SplitRows:
    """Both, with a deadline, at a hundred live rows a second and decisions in quick succession."""
    terms = SplitTerms(cancel_s=1.0, step_s=0.005, margin_s=1.0)
    options = SplitOptions(finish_at_s=clock() + left_s, rate=100.0, terms=terms)
    return SplitRows(BatchRows(adapter, journal, FAST, **more), LiveRows(adapter), options, clock=clock)


async def test_all_rows_go_into_batches_while_there_is_time(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """With hours left nothing is paid in full, but for rows that no batch API takes."""
    groq = {"provider": "groq", "model": "llama-3.1-8b-instant"}
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(
            split_rows(adapter, journal, 7200.0, Clock()), [*(row(line) for line in range(1, 6)), row(6, **groq)]
        )
    assert {outcome.line: outcome.kind for outcome in found} == dict.fromkeys(range(1, 7), "answered")
    assert sorted((billed.provider, billed.kind) for billed in sandbox.bill) == [
        ("groq", "chat"), *[("openai", "batch")] * 5,
    ]  # fmt: skip


class Witness(SentLive):
    """Tells how often Groq had been asked by the time rows were noted."""

    def __init__(self, sandbox: SandboxGateway, journal: FileJournal) -> None:
        super().__init__(journal)
        self.seen: list[tuple[list[int], int]] = []
        self._sandbox = sandbox

    async def add(self, rows: Sequence[Row]) -> None:
        """As it is done."""
        await super().add(rows)
        asked = sum(seen.provider == "groq" for seen in self._sandbox.requests)
        self.seen.append(([row.line for row in rows], asked))


async def test_live_rows_are_noted_before_they_are_sent(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Each live row is in the journal while nothing of it is sent, those of batches never; a later run knows them."""
    groq = {"provider": "groq", "model": "llama-3.1-8b-instant"}
    rows = [row(line, **groq) for line in range(1, 101)]
    witness = Witness(sandbox, journal)
    async with adapter_at(sandbox) as adapter:
        batches = BatchRows(adapter, journal, FAST)
        split = SplitRows(batches, LiveRows(adapter, max_in_flight=8), SplitOptions(), sent_live=witness)
        found = await outcomes_of(split, [*rows, row(101)])
    assert (len(found), {outcome.kind for outcome in found}) == (101, {"answered"})
    noted = [line for lines, _ in witness.seen for line in lines]
    assert sorted(noted) == list(range(1, 101))
    before = [sum(len(lines) for lines, _ in witness.seen[:turn]) for turn in range(len(witness.seen))]
    assert all(asked <= known for (_, asked), known in zip(witness.seen, before, strict=True))
    assert [line in witness for line in (0, 1, 100, 101, 5000)] == [False, True, True, False, False]
    kept = await journal.write(lambda sql: sql.execute("SELECT line FROM provider_batch_live").fetchall())
    assert sorted(line for (line,) in kept) == list(range(1, 101))


@asynccontextmanager
async def job_at(output: Path) -> AsyncIterator[tuple[Journal, set[int]]]:
    """A run of a job that is split, and the lines that earlier ones may have sent live."""
    files = await asyncio.to_thread(open_job, output, Identity(digest="d", size=1))
    earlier = await asyncio.to_thread(load_sent_live, (), files.journal)
    journal = Journal(files)
    journal.start(Listener(settled=abs, promoted=list, copied=list, failed=print))
    yield journal, earlier
    await journal.close()


async def test_a_row_that_was_counted_is_not_counted_again_before_it_is_sent(
    sandbox: SandboxGateway, tmp_path: Path
) -> None:
    """What a killed run had sent live is counted by the next one; then only what that one sends is in doubt."""
    rows = [row(line) for line in (1, 2)]
    async with job_at(tmp_path / "out.jsonl") as (journal, earlier):
        await journal.take(rows)
        await SentLive(journal, earlier).add(rows[:1])
    async with adapter_at(sandbox) as adapter, job_at(tmp_path / "out.jsonl") as (journal, earlier):
        live, told = LiveRows(adapter), (await journal.take(rows)).again
        via = Via(live, print, batches=BatchRows(adapter, journal), sent_live=SentLive(journal, earlier))
        assert [(one.line, via.was_sent(one.line)) for one in told] == [(1, True), (2, False)]
        await JobSpending(journal, None, live.worst_case_pusd).before_again(rows[:1], via.sent_again)
        assert (journal.recovered.doubt_pusd > 0, earlier) == (True, {1})
    async with job_at(tmp_path / "out.jsonl") as (journal, earlier):
        assert (journal.recovered.in_doubt, journal.recovered.again) == ((1, 2), {1: rows[0].custom_id})
        assert earlier == set()


async def test_no_time_for_a_batch_means_live(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Where no batch could be taken back in time, all rows are sent live."""
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(split_rows(adapter, journal, 1.5, Clock()), [row(line) for line in range(1, 6)])
    assert len(found) == 5
    assert [billed.kind for billed in sandbox.bill] == ["chat"] * 5


async def test_batch_that_is_late_is_cancelled_and_its_rows_sent_live(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """Rows that the batch had done cost half, the others are answered live, each row once."""
    sandbox.batches.stall()
    clock = Clock()

    def note(line: str) -> None:
        if " has 6 rows " in line:
            sandbox.batches.work(2)
            clock.now_s += 7200.0 - 2.0

    async with adapter_at(sandbox) as adapter:
        rows = [row(line) for line in range(1, 7)]
        found = await outcomes_of(split_rows(adapter, journal, 7200.0, clock, note=note), rows)
    assert sorted(outcome.line for outcome in found) == [1, 2, 3, 4, 5, 6]
    assert {outcome.kind for outcome in found} == {"answered"}
    assert sorted(billed.kind for billed in sandbox.bill) == ["batch"] * 2 + ["chat"] * 4


async def test_job_that_was_left_takes_its_batches_up(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Leaving ends the run and keeps the batch; the next run answers its rows from it, and sends nothing again."""
    sandbox.batches.stall()
    rows = [row(line) for line in range(1, 4)]

    def note(line: str) -> None:
        if " has 3 rows " in line:
            executor.leave()

    async with adapter_at(sandbox) as adapter:
        executor = split_rows(adapter, journal, 7200.0, Clock(), note=note)
        assert await outcomes_of(executor, rows) == []
        sandbox.batches.resume()
        found = await outcomes_of(split_rows(adapter, journal, 7200.0, Clock()), rows)
    assert [outcome.kind for outcome in found] == ["answered"] * 3
    assert (len(sandbox.batches.known), len(sandbox.bill)) == (1, 3)


async def test_rows_that_were_not_submitted_come_back_when_the_run_is_left(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """What waits for its batch to fill is unsent, and nothing of it reaches the provider."""

    async def rows() -> AsyncIterator[Any]:
        async for one in each([row(1), row(2)]):
            yield one
        executor.leave()

    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, msgspec.structs.replace(FAST, linger_s=60.0))
        async with executor.outcomes(rows()) as outcomes:
            kinds = [outcome.kind async for outcome in outcomes]
    assert kinds == ["unsent", "unsent"]
    assert sandbox.batches.known == {}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW + timedelta(hours=2)),
        ("1d2h30m5s", NOW + timedelta(days=1, hours=2, minutes=30, seconds=5)),
        ("90min", NOW + timedelta(minutes=90)),
        ("23:15", NOW.replace(hour=23, minute=15)),
        ("06:30", NOW.replace(day=24, hour=6, minute=30)),
        ("2026-11-24T06:30", NOW.replace(day=24, hour=6, minute=30)),
        ("2026-11-24 06:30+02:00", NOW.replace(day=24, hour=4, minute=30)),
    ],
)
def test_moment_is_understood(text: str, moment: datetime) -> None:
    """A span from now, the next such time of day, or a date and time."""
    assert parse_finish_by(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "2h ago", "2026-11-23T21:00", "0m", "9" * 12 + "d", "9" * 5000 + "h"]
)
def test_what_is_no_moment_to_come_is_refused(text: str) -> None:
    """Nonsense, and what is over, with a message that shows what can be given."""
    with pytest.raises(ConfigurationError, match="finish_by"):
        parse_finish_by(text, NOW)


@pytest.mark.parametrize(
    ("evening", "morning"),
    [("2026-03-28 22:00+01:00", "2026-03-29 06:30+02:00"), ("2026-10-24 22:00+02:00", "2026-10-25 06:30+01:00")],
)
@pytest.mark.parametrize("text", ["06:30", "{}T06:30"])
def test_clocks_that_are_changed_in_the_night_are_reckoned_with(evening: str, morning: str, text: str) -> None:
    """Half past six is what the clock on the wall will show, not what it would have without the change."""

    def in_berlin(wall: datetime) -> datetime:
        return wall.replace(tzinfo=ZoneInfo("Europe/Berlin"))

    now, moment = datetime.fromisoformat(evening), datetime.fromisoformat(morning)
    assert parse_finish_by(text.format(moment.date()), now, in_berlin) == moment

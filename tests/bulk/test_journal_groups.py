"""A journal's groups of changes: what belongs together is written together, and what fails takes nothing with it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bulk_files import lines_of

from genops_helicone_async.bulk import Identity, Journal, Opening, Outcome, Row, RowReader, open_job
from genops_helicone_async.bulk.journal_group import Listener

pytestmark = pytest.mark.anyio


class Heard:
    """What a journal told."""

    def __init__(self) -> None:
        self.settled = 0
        self.copied: list[Outcome] = []
        self.promoted: list[Row] = []

    def listener(self) -> Listener:
        """Who is told."""
        return Listener(settled=self._settle, promoted=self.promoted.extend, copied=self.copied.extend, failed=print)

    def _settle(self, count: int) -> None:
        self.settled += count


@asynccontextmanager
async def journal_at(output: Path, heard: Heard, *, is_ordered: bool = False) -> AsyncIterator[Journal]:
    """A journal that writes, closed afterwards."""
    files = await asyncio.to_thread(open_job, output, Identity(digest="d", size=1), Opening(window=8))
    journal = Journal(files, is_ordered=is_ordered)
    journal.start(heard.listener())
    yield journal
    await journal.close()


def row(line: int, text: str = "Same") -> Row:
    """A row."""
    read = RowReader({}, remember_ids=False).read(line, b'{"message": "%b", "provider": "groq"}' % text.encode())
    assert isinstance(read, Row)
    return read


def answer(line: int) -> Outcome:
    """An answer to it."""
    data = b'{"id":"x","custom_id":"line-%d","response":{},"error":null,"receipt":{"line":%d,"cost_usd":0.1}}'
    return Outcome(line=line, custom_id=f"line-{line}", kind="answered", data=data % (line, line))


async def test_an_equal_row_that_comes_with_the_answer_is_answered(tmp_path: Path) -> None:
    """A row taken in the transaction in which its equal is answered has that answer: none other will come."""
    heard = Heard()
    async with journal_at(tmp_path / "out.jsonl", heard) as journal:
        assert (await journal.take([row(1)])).rows == [row(1)]
        journal.record(answer(1))
        assert (await journal.take([row(2)])).rows == []
    assert [(copy.line, copy.served_by) for copy in heard.copied] == [(2, "line-1")]
    assert [line["custom_id"] for line in lines_of(tmp_path / "out.jsonl")] == ["line-1", "line-2"]
    assert (heard.settled, journal.tally.ok, journal.tally.copied) == (1, 2, 1)


async def test_tables_of_ones_own_are_in_the_transaction(tmp_path: Path) -> None:
    """A change that fails is told to who asked for it, leaves nothing, and takes no row with it."""
    heard = Heard()

    def well(connection: sqlite3.Connection) -> int:
        connection.execute("CREATE TABLE IF NOT EXISTS mine_notes (note)")
        return connection.execute("INSERT INTO mine_notes VALUES ('kept')").rowcount

    def badly(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO mine_notes VALUES ('lost')")
        raise ValueError("no")

    async with journal_at(tmp_path / "out.jsonl", heard) as journal:
        taken, wrote, failed = await asyncio.gather(
            journal.take([row(1)]), journal.write(well), journal.write(badly), return_exceptions=True
        )
        assert (len(taken.rows), wrote, str(failed)) == (1, 1, "no")  # type: ignore[union-attr]
        notes = await journal.write(lambda connection: connection.execute("SELECT note FROM mine_notes").fetchall())
        assert notes == [("kept",)]


async def test_lines_that_are_early_are_held_by_the_journal(tmp_path: Path) -> None:
    """In an ordered output a line waits for those before it, over the end of a run, and is written once."""
    heard, output = Heard(), tmp_path / "out.jsonl"
    rows = [row(1, "One"), row(2, "Two"), row(3, "Three")]
    async with journal_at(output, heard, is_ordered=True) as journal:
        await journal.take(rows)
        journal.record(answer(3))
        journal.record(answer(2))
    assert (lines_of(output), heard.settled) == ([], 2)
    async with journal_at(output, heard, is_ordered=True) as journal:
        again = await journal.take(rows)
        assert ([one.line for one in again.rows], again.done) == ([1], 2)
        assert [one.line for one in again.again] == [1]
        journal.record(answer(1))
    assert [line["receipt"]["line"] for line in lines_of(output)] == [1, 2, 3]


async def test_names_and_answers_are_known_over_runs(tmp_path: Path) -> None:
    """A later run knows whose names are taken, and which answers are there, without having read their rows."""
    heard, output = Heard(), tmp_path / "out.jsonl"
    async with journal_at(output, heard) as journal:
        await journal.take([row(1)])
        journal.record(answer(1))
    reader = RowReader({}, remember_ids=False)
    same_name = reader.read(2, b'{"custom_id": "line-1", "message": "Other", "provider": "groq"}')
    assert isinstance(same_name, Row)
    async with journal_at(output, heard) as journal:
        taken = await journal.take([same_name, row(3)])
        assert [(bad.line, bad.reason) for bad in taken.bad] == [(2, "`custom_id` 'line-1' is that of line 1 already")]
        assert taken.rows == []
    assert [(copy.line, copy.served_by) for copy in heard.copied] == [(3, "line-1")]

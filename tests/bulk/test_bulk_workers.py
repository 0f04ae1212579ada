"""Workers: as many rows at once as are asked for, none taken too early, and what fails ends all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from genops_helicone_async.bulk import Outcome, Row, RowReader
from genops_helicone_async.bulk.workers import Workers

pytestmark = pytest.mark.anyio


def row(line: int) -> Row:
    """A row."""
    read = RowReader({}, remember_ids=False).read(line, b'{"message": "Hello"}')
    assert isinstance(read, Row)
    return read


class Desk:
    """Rows that are given out one by one, and answers that come when they are let go."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken: list[int] = []
        self.under_way: dict[int, asyncio.Future[None]] = {}

    async def rows(self) -> AsyncIterator[Row]:
        """The rows; which were taken is known."""
        for line in range(1, self.count + 1):
            self.taken.append(line)
            yield row(line)

    async def work(self, item: Row) -> Outcome:
        """Waits until it is let go."""
        self.under_way[item.line] = asyncio.get_running_loop().create_future()
        await self.under_way[item.line]
        return Outcome(line=item.line, custom_id=item.custom_id, kind="answered")


async def collect(workers: Workers, lines: list[int]) -> None:
    """Notes whose outcomes are given."""
    async for outcome in workers.outcomes():
        lines.append(outcome.line)  # noqa: PERF401  what is given before an error counts


async def settled() -> None:
    """Lets everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_rows_are_taken_than_may_be_out() -> None:
    """A row is taken for each outcome that was given, not for each that is there."""
    desk = Desk(10)
    workers = Workers(desk.rows(), desk.work, 3, lambda: False)
    await settled()
    assert desk.taken == [1, 2, 3]
    for line in (1, 2):
        desk.under_way[line].set_result(None)
    await settled()
    assert desk.taken == [1, 2, 3]
    outcomes = workers.outcomes()
    assert (await anext(outcomes)).line == 1
    await settled()
    assert desk.taken == [1, 2, 3, 4]
    await workers.aclose()


async def test_all_rows_are_answered_by_as_many_tasks_as_there_is_work_for() -> None:
    """Each row has one outcome, and no more tasks than rows at once are ever there."""
    at_once: list[int] = []
    others = len(asyncio.all_tasks())

    async def work(item: Row) -> Outcome:
        at_once.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return Outcome(line=item.line, custom_id=item.custom_id, kind="answered")

    workers = Workers(Desk(50).rows(), work, 4, lambda: False)
    lines = [outcome.line async for outcome in workers.outcomes()]
    assert sorted(lines) == list(range(1, 51))
    assert max(at_once) - others == 4 + 1  # one takes the rows


async def test_none_is_taken_once_it_is_ended() -> None:
    """From then on what is under way is finished, and the outcomes end."""
    desk = Desk(10)
    ended: list[bool] = []
    workers = Workers(desk.rows(), desk.work, 2, lambda: bool(ended))
    await settled()
    ended.append(True)
    for waiting in desk.under_way.values():
        waiting.set_result(None)
    assert [outcome.line async for outcome in workers.outcomes()] == [1, 2]
    assert desk.taken == [1, 2]


async def test_what_the_work_raises_ends_the_outcomes() -> None:
    """Outcomes that are there are given before; the rows are not asked again."""
    desk = Desk(10)

    async def work(item: Row) -> Outcome:
        if item.line == 2:
            raise ValueError("no such row")
        return Outcome(line=item.line, custom_id=item.custom_id, kind="answered")

    workers = Workers(desk.rows(), work, 2, lambda: False)
    lines: list[int] = []
    with pytest.raises(ValueError, match="no such row"):
        await collect(workers, lines)
    await workers.aclose()
    assert lines == [1]
    assert desk.taken == [1, 2]


async def test_what_the_rows_raise_ends_the_outcomes() -> None:
    """A source that breaks is told after the answers before it."""

    async def rows() -> AsyncIterator[Row]:
        yield row(1)
        raise OSError("the disk is gone")

    async def work(item: Row) -> Outcome:
        return Outcome(line=item.line, custom_id=item.custom_id, kind="answered")

    workers = Workers(rows(), work, 2, lambda: False)
    await settled()
    lines: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        await collect(workers, lines)
    await workers.aclose()
    assert lines == [1]

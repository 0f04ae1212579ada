"""When the changes of a journal are written: at once, together, or as soon as there are enough."""

import asyncio

import pytest

from genops_helicone_async.bulk import Outcome
from genops_helicone_async.bulk.gathering import Gathering
from genops_helicone_async.bulk.journal_group import Group

pytestmark = pytest.mark.anyio


def answer(line: int) -> Outcome:
    """An answer."""
    return Outcome(line=line, custom_id=f"line-{line}", kind="answered", data=b"{}")


def lines_of(groups: list[Group]) -> list[list[int]]:
    """Which lines are in which group."""
    return [[outcome.line for outcome in group.outcomes] for group in groups]


async def test_half_of_the_window_is_written_without_waiting_for_more() -> None:
    """The group begins within `record`; if what comes meanwhile is enough, it is the next once that is written."""
    groups: list[Group] = []
    gathering = Gathering(8, groups.append, lambda: False)
    for line in range(1, 5):
        assert groups == []
        gathering.record(answer(line))
    assert lines_of(groups) == [[1, 2, 3, 4]]
    for line in range(5, 10):
        gathering.record(answer(line))
    assert len(groups) == 1
    gathering.written()
    assert lines_of(groups) == [[1, 2, 3, 4], [5, 6, 7, 8, 9]]


async def test_what_comes_while_nothing_is_written_goes_in_the_next_turn() -> None:
    """A few outcomes of one turn make one group, without the wait that others would need."""
    groups: list[Group] = []
    gathering = Gathering(8, groups.append, lambda: False)
    gathering.record(answer(1))
    gathering.record(answer(2))
    await asyncio.sleep(0)
    assert lines_of(groups) == [[1, 2]]


async def test_the_end_waits_until_all_is_written() -> None:
    """The end comes after the group under way and the one that gathered meanwhile, neither of which waits for more."""
    groups: list[Group] = []
    gathering = Gathering(8, groups.append, lambda: False)
    gathering.record(answer(1))
    await asyncio.sleep(0)
    gathering.record(answer(2))
    end = asyncio.ensure_future(gathering.end())
    await asyncio.sleep(0)
    assert lines_of(groups) == [[1]]
    gathering.written()
    assert lines_of(groups) == [[1], [2]]
    await asyncio.sleep(0)
    assert not end.done()
    gathering.written()
    await end


async def test_what_an_order_still_holds_is_written_at_the_end() -> None:
    """While lines are held whose turn it is, groups without changes follow each other."""
    groups: list[Group] = []
    held = [2, 1, 0]
    gathering = Gathering(8, groups.append, lambda: bool(held.pop(0)))
    end = asyncio.ensure_future(gathering.end())
    for written in range(2):
        await asyncio.sleep(0)
        assert len(groups) == written + 1
        gathering.written()
    await end
    assert lines_of(groups) == [[], []]


async def test_it_is_full_while_much_waits_for_a_slow_output() -> None:
    """More than 4 MiB of lines: who records is to wait until they are written."""
    gathering = Gathering(None, lambda group: None, lambda: False)
    big = Outcome(line=1, custom_id="line-1", kind="answered", data=b"x" * (4 * 1024 * 1024 + 1))
    gathering.record(big)
    assert gathering.is_full
    room = asyncio.ensure_future(gathering.room())
    await asyncio.sleep(0)
    assert not room.done()
    gathering.written()
    await room
    assert not gathering.is_full
    await gathering.end()

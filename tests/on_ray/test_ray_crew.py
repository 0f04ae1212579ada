"""A crew of workers without Ray: the same leases, replacements and ends, with workers in the test's own process."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from crew_parts import KEY, LocalCrew, outcome, plan_for, rows_up_to

import valkey_server
from genops_helicone_async import ConfigurationError
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.integrations.ray import HeliconeBatches, WorkersLostError
from genops_helicone_async.integrations.ray.crew import MOST_FRUITLESS
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0, api_keys=[KEY]) as running:
        yield running


async def test_every_row_has_its_outcome(gateway: SandboxGateway) -> None:
    """More rows than are in flight, over two workers: each is answered and billed once, and both have worked."""
    crew = LocalCrew(plan_for(gateway), 200)
    outcomes = await crew.all()
    assert sorted(outcome.line for outcome in outcomes) == list(range(1, 201))
    assert {outcome.kind for outcome in outcomes} == {"answered"}
    assert len(gateway.bill.rows) == 200
    assert all(worker.answered > 0 for worker in crew.hired)
    assert (len(crew.hired), crew.notes) == (2, [])


async def test_lost_workers_are_replaced(gateway: SandboxGateway) -> None:
    """Their rows are done by others, each row counts once, and a note says what may be billed twice."""
    crew = LocalCrew(plan_for(gateway), 200, answers=(20, float("inf"), 20))
    outcomes = await crew.all()
    assert sorted(outcome.line for outcome in outcomes) == list(range(1, 201))
    assert (len(crew.hired), crew.crew.lost) == (4, 2)
    assert [note.partition(":")[0] for note in crew.notes] == ["worker 1 (process None) is lost"] * 2
    assert 0 < len(gateway.bill.rows) - 200 <= crew.crew.book.released.count <= 2 * 8


async def test_where_no_worker_lives_the_job_ends(gateway: SandboxGateway) -> None:
    """Three in a row in each place, none with an outcome: an error that says why, and nothing was sent."""
    crew = LocalCrew(plan_for(gateway), 10, answers=(-1,) * 2 * MOST_FRUITLESS)
    with pytest.raises(WorkersLostError, match=r"lost 3 times in a row, the last because: it could not be started\."):
        await crew.all()
    assert (len(crew.hired), gateway.requests) == (2 * MOST_FRUITLESS, ())


async def test_a_place_where_no_worker_lives_leaves_the_work_to_others(gateway: SandboxGateway) -> None:
    """The rows are all done by the other worker."""
    crew = LocalCrew(plan_for(gateway), 50, answers=(float("inf"), *(-1,) * MOST_FRUITLESS))
    assert len(await crew.all()) == 50
    assert [worker.answered for worker in crew.hired] == [50, 0, 0, 0]


async def test_a_place_is_not_given_up_while_its_workers_get_something_done(gateway: SandboxGateway) -> None:
    """More workers are lost there than may be in vain: each has answered rows, and the job goes on."""
    crew = LocalCrew(plan_for(gateway, max_in_flight=1), 30, workers=1, answers=(4,) * (MOST_FRUITLESS + 2))
    outcomes = await crew.all()
    assert sorted(each.line for each in outcomes) == list(range(1, 31))
    assert crew.crew.lost == MOST_FRUITLESS + 2


async def test_a_worker_without_a_place_keeps_nobody_from_ending(gateway: SandboxGateway) -> None:
    """A cluster with fewer CPUs than workers: those that have one do the rows, and the job ends with them."""
    crew = LocalCrew(plan_for(gateway), 50, workers=3, answers=(float("inf"), float("-inf"), float("-inf")))
    async with asyncio.timeout(20):
        assert len(await crew.all()) == 50
    assert [worker.answered for worker in crew.hired] == [50, 0, 0]
    assert crew.crew.lost == 0


async def test_what_a_lost_worker_gives_back_late_is_with_others(gateway: SandboxGateway) -> None:
    """The rows are being answered elsewhere: that they come back unsent as well says nothing."""
    crew = LocalCrew(plan_for(gateway), 50, answers=(4,))
    worker = crew.crew._hire

    def hire(number: int) -> Any:
        hired = worker(number)
        if number == 0:
            hired.said_late = [outcome(line, kind="unsent") for line in range(1, 51)]
        return hired

    crew.crew._hire = hire
    outcomes = await crew.all()
    assert sorted(each.line for each in outcomes) == list(range(1, 51))
    assert {each.kind for each in outcomes} == {"answered"}


async def test_a_wrong_setting_ends_the_job(gateway: SandboxGateway) -> None:
    """It is no lost worker, and is told as it is."""
    crew = LocalCrew(plan_for(gateway, caching={"cache_provider": "paper"}), 10)
    with pytest.raises(ConfigurationError, match="paper"):
        await crew.all()
    assert crew.crew.lost == 0


async def test_leaving_ends_every_worker(gateway: SandboxGateway) -> None:
    """No row is read any more, and those in flight are dropped."""
    gateway.faults.add(Fault(kind="hang", after=20))
    crew = LocalCrew(plan_for(gateway), 10_000)
    crew.crew.start()
    outcomes = [await anext(crew.crew) for _ in range(5)]
    await crew.crew.end()
    assert len(outcomes) == 5
    assert all(worker.ended.is_set() for worker in crew.hired)


async def test_an_input_that_cannot_be_read_ends_the_job(gateway: SandboxGateway) -> None:
    """With its own error."""
    crew = LocalCrew(plan_for(gateway), 10)

    async def broken() -> AsyncIterator[object]:
        raise OSError("the disk is gone")
        yield

    crew.crew._rows = broken()
    with pytest.raises(OSError, match="the disk is gone"):
        await crew.all()


async def test_the_sum_of_the_workers_keeps_to_the_budget(gateway: SandboxGateway, tmp_path: Path) -> None:
    """Where it is used up, what is left comes back unsent; the bill is within the limit, and close to it."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    try:
        plan = plan_for(gateway, settings={"state_url": server.url}, budgets={"daily_limit": 0.0005})
        crew = LocalCrew(plan, 200)
        outcomes = await crew.all()
    finally:
        server.stop()
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert len({outcome.line for outcome in outcomes}) == len(outcomes)
    assert (kinds["answered"], kinds["failed"]) == (len(gateway.bill.rows), 0)
    assert kinds["unsent"] > 0
    assert 0.85 * 500_000_000 < gateway.bill.total_pusd <= 500_000_000
    assert "the budget `daily`" in (crew.crew.stopped or "")


async def test_the_jobs_limit_is_a_wall_without_a_shared_store(gateway: SandboxGateway) -> None:
    """Each worker has a part of it, one that takes a lost one's place what is left of that at worst."""
    plan = plan_for(gateway, limit_pusd=300_000_000)
    crew = LocalCrew(plan, 200, answers=(8,))
    outcomes = await crew.all()
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["answered"] > 0
    assert kinds["unsent"] > 0
    assert 0.5 * 300_000_000 < gateway.bill.total_pusd <= 300_000_000
    assert crew.crew.lost == 1


async def test_the_jobs_limit_holds_for_rows_that_ignore_budgets(gateway: SandboxGateway) -> None:
    """Rows that say `enforce_budget: false` mean others' budgets, not the limit that the job was given."""

    async def rows() -> AsyncIterator[Row]:
        async for one in rows_up_to(200):
            yield msgspec.structs.replace(one, request=msgspec.structs.replace(one.request, enforce_budget=False))

    crew = LocalCrew(plan_for(gateway, limit_pusd=300_000_000), 0)
    crew.crew._rows = rows()
    kinds = Counter(each.kind for each in await crew.all())
    assert kinds["unsent"] > 0
    assert gateway.bill.total_pusd <= 300_000_000


async def test_what_was_spent_elsewhere_comes_off_the_jobs_limit(gateway: SandboxGateway) -> None:
    """Also when the workers are at work already."""
    crew = LocalCrew(plan_for(gateway, limit_pusd=300_000_000), 200, workers=1)
    crew.crew.start()
    await anext(crew.crew)
    await crew.crew.charge(100_000_000)
    kinds = Counter([outcome.kind async for outcome in crew.crew])
    await crew.crew.end()
    assert kinds["unsent"] > 0
    assert gateway.bill.total_pusd <= 200_000_000


async def test_ray_datas_class_adds_its_columns(gateway: SandboxGateway) -> None:
    """Called as Ray Data does, with a batch of columns: answers in the prompts' order, errors beside, the cost."""
    gateway.faults.add(Fault(kind="status", status=400, times=1, after=1))
    batches = HeliconeBatches(plan_for(gateway, max_in_flight=1), provider="openai", model="gpt-4o-mini")
    batch = {"prompt": ["One", "Two", "Three"], "number": [0, 1, 2]}
    done = await asyncio.to_thread(batches, batch)
    assert list(done) == ["prompt", "number", "answer", "cost", "error"]
    assert [answer.partition(":")[0] for answer in done["answer"]] == ["About 'One'", "", "About 'Three'"]
    assert [error.partition(":")[0] for error in done["error"]] == ["", "ProviderError", ""]
    assert sum(round(cost * 10**12) for cost in done["cost"]) == gateway.bill.total_pusd > 0
    for wrong, told in (({"text": []}, "no column 'prompt': it has 'text'"), (done, "a column 'answer' already")):
        with pytest.raises(ConfigurationError, match=told):
            batches(wrong)
    await asyncio.to_thread(batches.close)

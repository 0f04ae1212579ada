"""What a row that was on its way when a run ended may cost besides: each target, and each try that was lost before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.bulk import Identity, Journal, LiveRows, Opening, Outcome, Row, RowReader, open_job
from genops_helicone_async.bulk.journal_group import Listener
from genops_helicone_async.bulk.spending import JobSpending, lost_tries
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio
WORST_PUSD = 7


def row_of(**fields: Any) -> Row:
    """The first row of a job."""
    read = RowReader({"max_tokens": 50, **fields}).read(1, b'{"message": "Where is my order?"}')
    assert isinstance(read, Row)
    return read


async def each(*rows: Row) -> AsyncIterator[Row]:
    """An input of these rows."""
    for row in rows:
        yield row


async def worst_case(request: ChatRequest) -> int:
    """A round figure."""
    return WORST_PUSD


@asynccontextmanager
async def run_of(output: Path, *, is_expecting: bool = False) -> AsyncIterator[tuple[Journal, JobSpending]]:
    """A run of a job, with its journal and limit."""
    files = await asyncio.to_thread(
        open_job, output, Identity(digest="d", size=1), Opening(window=8, retry_failed=True)
    )
    journal = Journal(files)
    tries = await asyncio.to_thread(lost_tries, files.journal)
    spending = JobSpending(journal, 100, worst_case)
    if is_expecting:
        await spending.expect([row_of(provider="groq")] * len(files.recovered.in_doubt), tries)
    journal.start(Listener(settled=abs, promoted=list, copied=list, failed=print))
    yield journal, spending
    await journal.close()


async def test_each_target_may_have_been_paid() -> None:
    """A try may be lost at one target and go on to the next: all of them count, each once."""
    async with GenOpsHeliconeAsyncAdapter("key", gateway_url="http://127.0.0.1:9") as adapter:
        live = LiveRows(adapter)
        alone = [await live.worst_case_pusd(row_of(provider=name).request) for name in ("openai", "groq")]
        both = await live.worst_case_pusd(row_of(providers=["openai", "groq"]).request)
    assert both == sum(alone) > max(alone) > 0


async def test_a_lost_try_is_told_before_the_next_one() -> None:
    """A reply that is lost in an outage is told with its row once, while nothing has been sent again."""
    gateway = await SandboxGateway(latency_scale=0).start()
    gateway.faults.add(Fault(kind="hang", provider="groq"))
    back = SandboxGateway(latency_scale=0, port=int(gateway.url.rpartition(":")[2]))
    told: list[tuple[int, int]] = []

    async def before_repeat(row: Row) -> None:
        await back.start()
        told.append((row.line, len(back.requests)))

    async def break_off() -> None:
        while not gateway.requests:
            await asyncio.sleep(0)
        await gateway.close()

    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, retry_attempts=0) as adapter:
        live = LiveRows(adapter, max_in_flight=1)
        live.tell_repeats_to(before_repeat)
        breaking = asyncio.ensure_future(break_off())
        async with live.outcomes(each(row_of(provider="groq"))) as outcomes:
            (outcome,) = [outcome async for outcome in outcomes]
        await breaking
    await back.close()
    assert told == [(1, 0)]
    assert (outcome.kind, [attempt.billed for attempt in outcome.attempts]) == ("answered", ["maybe", "yes"])


async def test_a_reply_lost_before_the_last_try_is_told() -> None:
    """Where one target's reply was lost and the other is not there, the row's second try does not hide the first."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="reset", provider="openai", after=1, times=1))
        places: dict[str, Any] = {"provider_keys": {"groq": "k"}, "provider_urls": {"groq": "http://127.0.0.1:9/v1"}}
        row = row_of(providers=["openai", "groq"])
        async with GenOpsHeliconeAsyncAdapter(
            gateway.api_key, gateway_url=gateway.url, retry_attempts=0, **places
        ) as adapter:
            async with LiveRows(adapter, max_in_flight=1).outcomes(each(row, row)) as outcomes:
                _, outcome = [outcome async for outcome in outcomes]
            spent_pusd = round(adapter.get_usage_summary().total_cost * 10**12)
    assert (outcome.kind, [attempt.billed for attempt in outcome.attempts]) == ("answered", ["maybe", "yes"])
    assert spent_pusd > sum(round(attempt.cost * 10**12) for attempt in outcome.attempts) > 0


@pytest.mark.parametrize("is_expecting", [False, True])
async def test_tries_that_were_lost_before_a_kill_count(tmp_path: Path, *, is_expecting: bool) -> None:
    """The try under way at a kill and those that were noted before it take room of the limit, each once."""
    output, row = tmp_path / "out.jsonl", row_of(provider="groq")
    async with run_of(output) as (journal, spending):
        await journal.take([row])
        await spending.before_repeat(row)
        await spending.before_repeat(row)
    for doubt_pusd in (3 * WORST_PUSD, 4 * WORST_PUSD):
        async with run_of(output, is_expecting=is_expecting) as (journal, spending):
            left_pusd = 100 - (doubt_pusd if is_expecting else journal.recovered.doubt_pusd)
            assert spending.left_pusd == left_pusd
            taken = await journal.take([row])
            await spending.before_again(taken.again)
            assert (spending.spent_pusd, spending.left_pusd) == (doubt_pusd, 100 - doubt_pusd)
            assert spending.tracker.hold(101 - doubt_pusd, enforce=True) is not None
            assert spending.tracker.hold(100 - doubt_pusd, enforce=True) is None
    async with run_of(output) as (_, spending):
        assert spending.spent_pusd == 4 * WORST_PUSD


async def test_tries_of_a_row_that_has_ended_count_no_more(tmp_path: Path) -> None:
    """What was lost is told with the row's outcome: should it be sent again and be killed, only that is in doubt."""
    output, row = tmp_path / "out.jsonl", row_of(provider="groq")
    data = b'{"id":"x","custom_id":"line-1","response":null,"error":{},"receipt":{"line":1,"cost_usd":0}}'
    async with run_of(output) as (journal, spending):
        await journal.take([row])
        await spending.before_repeat(row)
        journal.record(Outcome(line=1, custom_id="line-1", kind="failed", data=data, error="X", reason="x"))
    async with run_of(output) as (journal, _):
        await journal.take([row])
    async with run_of(output) as (journal, spending):
        await spending.before_again((await journal.take([row])).again)
        assert spending.spent_pusd == WORST_PUSD

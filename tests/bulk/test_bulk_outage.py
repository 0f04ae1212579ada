"""A bulk job while nobody can be reached: it waits, says so once, and goes on; or gives its rows back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from bulk_files import numbered

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.bulk import LiveRows, Outcome, Row, RowReader
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


def rows_of(count: int) -> list[Row]:
    """So many rows."""
    reader = RowReader({})
    lines = enumerate(numbered(count), 1)
    return [row for number, fields in lines if isinstance(row := reader.read(number, json.dumps(fields).encode()), Row)]


async def given(rows: Iterator[Row] | list[Row]) -> AsyncIterator[Row]:
    """The same from an asynchronous iterator."""
    for row in rows:
        yield row


async def outcomes_of(live: LiveRows, rows: AsyncIterator[Row]) -> list[Outcome]:
    """All outcomes."""
    async with live.outcomes(rows) as outcomes:
        return [outcome async for outcome in outcomes]


@asynccontextmanager
async def adapter_to(url: str, key: str, **settings: object) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter that asks a gateway."""
    settings = {"provider_keys": {}, "retry_attempts": 0, **settings}
    async with GenOpsHeliconeAsyncAdapter(key, gateway_url=url, **settings) as adapter:  # type: ignore[arg-type]
        yield adapter


async def test_rows_wait_for_a_gateway_that_was_away() -> None:
    """A gateway that goes away in the middle and comes back costs no row, and its bill is that of the receipts."""
    notes: list[str] = []
    back: list[SandboxGateway] = []
    gateway = await SandboxGateway(latency_scale=0).start()
    port = int(gateway.url.rpartition(":")[2])

    async def rows() -> AsyncIterator[Row]:
        for row in rows_of(30):
            if row.line == 12:
                await gateway.close()
            yield row

    starting: list[asyncio.Task[None]] = []

    async def come_back() -> None:
        back.append(await SandboxGateway(latency_scale=0, port=port).start())

    def note(text: str) -> None:
        notes.append(text)
        if "waiting" in text:
            starting.append(asyncio.ensure_future(come_back()))

    async with adapter_to(gateway.url, gateway.api_key) as adapter:
        outcomes = await outcomes_of(LiveRows(adapter, max_in_flight=4, note=note), rows())
    await asyncio.gather(*starting)
    billed = gateway.bill.total_pusd + back[0].bill.total_pusd
    await back[0].close()
    assert sorted((outcome.line, outcome.kind) for outcome in outcomes) == [(n, "answered") for n in range(1, 31)]
    waiting, going_on = notes
    assert waiting.endswith(": waiting up to 600 s for it, no row fails meanwhile")
    assert going_on.endswith(": going on")
    costs = [attempt for outcome in outcomes for attempt in outcome.attempts]
    assert sum(round(one.cost * 10**12) for one in costs if one.billed != "maybe") <= billed
    assert len({outcome.line for outcome in outcomes}) == 30


async def test_after_the_wait_rows_are_given_back() -> None:
    """An outage that outlasts the patience gives the rows back: none has failed, and no more are taken."""
    gateway = await SandboxGateway(latency_scale=0).start()
    await gateway.close()
    taken = iter(rows_of(50))
    async with adapter_to(gateway.url, gateway.api_key) as adapter:
        live = LiveRows(adapter, max_in_flight=3, wait_s=0)
        outcomes = await outcomes_of(live, given(taken))
    assert {outcome.kind for outcome in outcomes} == {"unsent"}
    assert live.stopped is not None
    assert len(outcomes) + len(list(taken)) >= 49
    assert len(outcomes) <= 6


async def test_one_dead_provider_is_no_outage() -> None:
    """Rows whose own host does not answer fail while others are answered: nobody waits for that."""
    async with SandboxGateway(latency_scale=0) as gateway:
        urls = {"openai": "http://127.0.0.1:9/v1"}
        keys = {"openai": "k"}
        async with adapter_to(gateway.url, gateway.api_key, provider_urls=urls, provider_keys=keys) as adapter:
            dead = [RowReader({}).read(n, b'{"message": "x", "provider": "openai"}') for n in (1, 2)]
            alive = [row for row in rows_of(40) if row.line > 2]
            rows = [row for row in dead if isinstance(row, Row)] + alive
            outcomes = await outcomes_of(LiveRows(adapter, max_in_flight=3), given(rows))
    assert {outcome.kind for outcome in outcomes if outcome.line > 2} == {"answered"}
    assert [outcome.kind for outcome in outcomes if outcome.line <= 2] == ["failed", "failed"]


async def test_a_lost_reply_is_no_outage() -> None:
    """A connection that breaks after the request was sent fails its row, as in doubt, while the gateway is there."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="reset", provider="groq", times=1))
        async with adapter_to(gateway.url, gateway.api_key) as adapter:
            outcomes = await outcomes_of(LiveRows(adapter, max_in_flight=2), given(rows_of(6)))
    assert sorted(outcome.kind for outcome in outcomes) == ["answered"] * 5 + ["failed"]
    (failed,) = [outcome for outcome in outcomes if outcome.kind == "failed"]
    assert [attempt.billed for attempt in failed.attempts] == ["maybe"]


async def test_without_its_store_of_budgets_nothing_is_sent() -> None:
    """A shared budget that cannot be asked lets no row pass: all are given back, and it is said why."""
    pytest.importorskip("redis")
    notes: list[str] = []
    async with SandboxGateway(latency_scale=0) as gateway:
        async with adapter_to(gateway.url, gateway.api_key, state_url="redis://127.0.0.1:9/0") as adapter:
            adapter.set_budget_limits(daily_limit=1.0)
            live = LiveRows(adapter, max_in_flight=2, wait_s=0.2, note=notes.append)
            outcomes = await outcomes_of(live, given(rows_of(8)))
        assert gateway.requests == ()
    assert {outcome.kind for outcome in outcomes} == {"unsent"}
    assert len(notes) == 1
    assert "127.0.0.1:9" in notes[0]

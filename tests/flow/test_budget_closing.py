"""An adapter that is closed while calls are on their way: what they may have cost is in the ledger all the same."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from budget_storm import pusd

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter, HeliconeError
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."


@pytest.fixture(params=["memory", "sqlite"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where budgets are kept."""
    return None if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db"


def adapter_of(gateway: SandboxGateway, state_url: str | None, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter with a daily budget there."""
    adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, state_url=state_url, **settings)
    adapter.set_budget_limits(daily_limit=1.0)
    return adapter


async def rows_of(adapter: GenOpsHeliconeAsyncAdapter, state_url: str | None) -> list[LedgerRow]:
    """What is in the ledger, as a process that comes later finds it."""
    if state_url is None:
        ledger: Any = adapter._parts.ledger
        return list(ledger.rows())
    stored = SqliteLedger(state_url.removeprefix("sqlite:///"))
    return await asyncio.to_thread(lambda: list(stored.rows()))


async def check(adapter: GenOpsHeliconeAsyncAdapter, state_url: str | None, gateway: SandboxGateway) -> list[LedgerRow]:
    """Nothing is held, the sums agree, and nothing that was billed is missing; the rows."""
    await gateway.idle()
    rows = await rows_of(adapter, state_url)
    total_pusd = sum(row.cost_pusd for row in rows)
    (status,) = adapter.get_budget_status()
    assert (pusd(status.settled), status.held) == (total_pusd, 0.0)
    assert pusd(adapter.get_usage_summary().total_cost) == total_pusd
    assert {billed.request_id for billed in gateway.bill.rows} <= {row.request_id for row in rows}
    return rows


async def test_calls_on_their_way_are_booked_as_estimates(state_url: str | None) -> None:
    """A request that was sent may be billed, whoever closed the adapter meanwhile."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="slow_drip", delay_s=30.0))
        adapter = adapter_of(gateway, state_url)
        calls = [
            asyncio.ensure_future(adapter.chat_async(f"{PROMPT} {number}", provider="openai", max_tokens=30))
            for number in range(5)
        ]
        while len(gateway.bill) < 5:
            await asyncio.sleep(0)
        await adapter.aclose()
        rows = await check(adapter, state_url, gateway)
        assert [row.cost_source for row in rows] == ["estimated"] * 5
        assert all(isinstance(exc, HeliconeError) for exc in await asyncio.gather(*calls, return_exceptions=True))


@pytest.mark.parametrize("reads_on", [True, False])
async def test_a_stream_that_is_being_read_is_booked_and_says_why_it_ends(
    state_url: str | None, reads_on: bool
) -> None:
    """Its reader gets an error instead of an early end that looks like a whole answer."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="slow_drip", delay_s=0.01))
        adapter = adapter_of(gateway, state_url)
        stream = adapter.stream_async(PROMPT, provider="openai", max_tokens=60)
        async with stream:
            await anext(aiter(stream))
            await adapter.aclose()
            if reads_on:
                with pytest.raises(ConfigurationError, match="the adapter was closed while the call was on its way"):
                    [chunk async for chunk in stream]
        (row,) = await check(adapter, state_url, gateway)
        assert (row.status, row.cost_source) == ("ConfigurationError", "estimated")
        assert row.cost_pusd > 0


async def test_a_call_that_waits_to_try_again_is_booked_with_what_it_has_spent(state_url: str | None) -> None:
    """An attempt that may have been billed counts, although the call was still to go on."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="reset_mid_body", provider="openai"))
        gateway.faults.add(Fault(kind="status", provider="groq", status=503, retry_after=0.3))
        adapter = adapter_of(gateway, state_url)
        call = asyncio.ensure_future(adapter.chat_async(PROMPT, providers=["openai", "groq"], max_tokens=30))
        while len(gateway.requests) < 2 or gateway.statistics().in_flight:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)  # until the call has seen its second failure, and waits
        await adapter.aclose()
        rows = await check(adapter, state_url, gateway)
        assert [(row.provider, row.cost_pusd > 0) for row in rows] == [("openai", True), ("groq", False)]
        with pytest.raises(HeliconeError):
            await call
        assert len(await check(adapter, state_url, gateway)) == 2

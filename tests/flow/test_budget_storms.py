"""Storms against the wall: whatever goes wrong, the books agree with the gateway's own bill."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from budget_storm import CUSTOMER, CUSTOMERS, DAILY, PROVIDERS, SESSION, SHOWN_OUTPUT, TEAM, TEAMS, Storm, faults, pusd

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, multi_provider_cost_tracking
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

Rows = dict[str, LedgerRow]
WAYS = ("the AI gateway, own keys", "the providers' hosts", "the AI gateway, credits")


def adapter_of(gateway: SandboxGateway, way: str, state_url: str | None) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that sends its calls that way."""
    keys = {name: gateway.provider_keys[name] for name in PROVIDERS}
    settings: dict[str, Any] = {"gateway_url": gateway.url, "state_url": state_url}
    if way == "the providers' hosts":
        settings["provider_urls"] = {name: gateway.provider_urls[name] for name in PROVIDERS}
        del settings["gateway_url"]
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, keys, retry_attempts=2, **settings)


async def weather(gateway: SandboxGateway, storm: Storm, calls: int) -> Rows:
    """Lets the storm rage under tight limits until all is quiet; the ledger's rows."""
    adapter = storm.adapter
    for provider in PROVIDERS:  # so that no storm passes while prices are looked up for the first time
        await adapter.chat_async("Hello", provider=provider, max_tokens=5)
    gateway.faults.add(*faults(storm.dice))
    await storm.rage(calls)
    await gateway.idle()
    for _ in range(20):  # a dropped stream settles on the loop's next turns
        await asyncio.sleep(0)
    ledger: Any = adapter._parts.ledger
    await adapter._parts.budgets.fresh_status()  # behind all that was settled, also in a file
    rows = await asyncio.to_thread(lambda: list(ledger.rows()))
    return {row.request_id: row for row in rows}


def check_accounts(storm: Storm, rows: Rows) -> None:
    """No limit was ever broken, nothing is held, and every account is the sum of its rows."""
    assert storm.breaches == []
    sums = {"daily": sum(row.cost_pusd for row in rows.values())}
    for team in TEAMS:
        sums[f"team:{team}"] = sum(row.cost_pusd for row in rows.values() if row.team == team)
    for who in CUSTOMERS:
        sums[f"customer:{who}"] = sum(row.cost_pusd for row in rows.values() if row.customer_id == who)
    statuses = storm.adapter.get_budget_status()
    assert {status.name: (pusd(status.settled), status.held) for status in statuses} == {
        status.name: (sums[status.name], 0.0) for status in statuses
    }
    assert pusd(storm.adapter.get_usage_summary().total_cost) == sums["daily"]
    assert sum(len(record.rows) for record in storm.records) == len(rows)


def check_bill(gateway: SandboxGateway, rows: Rows) -> None:
    """Every reply that was billed has its row: exact where its usage arrived, else marked as an estimate."""
    for billed in gateway.bill.rows:
        row = rows[billed.request_id]
        if row.cost_source == "computed" and row.output_tokens != SHOWN_OUTPUT:
            assert billed.completed
            assert (row.cost_pusd, row.gateway_pusd) == (
                billed.cost_pusd + billed.gateway_fee_pusd,
                billed.gateway_fee_pusd,
            )
        elif row.cost_source == "computed":
            assert row.cost_pusd > billed.cost_pusd
        else:
            assert row.cost_source == "estimated"


def check_rows(gateway: SandboxGateway, storm: Storm, rows: Rows) -> None:
    """What is exact is on the bill, and every answer that a caller got is in the ledger at the cost it was told."""
    on_bill = {billed.request_id for billed in gateway.bill.rows}
    exact = {request_id for request_id, row in rows.items() if row.cost_pusd and row.cost_source != "estimated"}
    assert exact <= on_bill
    told = {request_id: (rows[request_id].status, rows[request_id].cost_pusd) for request_id in storm.returned}
    assert told == {request_id: ("ok", cost_pusd) for request_id, cost_pusd in storm.returned.items()}
    # the one way past a hold: a provider that bills more output than was asked for
    assert {rows[overrun.request_id].output_tokens for overrun in storm.overruns} <= {SHOWN_OUTPUT}


@pytest.mark.parametrize(("seed", "store"), [(seed, "file" if seed > 15 else "memory") for seed in range(20)])
async def test_books_agree_with_the_bill_after_a_storm(seed: int, store: str, tmp_path: Path) -> None:
    """At every moment within the limits, and afterwards exact: accounts, rows, receipts, trackers and the bill."""
    way, state_url = WAYS[seed % 3], f"sqlite:///{tmp_path}/ledger.db" if store == "file" else None
    async with (
        SandboxGateway(seed=seed, latency_scale=0, byok=way != WAYS[2]) as gateway,
        adapter_of(gateway, way, state_url) as adapter,
    ):
        adapter.set_budget_limits(
            DAILY,
            per_team_limits=dict.fromkeys(TEAMS[:2], TEAM),
            per_customer_limits=dict.fromkeys(CUSTOMERS[:2], CUSTOMER),
        )
        storm = Storm(adapter, random.Random(seed))
        with (
            multi_provider_cost_tracking("outer") as outer,
            multi_provider_cost_tracking("inner", budget=SESSION) as inner,
        ):
            rows = await weather(gateway, storm, calls=60)
        check_accounts(storm, rows)
        check_bill(gateway, rows)
        check_rows(gateway, storm, rows)
        total = adapter.get_usage_summary()
        for summary in (outer.get_session_summary(), inner.get_session_summary()):
            assert (summary.total_cost, summary.gateway_fees) == (total.total_cost, total.gateway_fees)
            assert (summary.request_count, summary.error_count) == (total.request_count, total.error_count)
        assert [account.held_pusd for account in inner._accounts._accounts.values()] == [0]

"""Rows through the providers' batch APIs: every row answered, billed and settled once, at half price."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from batch_parts import CLAUDE, FAST, FileJournal, adapter_at, cost_pusd, each, outcomes_of, row

from genops_helicone_async import (
    AuthenticationError,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    multi_provider_cost_tracking,
)
from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])
async def test_every_row_is_answered_once_at_half_price(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """Receipts, ledger and the sandbox's bill agree to the pico-dollar, and each row has its own answer."""
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line, **options) for line in range(1, 8)])
        summary = adapter.get_usage_summary()
    assert sorted(outcome.line for outcome in found) == list(range(1, 8))
    assert {outcome.kind for outcome in found} == {"answered"}
    lines = {outcome.line: json.loads(outcome.data) for outcome in found}
    for line, told in lines.items():
        assert told["custom_id"] == f"kunde/{line} ü"
        assert f"Question {line}" in told["response"]["body"]["choices"][0]["message"]["content"]
    assert [billed.kind for billed in sandbox.bill] == ["batch"] * 7
    assert cost_pusd(found) == sandbox.bill.total_pusd > 0
    assert summary.request_count == 7
    assert round(summary.total_cost * 10**12) == sandbox.bill.total_pusd


async def test_receipt_names_batch_and_price(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """A row's receipt says that it came in a batch, in which, and whose price for batches was taken."""
    async with adapter_at(sandbox) as adapter:
        (only,) = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1)])
    receipt = json.loads(only.data)["receipt"]
    (batch,) = sandbox.batches.known.values()
    assert (receipt["via"], receipt["batch_id"]) == ("batch", batch.id)
    assert receipt["price_source"].endswith(", batch")
    assert receipt["cost_source"] == "computed"


@pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])
async def test_refused_rows_fail_alone_and_cost_nothing(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """A row that the provider refuses inside a batch fails with the provider's status; the others are answered."""
    model = options.get("model", "gpt-4o-mini")
    sandbox.faults.add(Fault(kind="status", status=400, model=model, after=1, times=1, body="too odd"))
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line, **options) for line in (1, 2, 3)])
    kinds = {outcome.line: outcome.kind for outcome in found}
    assert kinds == {1: "answered", 2: "failed", 3: "answered"}
    (failed,) = [outcome for outcome in found if outcome.kind == "failed"]
    error = json.loads(failed.data)["error"]
    assert (failed.error, error["status_code"]) == ("ProviderError", 400)
    assert "too odd" in error["message"]
    assert (len(sandbox.bill), cost_pusd(found)) == (2, sandbox.bill.total_pusd)


async def test_rows_are_grouped_by_model_and_by_size(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """A batch has one model and at most so many rows and bytes; every row is in one."""
    rows = [row(line, model="gpt-4o" if line % 2 else "gpt-4o-mini") for line in range(1, 11)]
    async with adapter_at(sandbox) as adapter:
        options = msgspec.structs.replace(FAST, most_rows=3)
        found = await outcomes_of(BatchRows(adapter, journal, options), rows)
    sizes = sorted(len(batch.rows) for batch in sandbox.batches.known.values())
    assert sizes == [2, 2, 3, 3]
    assert sorted(outcome.line for outcome in found) == list(range(1, 11))
    async with adapter_at(sandbox) as adapter:
        options = msgspec.structs.replace(FAST, most_bytes=500)
        await outcomes_of(BatchRows(adapter, journal, options), [row(line) for line in range(11, 15)])
    assert sorted(len(batch.rows) for batch in sandbox.batches.known.values()) == [2, 2, 2, 2, 3, 3]


async def test_helicone_key_stays_away_from_piped_files(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Helicone hands files on with all headers: uploads and downloads carry none of its own, other calls do."""
    async with adapter_at(sandbox) as adapter:
        await outcomes_of(BatchRows(adapter, journal, FAST), [row(1)])
    told = {seen.path.partition("/v1/")[2].partition("/")[0]: seen.headers for seen in sandbox.requests}
    assert not [name for name in told["files"] if name.startswith("helicone-")]
    assert told["batches"]["helicone-auth"] == f"Bearer {sandbox.api_key}"
    assert told["files"]["authorization"] == f"Bearer {sandbox.provider_keys['openai']}"


async def test_creation_that_is_turned_away_is_tried_again(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """After a 429 on creation the same batch is submitted later, once."""
    sandbox.faults.add(Fault(kind="status", status=429, model="batches", times=2))
    notes: list[str] = []
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST, note=notes.append), [row(1)])
    assert [outcome.kind for outcome in found] == ["answered"]
    assert len(sandbox.batches.known) == 1
    assert any("trying again" in note for note in notes)


async def test_creation_that_is_refused_fails_its_rows(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """A batch that the provider will never take fails its rows with the reason, and nothing is billed."""
    sandbox.faults.add(Fault(kind="status", status=400, model="batches", body="no such thing"))
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1), row(2)])
    assert [(outcome.kind, outcome.error) for outcome in found] == [("failed", "ProviderError")] * 2
    assert "no such thing" in str(found[0].reason)
    assert len(sandbox.bill) == 0


async def test_wrong_key_ends_the_job(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """A key that the provider refuses is no row's fault: the job ends, and the rows stay unsent."""
    async with adapter_at(sandbox) as adapter:
        sandbox.faults.add(Fault(kind="status", status=401, model="batches"))
        with pytest.raises(AuthenticationError):
            await outcomes_of(BatchRows(adapter, journal, FAST), [row(1)])
    assert len(sandbox.bill) == 0


async def test_row_that_the_input_check_rejects_fails_alone(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Where a whole batch is refused for some lines, those rows fail and the others go once more."""
    rows = [row(line) for line in (1, 2, 3)]
    sandbox.faults.add(Fault(kind="status", status=400, model="line", after=1, times=1, body="bad line"))
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), rows)
    assert {outcome.line: outcome.kind for outcome in found} == {1: "answered", 2: "failed", 3: "answered"}
    assert len(sandbox.bill) == 2


@pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])
async def test_expired_rows_come_back_unsent(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """A batch that runs out of time settles what was done; the rest is unsent, and a later run sends it."""
    sandbox.batches.stall()
    rows = [row(line, **options) for line in (1, 2, 3)]

    def expire(note: str) -> None:
        if " has 3 rows " in note:
            sandbox.batches.work(1)
            sandbox.batches.expire()

    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST, note=expire), rows)
        kinds = {outcome.line: outcome.kind for outcome in found}
        assert kinds == {1: "answered", 2: "unsent", 3: "unsent"}
        sandbox.batches.resume()
        again = await outcomes_of(BatchRows(adapter, journal, FAST), rows[1:])
    assert {outcome.line: outcome.kind for outcome in again} == {2: "answered", 3: "answered"}
    assert cost_pusd([*found, *again]) == sandbox.bill.total_pusd
    assert len(sandbox.bill) == 3


@pytest.mark.parametrize("options", [{}, CLAUDE], ids=["openai", "anthropic"])
async def test_cancelled_batch_gives_back_what_was_not_done(
    sandbox: SandboxGateway, journal: FileJournal, options: dict[str, str]
) -> None:
    """Cancelling keeps and bills what was done by then; whoever takes rows back gets the others."""
    sandbox.batches.stall()
    taken_back: list[int] = []

    def take(given: Row) -> bool:
        taken_back.append(given.line)
        return given.line == 3

    def cancel(note: str) -> None:
        if " has 3 rows " in note:
            sandbox.batches.work(1)
            executor.cancel()

    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, FAST, note=cancel, take_back=take)
        found = await outcomes_of(executor, [row(line, **options) for line in (1, 2, 3)])
    assert {outcome.line: outcome.kind for outcome in found} == {1: "answered", 2: "unsent"}
    assert taken_back == [2, 3]
    assert len(sandbox.bill) == 1


async def test_batches_that_were_left_running_are_cancelled_by_a_later_run(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """Leaving a run leaves its batches; a run that cancels begins none, and fetches what they had done."""
    sandbox.batches.stall()
    rows = [row(line) for line in (1, 2)]
    begun = asyncio.Event()
    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, FAST, note=lambda line: begun.set())
        async with executor.outcomes(each(rows)):
            await begun.wait()
        assert [batch.rows for batch in executor.running()] == [2]
        sandbox.batches.work(1)
        later = BatchRows(adapter, journal, msgspec.structs.replace(FAST, cancels=True))
        found = await outcomes_of(later, [*rows, row(3)])
    assert {outcome.line: outcome.kind for outcome in found} == {1: "answered", 2: "unsent", 3: "unsent"}
    (batch,) = sandbox.batches.known.values()
    assert batch.fate == "cancelled"


async def test_budget_holds_the_worst_case_at_batch_prices(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Rows that the budget has no room for come back unsent before anything is sent, and all holds are given back."""
    async with adapter_at(sandbox) as adapter:
        with multi_provider_cost_tracking(budget=0.000_03) as tracker:
            found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(line) for line in range(1, 6)])
        assert tracker.hold(30_000_000 - sandbox.bill.total_pusd, enforce=True) is None
    kinds = Counter(outcome.kind for outcome in found)
    assert kinds == {"answered": 4, "unsent": 1}
    assert "less than this call may cost" in str(next(outcome.reason for outcome in found if outcome.reason))
    assert len(sandbox.bill) == 4
    assert sandbox.bill.total_pusd <= 30_000_000


async def test_run_that_is_left_holds_no_money(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """What is set aside for batches that go on is given back, and set aside again by the run that fetches them."""
    sandbox.batches.stall()
    begun = asyncio.Event()
    async with adapter_at(sandbox) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        executor = BatchRows(adapter, journal, FAST, note=lambda line: begun.set())
        async with executor.outcomes(each([row(1)])):
            await begun.wait()
            assert adapter.get_budget_status()[0].held > 0
        assert adapter.get_budget_status()[0].held == 0
        sandbox.batches.resume()
        held = []
        found = await outcomes_of(
            BatchRows(adapter, journal, FAST), [row(1)], lambda _: held.append(adapter.get_budget_status()[0].held)
        )
        (status,) = adapter.get_budget_status()
    assert [outcome.kind for outcome in found] == ["answered"]
    assert held == [0]
    assert (status.held, round(status.settled * 10**12)) == (0, sandbox.bill.total_pusd)


async def test_row_is_booked_once_however_often_its_result_is_fetched(
    sandbox: SandboxGateway, journal: FileJournal, tmp_path: Path
) -> None:
    """A durable ledger knows a row that an earlier run has booked, and whose answer it did not live to write."""
    rows = [row(line) for line in (1, 2, 3)]
    state_url = f"sqlite:///{tmp_path / 'ledger.db'}"
    totals = []
    for _ in range(2):
        async with adapter_at(sandbox, state_url=state_url) as adapter:
            adapter.set_budget_limits(daily_limit=1.0)
            found = await outcomes_of(BatchRows(adapter, journal, FAST), rows)
            assert [outcome.kind for outcome in found] == ["answered"] * 3
            (status,) = adapter.get_budget_status()
            totals.append(round(status.settled * 10**12))
    assert totals == [sandbox.bill.total_pusd] * 2
    assert len(sandbox.batches.known) == 1


async def test_provider_without_batches_is_told_before_anything_is_sent(
    sandbox: SandboxGateway, journal: FileJournal
) -> None:
    """A row that names such a provider fails alone; where the command line names it, the job ends at once."""
    asked = {"provider": "groq", "model": "llama-3.1-8b-instant"}
    async with adapter_at(sandbox) as adapter:
        found = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1, **asked), row(2)])
        assert {outcome.line: outcome.kind for outcome in found} == {1: "failed", 2: "answered"}
        by_default = msgspec.structs.replace(row(3, **asked), is_default_target=True)
        with pytest.raises(ConfigurationError, match="--via live"):
            await outcomes_of(BatchRows(adapter, journal, FAST), [by_default])
    assert len(sandbox.bill) == 1


async def test_gateway_of_ones_own_takes_no_batches(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """Where calls do not go to the provider's host with its own key, the message says that a batch needs it."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter:
        (refused,) = await outcomes_of(BatchRows(adapter, journal, FAST), [row(1)])
    assert refused.kind == "failed"
    assert "OPENAI_API_KEY" in str(refused.reason)
    assert "--provider-url openai=URL" in str(refused.reason)


async def test_rows_that_come_late_are_not_waited_for(sandbox: SandboxGateway, journal: FileJournal) -> None:
    """What there is goes out when no row has come for a while: the next one may wait for its answer."""
    answered = asyncio.Event()

    async def rows() -> AsyncIterator[Row]:
        yield row(1)
        await answered.wait()
        yield row(2)

    async with adapter_at(sandbox) as adapter:
        executor = BatchRows(adapter, journal, msgspec.structs.replace(FAST, linger_s=0.01))
        lines = []
        async with executor.outcomes(rows()) as outcomes:
            async for outcome in outcomes:
                lines.append(outcome.line)
                answered.set()
    assert lines == [1, 2]


async def test_compliance_mode_refuses_batches(sandbox: SandboxGateway, journal: FileJournal, tmp_path: Path) -> None:
    """Where every call is recorded before it is sent, a batch cannot be."""
    adapter = adapter_at(
        sandbox, compliance_mode=True, allow_insecure_http=True, audit_logging=tmp_path / "audit.jsonl"
    )
    async with adapter:
        with pytest.raises(ConfigurationError, match="--via live"):
            await outcomes_of(BatchRows(adapter, journal, FAST), [row(1)])

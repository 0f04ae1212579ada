"""Cost debugging: receipts in the log, doubtful prices and unexpected costs told."""

import logging
from collections.abc import AsyncIterator, Mapping

import pytest

from genops_helicone_async import GatewayCache, GatewayOptions, GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._flow.cost_debugging import CostDebugging
from genops_helicone_async._flow.estimates import Estimates
from genops_helicone_async._flow.ticket import RequestRecord
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.tokens import heuristic_tokens
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio
LOGGER = "genops_helicone_async.costs"


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def test_every_receipt_is_logged_until_it_is_switched_off(
    gateway: SandboxGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per attempt with tokens and dollars; nothing after it was switched off."""
    caplog.set_level(logging.INFO, LOGGER)
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.enable_cost_debugging(log_all_requests=True)
        response = await adapter.chat_async("Hello", provider="openai", team="research", max_tokens=20)
        adapter.enable_cost_debugging()
        await adapter.chat_async("Hello", provider="openai")
    usage = response.usage
    assert [record.message for record in caplog.records if record.name == LOGGER] == [
        (
            f"{response.request_id} openai/gpt-4o-mini ok: {usage.input_tokens} in, {usage.output_tokens} out, "
            f"${usage.total_cost:.9f} (computed), team research"
        )
    ]


def debugging_with(second: Mapping[str, tuple[float, float]]) -> CostDebugging:
    """Cost debugging over one price, $1 in and $2 out per million tokens, and a second source."""
    book = PriceBook({"openai/gpt-4o-mini": {"input": 1.0, "output": 2.0}})
    return CostDebugging(book, Estimates(lambda _, text: heuristic_tokens(text), {}), lambda: second)


def record_of(cost_pusd: int, **request: int) -> RequestRecord:
    """The record of a call that cost that much."""
    row = LedgerRow(request_id="r1", at_s=0.0, provider="openai", model="gpt-4o-mini", status="ok", cost_pusd=cost_pusd)
    return RequestRecord(
        request=ChatRequest(message="Hello", **request),  # type: ignore[arg-type]
        attribution={},
        routing=None,
        attempts=(),
        rows=(row,),
        duration_s=0.1,
    )


def test_a_price_that_the_second_source_has_otherwise_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Only the rate that differs is named, with both figures, and not for every call."""
    debugging = debugging_with({"gpt-4o-mini": (1e-6, 2.5e-6)})
    debugging.configure(log_all=False, validate=True, unexpected=False)
    debugging(record_of(1))
    debugging(record_of(1))
    assert [record.message for record in caplog.records] == [
        (
            "the price of openai/gpt-4o-mini is doubtful: output costs $2.0000 per million tokens here (override), "
            "$2.5000 in the second source"
        )
    ]


def test_without_a_second_source_validation_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Validation that cannot be done is not silently left out."""
    debugging_with({}).configure(log_all=False, validate=True, unexpected=False)
    assert [record.message for record in caplog.records] == [
        "prices cannot be validated: no second source is installed (pip install litellm)"
    ]


@pytest.mark.parametrize(("cost_pusd", "told"), [(2_009_000_000, False), (6_100_000_000, True), (600_000_000, True)])
def test_a_cost_far_from_the_estimate_is_told(caplog: pytest.LogCaptureFixture, cost_pusd: int, told: bool) -> None:
    """9 input and 1,000 output tokens are expected: three times more or less is told, the expected is not."""
    debugging = debugging_with({})
    debugging.configure(log_all=False, validate=False, unexpected=True)
    debugging(record_of(cost_pusd))
    assert [record.message[:44] for record in caplog.records] == (
        ["call r1 to openai/gpt-4o-mini cost " + f"${cost_pusd / 1e12:.6f}"] if told else []
    )


async def test_a_hit_of_a_cache_is_no_unexpected_cost(
    gateway: SandboxGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """That an answer from the gateway's cache is free is what the cache is for."""
    options = GatewayOptions(cache=GatewayCache(enabled=True))
    prices = {"openai/gpt-4o-mini": {"input": 100.0, "output": 100.0}}
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, gateway_options=options, prices=prices
    ) as adapter:
        await adapter.chat_async("Hello", provider="openai", max_tokens=20)
        adapter.enable_cost_debugging(alert_on_unexpected_costs=True)
        assert (await adapter.chat_async("Hello", provider="openai", max_tokens=20)).cached
    assert [record.message for record in caplog.records if record.name == LOGGER] == []

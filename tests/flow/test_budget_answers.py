"""What an answer costs however it is read: whole, streamed, left half way, from a cache, or without its usage."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    BudgetExceededError,
    BudgetOverrun,
    ConfigurationError,
    GatewayCache,
    GatewayOptions,
    GenOpsHeliconeAsyncAdapter,
    StreamInterruptedError,
    multi_provider_cost_tracking,
)
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, at list prices."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter_of(gateway: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter under a budget that nothing here exhausts."""
    adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, **settings)
    adapter.set_budget_limits(daily_limit=10.0)
    return adapter


def rows_of(adapter: GenOpsHeliconeAsyncAdapter) -> list[LedgerRow]:
    """The ledger's rows, oldest first."""
    ledger: Any = adapter._parts.ledger
    return ledger.rows()  # type: ignore[no-any-return]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_a_stream_left_after_its_last_word_costs_exactly_what_is_billed(
    gateway: SandboxGateway, provider: str
) -> None:
    """Whoever stops reading at the finish reason has got the whole answer: its usage is here, nothing is estimated."""
    async with adapter_of(gateway) as adapter:
        async with adapter.stream_async(PROMPT, provider=provider, max_tokens=60) as stream:
            async for chunk in stream:
                if chunk.finish_reason is not None:
                    break
        (row,) = rows_of(adapter)
        (status,) = adapter.get_budget_status()
    (billed,) = gateway.bill.rows
    assert (row.cost_source, row.cost_pusd) == ("computed", billed.cost_pusd)
    assert (row.input_tokens, row.output_tokens) == (billed.input_tokens, billed.output_tokens)
    assert (pusd(status.settled), status.held) == (billed.cost_pusd, 0.0)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", [Fault(kind="cut"), Fault(kind="wrong_usage", body="missing")], ids=lambda f: f.kind)
async def test_an_estimate_of_an_answer_stays_within_its_hold(
    gateway: SandboxGateway, provider: str, fault: Fault
) -> None:
    """What was said is counted by another tokenizer than the provider's, but never beyond `max_tokens`."""
    told: list[object] = []
    async with adapter_of(gateway) as adapter:
        adapter.on_budget_event(told.append)
        text = "Grüße an alle: καλημέρα, доброе утро, おはようございます, 早上好"  # the sandbox repeats it
        gateway.faults.add(fault)
        async with adapter.stream_async(text, provider=provider, max_tokens=12) as stream:
            with suppress(StreamInterruptedError):
                [chunk async for chunk in stream]
        (row,) = rows_of(adapter)
    assert row.cost_source == "estimated"
    assert not [event for event in told if isinstance(event, BudgetOverrun)]


@pytest.mark.parametrize("ending", ["read", "left", "whole"])
async def test_a_hit_of_the_gateway_s_cache_costs_nothing_and_holds_nothing(
    gateway: SandboxGateway, ending: str
) -> None:
    """What the gateway answers from its cache is free, whether it is read to its end or not."""
    options = GatewayOptions(cache=GatewayCache(enabled=True))
    async with adapter_of(gateway, gateway_options=options) as adapter:
        for _ in range(2):
            if ending == "whole":
                await adapter.chat_async(PROMPT, provider="openai", max_tokens=60)
                continue
            async with adapter.stream_async(PROMPT, provider="openai", max_tokens=60) as stream:
                async for _chunk in stream:
                    if ending == "left" and len(gateway.requests) == 2:
                        break
        first, hit = rows_of(adapter)
        (status,) = adapter.get_budget_status()
        summary = adapter.get_usage_summary()
    assert gateway.statistics().cache_hits == 1
    assert (first.cost_pusd, hit.cost_pusd, hit.cost_source) == (gateway.bill.total_pusd, 0, "computed")
    assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)
    assert summary.cache_hits == (0 if ending == "left" else 1)


@pytest.mark.parametrize(
    ("dialect", "provider"),
    [(dialect, name) for dialect in ("gateway", "host", "rust") for name in ("openai", "anthropic", "gemini")]
    + [("openai", "openai"), ("gateway", "deepseek"), ("host", "deepseek")],
)
async def test_a_streamed_answer_costs_what_the_whole_one_does(
    gateway: SandboxGateway, dialect: str, provider: str
) -> None:
    """With tools, thinking and a long prompt: the same figures to the token, and the bill's, in every dialect."""
    settings: dict[str, Any] = {
        "gateway": {"gateway_url": gateway.url},
        "host": {"provider_urls": {provider: gateway.provider_urls[provider]}},
        "rust": {"gateway_url": gateway.rust_url, "gateway_dialect": "rust"},
        "openai": {"gateway_url": gateway.openai_url, "gateway_dialect": "openai"},
    }[dialect]
    weather = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    asked: dict[str, Any] = {
        "message": PROMPT * 120 + " Please get_weather.",
        "provider": provider,
        "max_tokens": 80,
        "tools": [{"type": "function", "function": weather}],
    }
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, {provider: "a-key"}, **settings) as adapter:
        adapter.set_budget_limits(daily_limit=10.0)
        whole = await adapter.chat_async(**asked)
        async with adapter.stream_async(**asked) as stream:
            async for _ in stream:
                pass
        (status,) = adapter.get_budget_status()
    streamed = stream.response
    assert [call.arguments for call in streamed.tool_calls] == [call.arguments for call in whole.tool_calls] != []
    figures = [(r.usage.input_tokens, r.usage.output_tokens, pusd(r.cost)) for r in (whole, streamed)]
    assert figures == [(billed.input_tokens, billed.output_tokens, billed.cost_pusd) for billed in gateway.bill.rows]
    assert figures[0] == figures[1]
    assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)


async def test_an_abandoned_stream_is_no_error_for_anyone(gateway: SandboxGateway) -> None:
    """Tracker and adapter count it alike: a call that cost money and did not fail."""
    async with adapter_of(gateway) as adapter:
        with multi_provider_cost_tracking() as tracker:
            async with adapter.stream_async(PROMPT, provider="openai", max_tokens=60) as stream:
                await anext(aiter(stream))
        for summary in (tracker.get_session_summary(), adapter.get_usage_summary()):
            assert (summary.request_count, summary.error_count) == (1, 0)


async def test_a_call_that_names_no_known_provider_counts_everywhere_as_failed(gateway: SandboxGateway) -> None:
    """A tracker and the adapter agree on how many calls there were, also where nothing could be sent."""
    async with adapter_of(gateway) as adapter:
        with multi_provider_cost_tracking() as tracker, pytest.raises(ConfigurationError, match="unknown provider"):
            await adapter.chat_async(PROMPT, provider="nobody")
        for summary in (tracker.get_session_summary(), adapter.get_usage_summary()):
            assert (summary.request_count, summary.error_count, summary.total_cost) == (1, 1, 0.0)


async def test_vectors_are_held_and_billed_by_what_goes_in(gateway: SandboxGateway) -> None:
    """An embeddings call holds its input alone, costs what is billed, and is refused where there is no room."""
    urls = {"openai": gateway.provider_urls["openai"]}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, {"openai": "a-key"}, provider_urls=urls) as adapter:
        adapter.set_budget_limits(daily_limit=0.00001)
        with multi_provider_cost_tracking() as tracker:
            response = await adapter.embed_async([PROMPT] * 5, provider="openai")
            with pytest.raises(BudgetExceededError):
                await adapter.embed_async([PROMPT] * 100, provider="openai")
        (status,) = adapter.get_budget_status()
    assert pusd(response.usage.total_cost) == gateway.bill.total_pusd > 0
    assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)
    assert pusd(tracker.get_session_summary().total_cost) == gateway.bill.total_pusd

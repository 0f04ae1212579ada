"""Our receipts and the gateway's own bill agree to the pico-dollar, for every provider, dialect and way of asking."""

from collections.abc import AsyncIterator

import pytest

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Explain in three sentences how a token bucket works, with an example in Python and one in 日本語."
SIMULATED = sorted(SandboxGateway().provider_urls)
THROUGH_GATEWAY = [name for name in SIMULATED if PROVIDERS[name].gateway_name is not None]


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, at list prices."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def receipts(adapter: GenOpsHeliconeAsyncAdapter, provider: str, source: str = "computed") -> list[int]:
    """The pico-dollars of a chat and of the same chat streamed, and where both figures must have come from."""
    answered = await adapter.chat_async(PROMPT, provider=provider, max_tokens=60)
    async with adapter.stream_async(PROMPT, provider=provider, max_tokens=60) as stream:
        text = "".join([chunk.content async for chunk in stream])
    assert text == answered.content
    assert [r.usage.cost_source for r in (answered, stream.response)] == [source, source]
    return [round(response.cost * 10**12) for response in (answered, stream.response)]


@pytest.mark.parametrize("provider", THROUGH_GATEWAY)
async def test_through_the_ai_gateway(gateway: SandboxGateway, provider: str) -> None:
    """A provider's default model costs what the AI Gateway bills, streamed or not."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        # what OpenRouter says it charges reaches us through the gateway, and wins
        paid = await receipts(adapter, provider, "reported" if provider == "openrouter" else "computed")
    assert paid == [row.cost_pusd for row in gateway.bill.rows]
    assert paid[0] == paid[1] > 0


@pytest.mark.parametrize("provider", SIMULATED)
async def test_through_the_provider_s_own_host(gateway: SandboxGateway, provider: str) -> None:
    """A provider's default model costs what its host bills, streamed or not."""
    urls = {provider: gateway.provider_urls[provider]}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, {provider: "a-key"}, provider_urls=urls) as adapter:
        paid = await receipts(adapter, provider)
    assert paid == [row.cost_pusd for row in gateway.bill.rows]
    assert paid[0] == paid[1] > 0


@pytest.mark.parametrize("dialect", ["rust", "openai"])
async def test_through_other_gateways(gateway: SandboxGateway, dialect: str) -> None:
    """The Rust gateway and a plain OpenAI endpoint are paid the same."""
    url = gateway.rust_url if dialect == "rust" else gateway.openai_url
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=url, gateway_dialect=dialect) as adapter:
        paid = await receipts(adapter, "openai")
    assert paid == [row.cost_pusd for row in gateway.bill.rows]
    assert paid[0] == paid[1] > 0


async def test_helicone_s_credits_carry_the_fee(gateway: SandboxGateway) -> None:
    """A call on Helicone's credits costs 3 % more, here and on the bill."""
    async with (
        SandboxGateway(latency_scale=0, byok=False) as prepaid,
        GenOpsHeliconeAsyncAdapter(prepaid.api_key, gateway_url=prepaid.url) as adapter,
    ):
        response = await adapter.chat_async(PROMPT, provider="openai", max_tokens=60)
        assert response.metadata["gateway_mode"] == "PTB"
        assert round(response.usage.helicone_cost * 10**12) == prepaid.bill.gateway_fee_pusd > 0
        assert round(response.cost * 10**12) == prepaid.bill.total_pusd


async def test_a_provider_that_lacks_a_setting_is_no_candidate(
    gateway: SandboxGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that names nobody goes to those that can be reached; what the other lacks is said once."""
    keys, urls = {"azure": "k", "openai": "k"}, {"openai": gateway.provider_urls["openai"]}
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, keys, provider_urls=urls) as adapter:
        answers = [await adapter.chat_async("Hello") for _ in range(2)]
        with pytest.raises(ConfigurationError, match="AZURE_OPENAI_ENDPOINT"):
            await adapter.chat_async("Hello", provider="azure")
    assert [answer.provider for answer in answers] == ["openai", "openai"]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "azure is no candidate of calls that name no provider"
    ]

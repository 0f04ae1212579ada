"""The real SDKs of openai, anthropic and groq: their calls are billed, traced and attributed as an adapter's are."""

from typing import Any

import anthropic
import groq
import openai
import pytest
from instrumented import MESSAGES, billed_as, watching
from opentelemetry.trace import StatusCode

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, multi_provider_cost_tracking
from genops_helicone_async.instrumentation import attributes
from genops_helicone_async.testing import Fault, SandboxGateway

CLAUDE = "claude-haiku-4-5"


def openai_at(gateway: SandboxGateway, **options: Any) -> openai.OpenAI:
    """A client of OpenAI's Helicone host."""
    return openai.OpenAI(base_url=gateway.provider_urls["openai"], api_key="key", max_retries=0, **options)


def anthropic_at(gateway: SandboxGateway) -> anthropic.Anthropic:
    """A client of Anthropic's Helicone host."""
    base = gateway.provider_urls["anthropic"].removesuffix("/v1")
    return anthropic.Anthropic(base_url=base, api_key="key", max_retries=0)


def test_openai_whole_and_streamed(gateway: SandboxGateway) -> None:
    """A client made before `init()` is covered; both kinds of answer cost what the gateway bills."""
    with openai_at(gateway) as client, watching(gateway) as watched, multi_provider_cost_tracking("s") as tracker:
        whole = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=50)
        with client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        ) as stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        first, second = watched.awus()
    assert text.startswith((whole.choices[0].message.content or "")[:20])
    billed_as(gateway, watched.usage)
    assert tracker.get_session_summary().total_cost == watched.usage.total_cost
    assert first.attributes is not None
    assert second.attributes is not None
    assert (first.name, first.attributes["gen_ai.provider.name"]) == ("chat gpt-4o-mini", "openai")
    assert first.attributes["gen_ai.request.max_tokens"] == 50
    assert first.attributes["gen_ai.response.id"] == whole.id
    assert whole.usage is not None
    assert first.attributes["gen_ai.usage.output_tokens"] == whole.usage.completion_tokens
    assert second.attributes["gen_ai.request.stream"] is True
    assert float(second.attributes["gen_ai.response.time_to_first_chunk"]) > 0  # type: ignore[arg-type]


def test_anthropic_whole_and_streamed(gateway: SandboxGateway) -> None:
    """Messages and its event stream cost what the gateway bills."""
    with watching(gateway) as watched, anthropic_at(gateway) as client:
        whole = client.messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES, system="Be brief.")
        with client.messages.stream(model=CLAUDE, max_tokens=50, messages=MESSAGES) as stream:
            final = stream.get_final_message()
    billed_as(gateway, watched.usage)
    assert watched.usage.output_tokens == whole.usage.output_tokens + final.usage.output_tokens
    assert set(watched.usage.cost_by_model) == {CLAUDE}


@pytest.mark.anyio
async def test_async_sdks(gateway: SandboxGateway) -> None:
    """The asynchronous clients cost what the gateway bills, whole and streamed."""
    with watching(gateway) as watched:
        async with openai.AsyncOpenAI(base_url=gateway.provider_urls["openai"], api_key="key") as client:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            async for _ in await client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            ):
                pass
        base = gateway.provider_urls["anthropic"].removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=base, api_key="key") as claude:
            await claude.messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES)
            async with claude.messages.stream(model=CLAUDE, max_tokens=50, messages=MESSAGES) as stream:
                await stream.get_final_message()
        base = gateway.provider_urls["groq"].removesuffix("/openai/v1")
        async with groq.AsyncGroq(base_url=base, api_key="key") as fast:
            await fast.chat.completions.create(model="llama-3.1-8b-instant", messages=MESSAGES)
    billed_as(gateway, watched.usage)
    assert set(watched.usage.cost_by_provider) == {"openai", "anthropic", "groq"}
    assert len(watched.awus()) == 5


def test_the_ai_gateway(gateway: SandboxGateway) -> None:
    """Calls of the AI Gateway, with its own way of counting, are those of the provider that it chose."""
    with watching(gateway) as watched, openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.api_key) as client:
        client.chat.completions.create(model="claude-4.5-haiku/anthropic", messages=MESSAGES)
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        client.chat.completions.create(model="!groq,gpt-4o-mini/openai,claude-4.5-haiku", messages=MESSAGES)
        for _ in client.chat.completions.create(model="claude-4.5-haiku", messages=MESSAGES, stream=True):
            pass
    billed_as(gateway, watched.usage)
    assert [span.attributes and span.attributes["gen_ai.provider.name"] for span in watched.awus()] == [
        "anthropic", "openai", "openai", "anthropic",
    ]  # fmt: skip


def test_a_gateway_that_only_the_environment_names(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init()` without arguments knows the gateway, and reads in the path whom it passes a call on to."""
    monkeypatch.setenv("HELICONE_GATEWAY_URL", gateway.url)
    base = gateway.provider_urls["groq"].removesuffix("/openai/v1")
    with watching() as watched, openai_at(gateway) as client, anthropic_at(gateway) as claude:
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        claude.messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES)
        with groq.Groq(base_url=base, api_key="key") as fast:
            fast.chat.completions.create(model="llama-3.1-8b-instant", messages=MESSAGES)
    billed_as(gateway, watched.usage)
    assert set(watched.usage.cost_by_provider) == {"openai", "anthropic", "groq"}


def test_embeddings(gateway: SandboxGateway) -> None:
    """Embeddings are units of their own kind."""
    with watching(gateway) as watched, openai_at(gateway) as client:
        client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        (unit,) = watched.awus()
    billed_as(gateway, watched.usage)
    assert unit.attributes is not None
    assert unit.attributes["genops.operation.type"] == "embedding"


def test_a_hit_of_helicones_cache_costs_nothing(gateway: SandboxGateway) -> None:
    """The second of two equal calls comes out of the gateway's cache, and is counted as that."""
    with watching(gateway) as watched, openai_at(gateway) as client:
        for _ in range(2):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, extra_headers={"Helicone-Cache-Enabled": "true"}
            )
    assert (watched.usage.request_count, watched.usage.cache_hits, len(gateway.bill)) == (2, 1, 1)
    assert round(watched.usage.total_cost * 1e12) == gateway.bill.total_pusd


def test_an_error_is_the_sdks_own_and_ours_to_tell(gateway: SandboxGateway) -> None:
    """The SDK raises and repeats as ever; each of its attempts is a unit, those that failed with their error."""
    gateway.faults.add(Fault(kind="status", status=503, times=1, retry_after_ms=1))
    gateway.faults.add(Fault(kind="status", status=429, times=1, retry_after_ms=1))
    with (
        watching(gateway) as watched,
        openai.OpenAI(base_url=gateway.provider_urls["openai"], api_key="key", max_retries=2) as client,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="unknown-1", messages=MESSAGES)
        units = watched.awus()
    assert sorted(str(unit.attributes and unit.attributes.get("error.type")) for unit in units) == [
        "None", "ProviderError", "ProviderError", "RateLimitExceededError",
    ]  # fmt: skip
    assert [unit.status.status_code for unit in units].count(StatusCode.ERROR) == 3
    assert (watched.usage.request_count, watched.usage.error_count) == (4, 3)
    assert round(watched.usage.total_cost * 1e12) == gateway.bill.total_pusd


@pytest.mark.anyio
async def test_our_own_adapter_is_not_counted_twice(gateway: SandboxGateway) -> None:
    """A tracker counts an adapter's call once, and the watched calls are only those of others."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        with watching(gateway) as watched, multi_provider_cost_tracking() as tracker:
            await adapter.chat_async("Hello", provider="openai", model="gpt-4o-mini")
            async with adapter.stream_async("Hello", provider="openai", model="gpt-4o-mini") as stream:
                async for _ in stream:
                    pass
            counted = watched.usage.request_count, tracker.get_session_summary().request_count
    assert counted == (0, 2)
    assert round(tracker.get_session_summary().total_cost * 1e12) == gateway.bill.total_pusd


@pytest.mark.anyio
async def test_attribution_of_blocks_and_defaults(gateway: SandboxGateway) -> None:
    """The innermost block counts before those around it, and those before the defaults; adapters have part in it."""
    base = gateway.provider_urls["openai"]
    with watching(gateway, team="platform", default_attributes={"project": "alpha"}) as watched:
        async with openai.AsyncOpenAI(base_url=base, api_key="key") as client:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            with attributes(team="research", customer_id="acme"), attributes(project="beta"):
                await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
                async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
                    await adapter.chat_async("Hello", provider="openai", model="gpt-4o-mini", project="gamma")
        units = [unit.attributes or {} for unit in watched.awus()]
    assert [(unit["genops.team"], unit["genops.project"]) for unit in units] == [
        ("platform", "alpha"),
        ("research", "beta"),
    ]
    assert "genops.customer_id" not in units[0]
    assert units[1]["genops.customer_id"] == "acme"
    headers = gateway.requests[-1].headers
    assert (headers["helicone-property-team"], headers["helicone-property-project"]) == ("research", "gamma")
    assert set(watched.usage.cost_by_team) == {"platform", "research"}

"""The sandbox's bill, against sums done by hand from public list prices."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

# Eight tokens by the sandbox's rule: "Say hello" is two, the message three more, the prompt three more.
MESSAGES = [{"role": "user", "content": "Say hello"}]
LONG = " ".join(f"word{number:04d}" for number in range(900))

PUSD = 10**12


def per_token(usd_per_million: str) -> int:
    """Pico-dollars per token of a list price per million."""
    whole, _, part = usd_per_million.partition(".")
    return int(whole + part.ljust(6, "0"))


async def ask(gateway: SandboxGateway, provider: str | None = None, *, session: Any = None, **body: Any) -> Any:
    """Ask a proxy host, or the AI Gateway where no provider is named; the decoded reply or the text of a stream."""
    if session is None:
        async with aiohttp.ClientSession() as own:
            return await ask(gateway, provider, session=own, **body)
    body.setdefault("messages", MESSAGES)
    url = f"{gateway.provider_urls[provider]}/chat/completions" if provider else f"{gateway.url}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {gateway.provider_keys[provider] if provider else gateway.api_key}"}
    headers |= body.pop("headers", {})
    async with session.post(url, json=body, headers=headers) as response:
        text = await response.text()
    return json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize(
    ("provider", "model", "input_price", "output_price", "per_request_pusd"),
    [
        ("openai", "gpt-4o-mini", "0.15", "0.60", 0),
        ("openai", "gpt-4o", "2.50", "10", 0),
        ("openai", "gpt-4", "30", "60", 0),
        ("openai", "gpt-3.5-turbo", "0.50", "1.50", 0),
        ("groq", "llama-3.1-8b-instant", "0.05", "0.08", 0),
        ("groq", "mixtral-8x7b", "0.24", "0.24", 0),
        ("gemini", "gemini-2.5-flash", "0.30", "2.50", 0),
        ("vertex", "google/gemini-2.5-flash", "0.30", "2.50", 0),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.88", "0.88", 0),
        ("xai", "grok-3", "3", "15", 0),
        ("cerebras", "llama3.1-8b", "0.10", "0.10", 0),
        ("azure", "gpt-4o-mini", "0.15", "0.60", 0),
        ("perplexity", "sonar", "1", "1", 12 * PUSD // 1000),
    ],
)
async def test_a_chat_costs_its_tokens(
    provider: str, model: str, input_price: str, output_price: str, per_request_pusd: int
) -> None:
    """Eight tokens in and four out cost what the price list says, to the pico-dollar."""
    async with SandboxGateway(latency_scale=0) as gateway:
        reply = await ask(gateway, provider, model=model, max_tokens=4)
        assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (8, 4)
        expected = 8 * per_token(input_price) + 4 * per_token(output_price) + per_request_pusd
        assert gateway.bill.total_pusd == expected
        assert gateway.bill.by_provider == {provider: expected}
        assert gateway.bill.by_model == {model: expected}


async def test_a_row_tells_all() -> None:
    """A row names the request, who served it, its tokens and its cost."""
    async with SandboxGateway(latency_scale=0) as gateway:
        own_id = "0b5e4c6a-9d7e-4f3a-8b1c-2d3e4f5a6b7c"
        await ask(gateway, model="gpt-4o-mini/openai", max_tokens=4, headers={"Helicone-Request-Id": own_id})
        (row,) = gateway.bill.rows
        assert (row.request_id, row.provider, row.model, row.kind) == (own_id, "openai", "gpt-4o-mini", "chat")
        assert (row.input_tokens, row.output_tokens, row.cached_tokens, row.cache_write_tokens) == (8, 4, 0, 0)
        assert (row.cost_pusd, row.gateway_fee_pusd, row.completed) == (8 * 150_000 + 4 * 600_000, 0, True)
        assert repr(gateway.bill) == "<Bill 1 replies, $0.000003600000>"


async def test_stream_and_whole_reply_cost_the_same() -> None:
    """The same request costs the same streamed and whole, and the stream's chunks are its tokens."""
    async with SandboxGateway(latency_scale=0) as gateway:
        whole = await ask(gateway, "openai", model="gpt-4o-mini")
        streamed = await ask(gateway, "openai", model="gpt-4o-mini", stream=True)
        assert streamed.count('"delta":{"content":') == whole["usage"]["completion_tokens"]
        first, second = gateway.bill.rows
        assert (first.kind, second.kind) == ("chat", "stream")
        assert first.cost_pusd == second.cost_pusd


async def test_reasoning_is_output() -> None:
    """Thinking counts as output, is told apart, and can use up the whole allowance."""
    async with SandboxGateway(latency_scale=0) as gateway:
        reply = await ask(gateway, "openai", model="o3-mini", max_completion_tokens=10)
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["choices"][0]["message"]["content"] == ""
        assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10
        assert gateway.bill.total_pusd == 8 * per_token("1.10") + 10 * per_token("4.40")


async def test_claude_through_the_gateway_writes_a_cache_nobody_asked_for() -> None:
    """A long prompt for Claude is written to the prompt cache at 1.25 times the price, but for its last tokens."""
    async with SandboxGateway(latency_scale=0) as gateway:
        long = [{"role": "user", "content": LONG}]
        reply = await ask(gateway, model="claude-4.5-haiku/anthropic", messages=long, max_tokens=4)
        (row,) = gateway.bill.rows
        written = row.input_tokens - 4
        assert row.cache_write_tokens == written
        assert row.cost_pusd == 4 * 1_000_000 + written * 1_250_000 + 4 * 5_000_000
        assert reply["usage"]["prompt_tokens"] == 4
        assert reply["usage"]["total_tokens"] == row.input_tokens + 4
        assert reply["usage"]["prompt_tokens_details"]["cache_write_tokens"] == written


async def test_a_prompt_seen_before_is_read_from_the_cache() -> None:
    """With `cached_prompts` a long prompt's second reading is cheaper, in steps of 128 tokens."""
    async with SandboxGateway(latency_scale=0, cached_prompts=True) as gateway:
        long = [{"role": "user", "content": LONG}]
        for _ in range(2):
            reply = await ask(gateway, model="gpt-4o-mini/openai", messages=long, max_tokens=4)
        first, second = gateway.bill.rows
        cached = second.cached_tokens
        assert (first.cached_tokens, cached % 128) == (0, 0)
        assert first.input_tokens - cached < 140
        assert second.cost_pusd == (second.input_tokens - cached) * 150_000 + cached * 75_000 + 4 * 600_000
        usage = reply["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == cached
        assert usage["prompt_tokens"] == second.input_tokens
        # The AI Gateway counts cached tokens twice in the total.
        assert usage["total_tokens"] == second.input_tokens + 4 + cached


async def test_credits_carry_three_percent() -> None:
    """A call on Helicone's credits costs 3 % more, shown apart and within the totals."""
    async with SandboxGateway(latency_scale=0, byok=False) as gateway:
        await ask(gateway, model="gpt-4o-mini/openai", max_tokens=4)
        (row,) = gateway.bill.rows
        assert (row.cost_pusd, row.gateway_fee_pusd) == (3_600_000, 108_000)
        assert gateway.bill.total_pusd == 3_708_000
        assert (gateway.bill.cost_pusd, gateway.bill.gateway_fee_pusd) == (3_600_000, 108_000)
        assert gateway.bill.by_provider == {"openai": 3_708_000}
        assert gateway.bill.total_usd == 0.000003708


async def test_credits_run_out() -> None:
    """The balance falls by what was spent until the reserve is no longer covered."""
    # The reserve for gpt-4o-mini is 1.0290304 cents; one call of 3.6 micro-dollars leaves less than that.
    async with SandboxGateway(latency_scale=0, byok=False, credits_usd=0.010291) as gateway:
        told = [await ask(gateway, model="gpt-4o-mini/openai", max_tokens=4) for _ in range(2)]
        assert "usage" in told[0]
        assert told[1]["error"]["message"] == "Insufficient credits"
        assert told[1]["error"]["details"][0]["message"] == (
            "Insufficient balance for escrow. Available: 1.02874 cents, needed: 1.0290304 cents"
        )


async def test_embeddings_cost_their_input() -> None:
    """An embedding is billed by input alone."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        async with session.post(
            f"{gateway.provider_urls['openai']}/embeddings",
            json={"model": "text-embedding-3-small", "input": ["hi", "Say hello"]},
            headers={"Authorization": "Bearer k"},
        ) as response:
            reply = await response.json()
        assert [len(item["embedding"]) for item in reply["data"]] == [1536, 1536]
        assert reply["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
        (row,) = gateway.bill.rows
        assert (row.kind, row.cost_pusd) == ("embedding", 3 * 20_000)


async def test_own_prices_win() -> None:
    """A price given for (provider, model) replaces the list's, and makes an unknown model known."""
    prices: Any = {
        ("openai", "gpt-4o-mini"): (1, 2),
        ("google-ai-studio", "my-model"): {"input": "0.000001", "output": 0},
    }
    async with SandboxGateway(latency_scale=0, prices=prices) as gateway:
        await ask(gateway, "openai", model="gpt-4o-mini", max_tokens=4)
        await ask(gateway, "gemini", model="my-model", max_tokens=4)
        assert [row.cost_pusd for row in gateway.bill.rows] == [8 * 1_000_000 + 4 * 2_000_000, 8]


@pytest.mark.parametrize("price", [(), (1, 2, 3, 4, 5), {"output": 1}, {"input": 1, "inptu": 2}])
def test_a_price_that_makes_no_sense_is_refused(price: Any) -> None:
    """A price has an input part and no unknown part."""
    with pytest.raises(ValueError, match="a price"):
        SandboxGateway(prices={("openai", "x"): price})


@pytest.mark.parametrize("model", ["unknown-model", "no-such-model"])
async def test_models_without_a_price_are_refused(model: str) -> None:
    """An unknown model is the provider's 404 and costs nothing; on request it is answered unbilled."""
    async with SandboxGateway(latency_scale=0) as gateway:
        reply = await ask(gateway, "openai", model=model)
        assert reply["error"]["code"] == "model_not_found"
        assert len(gateway.bill) == 0
    async with SandboxGateway(latency_scale=0, unknown_models="answer") as gateway:
        await ask(gateway, "openai", model=model)
        assert [(row.model, row.cost_pusd) for row in gateway.bill.rows] == [(model, 0)]


async def test_failed_calls_cost_nothing() -> None:
    """An error status bills nothing; the attempt that answers in its place is billed alone."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="status", status=500, provider="openai"))
        await ask(gateway, "openai", model="gpt-4o-mini")
        await ask(gateway, model="gpt-4o-mini/openai,llama-3.1-8b-instant/groq", max_tokens=4)
        assert gateway.bill.by_provider == {"groq": 8 * per_token("0.05") + 4 * per_token("0.08")}


async def test_cached_replies_cost_nothing() -> None:
    """A reply from the gateway's cache is not billed again."""
    async with SandboxGateway(latency_scale=0) as gateway:
        for _ in range(3):
            await ask(gateway, model="gpt-4o-mini/openai", headers={"Helicone-Cache-Enabled": "true"})
        assert (len(gateway.bill), gateway.statistics().cache_hits) == (1, 2)


async def test_a_client_that_leaves_before_the_reply_pays_nothing() -> None:
    """A whole reply cancelled while the provider still thinks is not billed."""
    async with SandboxGateway(latency_scale=1000) as gateway:
        asking = asyncio.ensure_future(ask(gateway, "openai", model="gpt-4o-mini"))
        while not gateway.statistics().in_flight:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await gateway.idle()
        assert (gateway.requests[0].cancelled, len(gateway.bill)) == (True, 0)


async def test_a_client_that_leaves_a_stream_pays_for_what_was_written() -> None:
    """A stream abandoned after its first chunk is billed for prompt and tokens so far."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        gateway.faults.add(Fault(kind="slow_drip", delay_s=0.01))
        async with session.post(
            f"{gateway.openai_url}/chat/completions",
            json={"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True},
            headers={"Authorization": "Bearer k"},
        ) as response:
            await response.content.readuntil(b'"content":"About"')
            response.close()
        await gateway.idle()
        (row,) = gateway.bill.rows
        assert (row.completed, row.input_tokens) == (False, 8)
        assert 1 <= row.output_tokens < 12
        assert row.cost_pusd == 8 * 150_000 + row.output_tokens * 600_000


async def test_totals_do_without_rows() -> None:
    """A bill without rows adds up to the same."""
    async with SandboxGateway(latency_scale=0, keep_bill_rows=False) as gateway:
        await ask(gateway, "openai", model="gpt-4o-mini", max_tokens=4)
        assert (gateway.bill.rows, len(gateway.bill), gateway.bill.total_pusd) == ((), 1, 3_600_000)

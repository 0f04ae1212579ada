"""What the sandbox's dialects do beyond the recordings: quirks, caches, limits, and the other two gateways."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": "Say hello"}]
LONG = [{"role": "user", "content": " ".join(f"word{number:04d}" for number in range(900))}]
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"key": {"const": "k"}}}}


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


class Heard:
    """A reply read to its end."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def document(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) if line.startswith("{") else line for line in lines]


class Client:
    """Posts JSON."""

    def __init__(self, gateway: SandboxGateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session

    async def post(self, url: str, body: Any, **headers: str) -> Heard:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(url, json=body, headers=named) as response:
            return Heard(response.status, response.headers, await response.text())

    async def chat(self, body: Any, **headers: str) -> Heard:
        headers.setdefault("Authorization", f"Bearer {self.gateway.api_key}")
        body = {"messages": MESSAGES, **body}
        return await self.post(f"{self.gateway.url}/v1/chat/completions", body, **headers)

    async def proxied(self, provider: str, path: str, body: Any, **headers: str) -> Heard:
        headers.setdefault("Authorization", "Bearer some-key")
        return await self.post(f"{self.gateway.provider_urls[provider]}{path}", body, **headers)


@pytest.fixture
def client(gateway: SandboxGateway, session: aiohttp.ClientSession) -> Client:
    return Client(gateway, session)


async def test_every_provider_is_on_the_gateway_but_together(client: Client) -> None:
    """Each simulated provider answers under its gateway name; Together is not there."""
    asked = {
        "gpt-4o-mini/openai": "openai",
        "claude-4.5-haiku/anthropic": "anthropic",
        "llama-3.1-8b-instant/groq": "groq",
        "gemini-2.5-flash/google-ai-studio": "google-ai-studio",
        "gemini-2.5-flash/vertex": "vertex",
        "mistral-small/mistral": "mistral",
        "deepseek-v3/deepseek": "deepseek",
        "grok-3/xai": "xai",
        "gpt-4o-mini/openrouter": "openrouter",
        "sonar/perplexity": "perplexity",
        "gpt-oss-120b/fireworks": "fireworks",
        "llama-3.3-70b/cerebras": "cerebras",
        "gpt-4o-mini/azure": "azure",
    }
    told = {model: await client.chat({"model": model}) for model in asked}
    assert {model: heard.headers.get("Helicone-Provider") for model, heard in told.items()} == asked
    assert (await client.chat({"model": "mixtral-8x7b/together"})).status == 500


async def test_openrouter_reports_its_cost(client: Client, gateway: SandboxGateway) -> None:
    """OpenRouter's usage carries the cost in dollars, the same as the bill's."""
    heard = await client.chat({"model": "gpt-4o-mini/openrouter", "max_tokens": 4})
    assert heard.document["usage"]["cost"] == gateway.bill.total_usd


async def test_exclusions_hold_for_the_whole_list(client: Client) -> None:
    """`!provider` takes a provider out of every item."""
    heard = await client.chat({"model": "gpt-4o-mini,claude-3.5-haiku,!openai,!azure,!openrouter,!helicone"})
    assert heard.headers["Helicone-Model"] == "claude-3-5-haiku-20241022"


async def test_usage_is_forced_on_streams(client: Client) -> None:
    """The AI Gateway sends a usage chunk nobody asked for; the plain OpenAI endpoint only on request."""
    events = (await client.chat({"model": "gpt-4o-mini/openai", "stream": True})).events
    assert (events[-2]["choices"], events[-1]) == ([], "[DONE]")
    url = f"{client.gateway.openai_url}/chat/completions"
    body = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
    plain = (await client.post(url, body, Authorization="Bearer k")).events
    assert not any("usage" in event for event in plain[:-1])
    asked = (
        await client.post(url, {**body, "stream_options": {"include_usage": True}}, Authorization="Bearer k")
    ).events
    assert asked[-2]["usage"]["prompt_tokens"] == 8


@pytest.mark.parametrize("model", ["mistral-small-latest", "sonar"])
async def test_some_providers_stream_usage_unasked(client: Client, gateway: SandboxGateway, model: str) -> None:
    """Mistral and Perplexity put usage on the last chunk without being asked."""
    provider = {"sonar": "perplexity"}.get(model, "mistral")
    body = {"model": model, "messages": MESSAGES, "stream": True}
    events = (await client.proxied(provider, "/chat/completions", body)).events
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-2]["usage"]["completion_tokens"] == gateway.bill.rows[0].output_tokens


async def test_claudes_prompt_tokens_depend_on_streaming(session: aiohttp.ClientSession) -> None:
    """Converted Claude usage leaves cached tokens out of `prompt_tokens`, unless streamed."""
    async with SandboxGateway(latency_scale=0, cached_prompts=True) as gateway:
        client = Client(gateway, session)
        body = {"model": "claude-4.5-haiku/anthropic", "messages": LONG, "max_tokens": 4}
        await client.chat(body)
        whole = (await client.chat(body)).document["usage"]
        streamed = (await client.chat({**body, "stream": True})).events[-2]["usage"]
        row = gateway.bill.rows[-1]
        fresh = row.input_tokens - row.cached_tokens - row.cache_write_tokens
        assert row.cached_tokens > 1024
        assert (whole["prompt_tokens"], streamed["prompt_tokens"]) == (fresh, fresh + row.cached_tokens)
        assert whole["total_tokens"] == streamed["total_tokens"] == row.input_tokens + 4
        assert "modality_tokens" not in whole


async def test_claude_loses_what_the_gateway_cannot_say(client: Client) -> None:
    """`response_format` is dropped for Claude, a required tool refused, a forced one obeyed."""
    claude = {"model": "claude-4.5-haiku/anthropic", "tools": [{"type": "function", "function": TOOL}]}
    heard = await client.chat({**claude, "response_format": {"type": "json_object"}})
    assert heard.document["choices"][0]["message"]["content"].startswith("About 'Say hello'")
    refused = await client.chat({**claude, "tool_choice": "required"})
    assert refused.document["error"]["message"] == "Unsupported tool_choice string: required"
    forced = await client.chat({**claude, "tool_choice": {"type": "function", "function": {"name": "look_up"}}})
    (call,) = forced.document["choices"][0]["message"]["tool_calls"]
    assert (call["function"], call["id"][:6]) == ({"name": "look_up", "arguments": '{"key":"k"}'}, "toolu_")


async def test_claude_thinks_when_asked(client: Client, gateway: SandboxGateway) -> None:
    """Reasoning text comes beside the content; its tokens are output, told as no reasoning tokens at all."""
    heard = await client.chat({"model": "claude-4.5-haiku/anthropic", "reasoning_effort": "low"})
    message, usage = heard.document["choices"][0]["message"], heard.document["usage"]
    assert message["reasoning"] == message["reasoning_details"][0]["thinking"] != ""
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
    assert gateway.bill.rows[0].reasoning_tokens > 0
    assert usage["completion_tokens"] == gateway.bill.rows[0].output_tokens


async def test_an_unoffered_model_stays_unconverted(session: aiohttp.ClientSession) -> None:
    """A provider asked for a foreign model answers in its own shape, with OpenAI's usage."""
    async with SandboxGateway(latency_scale=0, unknown_models="answer") as gateway:
        heard = await Client(gateway, session).chat({"model": "gpt-4o-mini/anthropic"})
        assert heard.document["type"] == "message"
        assert heard.document["usage"]["prompt_tokens"] == 8


async def test_a_cache_bucket_fills_before_it_answers(client: Client) -> None:
    """A bucket of two gives its first HIT on the third request."""
    orders = {"Helicone_Cache_Enabled": "true", "Helicone_Cache_Bucket_Max_Size": "2"}
    told = [await client.chat({"model": "gpt-4o-mini/openai"}, **orders) for _ in range(3)]
    assert [heard.headers["Helicone-Cache"] for heard in told] == ["MISS", "MISS", "HIT"]
    assert told[2].text in (told[0].text, told[1].text)
    assert told[2].headers["Helicone-Id"] not in (told[0].headers["Helicone-Id"], told[1].headers["Helicone-Id"])


async def test_a_bucket_over_twenty_fails(client: Client) -> None:
    """Twenty is the most; the proxy host says why, the AI Gateway does not."""
    order = {"Helicone_Cache_Bucket_Max_Size": "21"}
    folded = await client.chat({"model": "gpt-4o-mini/openai"}, **order)
    assert (folded.status, folded.document["error"]["details"][0]["statusCode"]) == (500, 500)
    crashed = await client.proxied("openai", "/chat/completions", {}, **order)
    assert "Cache bucket size cannot be greater than 20" in crashed.document["helicone-message"]


async def test_streams_are_cached_whole(client: Client) -> None:
    """A cached stream is replayed byte for byte."""
    body = {"model": "gpt-4o-mini/openai", "stream": True}
    first, second = [await client.chat(body, Helicone_Cache_Enabled="true") for _ in range(2)]
    assert (first.headers["Helicone-Cache"], second.headers["Helicone-Cache"]) == ("MISS", "HIT")
    assert first.text == second.text
    assert second.headers["Content-Type"] == "text/event-stream; charset=utf-8"


async def test_disturbed_replies_are_not_cached(client: Client, gateway: SandboxGateway) -> None:
    """What a fault touched is asked for again."""
    gateway.faults.add(Fault(kind="no_finish_reason", times=1))
    body = {"model": "gpt-4o-mini/openai"}
    told = [await client.chat(body, Helicone_Cache_Enabled="true") for _ in range(3)]
    assert [heard.headers["Helicone-Cache"] for heard in told] == ["MISS", "MISS", "HIT"]


async def test_a_cents_limit_goes_into_debt(client: Client) -> None:
    """A limit in cents lets a call through while anything is left, then takes its cost."""
    orders = {"Helicone_RateLimit_Policy": "0.0001;w=3600;u=cents", "Authorization": "Bearer some-key"}
    body = {"model": "gpt-4", "messages": MESSAGES}
    told = [await client.proxied("openai", "/chat/completions", body, **orders) for _ in range(2)]
    assert [heard.status for heard in told] == [200, 429]
    assert told[0].headers["Helicone-RateLimit-Policy"] == "0.0001;w=3600;u=cents"
    assert told[1].headers["X-Helicone-Error"] == "rate_limited"


async def test_gateway_retries_need_only_the_header(client: Client, gateway: SandboxGateway) -> None:
    """`Helicone-Retry-Enabled: false` turns retries on as well."""
    gateway.faults.add(Fault(kind="status", status=503, times=2, provider="openai"))
    body = {"model": "gpt-4o-mini/openai"}
    assert (await client.chat(body, Helicone_Retry_Enabled="false")).status == 200
    assert gateway.statistics().faults_struck == 2


@pytest.mark.parametrize("provider", sorted(set(SandboxGateway().provider_urls) - {"anthropic"}))
async def test_every_proxy_host_chats_in_openais_shape(client: Client, provider: str) -> None:
    """Each host takes its provider's key and answers with Helicone's id."""
    models = {
        "gemini": "gemini-2.5-flash",
        "vertex": "google/gemini-2.5-flash",
        "xai": "grok-3",
        "groq": "mixtral-8x7b",
    }
    models |= {"mistral": "mistral-small-latest", "deepseek": "deepseek-chat", "openrouter": "openai/gpt-4o-mini"}
    models |= {"together": "mistralai/Mixtral-8x7B-Instruct-v0.1", "perplexity": "sonar", "cerebras": "llama3.1-8b"}
    models |= {"fireworks": "accounts/fireworks/models/gpt-oss-120b"}
    body = {"model": models.get(provider, "gpt-4o-mini"), "messages": MESSAGES}
    heard = await client.proxied(provider, "/chat/completions", body, Helicone_Auth="Bearer nonsense")
    assert heard.document["object"] == "chat.completion"
    assert heard.headers["Helicone-Status"] == "success"
    assert heard.headers["Helicone-Id"].count("-") == 4
    assert client.gateway.bill.by_provider.keys() == {provider}


@pytest.mark.parametrize(
    ("provider", "path", "headers", "status"),
    [
        ("openai", "/chat/completions", {"Authorization": "Bearer bad-key"}, 401),
        ("openai", "/chat/completions", {"Authorization": ""}, 401),
        ("anthropic", "/messages", {"x_api_key": "bad-key"}, 401),
        ("azure", "/chat/completions", {"api_key": "bad-key"}, 401),
        ("gemini", "/chat/completions", {"Authorization": "", "x_goog_api_key": "bad-key"}, 400),
    ],
)
async def test_providers_refuse_wrong_keys(
    client: Client, provider: str, path: str, headers: dict[str, str], status: int
) -> None:
    """A wrong or missing provider key is refused by the provider, not by Helicone."""
    heard = await client.proxied(provider, path, {"model": "m", "messages": MESSAGES}, **headers)
    assert heard.status == status
    assert "Helicone-Id" in heard.headers
    assert client.gateway.bill.total_pusd == 0


async def test_given_provider_keys_are_the_only_ones(session: aiohttp.ClientSession) -> None:
    """With a key given for a provider no other is taken."""
    async with SandboxGateway(latency_scale=0, provider_keys={"groq": "gsk-1"}) as gateway:
        assert gateway.provider_keys["groq"] == "gsk-1"
        body = {"model": "mixtral-8x7b", "messages": MESSAGES}
        client = Client(gateway, session)
        statuses = [
            (await client.proxied("groq", "/chat/completions", body, Authorization=f"Bearer {key}")).status
            for key in ("gsk-1", "gsk-2")
        ]
        assert statuses == [200, 401]


async def test_azure_deployments_name_the_model(client: Client, gateway: SandboxGateway) -> None:
    """Azure's path names the deployment where the body names no model."""
    url = f"{gateway.url}/hosts/azure/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
    heard = await client.post(url, {"messages": MESSAGES}, api_key="k")
    assert heard.document["model"] == "gpt-4o-mini"


async def test_the_target_header_names_the_provider(client: Client, gateway: SandboxGateway) -> None:
    """`gateway.helicone.ai` serves any approved target, by its origin."""
    url = f"{gateway.url}/hosts/gateway/v1beta/models/gemini-2.5-flash:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
    target = "https://generativelanguage.googleapis.com/ignored"
    heard = await client.post(url, body, x_goog_api_key="k", Helicone_Target_URL=target)
    assert heard.document["usageMetadata"]["promptTokenCount"] == 8
    assert gateway.bill.by_provider.keys() == {"gemini"}


async def test_gemini_generates_content(client: Client, gateway: SandboxGateway) -> None:
    """generateContent answers whole, streamed with CRLF lines, with tool calls and with JSON."""
    base = f"{gateway.url}/hosts/gemini/v1beta/models/gemini-2.5-flash"
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
    whole = (await client.post(f"{base}:generateContent?key=k", body)).document
    streamed = await client.post(f"{base}:streamGenerateContent?alt=sse&key=k", body)
    assert "\r\n\r\n" in streamed.text
    parts = [event["candidates"][0]["content"]["parts"][0]["text"] for event in streamed.events]
    assert "".join(parts) == whole["candidates"][0]["content"]["parts"][0]["text"]
    assert streamed.events[-1]["usageMetadata"] == whole["usageMetadata"]
    tools = [{"functionDeclarations": [TOOL]}]
    calling = {"functionCallingConfig": {"mode": "ANY"}}
    called = (
        await client.post(f"{base}:generateContent?key=k", {**body, "tools": tools, "toolConfig": calling})
    ).document
    assert called["candidates"][0]["content"]["parts"] == [{"functionCall": {"name": "look_up", "args": {"key": "k"}}}]
    config = {"responseMimeType": "application/json", "responseSchema": {"type": "integer", "minimum": 5, "maximum": 5}}
    asked = (await client.post(f"{base}:generateContent?key=k", {**body, "generationConfig": config})).document
    assert asked["candidates"][0]["content"]["parts"] == [{"text": "5"}]


async def test_anthropic_speaks_its_own_messages(client: Client) -> None:
    """Messages answers whole and streamed alike, with thinking and tool calls as blocks."""
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4000,
        "messages": MESSAGES,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "look_up", "input_schema": TOOL["parameters"]}],
        "tool_choice": {"type": "any"},
    }
    whole = (await client.proxied("anthropic", "/messages", body, x_api_key="k")).document
    assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]
    assert (whole["stop_reason"], whole["content"][1]["input"]) == ("tool_use", {"key": "k"})
    events = (await client.proxied("anthropic", "/messages", {**body, "stream": True}, x_api_key="k")).events
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == whole["content"][0]["thinking"]
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"key":"k"}'
    assert events[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


async def test_no_mapping_passes_anthropics_shape_through(client: Client) -> None:
    """With NO_MAPPING the AI Gateway neither translates body nor reply."""
    body = {"model": "claude-4.5-haiku/anthropic", "max_tokens": 4}
    heard = await client.chat(body, Helicone_Gateway_Body_Mapping="NO_MAPPING")
    assert (heard.document["type"], heard.document["usage"]["output_tokens"]) == ("message", 4)


async def test_the_rust_gateway_names_provider_first(client: Client, gateway: SandboxGateway) -> None:
    """`provider/model` works at `/ai` and at a router; the stream has neither `[DONE]` nor unasked usage."""
    body = {"model": "openai/gpt-4o-mini", "messages": MESSAGES}
    for path in ("/ai/chat/completions", "/router/my-router/chat/completions"):
        heard = await client.post(gateway.rust_url + path, body)
        assert heard.document["model"] == "gpt-4o-mini"
        assert (heard.headers["helicone-provider"], len(heard.headers["helicone-id"])) == ("openai", 36)
    events = (await client.post(f"{gateway.rust_url}/ai/chat/completions", {**body, "stream": True})).events
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in event for event in events)


@pytest.mark.parametrize(
    ("path", "model", "status", "kind"),
    [
        ("/ai/chat/completions", "gpt-4o-mini", 500, "server_error"),
        ("/ai/chat/completions", "nobody/gpt-4o-mini", 400, "invalid_request_error"),
        ("/ai/chat/completions", "openai/unknown-1", 500, "server_error"),
        ("/ai/v1/chat/completions", "openai/gpt-4o-mini", 400, "invalid_request_error"),
        ("/nowhere", "openai/gpt-4o-mini", 404, "invalid_request_error"),
    ],
)
async def test_the_rust_gateway_words_errors_like_openai(
    client: Client, path: str, model: str, status: int, kind: str
) -> None:
    """Bad models and paths have OpenAI-shaped errors with the recorded statuses."""
    heard = await client.post(client.gateway.rust_url + path, {"model": model, "messages": MESSAGES})
    assert (heard.status, heard.document["error"]["type"]) == (status, kind)


async def test_the_rust_gateway_maps_anthropics_errors(client: Client, gateway: SandboxGateway) -> None:
    """Anthropic's 429 becomes OpenAI's, with type `tokens`; before a stream only the status is told."""
    gateway.faults.add(Fault(kind="status", status=429, provider="anthropic"))
    body = {"model": "anthropic/claude-3-7-sonnet", "messages": MESSAGES}
    url = f"{gateway.rust_url}/ai/chat/completions"
    error = (await client.post(url, body)).document["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    streamed = await client.post(url, {**body, "stream": True})
    assert (streamed.status, streamed.document["error"]["message"]) == (429, "Invalid status code: 429")


async def test_the_rust_gateway_may_want_a_key(session: aiohttp.ClientSession) -> None:
    """With authentication on, a missing and a wrong key are told apart."""
    async with SandboxGateway(latency_scale=0, rust_needs_key=True) as gateway:
        client = Client(gateway, session)
        url, body = f"{gateway.rust_url}/ai/chat/completions", {"model": "openai/gpt-4o-mini", "messages": MESSAGES}
        told = [
            (await client.post(url, body)).document["error"]["message"],
            (await client.post(url, body, Authorization="Bearer x")).document["error"]["message"],
        ]
        assert told == ["Missing authorization header", "Invalid credentials"]
        assert (await client.post(url, body, Authorization=f"Bearer {gateway.api_key}")).status == 200


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-3-haiku-20240307", "anthropic"),
        ("gemini-2.5-flash", "gemini"),
        ("mixtral-8x7b", "groq"),
        ("gpt-4", "openai"),
    ],
)
async def test_bare_names_find_their_provider(client: Client, model: str, provider: str) -> None:
    """At the plain OpenAI endpoint the model alone says who serves and is billed."""
    url = f"{client.gateway.openai_url}/chat/completions"
    await client.post(url, {"model": model, "messages": MESSAGES}, Authorization="Bearer k")
    assert client.gateway.bill.by_provider.keys() == {provider}


async def test_the_same_request_has_the_same_answer(session: aiohttp.ClientSession) -> None:
    """Text depends on seed, provider, model and prompt alone."""

    async def said(seed: int, prompt: str) -> str:
        async with SandboxGateway(latency_scale=0, seed=seed) as gateway:
            body = {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": prompt}]}
            return str((await Client(gateway, session).chat(body)).document["choices"][0]["message"]["content"])

    assert await said(1, "a b") == await said(1, "a b")
    assert len({await said(seed, prompt) for seed in (1, 2) for prompt in ("a b", "a c")}) == 4


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": 7}, "model"),
    ],
)
async def test_providers_check_requests(client: Client, change: dict[str, Any], param: str) -> None:
    """Nonsense is refused with a 400 that names the parameter."""
    body = {"model": "gpt-4o-mini", "messages": MESSAGES, **change}
    heard = await client.proxied("openai", "/chat/completions", body)
    assert (heard.status, heard.document["error"]["param"]) == (400, param)


async def test_stop_and_n_are_obeyed(client: Client) -> None:
    """A stop text ends the reply before it; `n` replies are all billed."""
    body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stop": ["hello"]}
    stopped = (await client.proxied("openai", "/chat/completions", body)).document
    assert stopped["choices"][0]["message"]["content"] == "About 'Say "
    body = {"model": "gpt-4o-mini", "messages": MESSAGES, "n": 3, "max_tokens": 2}
    several = (await client.proxied("openai", "/chat/completions", body)).document
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert several["usage"]["completion_tokens"] == 6

"""Which requests are Helicone's, and who answers them: hosts, paths, headers and the ways of naming a model."""

import json

import httpx
import pytest
from instrumented import ASK, STREAMED, scripted, watching

from genops_helicone_async.config import GivenSettings, resolve
from genops_helicone_async.instrumentation.asked import asked_of
from genops_helicone_async.instrumentation.places import Places, url_of

OWN = Places(
    resolve(
        GivenSettings(
            helicone_api_key="k", gateway_url="http://127.0.0.1:8080/gw", provider_urls={"groq": "https://proxy.test/g/v1"}
        ),
        {},
        1024,
    )
)  # fmt: skip

CHAT = "/v1/chat/completions"
KNOWN = [
    (f"https://oai.helicone.ai{CHAT}", {}, "gpt-4o-mini", "chat", "proxy", [("openai", "gpt-4o-mini")]),
    (f"https://oai.hconeai.com{CHAT}", {}, "gpt-4o-mini", "chat", "proxy", [("openai", "gpt-4o-mini")]),
    ("https://oai.helicone.ai/v1/responses", {}, "gpt-4o-mini", "responses", "proxy", [("openai", "gpt-4o-mini")]),
    ("https://oai.helicone.ai/openai/deployments/mine/chat/completions?api-version=1",
     {"helicone-model-override": "gpt-4o"}, "", "chat", "proxy", [("azure", "gpt-4o")]),
    ("https://anthropic.helicone.ai/v1/messages", {}, "claude-x", "messages", "proxy", [("anthropic", "claude-x")]),
    ("https://groq.helicone.ai/openai/v1/chat/completions", {}, "llama", "chat", "proxy", [("groq", "llama")]),
    ("https://x.helicone.ai/v1/chat/completions", {}, "grok-3", "chat", "proxy", [("xai", "grok-3")]),
    ("https://gateway.helicone.ai/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
     {"helicone-target-url": "https://l-aiplatform.googleapis.com"}, "", "generate", "proxy",
     [("vertex", "gemini-2.5-flash")]),
    ("https://gateway.helicone.ai/chat/completions", {"helicone-target-url": "https://api.mistral.ai"}, "mistral-small",
     "chat", "proxy", [("mistral", "mistral-small")]),
    ("https://ai-gateway.helicone.ai/", {}, "gpt-4o-mini", "chat", "helicone", [("openai", "gpt-4o-mini")]),
    (f"https://ai-gateway.helicone.ai{CHAT}", {}, "claude-4.5-sonnet:online/anthropic", "chat", "helicone",
     [("anthropic", "claude-4.5-sonnet")]),
    (f"https://ai-gateway.helicone.ai{CHAT}", {}, "!openai, gpt-4o-mini/azure/key-1 ,gemini-2.5-flash/google-ai-studio",
     "chat", "helicone", [("azure", "gpt-4o-mini"), ("gemini", "gemini-2.5-flash")]),
    (f"https://ai-gateway.helicone.ai{CHAT}", {}, "kimi-k2", "chat", "helicone", [("helicone", "kimi-k2")]),
    (f"http://127.0.0.1:8080/gw{CHAT}", {}, "gpt-4o-mini/openai", "chat", "helicone", [("openai", "gpt-4o-mini")]),
    ("http://127.0.0.1:8080/gw/ai/chat/completions", {}, "anthropic/claude-3-7-sonnet", "chat", "rust",
     [("anthropic", "claude-3-7-sonnet")]),
    ("http://127.0.0.1:8080/gw/groq/openai/v1/chat/completions", {}, "llama", "chat", "proxy", [("groq", "llama")]),
    ("https://proxy.test/g/v1/chat/completions", {}, "llama", "chat", "proxy", [("groq", "llama")]),
    ("https://proxy.test/g/v1/embeddings", {}, "e", "embeddings", "proxy", [("groq", "e")]),
]  # fmt: skip


@pytest.mark.parametrize(("url", "headers", "model", "kind", "dialect", "targets"), KNOWN)
def test_who_answers(
    url: str, headers: dict[str, str], model: str, kind: str, dialect: str, targets: list[tuple[str, str]]
) -> None:
    """The place of the request, and everyone who may answer it, in the order given."""
    place = OWN.find(url_of(url), headers)
    assert place is not None
    body = {"model": model, "messages": ASK["messages"], "input": "Hi", "contents": [{"parts": [{"text": "Hi"}]}]}
    asked = asked_of(place, json.dumps(body).encode(), headers)
    assert asked is not None
    assert (place.kind, place.dialect) == (kind, dialect)
    assert [(endpoint.provider, endpoint.model) for endpoint in asked.endpoints] == targets
    assert (asked.request.provider, asked.request.model) == targets[0]


@pytest.mark.parametrize(
    "url",
    [
        f"https://api.openai.com{CHAT}",
        "https://api.helicone.ai/v1/request/query",
        f"https://api.helicone.ai{CHAT}",
        "https://oai.helicone.ai/v1/files",
        "https://anthropic.helicone.ai/v1/messages/count_tokens",
        f"https://nothelicone.ai{CHAT}",
        f"https://oai.helicone.ai.example.org{CHAT}",
        f"http://127.0.0.1:8081/gw{CHAT}",
        f"http://127.0.0.1:8080/other{CHAT}",
        f"https://proxy.test{CHAT}",
    ],
)
def test_what_is_not_helicones(url: str) -> None:
    """Look-alikes, other ports and paths, and what asks no model anything."""
    assert OWN.find(url_of(url), {}) is None


USAGE = {"prompt_tokens": 2006, "completion_tokens": 300, "prompt_tokens_details": {"cached_tokens": 1920}}
ANSWER = {
    "id": "c", "object": "chat.completion", "model": "gpt-4o-mini", "usage": USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
}  # fmt: skip


@pytest.mark.parametrize(("headers", "tokens"), [({}, 2006), ({"Helicone-Gateway-Mode": "BYOK"}, 3926)])
def test_how_a_gateway_of_ones_own_counts(headers: dict[str, str], tokens: int) -> None:
    """Only where the AI Gateway says that it wrote the usage is it read in its way; else as the provider's own."""
    with scripted() as server, watching(gateway_url=server.url) as watched:
        server.headers.update(headers)
        server.pieces = [json.dumps(ANSWER).encode()]
        httpx.post(f"{server.url}/chat/completions", json=ASK).raise_for_status()
    assert watched.usage.input_tokens == tokens


def test_whom_the_gateway_names_is_who_answered() -> None:
    """The reply's headers tell the provider that a bare model name leaves open."""
    with scripted() as server, watching(gateway_url=server.url) as watched:
        server.headers.update({"Helicone-Gateway-Mode": "BYOK", "Helicone-Provider": "google-ai-studio"})
        server.pieces = [json.dumps({**ANSWER, "usage": {**USAGE, "modality_tokens": {}}}).encode()]
        httpx.post(f"{server.url}/chat/completions", json={**ASK, "model": "gpt-4o-mini/azure,gemini-2.5-flash/gemini"})
        httpx.post(f"{server.url}/chat/completions", json={**ASK, "model": "kimi-k2"})
        units = [unit.attributes or {} for unit in watched.awus()]
    assert [(unit["gen_ai.provider.name"], unit["gen_ai.request.model"]) for unit in units] == [
        ("gcp.gemini", "gemini-2.5-flash"),
        ("gcp.gemini", "kimi-k2"),
    ]


def test_an_abandoned_hit_of_the_cache_costs_nothing() -> None:
    """Helicone's cache bills nothing, however little of it was read."""
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        server.headers.update({"Content-Type": "text/event-stream", "Helicone-Cache": "HIT"})
        server.pieces = [b'data: {"choices": [{"index": 0, "delta": {"content": "One "}}]}\n\n'] * 3
        with (
            httpx.Client() as client,
            client.stream("POST", f"{server.url}/chat/completions", json=STREAMED) as response,
        ):
            next(response.iter_raw(10))
    assert (watched.usage.request_count, watched.usage.total_cost) == (1, 0)

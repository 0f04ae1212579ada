"""Where each provider's calls go, how they are spoken there, and that no key goes anywhere else."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async._wire.dialects import default_model, dialect_of, embeddings_url, endpoint_for
from genops_helicone_async.config import GivenSettings, Settings, resolve
from genops_helicone_async.errors import ConfigurationError

HELICONE = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
KEYS = {provider: f"key-of-{provider}-1234" for provider in PROVIDERS}
PLACES = {"AZURE_OPENAI_ENDPOINT": "https://myres.openai.azure.com/", "GOOGLE_CLOUD_PROJECT": "my-project"}


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    """Settings with a Helicone key and the places that Azure and Vertex need."""
    given = {"helicone_api_key": HELICONE, **given}
    return resolve(GivenSettings(**given), PLACES if environ is None else environ, 1024)


def keyed(**given: Any) -> Settings:
    """Settings with a key for every provider."""
    return settings(provider_keys=KEYS, **given)


HOSTS = {
    "openai": "https://oai.helicone.ai/v1/chat/completions",
    "anthropic": "https://anthropic.helicone.ai/v1/messages",
    "groq": "https://groq.helicone.ai/openai/v1/chat/completions",
    "vertex": "https://gateway.helicone.ai/v1/projects/my-project/locations/us-central1/endpoints/openapi/chat/completions",
    "gemini": "https://gateway.helicone.ai/v1beta/openai/chat/completions",
    "mistral": "https://mistral.helicone.ai/v1/chat/completions",
    "together": "https://together.helicone.ai/v1/chat/completions",
    "deepseek": "https://deepseek.helicone.ai/v1/chat/completions",
    "xai": "https://x.helicone.ai/v1/chat/completions",
    "openrouter": "https://openrouter.helicone.ai/api/v1/chat/completions",
    "perplexity": "https://perplexity.helicone.ai/chat/completions",
    "fireworks": "https://fireworks.helicone.ai/inference/v1/chat/completions",
    "cerebras": "https://cerebras.helicone.ai/v1/chat/completions",
    "azure": "https://oai.helicone.ai/openai/deployments/m/chat/completions?api-version=2024-10-21",
    "deepinfra": "https://deepinfra.helicone.ai/v1/openai/chat/completions",
    "hyperbolic": "https://hyperbolic.helicone.ai/v1/chat/completions",
    "nebius": "https://nebius.helicone.ai/v1/chat/completions",
    "novita": "https://novita.helicone.ai/v3/openai/chat/completions",
}
AUTH = {
    "anthropic": {"x-api-key": KEYS["anthropic"], "anthropic-version": "2023-06-01"},
    "azure": {
        "api-key": KEYS["azure"],
        "Helicone-OpenAI-Api-Base": "https://myres.openai.azure.com",
        "Helicone-Model-Override": "m",
    },
    "gemini": {
        "Authorization": f"Bearer {KEYS['gemini']}",
        "Helicone-Target-URL": "https://generativelanguage.googleapis.com",
    },
    "vertex": {
        "Authorization": f"Bearer {KEYS['vertex']}",
        "Helicone-Target-URL": "https://us-central1-aiplatform.googleapis.com",
    },
}


@pytest.mark.parametrize("provider", HOSTS)
def test_a_provider_with_a_key_goes_to_its_own_helicone_host(provider: str) -> None:
    """URL, authentication and shape are the provider's own, with `Helicone-Auth` beside."""
    endpoint = endpoint_for(keyed(), provider, "m")
    own = AUTH.get(provider, {"Authorization": f"Bearer {KEYS[provider]}"})
    assert (endpoint.dialect, endpoint.chat_url, dict(endpoint.headers), endpoint.shape) == (
        "proxy",
        HOSTS[provider],
        {**own, "Helicone-Auth": f"Bearer {HELICONE}"},
        "anthropic" if provider == "anthropic" else "openai",
    )
    assert endpoint.wire_model == ("google/m" if provider == "vertex" else "m")


def test_every_provider_has_its_place_in_these_tests() -> None:
    """Bedrock alone has no host that takes a plain key."""
    assert set(HOSTS) == set(PROVIDERS) - {"bedrock"}


RECORDED = {
    "oai_ok": "openai",
    "anthropic_ok": "anthropic",
    "groq_ok": "groq",
    "host_mistral": "mistral",
    "host_together": "together",
    "host_x": "xai",
    "host_openrouter": "openrouter",
    "host_perplexity": "perplexity",
    "host_fireworks": "fireworks",
    "host_cerebras": "cerebras",
    "host_deepinfra": "deepinfra",
    "host_hyperbolic": "hyperbolic",
    "host_nebius": "nebius",
    "host_novita": "novita",
    "host_deepseek": "deepseek",
    "oai_api_base_azure": "azure",
}


def recorded(shared_dir: Path, case: str) -> tuple[str, dict[str, str]]:
    """The URL and lower-cased header names of a recorded request."""
    request = json.loads((shared_dir / "fixtures" / "helicone" / f"{case}.json").read_text("utf-8"))["request"]
    return request["url"], {name.lower(): value for name, value in request["headers"].items()}


@pytest.mark.parametrize("case", RECORDED)
def test_the_recorded_requests_went_to_the_same_place(shared_dir: Path, case: str) -> None:
    """Host and path are those at which Helicone's worker was seen to reach the provider, the key in the same header."""
    url, headers = recorded(shared_dir, case)
    endpoint = endpoint_for(keyed(), RECORDED[case], "d")
    # DeepSeek answers with and without the version segment; the worker passes either on.
    expected = url.replace("deepseek.helicone.ai/", "deepseek.helicone.ai/v1/")
    assert endpoint.chat_url == expected
    assert {name.lower() for name in endpoint.headers} - {"helicone-model-override"} <= set(headers)


@pytest.mark.parametrize("case, provider", [("gateway_gemini_ok", "gemini"), ("gateway_vertex_ok", "vertex")])
def test_the_shared_host_is_told_the_recorded_target(shared_dir: Path, case: str, provider: str) -> None:
    """Google's calls go through the host for everybody, which reads their target from a header."""
    url, headers = recorded(shared_dir, case)
    endpoint = endpoint_for(keyed(), provider, "m")
    assert (endpoint.host, endpoint.headers["Helicone-Target-URL"]) == (
        urlsplit(url).netloc, headers["helicone-target-url"],
    )  # fmt: skip


GATEWAY_NAMES = {
    "openai": "openai", "anthropic": "anthropic", "groq": "groq", "vertex": "vertex", "gemini": "google-ai-studio",
    "mistral": "mistral", "deepseek": "deepseek", "xai": "xai", "openrouter": "openrouter", "perplexity": "perplexity",
    "fireworks": "fireworks", "cerebras": "cerebras", "azure": "azure", "bedrock": "bedrock", "deepinfra": "deepinfra",
    "nebius": "nebius", "novita": "novita",
}  # fmt: skip


@pytest.mark.parametrize("provider", GATEWAY_NAMES)
def test_a_provider_without_a_key_goes_through_the_ai_gateway(provider: str) -> None:
    """OpenAI's shape, `model/provider` as the name, and only Helicone's key."""
    endpoint = endpoint_for(settings(), provider, "m")
    assert (endpoint.dialect, endpoint.chat_url, endpoint.wire_model, dict(endpoint.headers), endpoint.shape) == (
        "helicone",
        "https://ai-gateway.helicone.ai/v1/chat/completions",
        f"m/{GATEWAY_NAMES[provider]}",
        {"Authorization": f"Bearer {HELICONE}"},
        "openai",
    )
    assert (endpoint.is_gateway, endpoint.host) == (True, "ai-gateway.helicone.ai")


@pytest.mark.parametrize("provider", ["together", "hyperbolic"])
def test_what_the_ai_gateway_does_not_offer_is_refused(provider: str) -> None:
    """The message names the provider and how to reach it otherwise."""
    with pytest.raises(
        ConfigurationError, match=rf"does not offer '{provider}': give its key .*{provider.upper()}_API_KEY"
    ):
        endpoint_for(settings(), provider, "m")


@pytest.mark.parametrize(
    "model, wire_model",
    [
        ("gpt-4o-mini", "gpt-4o-mini/openai"),
        ("claude-4.5-sonnet:online", "claude-4.5-sonnet:online/openai"),
        ("gpt-4o-mini/openai", "gpt-4o-mini/openai"),
        ("gpt-4o-mini/openai/my-deployment", "gpt-4o-mini/openai/my-deployment"),
    ],
)
def test_a_model_of_the_gateways_grammar_is_understood(model: str, wire_model: str) -> None:
    """A bare name gets its provider, a name that has it already, with or without a key's id, stays."""
    assert endpoint_for(settings(), "openai", model).wire_model == wire_model


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-4o",
        "gpt-4o,claude-4.5-haiku",
        "gpt-4o,!azure",
        "!openai",
        "gpt-4o/azure",
        "a/openai/b/c",
        "/openai",
        "",
    ],
)
def test_a_model_the_gateway_would_misread_is_refused(model: str) -> None:
    """A list, an exclusion or another provider's name would let the gateway choose a model nobody priced."""
    with pytest.raises(ConfigurationError, match=r"^`model` .* is no name in the AI Gateway"):
        endpoint_for(settings(), "openai", model)


@pytest.mark.parametrize(
    "given, chat_url, wire_model",
    [
        ({}, "http://localhost:8787/v1/chat/completions", "m/google-ai-studio"),
        (
            {"gateway_url": "http://localhost:8787/v1/"},
            "http://localhost:8787/v1/chat/completions",
            "m/google-ai-studio",
        ),
        ({"gateway_url": "https://gw.test/base"}, "https://gw.test/base/v1/chat/completions", "m/google-ai-studio"),
        ({"gateway_dialect": "rust"}, "http://localhost:8787/ai/chat/completions", "gemini/m"),
        (
            {"gateway_dialect": "rust", "gateway_url": "http://localhost:1/ai"},
            "http://localhost:1/ai/chat/completions",
            "gemini/m",
        ),
        (
            {"gateway_dialect": "rust", "gateway_url": "http://localhost:1/router/prod"},
            "http://localhost:1/router/prod/chat/completions",
            "gemini/m",
        ),
        ({"gateway_dialect": "openai"}, "http://localhost:8787/v1/chat/completions", "m"),
        (
            {"gateway_dialect": "openai", "gateway_url": "https://llm.test/api/v3/"},
            "https://llm.test/api/v3/chat/completions",
            "m",
        ),
    ],
)
def test_a_gateway_of_ones_own(given: dict[str, Any], chat_url: str, wire_model: str) -> None:
    """Each dialect has its path and its spelling of the model; Helicone's key is the bearer, no provider's key goes."""
    endpoint = endpoint_for(keyed(**{"gateway_url": "http://localhost:8787", **given}), "gemini", "m")
    assert (endpoint.chat_url, endpoint.wire_model, dict(endpoint.headers)) == (
        chat_url, wire_model, {"Authorization": f"Bearer {HELICONE}"},
    )  # fmt: skip


def test_an_open_endpoint_needs_no_key() -> None:
    """Without a key there is no `Authorization` at all."""
    given = GivenSettings(gateway_url="http://localhost:1", gateway_dialect="openai")
    assert dict(endpoint_for(resolve(given, {}, 1024), "anything-at-all", "m").headers) == {}


@pytest.mark.parametrize("provider", ["together", "perplexity", "vertex"])
def test_what_the_rust_gateway_does_not_offer_is_refused(provider: str) -> None:
    """The message names the provider."""
    with pytest.raises(ConfigurationError, match=f"the Rust gateway does not offer '{provider}'"):
        endpoint_for(settings(gateway_url="http://localhost:1", gateway_dialect="rust"), provider, "m")


@pytest.mark.parametrize("gateway", [{}, {"gateway_url": "http://localhost:1"}, {"gateway_dialect": "helicone"}])
@pytest.mark.parametrize(
    "provider, path",
    [
        ("openai", "/chat/completions"),
        ("anthropic", "/messages"),
        ("azure", "/chat/completions"),
        ("my-own", "/chat/completions"),
    ],
)
def test_a_providers_own_url_wins(provider: str, path: str, gateway: dict[str, Any]) -> None:
    """Whatever the gateway: calls go there in the provider's shape, with its key in its header and `Helicone-Auth`."""
    configured = settings(
        provider_urls={provider: "https://llm.test/v9/"}, provider_keys={provider: "k-12345678"}, **gateway
    )
    endpoint = endpoint_for(configured, provider, "m")
    auth = {
        "anthropic": {"x-api-key": "k-12345678", "anthropic-version": "2023-06-01"},
        "azure": {"api-key": "k-12345678"},
    }
    assert (endpoint.dialect, endpoint.chat_url, dict(endpoint.headers)) == (
        "proxy",
        f"https://llm.test/v9{path}",
        {**auth.get(provider, {"Authorization": "Bearer k-12345678"}), "Helicone-Auth": f"Bearer {HELICONE}"},
    )


def test_a_url_without_a_key_is_called_without_one() -> None:
    """A local model server may want none."""
    given = GivenSettings(provider_urls={"ollama": "http://localhost:11434/v1"})
    endpoint = endpoint_for(resolve(given, {}, 1024), "ollama", "llama3")
    assert (endpoint.chat_url, dict(endpoint.headers)) == ("http://localhost:11434/v1/chat/completions", {})


@pytest.mark.parametrize("key", ["/secrets/credentials.json", "credentials.json", "C:\\keys\\vertex", "two words"])
def test_a_path_to_a_key_is_no_key(key: str) -> None:
    """`VERTEX_AI_CREDENTIALS` names a file: its path is never sent, each request asks for a token of Google's."""
    configured = settings({**PLACES, "VERTEX_AI_CREDENTIALS": key, "OPENAI_API_KEY": "sk-12345678"})
    assert configured.candidates == ("openai", "vertex")
    endpoint = endpoint_for(configured, "vertex", "m")
    assert (endpoint.credential, "Authorization" in endpoint.headers) == ("vertex", False)
    assert key not in "".join(endpoint.headers.values())


@pytest.mark.parametrize(
    "environ, target, place",
    [
        ({"GOOGLE_CLOUD_LOCATION": "europe-west4"}, "europe-west4-aiplatform", "my-project/locations/europe-west4"),
        ({"GOOGLE_CLOUD_LOCATION": "global"}, "aiplatform", "my-project/locations/global"),
        (
            {"GOOGLE_CLOUD_PROJECT": "", "VERTEX_PROJECT": "other p"},
            "us-central1-aiplatform",
            "other%20p/locations/us-central1",
        ),
    ],
)
def test_vertex_goes_where_the_environment_says(environ: dict[str, str], target: str, place: str) -> None:
    """Project and region decide path and target; the global region has a host of its own."""
    endpoint = endpoint_for(
        settings({**PLACES, **environ}, provider_keys={"vertex": "ya29.token"}), "vertex", "google/m"
    )
    assert endpoint.headers["Helicone-Target-URL"] == f"https://{target}.googleapis.com"
    assert endpoint.chat_url == f"https://gateway.helicone.ai/v1/projects/{place}/endpoints/openapi/chat/completions"


@pytest.mark.parametrize("model, wire_model", [("m", "google/m"), ("google/m", "google/m"), ("meta/m", "meta/m")])
def test_vertex_names_its_publishers(model: str, wire_model: str) -> None:
    """A bare name is Google's; a name with its publisher stays."""
    assert endpoint_for(settings(provider_keys={"vertex": "ya29.token"}), "vertex", model).wire_model == wire_model


def test_azure_takes_its_api_version_and_deployment() -> None:
    """The model is the deployment's name, escaped in the path and encoded in the header."""
    configured = settings({**PLACES, "OPENAI_API_VERSION": "2025-01-01&x"}, provider_keys={"azure": "k-12345678"})
    endpoint = endpoint_for(configured, "azure", "größe/1")
    path = "/openai/deployments/gr%C3%B6%C3%9Fe%2F1"
    assert (endpoint.chat_url, endpoint.headers["Helicone-Model-Override"], embeddings_url(endpoint)) == (
        f"https://oai.helicone.ai{path}/chat/completions?api-version=2025-01-01%26x",
        "gr%C3%B6%C3%9Fe/1",
        f"https://oai.helicone.ai{path}/embeddings?api-version=2025-01-01%26x",
    )


@pytest.mark.parametrize(
    "provider, environ, problem",
    [
        ("azure", {"AZURE_OPENAI_ENDPOINT": ""}, "azure needs AZURE_OPENAI_ENDPOINT, such as https://"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "http://myres.openai.azure.com"}, "azure needs AZURE_OPENAI_ENDPOINT"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://a\r\nX-Y: z"}, "`AZURE_OPENAI_ENDPOINT` holds white space"),
        ("vertex", {"GOOGLE_CLOUD_PROJECT": ""}, "vertex needs GOOGLE_CLOUD_PROJECT"),
        ("vertex", {"GOOGLE_CLOUD_LOCATION": "evil.test/"}, "GOOGLE_CLOUD_LOCATION is 'evil.test/': give a region"),
        ("bedrock", {}, "Helicone has no proxy host for 'bedrock' that takes a plain key"),
        ("nobody", {}, "unknown provider 'nobody': known are anthropic, .*; any other needs an entry in provider_urls"),
    ],
)
def test_what_a_provider_lacks_is_named(provider: str, environ: dict[str, str], problem: str) -> None:
    """The error says which setting is missing or wrong, and what to give."""
    configured = settings(
        {**PLACES, **environ}, provider_keys={"azure": "k-12345678", "vertex": "ya29.t", "bedrock": "k-1"}
    )
    with pytest.raises(ConfigurationError, match=problem):
        endpoint_for(configured, provider, "m")


@pytest.mark.parametrize(
    "provider, variable", [("openai", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY"), ("mistral", "MISTRAL_API_KEY")]
)
def test_a_missing_key_is_named_with_its_variable(provider: str, variable: str) -> None:
    """In the proxy dialect every provider needs its own key."""
    given: dict[str, Any] = {"gateway_dialect": "proxy", "provider_keys": {"groq": "gsk_12345678"}}
    with pytest.raises(
        ConfigurationError, match=rf"^no key for '{provider}': pass provider_keys=.* or set {variable}$"
    ):
        endpoint_for(settings(**given), provider, "m")


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, "helicone"),
        ({"provider_keys": {"openai": "sk-12345678"}}, "proxy"),
        ({"provider_keys": {"openai": "sk-12345678"}, "gateway_url": "http://localhost:1"}, "helicone"),
        ({"provider_keys": {"openai": "sk-12345678"}, "gateway_dialect": "helicone"}, "helicone"),
        ({"provider_keys": {"groq": "sk-12345678"}, "gateway_dialect": "proxy"}, "proxy"),
        ({"gateway_dialect": "rust", "gateway_url": "http://localhost:1"}, "rust"),
        ({"gateway_dialect": "openai", "provider_urls": {"openai": "https://x.test"}}, "proxy"),
        ({"gateway_dialect": "openai"}, "openai"),
    ],
)
def test_the_dialect_follows_keys_urls_and_the_setting(given: dict[str, Any], expected: str) -> None:
    """A URL of its own, then the setting, then whether there is a key."""
    assert dialect_of(settings(**given), "openai") == expected


@pytest.mark.parametrize(
    "given, provider, model",
    [
        ({}, "anthropic", "claude-4.5-haiku"),
        ({"provider_keys": {"anthropic": "k-12345678"}}, "anthropic", "claude-haiku-4-5"),
        ({}, "openai", "gpt-4o-mini"),
        ({}, "vertex", "gemini-2.5-flash"),
        ({"provider_keys": {"vertex": "ya29.t"}}, "vertex", "google/gemini-2.5-flash"),
        ({"gateway_dialect": "rust", "gateway_url": "http://localhost:1"}, "anthropic", "claude-haiku-4-5"),
    ],
)
def test_a_default_model_is_spelled_for_where_it_goes(given: dict[str, Any], provider: str, model: str) -> None:
    """The AI Gateway has names of its own."""
    assert default_model(settings(**given), provider) == model


def test_an_unknown_provider_has_no_default_model() -> None:
    """The message says what to give."""
    with pytest.raises(ConfigurationError, match=r"^provider 'my-own' has no default model: name one with model=…$"):
        default_model(settings(), "my-own")


def test_embeddings_go_beside_the_chat() -> None:
    """The same base, another path."""
    assert embeddings_url(endpoint_for(keyed(), "openai", "m")) == "https://oai.helicone.ai/v1/embeddings"


@pytest.mark.parametrize(
    "given, provider, where",
    [
        ({}, "openai", "the AI Gateway"),
        ({"gateway_dialect": "rust", "gateway_url": "http://localhost:1"}, "openai", "the Rust gateway"),
        ({"provider_keys": {"anthropic": "k-12345678"}}, "anthropic", "anthropic"),
    ],
)
def test_where_there_are_no_embeddings_says_so(given: dict[str, Any], provider: str, where: str) -> None:
    """The message names the place and the way round."""
    with pytest.raises(ConfigurationError, match=f"^{where} has no embeddings: give a key"):
        embeddings_url(endpoint_for(settings(**given), provider, "m"))


@pytest.mark.parametrize(
    "given, provider, model, by_tool",
    [
        ({}, "anthropic", "claude-4.5-haiku", True),
        ({}, "bedrock", "claude-4.5-haiku", True),
        ({}, "openai", "gpt-4o-mini", False),
        ({"provider_keys": {"anthropic": "k-12345678"}}, "anthropic", "m", True),
        ({"provider_keys": {"openrouter": "k-12345678"}}, "openrouter", "claude-x", False),
        ({"gateway_dialect": "rust", "gateway_url": "http://localhost:1"}, "anthropic", "m", True),
        ({"gateway_dialect": "openai", "gateway_url": "http://localhost:1"}, "anthropic", "claude-x", False),
    ],
)
def test_where_claude_must_answer_by_a_tool(given: dict[str, Any], provider: str, model: str, by_tool: bool) -> None:
    """Natively and through the gateways, which drop `response_format`; an OpenAI-like endpoint is taken at its word."""
    assert endpoint_for(settings(**given), provider, model).answers_by_tool is by_tool


def test_an_endpoint_shows_no_key() -> None:
    """Its repr and host may be logged."""
    shown = [f"{endpoint!r} {endpoint} {endpoint.host}" for endpoint in (endpoint_for(keyed(), p, "m") for p in HOSTS)]
    assert [text for text in shown if "key" in text or HELICONE in text] == []
    assert shown[0] == "Endpoint(openai/m via proxy at oai.helicone.ai) " * 2 + "oai.helicone.ai"


OWN_HOSTS = {provider: urlsplit(url).netloc for provider, url in HOSTS.items()}
GATEWAYS: list[dict[str, Any]] = [{}, {"gateway_url": "http://localhost:8787"}, {"gateway_url": "https://llm.test/v1"}]


@given(
    provider=st.sampled_from(sorted(PROVIDERS)),
    dialect=st.sampled_from(["auto", "helicone", "proxy", "rust", "openai"]),
    gateway=st.sampled_from(GATEWAYS),
    with_url=st.sets(st.sampled_from(sorted(PROVIDERS)), max_size=4),
    with_key=st.sets(st.sampled_from(sorted(PROVIDERS)), max_size=6),
    model=st.sampled_from(["m", "google/m", "a/b", "größe"]),
)
def test_a_key_goes_only_to_its_provider(
    provider: str, dialect: str, gateway: dict[str, Any], with_url: set[str], with_key: set[str], model: str
) -> None:
    """Over every dialect, gateway, key and URL: a key is sent to its provider's own host or URL, or not at all."""
    try:
        configured = settings(
            gateway_dialect=dialect,
            provider_urls={name: f"https://{name}.own.test/v1" for name in with_url},
            provider_keys={name: KEYS[name] for name in with_key},
            **gateway,
        )
        endpoint = endpoint_for(configured, provider, model)
    except ConfigurationError:
        return
    sent = "\n".join([*endpoint.headers.values(), endpoint.chat_url])
    assert [name for name in with_key - {provider} if KEYS[name] in sent] == []
    assert KEYS[provider] not in endpoint.chat_url
    if KEYS[provider] in sent:
        own = f"{provider}.own.test" if provider in with_url else OWN_HOSTS[provider]
        assert (endpoint.host, urlsplit(endpoint.chat_url).netloc, endpoint.chat_url[:8]) == (own, own, "https://")
    assert sent.isascii()

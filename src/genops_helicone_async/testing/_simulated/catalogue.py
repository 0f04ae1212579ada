"""The simulated providers: where each is reached, how it authenticates, how fast it is, what it offers."""

from typing import Literal

import msgspec

Shape = Literal["openai", "anthropic", "gemini"]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated provider."""

    name: str
    price_id: str
    """Its id in genai-prices."""
    base_path: str = "/v1"
    """The path of its proxy host, up to and including the version segment."""
    shape: Shape = "openai"
    auth_headers: tuple[str, ...] = ("authorization",)
    ttft_s: float = 0.4
    """Median time to the first token."""
    tokens_per_s: float = 80.0
    gateway_name: str | None = None
    """Its name on the AI Gateway, where it differs."""
    gateway_priority: int | None = 4
    """Its rank among stored keys on the AI Gateway; None where the AI Gateway does not know it."""
    usage_unasked: bool = False
    """Whether its streams carry usage on the last chunk without `stream_options`."""
    models: tuple[str, ...] = ()
    """Some of its own model ids, for its model list and for bare names."""


_GOOGLE_KEYS = ("authorization", "x-goog-api-key")

_ALL = (
    Provider(
        name="openai",
        price_id="openai",
        ttft_s=0.45,
        tokens_per_s=90,
        gateway_priority=3,
        models=(
            *("gpt-4o-mini", "gpt-4o", "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-4.1", "gpt-4.1-mini"),
            *("gpt-4.1-nano", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "o3", "o3-mini", "o4-mini"),
            *("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
        ),
    ),
    Provider(
        name="anthropic",
        price_id="anthropic",
        shape="anthropic",
        auth_headers=("x-api-key", "authorization"),
        ttft_s=0.7,
        tokens_per_s=70,
        gateway_priority=3,
        models=(
            *("claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929", "claude-3-5-haiku-20241022"),
            *("claude-3-haiku-20240307", "claude-3-sonnet", "claude-3-opus", "claude-opus-4-1-20250805"),
        ),
    ),
    Provider(
        name="groq",
        price_id="groq",
        base_path="/openai/v1",
        ttft_s=0.15,
        tokens_per_s=400,
        models=("llama-3.1-8b-instant", "llama-3.3-70b-versatile", "mixtral-8x7b", "openai/gpt-oss-120b"),
    ),
    Provider(
        name="gemini",
        price_id="google",
        base_path="/v1beta/openai",
        shape="gemini",
        auth_headers=_GOOGLE_KEYS,
        ttft_s=0.5,
        tokens_per_s=150,
        gateway_name="google-ai-studio",
        gateway_priority=5,
        models=("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-embedding-001"),
    ),
    Provider(
        name="vertex",
        price_id="google",
        base_path="/v1/projects/sandbox/locations/us-central1/endpoints/openapi",
        shape="gemini",
        auth_headers=_GOOGLE_KEYS,
        ttft_s=0.55,
        tokens_per_s=140,
        models=("google/gemini-2.5-flash", "google/gemini-2.5-pro"),
    ),
    Provider(
        name="mistral",
        price_id="mistral",
        usage_unasked=True,
        ttft_s=0.35,
        tokens_per_s=110,
        models=("mistral-small-latest", "mistral-large-latest", "open-mistral-nemo", "mistral-embed"),
    ),
    Provider(
        name="together",
        price_id="together",
        ttft_s=0.4,
        tokens_per_s=120,
        gateway_priority=None,
        models=(
            "meta-llama/Llama-3.3-70B-Instruct-Turbo",
            "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
        ),
    ),
    Provider(
        name="deepseek",
        price_id="deepseek",
        ttft_s=0.9,
        tokens_per_s=45,
        models=("deepseek-chat", "deepseek-reasoner"),
    ),
    Provider(name="xai", price_id="x-ai", ttft_s=0.6, models=("grok-3", "grok-3-mini", "grok-4")),
    Provider(
        name="openrouter",
        price_id="openrouter",
        base_path="/api/v1",
        ttft_s=0.7,
        gateway_priority=10,
        models=("openai/gpt-4o-mini", "anthropic/claude-3.5-haiku", "meta-llama/llama-3.3-70b-instruct"),
    ),
    Provider(
        name="perplexity",
        price_id="perplexity",
        usage_unasked=True,
        base_path="",
        ttft_s=1.1,
        models=("sonar", "sonar-pro", "sonar-reasoning"),
    ),
    Provider(
        name="fireworks",
        price_id="fireworks",
        base_path="/inference/v1",
        ttft_s=0.35,
        tokens_per_s=160,
        models=(
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            "accounts/fireworks/models/gpt-oss-120b",
        ),
    ),
    Provider(
        name="cerebras",
        price_id="cerebras",
        ttft_s=0.12,
        tokens_per_s=900,
        models=("llama3.1-8b", "llama-3.3-70b", "gpt-oss-120b"),
    ),
    Provider(
        name="azure",
        price_id="azure",
        base_path="/openai/v1",
        auth_headers=("api-key", "authorization"),
        ttft_s=0.5,
        models=("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "text-embedding-3-small"),
    ),
    # Helicone's own inference host: reached only through the AI Gateway on Helicone's credits.
    Provider(name="helicone", price_id="openai", gateway_priority=2, models=("pa/gt-4p-m",)),
)

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}

HOSTED = tuple(provider for provider in _ALL if provider.name != "helicone")
"""Providers that have a proxy host."""

BY_GATEWAY_NAME: dict[str, Provider] = {
    provider.gateway_name or provider.name: provider for provider in _ALL if provider.gateway_priority is not None
}

_GATEWAY_ONLY = (
    *("baseten", "bedrock", "canopywave", "chutes", "deepinfra", "nebius", "novita"),
    *BY_GATEWAY_NAME,
)
GATEWAY_PROVIDER_NAMES = frozenset(_GATEWAY_ONLY)
"""Every provider name that the AI Gateway's model grammar accepts, simulated or not."""

_FAMILIES = (
    ("claude", "anthropic"),
    ("gemini", "gemini"),
    ("mistral", "mistral"),
    ("open-mistral", "mistral"),
    ("grok", "xai"),
    ("sonar", "perplexity"),
    ("deepseek", "deepseek"),
    ("accounts/fireworks", "fireworks"),
    ("llama3.1", "cerebras"),
    ("llama", "groq"),
    ("mixtral", "groq"),
    ("meta-llama", "together"),
)
_BY_MODEL = {model: provider for provider in reversed(HOSTED) for model in provider.models}


def canonical_name(name: str) -> str:
    """The sandbox's name of a provider: `gemini` for the AI Gateway's `google-ai-studio`.

    Raises:
        ValueError: No simulated provider has that name.
    """
    provider = BY_GATEWAY_NAME.get(name) or PROVIDERS.get(name)
    if provider is None:
        raise ValueError(f"the sandbox simulates no provider {name!r}; it has {', '.join(sorted(PROVIDERS))}")
    return provider.name


def provider_of_bare_model(model: str) -> Provider:
    """Who serves a model name that names no provider: the first that lists it, else by family, else OpenAI."""
    if provider := _BY_MODEL.get(model):
        return provider
    family = next((name for prefix, name in _FAMILIES if model.startswith(prefix)), "openai")
    return PROVIDERS[family]

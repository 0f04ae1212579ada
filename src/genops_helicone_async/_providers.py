"""The directory of providers: names, hosts, ways to authenticate and default models. Facts only, no decisions.

Hosts and paths are Helicone's proxy hosts as its worker routes them; `default_model` is the provider's own small,
cheap, general model at the time of writing (2026-11) and `gateway_model` the same model's name in the AI Gateway.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Shape = Literal["openai", "anthropic"]
Auth = Literal["bearer", "x-api-key", "api-key"]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one provider.

    `base_url` ends with the version segment and without a slash; `target_url` goes into `Helicone-Target-URL` where
    the shared host needs it; `gateway_name` and `rust_name` are None where that gateway does not offer the provider.
    `stream_usage` is False where the provider refuses or ignores `stream_options` (it then reports usage unasked).
    """

    name: str
    title: str
    env: tuple[str, ...]
    default_model: str
    gateway_model: str | None = None
    gateway_name: str | None = None
    rust_name: str | None = None
    base_url: str | None = None
    target_url: str | None = None
    shape: Shape = "openai"
    auth: Auth = "bearer"
    embedding_model: str | None = None
    stream_usage: bool = True


_ROWS = (
    Provider(
        name="openai", title="OpenAI", env=("OPENAI_API_KEY",), default_model="gpt-4o-mini", gateway_name="openai",
        rust_name="openai", base_url="https://oai.helicone.ai/v1", embedding_model="text-embedding-3-small",
    ),
    Provider(
        name="anthropic", title="Anthropic", env=("ANTHROPIC_API_KEY",), default_model="claude-haiku-4-5",
        gateway_model="claude-4.5-haiku", gateway_name="anthropic", rust_name="anthropic",
        base_url="https://anthropic.helicone.ai/v1", shape="anthropic", auth="x-api-key",
    ),
    Provider(
        name="groq", title="Groq", env=("GROQ_API_KEY",), default_model="llama-3.1-8b-instant", gateway_name="groq",
        rust_name="groq", base_url="https://groq.helicone.ai/openai/v1",
    ),
    Provider(
        name="vertex", title="Google Vertex AI", env=("VERTEX_AI_CREDENTIALS",), gateway_name="vertex",
        default_model="google/gemini-2.5-flash", gateway_model="gemini-2.5-flash",
        base_url="https://gateway.helicone.ai",
    ),
    Provider(
        name="gemini", title="Google Gemini", env=("GEMINI_API_KEY", "GOOGLE_API_KEY"), gateway_name="google-ai-studio",
        default_model="gemini-2.5-flash", rust_name="gemini", base_url="https://gateway.helicone.ai/v1beta/openai",
        target_url="https://generativelanguage.googleapis.com", embedding_model="gemini-embedding-001",
    ),
    Provider(
        name="mistral", title="Mistral", env=("MISTRAL_API_KEY",), default_model="mistral-small-latest",
        gateway_model="mistral-small", gateway_name="mistral", rust_name="mistral",
        base_url="https://mistral.helicone.ai/v1", embedding_model="mistral-embed", stream_usage=False,
    ),
    Provider(
        name="together", title="Together AI", env=("TOGETHER_API_KEY",), base_url="https://together.helicone.ai/v1",
        default_model="meta-llama/Llama-3.3-70B-Instruct-Turbo", embedding_model="BAAI/bge-base-en-v1.5",
    ),
    Provider(
        name="deepseek", title="DeepSeek", env=("DEEPSEEK_API_KEY",), default_model="deepseek-chat",
        gateway_model="deepseek-v3", gateway_name="deepseek", rust_name="deepseek",
        base_url="https://deepseek.helicone.ai/v1",
    ),
    Provider(
        name="xai", title="xAI", env=("XAI_API_KEY",), default_model="grok-3-mini", gateway_name="xai",
        rust_name="xai", base_url="https://x.helicone.ai/v1",
    ),
    Provider(
        name="openrouter", title="OpenRouter", env=("OPENROUTER_API_KEY",), default_model="openai/gpt-4o-mini",
        gateway_model="gpt-4o-mini", gateway_name="openrouter", base_url="https://openrouter.helicone.ai/api/v1",
    ),
    Provider(
        name="perplexity", title="Perplexity", env=("PERPLEXITY_API_KEY",), default_model="sonar",
        gateway_name="perplexity", base_url="https://perplexity.helicone.ai", stream_usage=False,
    ),
    Provider(
        name="fireworks", title="Fireworks AI", env=("FIREWORKS_API_KEY",), gateway_name="fireworks",
        default_model="accounts/fireworks/models/llama-v3p3-70b-instruct", gateway_model="llama-3.3-70b-instruct",
        base_url="https://fireworks.helicone.ai/inference/v1",
    ),
    Provider(
        name="cerebras", title="Cerebras", env=("CEREBRAS_API_KEY",), default_model="llama-3.3-70b",
        gateway_model="llama-3.3-70b-instruct", gateway_name="cerebras", base_url="https://cerebras.helicone.ai/v1",
    ),
    Provider(
        name="azure", title="Azure OpenAI", env=("AZURE_OPENAI_API_KEY",), default_model="gpt-4o-mini",
        gateway_name="azure", base_url="https://oai.helicone.ai", auth="api-key",
        embedding_model="text-embedding-3-small",
    ),
    Provider(
        name="bedrock", title="Amazon Bedrock", env=(), default_model="claude-4.5-haiku", gateway_name="bedrock",
        rust_name="bedrock",
    ),
    Provider(
        name="deepinfra", title="DeepInfra", env=("DEEPINFRA_API_KEY",), gateway_name="deepinfra",
        default_model="meta-llama/Llama-3.3-70B-Instruct-Turbo", gateway_model="llama-3.3-70b-instruct",
        base_url="https://deepinfra.helicone.ai/v1/openai",
    ),
    Provider(
        name="hyperbolic", title="Hyperbolic", env=("HYPERBOLIC_API_KEY",), rust_name="hyperbolic",
        default_model="meta-llama/Llama-3.3-70B-Instruct", base_url="https://hyperbolic.helicone.ai/v1",
    ),
    Provider(
        name="nebius", title="Nebius", env=("NEBIUS_API_KEY",), gateway_name="nebius",
        default_model="meta-llama/Llama-3.3-70B-Instruct", gateway_model="llama-3.3-70b-instruct",
        base_url="https://nebius.helicone.ai/v1",
    ),
    Provider(
        name="novita", title="Novita", env=("NOVITA_API_KEY",), default_model="meta-llama/llama-3.3-70b-instruct",
        gateway_model="llama-3.3-70b-instruct", gateway_name="novita", base_url="https://novita.helicone.ai/v3/openai",
    ),
)  # fmt: skip

PROVIDERS: dict[str, Provider] = {row.name: row for row in _ROWS}
ALIASES = {
    "google-ai-studio": "gemini",
    "google": "gemini",
    "vertex_ai": "vertex",
    "vertexai": "vertex",
    "x": "xai",
}
"""Other spellings of provider names that are taken for the canonical one."""

DEFAULT_PROVIDERS = ("openai", "anthropic", "groq")
"""Candidates of a call that names none, where no provider key is configured."""


def canonical(name: str) -> str:
    """The directory's spelling of a provider name; a name it does not know comes back as it is."""
    lowered = name.lower()
    return ALIASES.get(lowered, lowered) if lowered in ALIASES or lowered in PROVIDERS else name


_MAKERS = (
    ("openai", ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-")),
    ("anthropic", ("claude",)),
    ("gemini", ("gemini",)),
    ("xai", ("grok",)),
    ("deepseek", ("deepseek-chat", "deepseek-reasoner")),
    ("mistral", ("mistral-", "magistral", "codestral", "ministral", "pixtral")),
    ("perplexity", ("sonar",)),
)


def maker_of(model: str) -> str | None:
    """The provider that makes a model, read off the model's name; None where the name does not tell."""
    for provider, prefixes in _MAKERS:
        if model.startswith(prefixes):
            return provider
    return None


__all__ = ["ALIASES", "DEFAULT_PROVIDERS", "PROVIDERS", "Auth", "Provider", "Shape", "canonical", "maker_of"]

"""Under which names a price is looked up: price lists, providers, the guide and Helicone spell models differently.

Every spelling tried names the same model at the same provider. A model that no list knows stays unpriced; it never
takes a relative's price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PRICE_LISTS: dict[str, tuple[str, ...]] = {
    "bedrock": ("aws",),
    "cerebras": ("cerebras", "huggingface_cerebras"),
    "fireworks": ("fireworks", "huggingface_fireworks-ai"),
    "gemini": ("google",),
    "groq": ("groq", "huggingface_groq"),
    "hyperbolic": ("huggingface_hyperbolic",),
    "nebius": ("huggingface_nebius",),
    "novita": ("novita", "huggingface_novita"),
    "together": ("together", "huggingface_together"),
    "vertex": ("google",),
    "xai": ("x-ai",),
}
"""Our provider → ids of its price lists in genai-prices, the best first; a provider not named here has its own id.

Hugging Face resells some providers at their own prices, "with no markup" (huggingface.co/docs/inference-providers/
pricing), so its lists stand in where a provider has none, or not this model.
"""

_ALIASES: dict[tuple[str, str], str] = {
    ("cerebras", "llama-3.1-8b-instruct"): "llama3.1-8b",
    ("cerebras", "llama-3.3-70b-instruct"): "llama-3.3-70b",
    ("deepseek", "deepseek-v3"): "deepseek-chat",
    ("groq", "kimi-k2-0905"): "moonshotai/kimi-k2-instruct",
    ("groq", "llama-3-70b"): "llama3-70b-8192",
    ("groq", "llama-3-8b"): "llama3-8b-8192",
    ("groq", "llama-3.1-8b-instruct"): "llama-3.1-8b-instant",
    ("groq", "llama-3.3-70b-instruct"): "llama-3.3-70b-versatile",
    ("groq", "llama-4-maverick"): "meta-llama/llama-4-maverick-17b-128e-instruct",
    ("groq", "llama-4-scout"): "meta-llama/llama-4-scout-17b-16e-instruct",
    ("groq", "mixtral-8x7b"): "mixtral-8x7b-32768",
    ("mistral", "mistral-small"): "mistral-small-latest",
    ("openrouter", "llama-3.1-8b-instant"): "meta-llama/llama-3.1-8b-instruct",
    ("openrouter", "mixtral-8x7b"): "mistralai/mixtral-8x7b-instruct",
    ("together", "llama-3.3-70b"): "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ("together", "mixtral-8x7b"): "mistralai/Mixtral-8x7B-Instruct-v0.1",
}
"""Short names of the guide and of Helicone's registry → the provider's own name."""

_MAKERS = (
    "anthropic", "deepseek", "deepseek-ai", "google", "meta-llama", "mistralai", "moonshotai", "openai", "qwen", "x-ai",
    "zai-org",
)  # fmt: skip
"""First halves of `maker/model` names, as hosts of other makers' models have them."""
_PREFIXES = frozenset({*_MAKERS, "accounts/fireworks/models", "models"})
"""What may stand before a model's name without making it another model; `acme/llama-3.3-70b` is one of Acme's."""

_CLAUDE_RELEASES = {
    "claude-3-haiku": "20240307",
    "claude-3-opus": "20240229",
    "claude-3-sonnet": "20240229",
    "claude-3-5-haiku": "20241022",
    "claude-3-5-sonnet": "20241022",
    "claude-3-7-sonnet": "20250219",
    "claude-haiku-4-5": "20251001",
    "claude-opus-4": "20250514",
    "claude-opus-4-1": "20250805",
    "claude-sonnet-4": "20250514",
    "claude-sonnet-4-5": "20250929",
}
"""Release dates that Bedrock has in its model ids; later models there have none."""

_CLAUDE = re.compile(r"claude-(?:(\d+)(?:[.-](\d{1,2}))?-([a-z]+)(?:-v\d)?|([a-z]+)-(\d+)(?:[.-](\d{1,2}))?)$")
_LLAMA_ON_FIREWORKS = re.compile(r"llama-v(\d)p(\d)-")


def spellings(provider: str, model: str) -> tuple[str, ...]:
    """Names to look up, in order: the name itself, without the gateway's `:online`, then other spellings."""
    found = dict.fromkeys([model, model.removesuffix(":online")])
    for name in list(found):
        found.update(dict.fromkeys(_other_spellings(provider, name.lower())))
    return tuple(found)


def _other_spellings(provider: str, name: str) -> Iterator[str]:
    if alias := _ALIASES.get((provider, name)):
        yield alias
    prefix, _, bare = name.rpartition("/")
    if prefix and prefix not in _PREFIXES:
        return
    names = [bare, *_claude_spellings(bare)]
    if provider == "bedrock":
        names += [f"{known}-{_CLAUDE_RELEASES[known]}" for known in names if known in _CLAUDE_RELEASES]
    if provider == "fireworks":
        names.append(_LLAMA_ON_FIREWORKS.sub(r"llama-\1.\2-", bare))
    yield from names
    for maker in _MAKERS:
        yield from (f"{maker}/{known}" for known in names)


def _claude_spellings(name: str) -> list[str]:
    """Anthropic's spelling of a Claude model and OpenRouter's, from any of the three orders in use."""
    match = _CLAUDE.match(name)
    if match is None:
        return []
    major, minor, family = match[1] or match[5], match[2] or match[6], match[3] or match[4]
    dashed, dotted = (major + sign + minor if minor else major for sign in "-.")
    if int(major) < 4:
        return [f"claude-{dashed}-{family}", f"claude-{dotted}-{family}"]
    return [f"claude-{family}-{dashed}", f"claude-{family}-{dotted}"]


__all__ = ["PRICE_LISTS", "spellings"]

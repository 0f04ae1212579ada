"""The AI Gateway's model registry, in part: names, the providers' own ids, context and output limits."""

import msgspec


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider, by the AI Gateway's name of that provider."""

    provider: str
    model: str
    context_tokens: int
    max_output_tokens: int
    on_credits: bool = True
    """Whether Helicone's own key serves it; the others need a stored key."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the registry."""

    name: str
    owner: str
    created: int
    endpoints: tuple[Endpoint, ...]


# name, owner, created, context, output, "provider=id" pairs; a pair with ! needs a stored key
_ROWS: tuple[tuple[str, str, int, int, int, str], ...] = (
    (
        "gpt-4o",
        "openai",
        1_715_558_400,
        128_000,
        16_384,
        "openai=gpt-4o !azure=gpt-4o openrouter=openai/gpt-4o",
    ),
    (
        "gpt-4o-mini",
        "openai",
        1_721_260_800,
        128_000,
        16_384,
        "openai=gpt-4o-mini helicone=pa/gt-4p-m !azure=gpt-4o-mini openrouter=openai/gpt-4o-mini",
    ),
    ("gpt-4.1", "openai", 1_744_588_800, 1_047_576, 32_768, "openai=gpt-4.1"),
    ("gpt-4.1-mini", "openai", 1_744_588_800, 1_047_576, 32_768, "openai=gpt-4.1-mini !azure=gpt-4.1-mini"),
    ("gpt-4.1-nano", "openai", 1_744_588_800, 1_047_576, 32_768, "openai=gpt-4.1-nano"),
    ("gpt-5", "openai", 1_754_524_800, 400_000, 128_000, "openai=gpt-5"),
    ("gpt-5-mini", "openai", 1_754_524_800, 400_000, 128_000, "openai=gpt-5-mini"),
    ("gpt-5-nano", "openai", 1_754_524_800, 400_000, 128_000, "openai=gpt-5-nano"),
    ("gpt-5.1", "openai", 1_762_992_000, 400_000, 128_000, "openai=gpt-5.1"),
    ("o3", "openai", 1_744_761_600, 200_000, 100_000, "openai=o3"),
    ("o3-mini", "openai", 1_738_281_600, 200_000, 100_000, "openai=o3-mini"),
    ("o4-mini", "openai", 1_744_761_600, 200_000, 100_000, "openai=o4-mini"),
    ("claude-opus-4-1", "anthropic", 1_754_352_000, 200_000, 32_000, "anthropic=claude-opus-4-1-20250805"),
    ("claude-opus-4", "anthropic", 1_747_180_800, 200_000, 32_000, "anthropic=claude-opus-4-20250514"),
    ("claude-sonnet-4", "anthropic", 1_747_180_800, 200_000, 64_000, "anthropic=claude-sonnet-4-20250514"),
    ("claude-3.7-sonnet", "anthropic", 1_739_923_200, 200_000, 64_000, "anthropic=claude-3-7-sonnet-20250219"),
    (
        "claude-3.5-sonnet-v2",
        "anthropic",
        1_729_555_200,
        200_000,
        8_192,
        "anthropic=claude-3-5-sonnet-20241022",
    ),
    (
        "claude-3.5-haiku",
        "anthropic",
        1_729_555_200,
        200_000,
        8_192,
        "anthropic=claude-3-5-haiku-20241022 openrouter=anthropic/claude-3.5-haiku",
    ),
    (
        "claude-3-haiku-20240307",
        "anthropic",
        1_709_769_600,
        200_000,
        4_096,
        "anthropic=claude-3-haiku-20240307",
    ),
    ("claude-4.5-sonnet", "anthropic", 1_759_104_000, 200_000, 64_000, "anthropic=claude-sonnet-4-5-20250929"),
    ("claude-4.5-haiku", "anthropic", 1_759_276_800, 200_000, 64_000, "anthropic=claude-haiku-4-5-20251001"),
    ("claude-4.5-opus", "anthropic", 1_763_942_400, 200_000, 64_000, "anthropic=claude-opus-4-5-20251101"),
    ("claude-4.6-opus", "anthropic", 1_770_249_600, 1_000_000, 128_000, "anthropic=claude-opus-4-6"),
    ("claude-4.6-sonnet", "anthropic", 1_771_286_400, 1_000_000, 64_000, "anthropic=claude-sonnet-4-6"),
    (
        "gemini-2.5-flash",
        "google",
        1_750_118_400,
        1_048_576,
        65_535,
        "google-ai-studio=gemini-2.5-flash vertex=gemini-2.5-flash",
    ),
    (
        "gemini-2.5-flash-lite",
        "google",
        1_753_142_400,
        1_048_576,
        65_535,
        "google-ai-studio=gemini-2.5-flash-lite vertex=gemini-2.5-flash-lite",
    ),
    (
        "gemini-2.5-pro",
        "google",
        1_750_118_400,
        1_048_576,
        65_536,
        "google-ai-studio=gemini-2.5-pro vertex=gemini-2.5-pro",
    ),
    ("grok-3", "xai", 1_739_836_800, 131_072, 131_072, "xai=grok-3"),
    ("grok-3-mini", "xai", 1_739_836_800, 131_072, 131_072, "xai=grok-3-mini"),
    ("grok-4", "xai", 1_752_019_200, 256_000, 256_000, "xai=grok-4"),
    ("grok-code-fast-1", "xai", 1_756_339_200, 256_000, 10_000, "xai=grok-code-fast-1"),
    ("deepseek-v3", "deepseek", 1_735_171_200, 128_000, 8_192, "deepseek=deepseek-chat"),
    ("deepseek-reasoner", "deepseek", 1_737_331_200, 128_000, 64_000, "deepseek=deepseek-reasoner"),
    (
        "llama-3.3-70b-versatile",
        "meta-llama",
        1_733_443_200,
        131_072,
        32_768,
        "groq=llama-3.3-70b-versatile",
    ),
    ("llama-3.1-8b-instant", "meta-llama", 1_721_692_800, 131_072, 131_072, "groq=llama-3.1-8b-instant"),
    ("llama-3.3-70b", "meta-llama", 1_733_443_200, 128_000, 8_192, "cerebras=llama-3.3-70b"),
    (
        "gpt-oss-120b",
        "openai",
        1_754_352_000,
        131_072,
        65_536,
        "groq=openai/gpt-oss-120b cerebras=gpt-oss-120b fireworks=accounts/fireworks/models/gpt-oss-120b",
    ),
    (
        "kimi-k2-0905",
        "moonshotai",
        1_757_030_400,
        262_144,
        16_384,
        "groq=moonshotai/kimi-k2-instruct-0905",
    ),
    ("mistral-large-2411", "mistralai", 1_731_888_000, 128_000, 32_768, "mistral=mistral-large-2411"),
    ("mistral-small", "mistralai", 1_726_531_200, 128_000, 32_768, "mistral=mistral-small-latest"),
    ("mistral-nemo", "mistralai", 1_721_260_800, 128_000, 16_400, "mistral=open-mistral-nemo"),
    ("sonar", "perplexity", 1_737_331_200, 127_000, 4_096, "perplexity=sonar"),
    ("sonar-pro", "perplexity", 1_737_331_200, 200_000, 4_096, "perplexity=sonar-pro"),
)

OLD_NAMES = {
    "claude-3.5-sonnet": "claude-3.5-sonnet-v2",
    "deepseek-r1": "deepseek-reasoner",
    "kimi-k2": "kimi-k2-0905",
    "gemini-1.5-flash": "gemini-2.5-flash-lite",
}
"""Names the registry rewrites."""


def _entry(name: str, owner: str, created: int, context: int, output: int, pairs: str) -> Entry:
    endpoints = []
    for pair in pairs.split():
        provider, _, model = pair.removeprefix("!").partition("=")
        endpoints.append(
            Endpoint(
                provider=provider,
                model=model,
                context_tokens=context,
                max_output_tokens=output,
                on_credits=not pair.startswith("!"),
            )
        )
    return Entry(name=name, owner=owner, created=created, endpoints=tuple(endpoints))


REGISTRY: dict[str, Entry] = {row[0]: _entry(*row) for row in _ROWS}

"""Quality scores: found under every spelling of a model, never guessed from a relative, overridable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async._rules.quality import SCORES, SNAPSHOT, quality_of


@pytest.mark.parametrize(
    "provider, model, score",
    [
        ("openai", "gpt-4", 1275),
        ("openai", "gpt-4-0613", 1275),
        ("openai", "gpt-4o-2024-11-20", 1335),
        ("openai", "gpt-4o-2024-05-13", 1346),
        ("openai", "gpt-4-turbo-2024-04-09", 1324),
        ("openai", "gpt-3.5-turbo-0125", 1225),
        ("openai", "gpt-5-chat-latest", 1427),
        ("openrouter", "openai/gpt-4o-mini", 1318),
        ("anthropic", "claude-3-opus", 1322),
        ("anthropic", "claude-3-opus-20240229", 1322),
        ("anthropic", "claude-4.5-haiku", 1412),
        ("anthropic", "claude-haiku-4-5-20251001", 1412),
        ("anthropic", "claude-3.5-sonnet", 1373),
        ("anthropic", "claude-3-5-sonnet-20240620", 1343),
        ("vertex", "claude-3-5-haiku@20241022", 1324),
        ("bedrock", "us.anthropic.claude-3-opus-20240229-v1:0", 1322),
        ("bedrock", "meta.llama3-1-70b-instruct-v1:0", 1293),
        ("bedrock", "amazon.nova-pro-v1:0", 1290),
        ("vertex", "google/gemini-2.5-flash", 1410),
        ("gemini", "gemini-3-pro-preview", 1486),
        ("gemini", "gemini-2.5-pro-preview-05-06", 1446),
        ("gemini", "gemini-2.0-flash-001", 1360),
        ("groq", "mixtral-8x7b", 1197),
        ("groq", "llama-3.1-8b-instant", 1211),
        ("groq", "llama-3.3-70b-versatile", 1318),
        ("groq", "llama3-70b-8192", 1276),
        ("groq", "meta-llama/llama-4-scout-17b-16e-instruct", 1323),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", 1318),
        ("together", "Qwen/Qwen2.5-72B-Instruct-Turbo", 1303),
        ("fireworks", "accounts/fireworks/models/llama-v3p3-70b-instruct", 1318),
        ("cerebras", "llama3.1-8b", 1211),
        ("deepinfra", "deepseek-ai/DeepSeek-V3-0324", 1396),
        ("mistral", "mistral-small-latest", 1357),
        ("xai", "grok-4-0709", 1409),
        ("openai", "gpt-4o-mini:online", 1318),
    ],
)
def test_a_model_is_found_under_its_names(provider: str, model: str, score: int) -> None:
    """Makers, clouds and hosts spell one model differently; release dates and how it is served do not count."""
    assert quality_of(provider, model) == score


@pytest.mark.parametrize(
    "provider, model",
    [
        ("perplexity", "sonar"),
        ("openai", "gpt-9"),
        ("openai", "gpt-4o-audio-preview"),
        ("openai", "text-embedding-3-small"),
        ("together", "acme/llama-3.3-70b"),
        ("xai", "grok-4-fast"),
        ("openai", "turbo"),
        ("openai", ""),
        ("openai", "-latest"),
    ],
)
def test_an_unlisted_model_has_no_score(provider: str, model: str) -> None:
    """None is guessed from a relative's, whatever the names have in common."""
    assert quality_of(provider, model) is None


def test_own_scores_come_first() -> None:
    """By provider and model, then by model; others keep the table's."""
    own = {"gpt-4o": 1.0, "azure/gpt-4o": 2.0, "sonar": 3}
    assert quality_of("openai", "gpt-4o", own) == 1.0
    assert quality_of("azure", "gpt-4o", own) == 2.0
    assert quality_of("perplexity", "sonar", own) == 3.0
    assert quality_of("openai", "gpt-4", own) == 1275.0


def test_the_default_models_are_listed() -> None:
    """Every provider's default model has a score, but for Perplexity's, which the leaderboard does not list."""
    unlisted = {name for name, row in PROVIDERS.items() if quality_of(name, row.default_model) is None}
    assert unlisted == {"perplexity"}


def test_the_table_is_a_dated_snapshot() -> None:
    """It names its source and day; its scores are on the scale of that leaderboard's models of these years."""
    assert SNAPSHOT == "Arena text, 2026-08-01"
    assert all(1100 < score < 1510 for score in SCORES.values())
    assert SCORES["claude-opus-4-6"] > SCORES["gpt-5.4"] > SCORES["gpt-4o"] > SCORES["gpt-3.5-turbo"]


@given(
    model=st.text(max_size=30) | st.from_regex(r"([a-z]{2,6}\.)?(gpt|llama|claude)[-.:@/a-z0-9]{0,25}", fullmatch=True)
)
def test_no_name_breaks_the_search(model: str) -> None:
    """Whatever a model is called, it has a score or none."""
    score = quality_of("openai", model)
    assert score is None or 1100 < score < 1510

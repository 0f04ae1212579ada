"""Token estimates: by characters, by kind of content, and by the model's own tokenizer."""

import pytest

from genops_helicone_async._rules.tokens import (
    estimate_input_tokens,
    heuristic_tokens,
    image_tokens_for,
    multiplier_for,
)


@pytest.mark.parametrize(
    "text,expected",
    [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("x" * 380, 100), ("日本語", 2), ("日本語 text", 4), ("a\ud800b", 2)],
)
def test_tokens_from_characters(text: str, expected: int) -> None:
    """3.8 ASCII characters a token, 0.62 tokens for any other character, rounded up; broken text counts too."""
    assert heuristic_tokens(text) == expected


@pytest.mark.parametrize(
    "model,expected",
    [
        ("gpt-4o", 1.0),
        ("openai/gpt-5-mini", 1.0),
        ("o3-mini", 1.0),
        ("text-embedding-3-small", 1.0),
        ("claude-3-haiku-20240307", 1.15),
        ("claude-opus-4-20250514", 1.15),
        ("claude-4.6-opus", 1.15),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", 1.15),
        ("claude-opus-4-7", 1.5),
        ("claude-fable-5", 1.5),
        ("claude-latest", 1.5),
        ("gemini-2.5-flash", 1.1),
        ("llama-3.1-8b-instant", 1.1),
        ("openai.gpt-oss-120b", 1.1),
    ],
)
def test_tokenizers_differ_by_family(model: str, expected: float) -> None:
    """Claude makes more tokens of the same text, newer ones most; unknown families are taken for Gemini's kind."""
    assert multiplier_for(model) == expected


@pytest.mark.parametrize(
    "model,expected",
    [("gpt-4o", 1_600), ("gpt-4o-mini", 48_169), ("gpt-5-mini", 2_489), ("gpt-4.1-nano", 3_779), ("o4-mini", 2_642)],
)
def test_small_openai_models_multiply_the_tokens_of_images(model: str, expected: int) -> None:
    """The bound follows the model, so that no hold is thirty times too small."""
    assert image_tokens_for(model) == expected


@pytest.mark.parametrize(
    "message,expected",
    [
        ({"role": "user", "content": "abcd"}, 2),
        ({"role": "user", "content": ""}, 0),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}, 4),
        ({"role": "user", "content": "abcd", "name": "ann"}, 3),
        ({"role": "user", "content": [{"type": "text", "text": "abcd"}, {"type": "text", "text": "a"}]}, 3),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + "A" * 10_000}}]}, 1_600),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A" * 301, "format": "wav"}}]},
            3,
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, 6),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f-1"}}]}, 11),
    ],
)
def test_a_message_counts_by_kind(message: dict[str, object], expected: int) -> None:
    """Texts by characters, images flat, sound by length, all else as its JSON; 4 for the role, 3 for the reply."""
    assert estimate_input_tokens([message]) == 3 + 4 + expected


def test_tools_count_as_their_json() -> None:
    """Tools travel in every request."""
    messages = [{"role": "user", "content": "abcd"}]
    tools = [{"type": "function", "function": {"name": "weather"}}]  # 53 characters of JSON
    assert estimate_input_tokens(messages, tools) == estimate_input_tokens(messages) + 14


def test_the_counter_and_the_bound_for_images_are_arguments() -> None:
    """A counter of words, and an image of seven tokens."""
    content = [{"type": "text", "text": "one two three"}, {"type": "image_url", "image_url": {"url": "https://x"}}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": content}]
    words = lambda text: len(text.split())  # noqa: E731
    assert estimate_input_tokens(messages, count=words, tokens_per_image=7) == 3 + 4 + 2 + 4 + 3 + 7
